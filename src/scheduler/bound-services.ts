/**
 * The schedulers bound to the services of the adopted snapshot, by service slot.
 *
 * Adopting is cheap: a service that did not change keeps its ServiceView (snapshot-view.ts) and
 * with it its Bound. State that must survive a change is in the shared blocks, never in a Bound.
 */
import type { ServiceView, SnapshotView } from '../dataplane/snapshot-view.js'
import { NO_OWNERS, type OwnersBySlot } from './maglev-tables.js'
import type { RandomSource } from './random.js'
import { schedulerById } from './registry.js'
import type { Bound } from './scheduler.js'
import type { SchedulerState } from './shared-state.js'

/** One worker's bound schedulers. */
export class BoundServices {
  readonly #context: {
    readonly state: SchedulerState
    readonly random: RandomSource
    generation: number
    tables: OwnersBySlot
  }
  #services: readonly (ServiceView | undefined)[] = []
  #bounds: readonly (Bound | undefined)[] = []

  /** `random` is this worker's own. */
  constructor(state: SchedulerState, random: RandomSource) {
    this.#context = { state, random, generation: 0, tables: NO_OWNERS }
  }

  /**
   * Binds every changed service; between batches only. `tables` came with the snapshot. Throws and
   * keeps the old on bad input.
   */
  adopt(view: SnapshotView, tables: OwnersBySlot = NO_OWNERS): void {
    this.#context.tables = tables
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
