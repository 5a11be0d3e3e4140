/**
 * The data plane behind control's interface (dataplane-port.ts): configuration becomes snapshots
 * and classifier entries, shared memory becomes loads, counters and rows.
 *
 * Order of a change. Workers learn it first, then the classifier: traffic of a new service is taken
 * from the host only when somebody is there to forward it; a service that goes is forgotten by the
 * classifier as soon as the workers have let go of it, and the host has its traffic back.
 */
import { randomBytes } from 'node:crypto'
import { type MaglevTables, NO_TABLES, ownersOf } from '../scheduler/maglev-tables.js'
import { collectAddressTables, reconcileSchedulers } from '../scheduler/reconcile.js'
import { DropTemplates } from '../scheduler/persistence/drop-templates.js'
import { TemplateTable, type TemplateRow } from '../scheduler/persistence/templates.js'
import { SchedulerState } from '../scheduler/shared-state.js'
import { decodeConnections, type ConnectionRecord } from '../dataplane/connections.js'
import { CounterBlocks } from '../dataplane/counters.js'
import { LIMITS, TEMPLATE_STATE } from '../dataplane/layout.js'
import { LoadView } from '../dataplane/load-view.js'
import { MaglevPool } from '../dataplane/maglev-pool.js'
import { markEndRecords } from '../dataplane/mark-writer.js'
import { allocateBlocks } from '../dataplane/memory.js'
import {
  addressInUse,
  openPorts,
  snapshotFault,
  type BorrowedPort,
  type NativePortSet,
} from '../dataplane/native.js'
import { SnapshotView } from '../dataplane/snapshot-view.js'
import { writeSnapshot } from '../dataplane/snapshot-writer.js'
import { Supervisor } from '../dataplane/supervisor.js'
import type {
  ConnectionRow,
  DataplaneOptions,
  DataplanePort,
  Defences,
  Endpoint,
  RowFilter,
  RunningDataplane,
} from './dataplane-port.js'
import { HostSide } from './host/host-side.js'
import { readInterfaces } from './host/read-interfaces.js'
import { availablePages } from './host/memory.js'
import { addressFromMapped, mappedBytes } from './model/address.js'
import { maglevSlots, maglevTurnBits } from './model/maglev-size.js'
import { idleSentences, refusalOf } from './model/carried.js'
import type { Config } from './model/config.js'
import { ControlError } from './model/errors.js'
import { publishOrRestore, type PublicationSteps } from './publication.js'
import { matchesFilter } from './row-filter.js'

/** Most connections of one worker; about 94 bytes each, touched only when used. */
export const CONNECTIONS_MAX = 1 << 20
const RING_FRAMES = 4096
const SWEEP_MS = 1_000
const COLLECT_MS = 60_000
const WATCH_MS = 1_000

/**
 * Opens ports, starts workers, quiets the host. Rejects with a coded error and nothing left.
 * `onLost` is told once, in a sentence, that an interface is gone: nothing short of a new start
 * forwards on it again.
 */
export async function startDataplane(
  options: DataplaneOptions,
  onLost: (message: string) => void,
): Promise<RunningDataplane> {
  const host = await HostSide.prepare(options)
  const ports = openPorts({
    io: options.io,
    interfaces: options.interfaces,
    workers: options.workers,
    ringFrames: RING_FRAMES,
    tunName: options.tunName,
  })
  const dataplane = new Dataplane(options, ports, host)
  try {
    await dataplane.start(onLost)
    return dataplane
  } catch (error) {
    // Why it did not start matters more than what could not be taken back.
    await dataplane.stop().catch((second: unknown) => options.log.error(String(second)))
    throw error
  }
}

/** A configuration as workers adopt it; nothing of it is in force yet. */
interface Prepared {
  readonly block: Uint8Array
  readonly view: SnapshotView
  readonly tables: MaglevTables
}

