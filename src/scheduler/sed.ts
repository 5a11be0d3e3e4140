/**
 * sed, shortest expected delay: wlc with active + 1 as the overhead (spec 2.6).
 * Kernel: ip_vs_sed.c. UDP connections are never active, so there the highest weight wins.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { productGreater } from './overhead.js'
import { type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'

class BoundSed implements Bound {
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
      const delay = load.activeOf[slot] + 1
      if (best === NO_DESTINATION || productGreater(bestDelay, weight, delay, bestWeight)) {
        best = slot
        bestWeight = weight
        bestDelay = delay
      }
    }
    return best
  }
}

export const sed: Scheduler = {
  name: 'sed',
  bind: (service) => new BoundSed(service),
}
