/**
 * wlc, weighted least connection: the least overhead for its weight (spec 2.5).
 * Kernel: ip_vs_wlc.c. With all destinations idle the first one in the list wins.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { pickWeightedLeast } from './overhead.js'
import type { Bound, Scheduler } from './scheduler.js'

class BoundWlc implements Bound {
  readonly #service: ServiceView

  constructor(service: ServiceView) {
    this.#service = service
  }

  pick(_miss: MissBatch, load: LoadView): number {
    return pickWeightedLeast(this.#service, load)
  }
}

export const wlc: Scheduler = {
  name: 'wlc',
  bind: (service) => new BoundWlc(service),
}
