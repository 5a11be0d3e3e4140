/**
 * ovf, weighted overflow: the highest weight, until that many connections are active there and one
 * more; then the next (spec 2.9). Kernel: ip_vs_ovf.c. Ties go to the first in the list; inactive
 * connections do not count, so UDP never overflows.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'

class BoundOvf implements Bound {
  readonly #service: ServiceView

  constructor(service: ServiceView) {
    this.#service = service
  }

  pick(_miss: MissBatch, load: LoadView): number {
    const { slots, weights } = this.#service
    let best = NO_DESTINATION
    let bestWeight = 0
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i]
      const weight = weights[i]
      const takes = load.overloadedOf[slot] === 0 && load.activeOf[slot] <= weight
      if (weight > bestWeight && takes) {
        best = slot
        bestWeight = weight
      }
    }
    return best
  }
}

export const ovf: Scheduler = {
  name: 'ovf',
  bind: (service) => new BoundOvf(service),
}
