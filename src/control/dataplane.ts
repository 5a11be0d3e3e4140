/**
 * The data plane behind control's interface (dataplane-port.ts): configuration becomes snapshots
 * and classifier entries, shared memory becomes loads, counters and rows.
 *
 * Order of a change. Workers learn it first, then the classifier: traffic of a new service is taken
 * from the host only when somebody is there to forward it; a service that goes is forgotten by the
 * classifier as soon as the workers have let go of it, and the host has its traffic back.
 */
import { collectAddressTables, reconcileSchedulers } from '../scheduler/reconcile.js'
import { TemplateTable, type TemplateRow } from '../scheduler/persistence/templates.js'
import { SchedulerState } from '../scheduler/shared-state.js'
import { decodeConnections, type ConnectionRecord } from '../dataplane/connections.js'
import { CounterBlocks } from '../dataplane/counters.js'
import { LIMITS, TEMPLATE_STATE } from '../dataplane/layout.js'
import { LoadView } from '../dataplane/load-view.js'
import { allocateBlocks } from '../dataplane/memory.js'
import {
  cleanPortLeftovers,
  openPorts,
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
  Endpoint,
  RowFilter,
  RunningDataplane,
} from './dataplane-port.js'
import { HostSide } from './host/host-side.js'
import { addressFromMapped } from './model/address.js'
import type { Config } from './model/config.js'
import { ControlError } from './model/errors.js'
import { matchesFilter } from './row-filter.js'

/** Most connections of one worker; about 94 bytes each, touched only when used. */
export const CONNECTIONS_MAX = 1 << 20
const RING_FRAMES = 4096
const SWEEP_MS = 1_000
const COLLECT_MS = 60_000

/** Opens ports, starts workers, quiets the host. Rejects with a coded error and nothing left. */
export async function startDataplane(options: DataplaneOptions): Promise<RunningDataplane> {
  const host = await HostSide.prepare(options)
  cleanPortLeftovers(options.interfaces)
  const ports = openPorts({
    io: options.io,
    interfaces: options.interfaces,
    workers: options.workers,
    ringFrames: RING_FRAMES,
    tunName: options.tunName,
  })
  const dataplane = new Dataplane(options, ports, host)
  try {
    await dataplane.start()
    return dataplane
  } catch (error) {
    await dataplane.stop()
    throw error
  }
}

class Dataplane implements DataplanePort {
  readonly #options: DataplaneOptions
  readonly #ports: NativePortSet
  readonly #host: HostSide
  readonly #supervisor: Supervisor
  readonly #counters: CounterBlocks
  readonly #scheduler: SchedulerState
  readonly #load: LoadView
  readonly #templates: TemplateTable
  #generation = 0
  #view: SnapshotView | undefined
  #timers: NodeJS.Timeout[] = []

  constructor(options: DataplaneOptions, ports: NativePortSet, host: HostSide) {
    this.#options = options
    this.#ports = ports
    this.#host = host
    const blocks = allocateBlocks(options.workers, CONNECTIONS_MAX)
    const descriptors = ports.descriptors()
    this.#supervisor = new Supervisor({
      blocks,
      ports: descriptors.map((fds) => describePorts(options, fds, ports.ifindexes())),
      hostPort: descriptors[0].length - 1,
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
  }

  async start(): Promise<void> {
    const { config } = this.#options
    const snapshot = await this.#prepare(config)
    await this.#supervisor.start(snapshot)
    await this.#takeOver(config)
    this.#ports.attachQuiet()
    this.#timers = [
      setInterval(() => this.#templates.sweep(nowSec()), SWEEP_MS),
      setInterval(() => {
        if (this.#view) collectAddressTables(this.#view, this.#scheduler, nowSec())
      }, COLLECT_MS),
    ]
    for (const timer of this.#timers) timer.unref()
  }

  async stop(): Promise<void> {
    this.#timers.forEach(clearInterval)
    this.#ports.detachQuiet()
    await this.#supervisor.stop()
    this.#ports.close()
    await this.#host.remove()
  }

  async publish(config: Config): Promise<void> {
    await this.#supervisor.publish(await this.#prepare(config))
    await this.#takeOver(config)
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
    const batches: Promise<void>[] = []
    await this.#supervisor.list((rows) => {
      const batch = decodeConnections(rows).map(connectionRow)
      batches.push(Promise.resolve(onBatch(batch.filter((row) => matchesFilter(row, filter)))))
    })
    await Promise.all(batches)
  }

