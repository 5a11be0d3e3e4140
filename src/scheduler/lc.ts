/**
 * lc, least connection: the least overhead; weights only tell quiesced from usable (spec 2.4).
 * Kernel: ip_vs_lc.c. Ties go to the first in the list.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'

class BoundLc implements Bound {
  readonly #service: ServiceView

  constructor(service: ServiceView) {
    this.#service = service
  }

  pick(_miss: MissBatch, load: LoadView): number {
    const { slots, weights } = this.#service
    let best = NO_DESTINATION
    let bestOverhead = Infinity
    for (let i = 0; i < slots.length; i++) {
      const overhead = load.overheadOf[slots[i]]
      // Overloaded ones have an infinite overhead.
      if (overhead < bestOverhead && weights[i] > 0) {
        best = slots[i]
        bestOverhead = overhead
      }
    }
    return best
  }
}

export const lc: Scheduler = {
  name: 'lc',
  bind: (service) => new BoundLc(service),
}
