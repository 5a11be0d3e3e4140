/**
 * dh, destination hashing: the packet's destination address chooses (spec 2.13).
 * Kernel: ip_vs_dh.c.
 *
 * Slot i of 256 belongs to destination i mod n in list order; weights are ignored there, so an
 * edit reassigns nothing and the table is a function of the list alone. There is no fallback: a
 * quiesced or overloaded owner of the slot means no destination.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { hash32, HASH_SLOT_BITS } from './hash.js'
import { type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'

class BoundDh implements Bound {
  readonly #service: ServiceView

  constructor(service: ServiceView) {
    this.#service = service
  }

  pick(miss: MissBatch, load: LoadView): number {
    const { slots, weights } = this.#service
    if (slots.length === 0) return NO_DESTINATION
    const index = hash32(miss.destinationFold, HASH_SLOT_BITS) % slots.length
    const slot = slots[index]
    return weights[index] > 0 && load.overloadedOf[slot] === 0 ? slot : NO_DESTINATION
  }
}

export const dh: Scheduler = {
  name: 'dh',
  bind: (service) => new BoundDh(service),
}