  templates(): Promise<readonly ConnectionRow[]> {
    const rows: ConnectionRow[] = []
    this.#templates.read((row) => rows.push(this.#templateRow(row)))
    return Promise.resolve(rows)
  }

  expire(destinationSlot: number | 'all'): Promise<number> {
    return this.#supervisor.expire(destinationSlot === 'all' ? -1 : destinationSlot)
  }

  workers(): ReturnType<DataplanePort['workers']> {
    return this.#supervisor.status()
  }

  slotsInUse(): Promise<ReadonlySet<number>> {
    const used = new Set<number>()
    for (let slot = 0; slot < LIMITS.DESTINATIONS; slot++) {
      const { active, inactive, persistent } = this.#counters.load(slot)
      if (active + inactive + persistent !== 0) used.add(slot)
    }
    return Promise.resolve(used)
  }

  info(): ReturnType<DataplanePort['info']> {
    const { io, interfaces, workers, tunName } = this.#options
    const ports = io === 'tun' ? [tunName] : [...interfaces, tunName]
    // Shown as `size=`; the kernel's default table has 4096 buckets.
    return { io, interfaces, ports, tableSize: workers * CONNECTIONS_MAX }
  }

  restartWorker(worker: number): void {
    this.#supervisor.kill(worker)
  }

  /** Snapshot of a configuration; scheduler state is brought in line with it first. */
  async #prepare(config: Config): Promise<Uint8Array> {
    refuseUncarried(config, this.#options.io)
    const facts = await this.#host.facts(config)
    const snapshot = writeSnapshot(config, ++this.#generation, facts)
    const view = new SnapshotView(snapshot, this.#view)
    this.#load.adoptForPublish(view)
    reconcileSchedulers(this.#view, view, this.#scheduler)
    this.#view = view
    return snapshot
  }

  /** After the workers know a configuration: the host's part of it. */
  async #takeOver(config: Config): Promise<void> {
    const facts = await this.#host.facts(config)
    this.#ports.setLocalPorts(facts.localPortFirst, facts.localPortLast)
    this.#ports.setEntries(facts.entries)
    await this.#host.apply(config)
  }

  #templateRow(row: TemplateRow): ConnectionRow {
    const destination = this.#view?.destinationAddress(row.destinationSlot)
    return {
      protocol: row.protocol === 0 ? 'ip' : row.protocol === 17 ? 'udp' : 'tcp',
      state: (row.state & TEMPLATE_STATE.ASSURED) !== 0 ? 'ASSURED' : 'NONE',
      expiresSec: Math.max(0, row.expiresSec - nowSec()),
      client: endpoint(row.clientAddress, 0),
      virtual: endpoint(row.virtualAddress, row.virtualPort),
      destination: endpoint(destination ?? new Uint8Array(16), row.destinationPort),
      method: 'template',
      flags: 0x1000,
    }
  }
}

/** Throws for the first thing in a configuration that this data plane cannot carry out. */
function refuseUncarried(config: Config, io: DataplaneOptions['io']): void {
  const refuse = (message: string): never => {
    throw new ControlError('DATAPLANE_FAILED', message)
  }
  for (const { id, destinations } of config.services.values()) {
    if (id.protocol === 'sctp') refuse('SCTP services are not forwarded yet: use TCP or UDP')
    for (const { method, tunnel, address } of destinations) {
      if (method === 'direct' && io === 'tun') {
        refuse(
          `direct routing to ${address.text} needs a link layer: use --io af_packet, or -m or -i`,
        )
      }
      if (method === 'tunnel' && tunnel.type !== 'ipip') {
        refuse(`${tunnel.type} tunnels are not forwarded yet: use --tun-type ipip`)
      }
    }
  }
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
