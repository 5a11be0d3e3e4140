/**
 * mh tables for a snapshot before it is published, built off the packet path and off main's thread.
 *
 * One thread, so that a change of many tables takes no more than one processor from the packet
 * workers. It starts with the first mh service, which as a rule has no destinations yet, and stays.
 * All tables of a change are one task: one way there and back, whatever their number.
 */
import { fileURLToPath } from 'node:url'
import { Piscina } from 'piscina'
import { DEFAULT_SHAPE } from '../scheduler/maglev.js'
import { completeTables, type MaglevTables, planTables } from '../scheduler/maglev-tables.js'
import type { MaglevJob } from './maglev-job.js'
import type { SnapshotView } from './snapshot-view.js'
import { DataplaneError } from './supervisor.js'

/** Piscina's file for a job; tests put others in its place. */
const JOB = fileURLToPath(new URL('./maglev-job.js', import.meta.url))

/** See the top of this file. */
export class MaglevPool {
  readonly #log: (message: string) => void
  readonly #job: string
  #pool: Piscina | undefined

  /** `log` is told of a thread that failed while it had nothing to do. */
  constructor(log: (message: string) => void, job: string = JOB) {
    this.#log = log
    this.#job = job
  }

  /**
   * The tables of `view`, those of `before` where they still hold. Rejects with TABLE_FAILED when
   * the job or its thread dies; nothing has changed then and the next call has a new thread.
   */
  async tablesFor(
    view: SnapshotView,
    before: MaglevTables,
    shape = DEFAULT_SHAPE,
  ): Promise<MaglevTables> {
    const plan = planTables(view, before, shape)
    if (plan.ready.length + plan.wanted.length > 0) this.#start()
    if (plan.wanted.length === 0) return completeTables(plan, [])
    const inputs = plan.wanted.map(({ build }) => build)
    return completeTables(plan, await this.#build({ inputs, shape }))
  }

  /** Ends the thread. */
  async close(): Promise<void> {
    await this.#pool?.destroy()
    this.#pool = undefined
  }

  #start(): Piscina {
    if (this.#pool !== undefined) return this.#pool
    const pool = new Piscina({ minThreads: 1, maxThreads: 1 })
    // Unheard, this event would end the process, and with it the workers that forward.
    pool.on('error', (error: unknown) =>
      this.#log(`the thread for mh tables failed: ${why(error)}`),
    )
    this.#pool = pool
    return pool
  }

  async #build(job: MaglevJob): Promise<Uint16Array[]> {
    try {
      return (await this.#start().run(job, { filename: this.#job })) as Uint16Array[]
    } catch (error) {
      throw new DataplaneError(
        'TABLE_FAILED',
        `the mh table could not be built, so nothing was changed; try again: ${why(error)}`,
      )
    }
  }
}

function why(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
