/**
 * sh, source hashing: the client address, with sh-port also its port, chooses (spec 2.14).
 * Kernel: ip_vs_sh.c.
 *
 * 256 slots are dealt to the list cyclically, max(1, weight) in a row to each destination, and
 * dealt again after any change: the table is a function of the snapshot. The fallback adds its
 * probe number to the hash, so it looks at slot (2h + off) mod 256; that is the kernel's order.
 */
import { SERVICE_FLAG } from '../dataplane/layout.js'
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { hash32, HASH_SLOT_BITS, HASH_SLOTS, hashedPort } from './hash.js'
import { type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'

/** Which list index owns each of the 256 slots; empty for an empty list. */
export function assignSourceSlots(weights: Int32Array): Uint16Array {
  if (weights.length === 0) return new Uint16Array(0)
  const owners = new Uint16Array(HASH_SLOTS)
  let at = 0
  for (let i = 0; at < HASH_SLOTS; i = (i + 1) % weights.length) {
    const end = Math.min(HASH_SLOTS, at + Math.max(1, weights[i]))
    owners.fill(i, at, end)
    at = end
  }
  return owners
}

class BoundSh implements Bound {
  readonly #service: ServiceView
  readonly #owners: Uint16Array
  readonly #usesFallback: boolean
  readonly #usesPort: boolean

  constructor(service: ServiceView) {
    this.#service = service
    this.#owners = assignSourceSlots(service.weights)
    this.#usesFallback = (service.flags & SERVICE_FLAG.SCHED1) !== 0
    this.#usesPort = (service.flags & SERVICE_FLAG.SCHED2) !== 0
  }

  pick(miss: MissBatch, load: LoadView): number {
    if (this.#owners.length === 0) return NO_DESTINATION
    const port = this.#usesPort ? hashedPort(miss) : 0
    const hash = hash32((port + miss.clientFold) | 0, HASH_SLOT_BITS)
    const first = this.#usable(hash, load)
    if (first !== NO_DESTINATION || !this.#usesFallback) return first
    for (let offset = 0; offset < HASH_SLOTS; offset++) {
      const probe = (offset + hash) & (HASH_SLOTS - 1)
      const slot = this.#usable((probe + hash) & (HASH_SLOTS - 1), load)
      if (slot !== NO_DESTINATION) return slot
    }
    return NO_DESTINATION
  }

  #usable(at: number, load: LoadView): number {
    const index = this.#owners[at]
    const slot = this.#service.slots[index]
    const usable = this.#service.weights[index] > 0 && load.overloadedOf[slot] === 0
    return usable ? slot : NO_DESTINATION
  }
}

export const sh: Scheduler = {
  name: 'sh',
  bind: (service) => new BoundSh(service),
}
