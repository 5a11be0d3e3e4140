/**
 * The data plane as control sees it: the only way in which the director touches packets, workers
 * and shared memory. Implemented by src/dataplane/supervisor.ts and, for tests, by a fake.
 */
import type { Log } from './log.js'
import type { Carrier } from './model/carried.js'
import type { Config, Timeouts } from './model/config.js'
import type { Destination } from './model/destination.js'
import type { Service } from './model/service.js'

/** Connections of one destination, totals of all lanes. */
export interface DestinationLoad {
  readonly active: number
  readonly inactive: number
  readonly persistent: number
}

/** Traffic since the slot was first used; never goes backwards (spec 7.1). */
export interface TrafficCounters {
  readonly connections: bigint
  readonly inPackets: bigint
  readonly outPackets: bigint
  readonly inBytes: bigint
  readonly outBytes: bigint
}

/** Reads shared memory at the moment of the call. */
export interface LoadReader {
  destination(slot: number): DestinationLoad
}

/** What went through one port; a GSO super-packet is one frame. */
export interface PortCounters {
  readonly rxFrames: bigint
  readonly txFrames: bigint
  readonly rxBytes: bigint
  readonly txBytes: bigint
}

export interface CounterReader {
  service(slot: number): TrafficCounters
  destination(slot: number): TrafficCounters
  total(): TrafficCounters
  /** By its place in `info().ports`. */
  port(index: number): PortCounters
  /** Packets by reason name, all reasons, also those that never occurred. */
  drops(): ReadonlyMap<string, bigint>
}

/** What listings show of one object (spec 7.3). */
export interface TrafficReading {
  /** Since the last zeroing. */
  stats(): TrafficCounters
  /** Per second. */
  rates(): TrafficCounters
}

/** Counters and rates as listings show them. */
export interface TrafficBook {
  readonly total: TrafficReading
  service(service: Service): TrafficReading
  destination(destination: Destination): TrafficReading
  /** Zeroes one service with its destinations, or everything. */
  zero(config: Config, only?: Service): void
}

export interface Endpoint {
  readonly address: string
  readonly port: number
}

/** A connection or a template, as listings show it. A mark template has protocol `ip`. */
export interface ConnectionRow {
  readonly protocol: 'tcp' | 'udp' | 'sctp' | 'ip'
  /** State name of spec 3.6; templates are NONE or ASSURED. */
  readonly state: string
  readonly expiresSec: number
  readonly client: Endpoint
  readonly virtual: Endpoint
  readonly destination: Endpoint
  /** FULLNAT source. */
  readonly local?: Endpoint
  readonly method: string
  readonly flags: number
  readonly engine?: string
  readonly engineData?: string
  /** For data planes that list both kinds in one order; templates() then lists none. */
  readonly template?: boolean
}

/** Addresses are compared as canonical text, with `:port` only where the filter has one. */
export interface RowFilter {
  readonly protocol?: string
  readonly client?: string
  readonly virtual?: string
  readonly destination?: string
  readonly state?: string
}

export interface WorkerStatus {
  readonly id: number
  readonly state: string
  readonly generation: number
  readonly heartbeatAgeMs: number
  readonly restarts: number
  readonly connections: number
  readonly longestGapUs: number
  readonly garbageCollections: number
}

export interface DataplaneInfo {
  readonly io: string
  readonly interfaces: readonly string[]
  /** Every port by name, the one to the host's own stack last. */
  readonly ports: readonly string[]
  /** Buckets of the connection table. */
  readonly tableSize: number
}

/** The means of the load defences; secure_tcp and drop_entry's connections follow the settings. */
export interface Defences {
  /** Free pages and buffer pages of the host. */
  availablePages(): number
  /** One of `rate` new connections is dropped, 0: none; `restarts`: the count starts anew. */
  dropPackets(rate: number, restarts: boolean): void
  /** One second of drop_entry among the templates. */
  dropTemplates(): void
}

export interface DataplanePort {
  /**
   * Resolves when every worker has adopted the configuration and the host follows it. Rejects with
   * an error when it was not taken; then the one before is in force, published again if need be.
   */
  publish(config: Config): Promise<void>
  loads(): LoadReader
  counters(): CounterReader
  /** A book of its own: undefined where the director estimates rates from counters(). */
  traffic?(): TrafficBook
  /** Rows that pass the filter, batch by batch, in table order. */
  connections(
    filter: RowFilter,
    onBatch: (rows: readonly ConnectionRow[]) => void | Promise<void>,
  ): Promise<void>
  /** All persistence templates. */
  templates(): Promise<readonly ConnectionRow[]>
  /** Ends the connections and templates of one destination slot, or all; returns how many. */
  expire(destinationSlot: number | 'all'): Promise<number>
  workers(): readonly WorkerStatus[]
  /** Destination slots that connections or templates still name. */
  slotsInUse(): Promise<ReadonlySet<number>>
  /** Whether it holds on to something of an earlier configuration until a later publication. */
  lingers?(): boolean
  info(): DataplaneInfo
  /** Load defences that the director drives (spec 3.11); undefined: the kernel drives its own. */
  readonly defences?: Defences
  /** A sentence for each thing in `after`, new since `before`, that has no effect here. */
  idle(before: Config | undefined, after: Config): readonly string[]
  /** MTU of an interface of the host by name; undefined: there is none. Throws a ControlError. */
  interfaceMtu(name: string): number | undefined
}

export type IoKind = 'af_packet' | 'tun'

/** What becomes of services in the kernel that are not in the configuration. */
export type ForeignServices = 'leave' | 'remove'

export interface DataplaneOptions {
  readonly carrier: Carrier
  /** With carrier kernel. */
  readonly foreign: ForeignServices
  /** The kernel's, where the first configuration has them because nobody set any. */
  readonly hostTimeouts: Timeouts | undefined
  /** Who forwards when the kernel refuses the first configuration; undefined: nobody. */
  readonly fallback: 'af_packet' | 'tun' | undefined
  readonly io: IoKind
  readonly interfaces: readonly string[]
  readonly workers: number
  /** Name of the device with io tun. */
  readonly tunName: string
  /** Answer ARP and ND for virtual addresses nobody has. */
  readonly announce: boolean
  /** The first configuration; packets are forwarded with it when start resolves. */
  readonly config: Config
  readonly log: Log
}

/** Orderly stop: nothing of it is left on the host. */
export type RunningDataplane = DataplanePort & {
  stop(): Promise<void>
  /** Ends one worker's thread as a crash would; it is replaced. */
  restartWorker(worker: number): void
}

/**
 * Rejects with an Error whose message says what to do when the host does not allow it. `onLost` is
 * called when the data plane cannot go on, with the reason.
 */
export type StartDataplane = (
  options: DataplaneOptions,
  onLost: (reason: string) => void,
) => Promise<RunningDataplane>
