/**
 * Stop 6, schedule: a verdict for every miss of a burst.
 *
 * In    the miss batch, filled by the core in `poll`
 * Does  persistent service: template or a new one; else the bound scheduler; writes the verdict
 * Next  stop 7, `resolve`: the core creates the connections and counts them in its lane
 */
import { SERVICE_FLAG, MISS_FLAG, VERDICT } from '../dataplane/layout.js'
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { BoundServices } from './bound-services.js'
import { PersistentSchedule } from './persistence/persistent-schedule.js'
import type { TemplateTable } from './persistence/templates.js'

/** What one worker schedules with. */
export interface ScheduleParts {
  readonly misses: MissBatch
  readonly load: LoadView
  readonly services: BoundServices
  readonly templates: TemplateTable
}

/** Answers bursts; one per worker. Allocates nothing per miss. */
export class ScheduleBatch {
  /** What a scheduler threw last; the worker logs it with a rate limit. */
  lastError: unknown
  readonly #misses: MissBatch
  readonly #load: LoadView
  readonly #services: BoundServices
  readonly #persistent: PersistentSchedule
  #index = 0

  constructor(parts: ScheduleParts) {
    this.#misses = parts.misses
    this.#load = parts.load
    this.#services = parts.services
    this.#persistent = new PersistentSchedule(parts.misses, parts.load, parts.templates)
  }

  /** Connections dropped so far because the template table was full. */
  get templateTableFullCount(): number {
    return this.#persistent.tableFullCount
  }

  /**
   * Writes the verdicts of records 0 to count - 1; `nowSec` is the director's monotonic clock.
   * Returns how many got DROP because a scheduler threw: the one it threw for and all after it.
   */
  run(count: number, nowSec: number): number {
    this.#load.beginBatch(nowSec)
    try {
      for (this.#index = 0; this.#index < count; this.#index++) this.#answer(this.#index)
      return 0
    } catch (error) {
      this.lastError = error
      const failed = this.#index
      for (let i = failed; i < count; i++) {
        this.#misses.select(i)
        this.#misses.setVerdict(VERDICT.DROP)
      }
      return count - failed
    }
  }

  #answer(index: number): void {
    const misses = this.#misses
    misses.select(index)
    const slot = misses.serviceSlot
    const service = this.#services.service(slot)
    const bound = this.#services.bound(slot)
    if (service === undefined || bound === undefined) {
      throw new Error(`a miss names service slot ${slot}, which the snapshot does not have`)
    }
    this.#load.prepare(service)
    if ((service.flags & SERVICE_FLAG.PERSISTENT) !== 0) {
      this.#persistent.answer(service, bound)
      return
    }
    const flags = misses.flags
    const isOnePacket = (flags & MISS_FLAG.ONE_PACKET) !== 0
    if ((flags & MISS_FLAG.OUTBOUND) !== 0) {
      // Its destination sent it: there is nothing to choose (spec 4.5).
      this.#load.picked(misses.verdict, misses.protocol, isOnePacket)
      return
    }
    // Only a persistent port-0 service takes ports that are not its own (spec 5.3).
    if (service.fwmark === 0 && misses.virtualPort !== service.port) {
      misses.setVerdict(VERDICT.NONE)
      return
    }
    const chosen = bound.pick(misses, this.#load)
    misses.setVerdict(chosen)
    if (chosen >= 0) this.#load.picked(chosen, misses.protocol, isOnePacket)
  }
}
