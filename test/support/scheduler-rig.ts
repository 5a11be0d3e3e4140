/**
 * One worker's scheduling side without a core: blocks, snapshots, misses, and a stand-in for what
 * the core does to the load after `resolve`. Lane 0 is the worker's, lane 1 main's.
 */
import { LIMITS, MISS_FLAG, offsetOf, RECORDS, VERDICT } from '../../src/dataplane/layout.js'
import { loadBlockWords, LoadView } from '../../src/dataplane/load-view.js'
import { MISS_BLOCK_BYTES, MissBatch } from '../../src/dataplane/miss-batch.js'
import { SnapshotView } from '../../src/dataplane/snapshot-view.js'
import { BoundServices } from '../../src/scheduler/bound-services.js'
import {
  type MaglevTables,
  NO_TABLES,
  ownersOf,
  tablesAtOnce,
} from '../../src/scheduler/maglev-tables.js'
import {
  allocateTemplates,
  type TemplateBlocks,
  type TemplateRow,
  TemplateTable,
} from '../../src/scheduler/persistence/templates.js'
import { type RandomSource, Xoshiro128 } from '../../src/scheduler/random.js'
import { reconcileSchedulers } from '../../src/scheduler/reconcile.js'
import { ScheduleBatch } from '../../src/scheduler/schedule-batch.js'
import {
  allocateSchedulerBlocks,
  type SchedulerBlocks,
  SchedulerState,
} from '../../src/scheduler/shared-state.js'
import { buildSnapshot, type ServiceSpec, type SnapshotSpec } from './snapshot-block.js'

export interface MissSpec {
  /** 16 bytes; see `ip`. */
  client?: Uint8Array
  virtual?: Uint8Array
  clientPort?: number
  virtualPort?: number
  protocol?: number
  family?: 4 | 6
  service?: number
  fwmark?: number
  flags?: number
  packets?: number
  /** What the core found for an engine. */
  text?: string
  /** What the core knows before anybody is asked. */
  verdict?: number
}

/** Dotted quad, or eight groups of hex, as 16 bytes in network order. */
export function ip(text: string): Uint8Array {
  const bytes = new Uint8Array(16)
  if (text.includes('.')) {
    bytes.fill(0xff, 10, 12)
    bytes.set(text.split('.').map(Number), 12)
    return bytes
  }
  const [left, right = ''] = text.split('::')
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => parseInt(group, 16))
  const head = groups(left)
  const tail = groups(right)
  const zeros = new Array<number>(8 - head.length - tail.length).fill(0)
  const all = [...head, ...zeros, ...tail]
  all.forEach((group, i) => bytes.set([group >> 8, group & 0xff], i * 2))
  return bytes
}

/** Writes one miss record. */
export function writeMiss(block: Uint8Array, index: number, spec: MissSpec): void {
  const at = index * RECORDS.miss.bytes
  const data = new DataView(block.buffer, block.byteOffset)
  block.fill(0, at, at + RECORDS.miss.bytes)
  const family = spec.family ?? 4
  const fallback = family === 4 ? '198.18.0.1' : '2001:db8::1'
  block.set(spec.client ?? ip(fallback), at + offsetOf('miss', 'clientAddress'))
  block.set(spec.virtual ?? ip(fallback), at + offsetOf('miss', 'virtualAddress'))
  data.setUint16(at + offsetOf('miss', 'clientPort'), spec.clientPort ?? 40000, true)
  data.setUint16(at + offsetOf('miss', 'virtualPort'), spec.virtualPort ?? 80, true)
  data.setUint32(at + offsetOf('miss', 'serviceSlot'), spec.service ?? 0, true)
  data.setUint8(at + offsetOf('miss', 'protocol'), spec.protocol ?? 6)
  data.setUint8(at + offsetOf('miss', 'family'), family)
  data.setUint16(at + offsetOf('miss', 'flags'), spec.flags ?? MISS_FLAG.TCP_SYN, true)
  data.setUint32(at + offsetOf('miss', 'fwmark'), spec.fwmark ?? 0, true)
  data.setUint32(at + offsetOf('miss', 'packets'), spec.packets ?? 1, true)
  data.setInt32(at + offsetOf('miss', 'verdict'), spec.verdict ?? VERDICT.NONE, true)
}

/** Writes a miss's text as the core does: the rest of the slot keeps what it had. */
function writeText(misses: MissBatch, index: number, text: string): void {
  misses.select(index)
  const slot = new Uint8Array(misses.texts.buffer, misses.texts.byteOffset + misses.textAt * 4)
  slot[0] = text.length
  slot.set(Buffer.from(text, 'latin1'), 1)
  slot.fill(0, 1 + text.length, (text.length + 4) & ~3)
}

/** The shared blocks of a rig; they can be handed to worker threads as they are. */
export interface RigBlocks {
  readonly lanes: number
  readonly load: Int32Array
  readonly destinationState: Int32Array
  readonly schedulerBlocks: SchedulerBlocks
  readonly templateBlocks: TemplateBlocks
}

/** Blocks for `workers` workers and main. */
export function allocateRigBlocks(workers = 1, templateCapacity = 1024): RigBlocks {
  const lanes = workers + 1
  return {
    lanes,
    load: new Int32Array(new SharedArrayBuffer(loadBlockWords(lanes) * 4)),
    destinationState: new Int32Array(new SharedArrayBuffer(LIMITS.DESTINATIONS * 4)),
    schedulerBlocks: allocateSchedulerBlocks(),
    templateBlocks: allocateTemplates(Int32Array.of(1, 2), templateCapacity),
  }
}

