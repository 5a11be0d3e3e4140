/**
 * What the control API shows. 64-bit counters are decimal strings (JSON numbers end at 2^53); rates
 * and loads are numbers.
 */
import type { ProxyProtocol } from '../model/fullnat.js'
import type { Method, Tunnel } from '../model/destination.js'
import type { ErrorCode } from '../model/errors.js'
import type { DaemonRole } from '../model/sync-daemon.js'
import type { Family } from '../model/address.js'
import type { Protocol } from '../model/service.js'

/** Counters since the last zeroing, as of the last estimator run (spec 7.3). */
export interface StatsView {
  readonly connections: string
  readonly inPackets: string
  readonly outPackets: string
  readonly inBytes: string
  readonly outBytes: string
}

/** Per second. */
export interface RatesView {
  readonly connections: number
  readonly inPackets: number
  readonly outPackets: number
  readonly inBytes: number
  readonly outBytes: number
}

export interface DestinationView {
  readonly address: string
  readonly port: number
  readonly method: Method
  readonly weight: number
  readonly upperThreshold: number
  readonly lowerThreshold: number
  readonly tunnel: Tunnel
  readonly active: number
  readonly inactive: number
  readonly persistent: number
  readonly stats: StatsView
  readonly rates: RatesView
}

export interface ServiceView {
  readonly protocol: Protocol
  readonly address: string
  readonly port: number
  readonly fwmark: number
  readonly scheduler: string
  readonly flags: number
  readonly persistentSec: number
  readonly netmask: number
  readonly engine: string
  readonly localAddresses: readonly string[]
  /** Absent: off. */
  readonly proxyProtocol?: ProxyProtocol
  readonly stats: StatsView
  readonly rates: RatesView
  readonly destinations: readonly DestinationView[]
}

export interface EndpointView {
  readonly address: string
  readonly port: number
}

/** A connection or a template; a mark template shows its mark as an IPv4 address (spec 10.7). */
export interface ConnectionView {
  readonly protocol: string
  readonly state: string
  readonly expiresSec: number
  readonly client: EndpointView
  readonly virtual: EndpointView
  readonly destination: EndpointView
  readonly local?: EndpointView
  readonly method: string
  readonly flags: number
  readonly template: boolean
  readonly engine?: string
  readonly engineData?: string
}

export interface WorkerView {
  readonly id: number
  readonly state: string
  readonly generation: number
  readonly heartbeatAgeMs: number
  readonly restarts: number
  readonly connections: number
  /** Longest time between two looks at the ports since the worker started, microseconds. */
  readonly longestGapUs: number
  readonly garbageCollections: number
}

/** Since the start of the daemon; a GSO super-packet is one frame. */
export interface PortView {
  readonly name: string
  readonly rxFrames: string
  readonly txFrames: string
  readonly rxBytes: string
  readonly txBytes: string
}

export interface StatusView {
  readonly version: string
  readonly pid: number
  readonly uptimeSec: number
  readonly io: string
  readonly interfaces: readonly string[]
  readonly generation: number
  readonly ports: readonly PortView[]
  readonly workers: readonly WorkerView[]
  readonly services: number
  readonly destinations: number
  readonly trash: number
  readonly active: number
  readonly inactive: number
  readonly stats: StatsView
  readonly rates: RatesView
  /** Reason name -> packets, reasons that never occurred left out. */
  readonly drops: Readonly<Record<string, string>>
  /** Reason name -> what it means, of those that occurred. */
  readonly reasons: Readonly<Record<string, string>>
}

/** A mark rule as iptables-save prints it, and what it is for. */
export interface MarkRuleView {
  readonly family: Family
  readonly chain: string
  readonly rule: string
}

export interface DaemonView {
  readonly role: DaemonRole
  readonly interface: string
  readonly syncId: number
  readonly maxLength: number
  readonly group: string
  readonly port: number
  readonly ttl: number
}

export interface InfoView {
  /** Buckets of the connection table, the `size=` of listings. */
  readonly tableSize: number
  readonly timeouts: {
    readonly tcpSec: number
    readonly tcpFinSec: number
    readonly udpSec: number
  }
  /** Running halves of the synchronisation daemon, master first. */
  readonly daemons: readonly DaemonView[]
  /** name -> value; sync_threshold is two numbers. */
  readonly sysctls: Readonly<Record<string, number | string | readonly number[]>>
}

/** The answer to one command of a batch. */
export type Outcome =
  { readonly ok: true } | { readonly ok: false; readonly code: ErrorCode; readonly message: string }
