/**
 * A whole worker in one thread without a kernel: the real core on ports that need none, the real
 * schedulers. Benchmarks, replay and tests drive it.
 */
import { LIMITS, offsetOf, RECORDS } from './layout.js'
import { LoadView } from './load-view.js'
import { allocateBlocks, bytesOf, laneOf, type SharedBlocks } from './memory.js'
import { MissBatch } from './miss-batch.js'
import { openCore, type NativeCore, type SyntheticPort } from './native.js'
import { SnapshotView } from './snapshot-view.js'
import { BoundServices } from '../scheduler/bound-services.js'
import { type MaglevTables, NO_TABLES, ownersOf, tablesAtOnce } from '../scheduler/maglev-tables.js'
import { TemplateTable } from '../scheduler/persistence/templates.js'
import { Xoshiro128 } from '../scheduler/random.js'
import { reconcileSchedulers } from '../scheduler/reconcile.js'
import { ScheduleBatch } from '../scheduler/schedule-batch.js'
import { SchedulerState } from '../scheduler/shared-state.js'

const NOW_SEC = offsetOf('workerWords', 'nowSec') / 4

/** One worker of one, in memory. */
export class MemoryCore {
  readonly core: NativeCore
  readonly blocks: SharedBlocks
  readonly load: LoadView
  readonly schedule: ScheduleBatch
  readonly #words: Int32Array
  readonly #state: SchedulerState
  readonly #services: BoundServices
  #view: SnapshotView | undefined
  #tables: MaglevTables = NO_TABLES

  /**
   * `connections`: capacity of the table; `manualClock`: time moves by core.setTime() only. With
   * `blocks` it is worker `worker` of those that share them, before or after its thread lives.
   */
  constructor(
    ports: readonly SyntheticPort[],
    connections: number,
    manualClock = false,
    blocks: SharedBlocks = allocateBlocks(1, connections),
    worker = 0,
  ) {
    this.blocks = blocks
    const lane = (block: Uint8Array): Uint8Array => laneOf(block, worker, blocks.workers)
    const words = lane(blocks.words)
    this.#words = new Int32Array(words.buffer, words.byteOffset, words.byteLength / 4)
    const loadBytes = LIMITS.DESTINATIONS * RECORDS.load.bytes
    this.core = openCore({
      worker,
      workers: blocks.workers,
      connections: blocks.connections,
      table: blocks.tables[worker],
      misses: lane(blocks.misses),
      missTexts: lane(blocks.missTexts),
      words,
      portWords: lane(blocks.portWords),
      templates: bytesOf(blocks.templates.entries),
      loads: bytesOf(blocks.loads).subarray(worker * loadBytes, (worker + 1) * loadBytes),
      serviceTraffic: lane(blocks.serviceTraffic),
      destinationTraffic: lane(blocks.destinationTraffic),
      totalTraffic: lane(blocks.totalTraffic),
      reasons: lane(blocks.reasons),
      ports,
      hostPort: -1,
      hops: 'static',
      seed: 0x243f6a8885a308d3n,
      manualClock,
    })
    const { loads: load, destinationState } = blocks
    this.load = new LoadView({ load, destinationState }, worker)
    const misses = lane(blocks.misses)
    this.#state = new SchedulerState(blocks.scheduler, worker)
    this.#services = new BoundServices(this.#state, new Xoshiro128([1, 2, 3, 4]))
    this.schedule = new ScheduleBatch({
      misses: new MissBatch(
        misses.buffer as SharedArrayBuffer,
        misses.byteOffset,
        lane(blocks.missTexts),
      ),
      load: this.load,
      services: this.#services,
      templates: new TemplateTable(blocks.templates, this.load, worker),
    })
  }

  /** Makes a snapshot block what the worker works with. */
  adopt(block: Uint8Array): void {
    const view = new SnapshotView(block, this.#view)
    this.load.adoptForPublish(view)
    reconcileSchedulers(this.#view, view, this.#state)
    this.core.adopt(block)
    this.#tables = tablesAtOnce(view, this.#tables)
    this.#services.adopt(view, ownersOf(this.#tables))
    this.#view = view
  }

  /** One burst with its verdicts; returns how many flows were new. */
  burst(): number {
    const misses = this.core.poll(0)
    if (misses > 0) {
      this.schedule.run(misses, this.#words[NOW_SEC])
      this.core.resolve()
    }
    return misses
  }

  /** Connections of all destinations, as the core counted them. */
  totals(): { active: number; inactive: number } {
    const words = RECORDS.load.bytes / 4
    let [active, inactive] = [0, 0]
    for (let at = 0; at < LIMITS.DESTINATIONS * words; at += words) {
      active += this.blocks.loads[at]
      inactive += this.blocks.loads[at + 1]
    }
    return { active, inactive }
  }
}
