/**
 * fo, weighted fail-over: all connections to the usable destination of the highest weight, however
 * many it has (spec 2.8). Kernel: ip_vs_fo.c. Ties go to the first in the list.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'

class BoundFo implements Bound {
  readonly #service: ServiceView

  constructor(service: ServiceView) {
    this.#service = service
  }

  pick(_miss: MissBatch, load: LoadView): number {
    const { slots, weights } = this.#service
    let best = NO_DESTINATION
    let bestWeight = 0
    for (let i = 0; i < slots.length; i++) {
      if (weights[i] > bestWeight && load.overloadedOf[slots[i]] === 0) {
        best = slots[i]
        bestWeight = weights[i]
      }
    }
    return best
  }
}

export const fo: Scheduler = {
  name: 'fo',
  bind: (service) => new BoundFo(service),
}
