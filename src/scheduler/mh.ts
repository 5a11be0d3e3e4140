/**
 * mh, Maglev hashing: the client address, with mh-port also its port, chooses a slot of the
 * service's table (spec 2.15). Kernel: ip_vs_mh.c.
 *
 * The table comes with the snapshot (maglev-tables.ts); binding only attaches it. It is made from
 * last weights, so a destination that is quiesced keeps its slots: its clients get nothing, or with
 * mh-fallback another destination, and come back with it. The fallback adds its probe number to
 * what is hashed, so it jumps through the table as a different client would.
 */
import { SERVICE_FLAG } from '../dataplane/layout.js'
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { hashedPort } from './hash.js'
import { FIRST_KEY, maglevHash, NO_OWNER } from './maglev.js'
import { type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'

class BoundMh implements Bound {
  readonly #service: ServiceView
  readonly #owners: Uint16Array
  readonly #usesFallback: boolean
  readonly #usesPort: boolean

  constructor(service: ServiceView, owners: Uint16Array) {
    this.#service = service
    this.#owners = owners
    this.#usesFallback = (service.flags & SERVICE_FLAG.SCHED1) !== 0
    this.#usesPort = (service.flags & SERVICE_FLAG.SCHED2) !== 0
  }

  pick(miss: MissBatch, load: LoadView): number {
    if (this.#owners.length === 0) return NO_DESTINATION
    const key = ((this.#usesPort ? hashedPort(miss) : 0) + miss.clientFold) | 0
    const first = maglevHash(key, FIRST_KEY) % this.#owners.length
    const owner = this.#owners[first]
    if (owner === NO_OWNER) return NO_DESTINATION
    if (this.#usable(owner, load)) return this.#service.slots[owner]
    return this.#usesFallback ? this.#fallBack(key, first, load) : NO_DESTINATION
  }

  #fallBack(key: number, first: number, load: LoadView): number {
    if (!this.#anyUsable(load)) return NO_DESTINATION
    const owners = this.#owners
    for (let offset = 0; offset < owners.length; offset++) {
      const probe = (offset + first) % owners.length
      const owner = owners[maglevHash((probe + key) | 0, FIRST_KEY) % owners.length]
      if (owner === NO_OWNER) return NO_DESTINATION
      if (this.#usable(owner, load)) return this.#service.slots[owner]
    }
    return NO_DESTINATION
  }

  /** With all of them down a connection must not cost thousands of hashes to find that out. */
  #anyUsable(load: LoadView): boolean {
    for (let i = 0; i < this.#service.slots.length; i++) if (this.#usable(i, load)) return true
    return false
  }

  #usable(index: number, load: LoadView): boolean {
    const { slots, weights } = this.#service
    return weights[index] > 0 && load.overloadedOf[slots[index]] === 0
  }
}

export const mh: Scheduler = {
  name: 'mh',
  bind: (service, { tables }) => {
    const owners = tables.get(service.slot)
    if (owners === undefined) throw new Error(`no mh table came for service slot ${service.slot}`)
    return new BoundMh(service, owners)
  },
}