class Dataplane implements DataplanePort {
  readonly defences: Defences
  readonly #options: DataplaneOptions
  readonly #ports: NativePortSet
  readonly #host: HostSide
  readonly #supervisor: Supervisor
  readonly #counters: CounterBlocks
  readonly #scheduler: SchedulerState
  readonly #load: LoadView
  readonly #templates: TemplateTable
  readonly #maglev = new MaglevPool((message) => this.#options.log.error(message))
  readonly #steps: PublicationSteps<Prepared> = {
    prepare: (config) => this.#prepare(config),
    adopt: (prepared) => {
      this.#reconcile(prepared)
      return this.#supervisor.publish(prepared.block, ownersOf(prepared.tables))
    },
    takeOver: (config) => this.#takeOver(config),
    forget: (withdrawn, kept) => this.#forget(withdrawn, kept),
    warn: (message) => this.#options.log.warn(message),
  }
  /** The one in force; a change that fails goes back to it. */
  #config: Config
  #generation = 0
  /** Cookies are good for every worker and outlive each of them. */
  readonly #cookieSecret = randomBytes(36)
  #view: SnapshotView | undefined
  #tables: MaglevTables = NO_TABLES
  #timers: NodeJS.Timeout[] = []

  constructor(options: DataplaneOptions, ports: NativePortSet, host: HostSide) {
    this.#options = options
    this.#config = options.config
    this.#ports = ports
    this.#host = host
    const blocks = allocateBlocks(options.workers, CONNECTIONS_MAX)
    host.askAbout({
      nameAddress: (address) =>
        blocks.tables.some((table) => addressInUse(table, CONNECTIONS_MAX, mappedBytes(address))),
      nameSlot: (slot) => this.#isUsed(slot),
    })
    const descriptors = ports.descriptors()
    this.#supervisor = new Supervisor({
      blocks,
      ports: descriptors.map((fds) => describePorts(options, fds, ports.ifindexes())),
      hostPort: descriptors[0].length - 1,
      bells: ports.bells().map((fd, worker) => ({ fd, ring: () => ports.ring(worker) })),
      handovers: ports.handovers(),
      log: (level, message) => options.log[level](message),
    })
    this.#counters = new CounterBlocks(blocks)
    const lane = options.workers
    this.#scheduler = new SchedulerState(blocks.scheduler, lane)
    this.#load = new LoadView(
      { load: blocks.loads, destinationState: blocks.destinationState },
      lane,
    )
    this.#templates = new TemplateTable(blocks.templates, this.#load, lane)
    const dropTemplates = new DropTemplates(this.#templates, Math.random)
    this.defences = {
      availablePages,
      dropPackets: (rate, restarts) => this.#supervisor.dropPackets(rate, restarts),
      dropTemplates: () => {
        if (this.#view !== undefined) dropTemplates.run(this.#view, nowSec())
      },
    }
  }

  async start(onLost: (message: string) => void): Promise<void> {
    const { config } = this.#options
    const prepared = await this.#prepare(config)
    this.#reconcile(prepared)
    await this.#supervisor.start(prepared.block, ownersOf(prepared.tables))
    await this.#takeOver(config)
    this.#ports.attachQuiet()
    this.#timers = [
      setInterval(() => this.#templates.sweep(nowSec()), SWEEP_MS),
      setInterval(() => {
        if (this.#view) collectAddressTables(this.#view, this.#scheduler, nowSec())
      }, COLLECT_MS),
      this.#watchPorts(onLost),
    ]
    for (const timer of this.#timers) timer.unref()
  }

  /** Every step is tried; rejects at the end with what failed. */
  async stop(): Promise<void> {
    this.#timers.forEach(clearInterval)
    const steps = [
      () => this.#ports.detachQuiet(),
      () => this.#supervisor.stop(),
      () => this.#maglev.close(),
      () => this.#ports.close(),
      () => this.#host.remove(),
    ]
    const failures: unknown[] = []
    for (const step of steps) {
      try {
        await step()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join('; '))
  }

  /** Without its device a port is silent for ever, also when one of the same name comes back. */
  #watchPorts(onLost: (message: string) => void): NodeJS.Timeout {
    const { ports } = this.info()
    const watch = setInterval(() => {
      const indexes = this.#ports.ifindexes()
      const gone = ports.filter((_, port) => indexes[port] === 0)
      if (gone.length === 0) return
      clearInterval(watch)
      const what = `interface ${gone.join(', ')} is gone (deleted, renamed or moved)`
      onLost(`${what}: nothing is forwarded there until uvs is started again`)
    }, WATCH_MS)
    return watch
  }

  async publish(config: Config): Promise<void> {
    await publishOrRestore(this.#steps, this.#config, config)
    this.#config = config
  }

  loads(): ReturnType<DataplanePort['loads']> {
    return { destination: (slot) => this.#counters.load(slot) }
  }

  counters(): CounterBlocks {
    return this.#counters
  }

  async connections(
    filter: RowFilter,
    onBatch: (rows: readonly ConnectionRow[]) => void | Promise<void>,
  ): Promise<void> {
    await this.#supervisor.list((rows) => {
      const batch = decodeConnections(rows).map(connectionRow)
      return onBatch(batch.filter((row) => matchesFilter(row, filter)))
    })
  }

  templates(): Promise<readonly ConnectionRow[]> {
    const rows: ConnectionRow[] = []
    this.#templates.read((row) => rows.push(this.#templateRow(row)))
    return Promise.resolve(rows)
  }

  async expire(destinationSlot: number | 'all'): Promise<number> {
    const slot = destinationSlot === 'all' ? -1 : destinationSlot
    const ended = await this.#supervisor.expire(slot)
    if (this.#view) this.#templates.sweepGone(this.#view)
    return ended
  }

  workers(): ReturnType<DataplanePort['workers']> {
    return this.#supervisor.status()
  }

  slotsInUse(): Promise<ReadonlySet<number>> {
    const used = new Set<number>()
    for (let slot = 0; slot < LIMITS.DESTINATIONS; slot++) if (this.#isUsed(slot)) used.add(slot)
    return Promise.resolve(used)
  }

  #isUsed(slot: number): boolean {
    const { active, inactive, persistent } = this.#counters.load(slot)
    return active + inactive + persistent !== 0
  }

  lingers(): boolean {
    return this.#host.holdsAddresses(this.#config)
  }

  info(): ReturnType<DataplanePort['info']> {
    const { io, interfaces, workers, tunName } = this.#options
    const ports = io === 'tun' ? [tunName] : [...interfaces, tunName]
    // Shown as `size=`; the kernel's default table has 4096 buckets.
    return { io, interfaces, ports, tableSize: workers * CONNECTIONS_MAX }
  }

  idle(before: Config | undefined, after: Config): readonly string[] {
    return idleSentences(before, after, this.info().ports)
  }

  interfaceMtu(name: string): number | undefined {
    return readInterfaces().find((one) => one.name === name)?.mtu
  }

  restartWorker(worker: number): void {
    this.#supervisor.kill(worker)
  }

  /** The next snapshot, checked, with its tables; nothing but the generation has changed. */
  async #prepare(config: Config): Promise<Prepared> {
    const refused = refusalOf(config, this.#options.io)
    if (refused !== undefined) throw refused
    const facts = await this.#host.facts(config)
    const cookieSecret = this.#cookieSecret
    const portNames = this.info().ports
    const block = writeSnapshot(config, ++this.#generation, { ...facts, portNames, cookieSecret })
    const fault = snapshotFault(block)
    if (fault !== undefined) {
      throw new ControlError('DATAPLANE_FAILED', `the configuration does not fit: ${fault}`)
    }
    const view = new SnapshotView(block, this.#view)
    const shape = {
      slots: maglevSlots(config.maglevIndex),
      turnBits: maglevTurnBits(config.maglevIndex),
    }
    return { block, view, tables: await this.#maglev.tablesFor(view, this.#tables, shape) }
  }

  /** Before any worker can see the snapshot: what schedulers share follows it. */
  #reconcile({ view, tables }: Prepared): void {
    this.#load.adoptForPublish(view)
    reconcileSchedulers(this.#view, view, this.#scheduler)
    this.#view = view
    this.#tables = tables
  }

  /** After the workers know a configuration: the host's part of it. */
  async #takeOver(config: Config): Promise<void> {
    const facts = await this.#host.facts(config)
    this.#ports.setLocalPorts(facts.takenPorts.first, facts.takenPorts.last)
    this.#ports.setFtpDataFirst(facts.ftpDataFirst)
    this.#ports.setEntries(facts.entries)
    this.#ports.setMarked(markEndRecords(config))
    await this.#host.apply(config)
  }

  /**
   * Connections to destinations that only a withdrawn configuration had: their slots are free again
   * and must not be taken by somebody else with these connections on them.
   */
  async #forget(withdrawn: Config, kept: Config): Promise<void> {
    const known = destinationSlots(kept)
    for (const { destination } of kept.trash) known.add(destination.slot)
    for (const slot of destinationSlots(withdrawn)) {
      const { active, inactive, persistent } = this.#counters.load(slot)
      if (!known.has(slot) && active + inactive + persistent !== 0) await this.expire(slot)
    }
  }

  #templateRow(row: TemplateRow): ConnectionRow {
    const destination = this.#view?.destinationAddress(row.destinationSlot)
    const text = Buffer.from(row.text).toString('latin1')
    return {
      protocol: PROTOCOL_NAME[row.protocol] ?? 'ip',
      state: (row.state & TEMPLATE_STATE.ASSURED) !== 0 ? 'ASSURED' : 'NONE',
      expiresSec: Math.max(0, row.expiresSec - nowSec()),
      client: endpoint(row.clientAddress, 0),
      virtual: endpoint(row.virtualAddress, row.virtualPort),
      destination: endpoint(destination ?? new Uint8Array(16), row.destinationPort),
      method: 'template',
      flags: 0x1000,
      ...(text === '' ? {} : { engine: 'sip', engineData: text }),
    }
  }
}

function destinationSlots(config: Config): Set<number> {
  const services = [...config.services.values()]
  return new Set(services.flatMap(({ destinations }) => destinations.map(({ slot }) => slot)))
}

function describePorts(
  { io, interfaces }: DataplaneOptions,
  fds: readonly number[],
  ifindexes: readonly number[],
): BorrowedPort[] {
  return fds.map((fd, i) => ({
    kind: io === 'af_packet' && i < interfaces.length ? 'af_packet' : 'tun',
    fd,
    ifindex: ifindexes[i],
    ringFrames: RING_FRAMES,
  }))
}

/** Seconds of CLOCK_MONOTONIC, as the workers' cores count them. */
function nowSec(): number {
  return Math.floor(Number(process.hrtime.bigint() / 1_000_000_000n))
}

function endpoint(bytes: Uint8Array, port: number): Endpoint {
  return { address: addressFromMapped(bytes).text, port }
}

const PROTOCOL_NAME: Readonly<Record<number, ConnectionRow['protocol']>> = {
  6: 'tcp',
  17: 'udp',
  132: 'sctp',
}

function connectionRow(record: ConnectionRecord): ConnectionRow {
  const row: ConnectionRow = {
    protocol: PROTOCOL_NAME[record.protocol] ?? 'ip',
    state: record.state,
    expiresSec: Math.ceil(record.expiresMs / 1000),
    client: endpoint(record.clientAddress, record.clientPort),
    virtual: endpoint(record.virtualAddress, record.virtualPort),
    destination: endpoint(record.destinationAddress, record.destinationPort),
    method: record.method,
    flags: record.flags,
  }
  if (record.localPort === 0) return row
  return { ...row, local: endpoint(record.localAddress, record.localPort) }
}
