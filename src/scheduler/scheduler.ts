/**
 * The scheduler contract (stop 6: which destination gets a new connection).
 *
 * A Scheduler is stateless: it knows how to bind to a service of a snapshot. A Bound answers
 * misses for that service until the next snapshot that changes the service. State that defines an
 * order lives in the shared blocks (shared-state.ts), never in a Bound, so that the sequence of
 * picks is one sequence with any number of workers and survives a change of configuration.
 *
 * `pick` allocates nothing, waits for nothing but a short lock, and reads no clock. Its randomness
 * is an argument of `bind`.
 * Common rule of all schedulers: weight 0 is quiesced and takes nothing new, OVERLOAD is skipped
 * (spec 2.1); the exceptions are in the files of lblc and lblcr.
 */
import type { SCHEDULER_ID } from '../dataplane/layout.js'
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import type { OwnersBySlot } from './maglev-tables.js'
import type { RandomSource } from './random.js'
import type { SchedulerState } from './shared-state.js'

export type SchedulerName = keyof typeof SCHEDULER_ID

/** What `pick` returns when no destination can take the connection (layout.ts VERDICT.NONE). */
export const NO_DESTINATION = -1

/** What a scheduler may use beside the service itself. */
export interface BindContext {
  /** The shared blocks, with this thread's lane as owner of locks. */
  readonly state: SchedulerState
  /** Generation of the snapshot the service comes from. */
  readonly generation: number
  /** This worker's, for choices by chance. */
  readonly random: RandomSource
  /** Of the mh services of the snapshot, by service slot (maglev-tables.ts). */
  readonly tables: OwnersBySlot
}

/** A scheduler bound to one service of one snapshot. */
export interface Bound {
  /**
   * Destination slot for the selected miss, or NO_DESTINATION. The load is prepared for the
   * service; the caller counts the choice (`LoadView.picked`).
   */
  pick(miss: MissBatch, load: LoadView): number
}

/** One scheduling method. */
export interface Scheduler {
  readonly name: SchedulerName
  bind(service: ServiceView, context: BindContext): Bound
}
