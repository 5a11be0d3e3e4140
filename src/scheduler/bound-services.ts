/**
 * The schedulers bound to the services of the adopted snapshot, by service slot.
 *
 * Adopting is cheap: a service that did not change keeps its ServiceView (snapshot-view.ts) and
 * with it its Bound. State that must survive a change is in the shared blocks, never in a Bound.
 */
import type { ServiceView, SnapshotView } from '../dataplane/snapshot-view.js'
import { schedulerById } from './registry.js'
import type { Bound } from './scheduler.js'
import type { SchedulerState } from './shared-state.js'

/** One worker's bound schedulers. */
export class BoundServices {
  readonly #context: { readonly state: SchedulerState; generation: number }
  #services: readonly (ServiceView | undefined)[] = []
  #bounds: readonly (Bound | undefined)[] = []

  constructor(state: SchedulerState) {
    this.#context = { state, generation: 0 }
  }

  /** Binds every changed service; between batches only. Throws and keeps the old on bad input. */
  adopt(view: SnapshotView): void {
    const bounds = view.services.map((service, slot) => {
      if (service === undefined) return undefined
      const kept = this.#services[slot] === service ? this.#bounds[slot] : undefined
      return kept ?? schedulerById(service.schedulerId).bind(service, this.#context)
    })
    this.#services = view.services
    this.#bounds = bounds
    this.#context.generation = view.generation
  }

  /** The service in a slot; undefined for a hole. */
  service(slot: number): ServiceView | undefined {
    return this.#services[slot]
  }

  /** The bound scheduler of a slot; undefined for a hole. */
  bound(slot: number): Bound | undefined {
    return this.#bounds[slot]
  }
}