export class SchedulerRig {
  readonly blocks: RigBlocks
  readonly missBlock = new Uint8Array(new SharedArrayBuffer(MISS_BLOCK_BYTES))
  readonly misses: MissBatch
  readonly loadView: LoadView
  readonly mainLoad: LoadView
  readonly state: SchedulerState
  readonly services: BoundServices
  readonly templates: TemplateTable
  readonly sweeper: TemplateTable
  readonly batch: ScheduleBatch
  readonly mainState: SchedulerState
  view: SnapshotView | undefined
  /** Those of `view`. */
  tables: MaglevTables = NO_TABLES
  nowSec = 1000
  #generation = 0
  /** The last one of each slot, with its numbers. */
  readonly #published = new Map<number, Required<Pick<ServiceSpec, 'changes'>> & ServiceSpec>()

  /** The worker side uses `lane`, main's side the last lane of the blocks. */
  constructor(
    blocks: RigBlocks = allocateRigBlocks(),
    lane = 0,
    random: RandomSource = new Xoshiro128([1, 2, 3, 4]),
  ) {
    const mainLane = blocks.lanes - 1
    this.blocks = blocks
    this.misses = new MissBatch(this.missBlock.buffer as SharedArrayBuffer)
    this.loadView = new LoadView(blocks, lane)
    this.mainLoad = new LoadView(blocks, mainLane)
    this.state = new SchedulerState(blocks.schedulerBlocks, lane)
    this.mainState = new SchedulerState(blocks.schedulerBlocks, mainLane)
    this.services = new BoundServices(this.state, random)
    this.templates = new TemplateTable(blocks.templateBlocks, this.loadView, lane)
    this.sweeper = new TemplateTable(blocks.templateBlocks, this.mainLoad, mainLane)
    const { misses, loadView: load, services, templates } = this
    this.batch = new ScheduleBatch({ misses, load, services, templates })
  }

  get schedulerBlocks(): SchedulerBlocks {
    return this.blocks.schedulerBlocks
  }

  get templateBlocks(): TemplateBlocks {
    return this.blocks.templateBlocks
  }

  /** Main's part of publishing: thresholds and scheduler state; returns the view to adopt. */
  reconcile(spec: Omit<SnapshotSpec, 'generation'>): SnapshotView {
    const generation = ++this.#generation
    const services = spec.services.map((service) => this.#numbered(service, generation))
    const block = buildSnapshot({ ...spec, services, generation })
    const view = new SnapshotView(block, this.view)
    this.mainLoad.adoptForPublish(view)
    reconcileSchedulers(this.view, view, this.mainState)
    this.view = view
    this.tables = tablesAtOnce(view, this.tables)
    return view
  }

  /**
   * What the model says of a change, unless the service says it itself: `changes` moves when the
   * list is another one, `inserted` when a destination was not in the list before.
   */
  #numbered(service: ServiceSpec, generation: number): ServiceSpec {
    const slot = service.slot ?? 0
    const before = this.#published.get(slot)
    const old = new Map(before?.destinations.map((d) => [d.slot, d.inserted]))
    const destinations = service.destinations.map((d) => ({
      ...d,
      inserted: d.inserted ?? old.get(d.slot) ?? generation,
    }))
    const isSame = JSON.stringify(before?.destinations) === JSON.stringify(destinations)
    const changes = service.changes ?? (isSame && before ? before.changes : generation)
    const numbered = { ...service, destinations, changes }
    this.#published.set(slot, numbered)
    return numbered
  }

  /** The worker's part; `tables` are those of `view`. */
  adopt(view: SnapshotView, tables = this.tables): void {
    this.loadView.adopt(view)
    this.services.adopt(view, ownersOf(tables))
  }

  publish(spec: Omit<SnapshotSpec, 'generation'>): void {
    this.adopt(this.reconcile(spec))
  }

  /** One burst; the core's counting is not imitated. Verdicts in order. */
  burst(specs: readonly MissSpec[]): number[] {
    specs.forEach((spec, i) => {
      writeMiss(this.missBlock, i, spec)
      writeText(this.misses, i, spec.text ?? '')
    })
    this.batch.run(specs.length, this.nowSec)
    return specs.map((_, i) => this.verdict(i))
  }

  verdict(index: number): number {
    this.misses.select(index)
    return this.misses.verdict
  }

  templateRef(index: number): number {
    this.misses.select(index)
    return this.misses.templateRef
  }

  /** `count` bursts of one miss each; every TCP connection made stays active. */
  picks(count: number, spec: MissSpec = {}): number[] {
    return Array.from({ length: count }, () => {
      const [verdict] = this.burst([spec])
      if (verdict >= 0) this.addLoad(verdict, 1, 0)
      return verdict
    })
  }

  addLoad(slot: number, active: number, inactive: number): void {
    const at = (slot * RECORDS.load.bytes) / 4
    this.blocks.load[at] += active
    this.blocks.load[at + 1] += inactive
  }

  setLoad(slot: number, active: number, inactive: number): void {
    const at = (slot * RECORDS.load.bytes) / 4
    this.blocks.load[at] = active
    this.blocks.load[at + 1] = inactive
  }

  overloaded(slot: number): boolean {
    this.loadView.beginBatch(this.nowSec)
    return this.loadView.overloaded(slot)
  }

  /** What the core does when a slave of a template ends. */
  endSlave(ref: number): void {
    const at = (ref - 1) * (RECORDS.template.bytes / 4) + offsetOf('template', 'connections') / 4
    Atomics.sub(this.blocks.templateBlocks.entries, at, 1)
  }

  rows(): TemplateRow[] {
    const rows: TemplateRow[] = []
    this.sweeper.read((row) => rows.push(row))
    return rows
  }
}
