/**
 * nq, never queue: the first idle destination at once, else as sed (spec 2.7).
 * Kernel: ip_vs_nq.c. Idle means no active connection; inactive ones do not count.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { productGreater } from './overhead.js'
import { type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'

class BoundNq implements Bound {
  readonly #service: ServiceView

  constructor(service: ServiceView) {
    this.#service = service
  }

  pick(_miss: MissBatch, load: LoadView): number {
    const { slots, weights } = this.#service
    let best = NO_DESTINATION
    let bestWeight = 0
    let bestDelay = 0
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i]
      const weight = weights[i]
      if (weight <= 0 || load.overloadedOf[slot] !== 0) continue
      const active = load.activeOf[slot]
      if (active === 0) return slot
      if (best === NO_DESTINATION || productGreater(bestDelay, weight, active + 1, bestWeight)) {
        best = slot
        bestWeight = weight
        bestDelay = active + 1
      }
    }
    return best
  }
}

export const nq: Scheduler = {
  name: 'nq',
  bind: (service) => new BoundNq(service),
}
