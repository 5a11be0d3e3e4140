/**
 * lc, least connection: the least overhead; weights only tell quiesced from usable (spec 2.4).
 * Kernel: ip_vs_lc.c. Ties go to the first in the list.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { connectionOverhead } from './overhead.js'
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
      const slot = slots[i]
      if (weights[i] <= 0 || load.overloadedOf[slot] !== 0) continue
      const overhead = connectionOverhead(load.activeOf[slot], load.inactiveOf[slot])
      if (overhead < bestOverhead) {
        best = slot
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
