/**
 * A whole worker in one thread without a kernel: the real core on a generator port, the real
 * schedulers, a real snapshot; what `npm run bench -- core` and the boundary tests drive.
 */
import { apply } from '../../src/control/model/apply.js'
import type { Command } from '../../src/control/model/commands.js'
import { emptyConfig, type Config } from '../../src/control/model/config.js'
import { LIMITS, offsetOf } from '../../src/dataplane/layout.js'
import { LoadView } from '../../src/dataplane/load-view.js'
import { allocateBlocks, bytesOf, laneOf, type SharedBlocks } from '../../src/dataplane/memory.js'
import { MissBatch } from '../../src/dataplane/miss-batch.js'
import { openCore, type NativeCore, type SyntheticPort } from '../../src/dataplane/native.js'
import { SnapshotView } from '../../src/dataplane/snapshot-view.js'
import { writeSnapshot } from '../../src/dataplane/snapshot-writer.js'
import { BoundServices } from '../../src/scheduler/bound-services.js'
import { TemplateTable } from '../../src/scheduler/persistence/templates.js'
import { reconcileSchedulers } from '../../src/scheduler/reconcile.js'
import { ScheduleBatch } from '../../src/scheduler/schedule-batch.js'
import { SchedulerState } from '../../src/scheduler/shared-state.js'

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
  #generation = 0

  /** `connections`: capacity of the table; `manualClock`: time moves by core.setTime() only. */
  constructor(ports: readonly SyntheticPort[], connections: number, manualClock = false) {
    const blocks = allocateBlocks(1, connections)
    this.blocks = blocks
    const lane = (block: Uint8Array): Uint8Array => laneOf(block, 0, 1)
    this.#words = new Int32Array(blocks.words.buffer, blocks.words.byteOffset, 32)
    this.core = openCore({
      worker: 0,
      workers: 1,
      connections,
      table: blocks.tables[0],
      misses: lane(blocks.misses),
      words: lane(blocks.words),
      portWords: lane(blocks.portWords),
      templates: bytesOf(blocks.templates.entries),
      loads: bytesOf(blocks.loads),
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
    this.load = new LoadView({ load: blocks.loads, destinationState: blocks.destinationState }, 0)
    this.#state = new SchedulerState(blocks.scheduler, 0)
    this.#services = new BoundServices(this.#state)
    this.schedule = new ScheduleBatch({
      misses: new MissBatch(blocks.misses.buffer as SharedArrayBuffer, blocks.misses.byteOffset),
      load: this.load,
      services: this.#services,
      templates: new TemplateTable(blocks.templates, this.load, 0),
    })
  }

  /** Makes `config` what the worker works with. */
  adopt(config: Config): void {
    const block = writeSnapshot(config, ++this.#generation, {
      localPortFirst: 1025,
      localPortLast: 65535,
      announces: [],
    })
    const view = new SnapshotView(block, this.#view)
    reconcileSchedulers(this.#view, view, this.#state)
    this.core.adopt(block)
    this.#services.adopt(view)
    this.load.adopt(view)
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
}

/** The configuration that `commands` make; throws when one is refused. */
export function configOf(commands: readonly Command[]): Config {
  let config = emptyConfig({
    services: LIMITS.SERVICES,
    destinations: LIMITS.DESTINATIONS,
    localAddresses: LIMITS.LOCAL_ADDRESSES,
  })
  for (const command of commands) {
    const result = apply(config, command)
    if (!result.ok) throw result.error
    config = result.value
  }
  return config
}
