/**
 * The structures of the IPVS socket options, IPv4 only (include/uapi/linux/ip_vs.h, LP64; spec
 * 9.3). Every field is at a fixed offset in the machine's byte order, addresses, masks and ports in
 * network order; padding is zero. Read functions take exactly the structure's bytes.
 */
import { ipv4FromNumber, ipv4ToNumber } from '../model/address.js'
import { LITTLE_ENDIAN, textOf, viewOf } from './attributes.js'
import { FORWARD } from './ipvs-types.js'
import type {
  WireDaemon,
  WireDestination,
  WireDestinationId,
  WireDestinationOptions,
  WireService,
  WireServiceId,
  WireServiceOptions,
  WireStats,
  WireTimeouts,
} from './ipvs-types.js'
import { WIDE_STATS, statsOf, type StatsField } from './wire-values.js'

/** Bytes of each structure. */
export const STRUCT_BYTES = {
  serviceUser: 44,
  destinationUser: 24,
  serviceEntry: 104,
  destinationEntry: 96,
  servicesHeader: 8,
  destinationsHeader: 24,
  timeouts: 12,
  daemon: 24,
  info: 12,
} as const

/** IP_VS_SCHEDNAME_MAXLEN and IP_VS_IFNAME_MAXLEN, NUL included. */
const NAME_BYTES = 16
const METHOD_MASK = 0x7
/** IP_VS_CONN_F_NOOUTPUT and IP_VS_CONN_F_INACTIVE: in every listed destination's conn_flags. */
const NO_OUTPUT = 0x80
const INACTIVE = 0x100

const encoder = new TextEncoder()

/** `name` cut to what fits before the NUL, as strscpy does. */
function putName(bytes: Uint8Array, at: number, name: string): void {
  bytes.set(encoder.encode(name).subarray(0, NAME_BYTES - 1), at)
}

/** struct ip_vs_service_user. The flags replace the service's whole. */
export function readServiceUser(bytes: Uint8Array): WireServiceId & WireServiceOptions {
  const view = viewOf(bytes)
  return {
    family: 4,
    protocol: view.getUint16(0, LITTLE_ENDIAN),
    address: ipv4FromNumber(view.getUint32(4)),
    port: view.getUint16(8),
    fwmark: view.getUint32(12, LITTLE_ENDIAN),
    scheduler: textOf(bytes.subarray(16, 16 + NAME_BYTES)),
    flags: view.getUint32(32, LITTLE_ENDIAN),
    flagsMask: 0xffffffff,
    timeoutSec: view.getUint32(36, LITTLE_ENDIAN),
    netmask: view.getUint32(40),
    engine: '',
  }
}

/** True where the scheduler's 16 bytes of a service_user or service_entry hold a NUL. */
export function isSchedulerTerminated(bytes: Uint8Array): boolean {
  return bytes.subarray(16, 16 + NAME_BYTES).includes(0)
}

/** struct ip_vs_service_user. */
export function writeServiceUser(service: WireServiceId & WireServiceOptions): Uint8Array {
  const bytes = new Uint8Array(STRUCT_BYTES.serviceUser)
  const view = viewOf(bytes)
  view.setUint16(0, service.protocol, LITTLE_ENDIAN)
  view.setUint32(4, ipv4ToNumber(service.address))
  view.setUint16(8, service.port)
  view.setUint32(12, service.fwmark, LITTLE_ENDIAN)
  putName(bytes, 16, service.scheduler)
  view.setUint32(32, service.flags, LITTLE_ENDIAN)
  view.setUint32(36, service.timeoutSec, LITTLE_ENDIAN)
  view.setUint32(40, service.netmask)
  return bytes
}

/** struct ip_vs_dest_user; of conn_flags the method counts. */
export function readDestinationUser(bytes: Uint8Array): WireDestinationId & WireDestinationOptions {
  const view = viewOf(bytes)
  return {
    address: ipv4FromNumber(view.getUint32(0)),
    port: view.getUint16(4),
    method: view.getUint32(8, LITTLE_ENDIAN) & METHOD_MASK,
    weight: view.getInt32(12, LITTLE_ENDIAN),
    upperThreshold: view.getUint32(16, LITTLE_ENDIAN),
    lowerThreshold: view.getUint32(20, LITTLE_ENDIAN),
    tunnelType: 0,
    tunnelPort: 0,
    tunnelFlags: 0,
  }
}

/** struct ip_vs_dest_user. Tunnel attributes have no place in it. */
export function writeDestinationUser(
  destination: WireDestinationId & WireDestinationOptions,
): Uint8Array {
  const bytes = new Uint8Array(STRUCT_BYTES.destinationUser)
  const view = viewOf(bytes)
  view.setUint32(0, ipv4ToNumber(destination.address))
  view.setUint16(4, destination.port)
  view.setUint32(8, destination.method & METHOD_MASK, LITTLE_ENDIAN)
  view.setInt32(12, destination.weight, LITTLE_ENDIAN)
  view.setUint32(16, destination.upperThreshold, LITTLE_ENDIAN)
  view.setUint32(20, destination.lowerThreshold, LITTLE_ENDIAN)
  return bytes
}

/** A listed service and how many destinations it has, also those a listing leaves out. */
export interface ServiceEntry {
  readonly service: WireService
  readonly destinations: number
}

/** struct ip_vs_service_entry. */
export function writeServiceEntry({ service, destinations }: ServiceEntry): Uint8Array {
  const bytes = new Uint8Array(STRUCT_BYTES.serviceEntry)
  bytes.set(writeServiceUser(service))
  viewOf(bytes).setUint32(44, destinations, LITTLE_ENDIAN)
  putStats(bytes.subarray(48), service.stats)
  return bytes
}

/** struct ip_vs_service_entry. */
export function readServiceEntry(bytes: Uint8Array): ServiceEntry {
  const service = { ...readServiceUser(bytes), stats: readStats(bytes.subarray(48)) }
  return { service, destinations: viewOf(bytes).getUint32(44, LITTLE_ENDIAN) }
}

/** struct ip_vs_dest_entry, with the flags a kernel shows beside the method (spec 1.4). */
export function writeDestinationEntry(destination: WireDestination): Uint8Array {
  const bytes = new Uint8Array(STRUCT_BYTES.destinationEntry)
  bytes.set(writeDestinationUser(destination))
  const view = viewOf(bytes)
  const method = destination.method & METHOD_MASK
  const shown = method | INACTIVE | (method === FORWARD.masquerade ? 0 : NO_OUTPUT)
  view.setUint32(8, shown, LITTLE_ENDIAN)
  view.setUint32(24, destination.active, LITTLE_ENDIAN)
  view.setUint32(28, destination.inactive, LITTLE_ENDIAN)
  view.setUint32(32, destination.persistent, LITTLE_ENDIAN)
  putStats(bytes.subarray(40), destination.stats)
  return bytes
}

/** struct ip_vs_dest_entry. */
export function readDestinationEntry(bytes: Uint8Array): WireDestination {
  const view = viewOf(bytes)
  return {
    ...readDestinationUser(bytes),
    active: view.getUint32(24, LITTLE_ENDIAN),
    inactive: view.getUint32(28, LITTLE_ENDIAN),
    persistent: view.getUint32(32, LITTLE_ENDIAN),
    stats: readStats(bytes.subarray(40)),
  }
}

/** struct ip_vs_stats_user: the byte counters have 64 bits, the rest is cut to 32. */
const STATS_OFFSET: Readonly<Record<StatsField, number>> = {
  connections: 0,
  inPackets: 4,
  outPackets: 8,
  inBytes: 16,
  outBytes: 24,
  connectionRate: 32,
  inPacketRate: 36,
  outPacketRate: 40,
  inByteRate: 44,
  outByteRate: 48,
}
const STATS_FIELDS = Object.keys(STATS_OFFSET) as StatsField[]

function putStats(bytes: Uint8Array, stats: WireStats): void {
  const view = viewOf(bytes)
  for (const field of STATS_FIELDS) {
    const at = STATS_OFFSET[field]
    if (WIDE_STATS.has(field)) view.setBigUint64(at, stats[field], LITTLE_ENDIAN)
    else view.setUint32(at, Number(BigInt.asUintN(32, stats[field])), LITTLE_ENDIAN)
  }
}

function readStats(bytes: Uint8Array): WireStats {
  const view = viewOf(bytes)
  const counter = (field: StatsField): bigint => {
    const at = STATS_OFFSET[field]
    if (WIDE_STATS.has(field)) return view.getBigUint64(at, LITTLE_ENDIAN)
    return BigInt(view.getUint32(at, LITTLE_ENDIAN))
  }
  return statsOf(counter)
}

/** struct ip_vs_timeout_user. */
export function writeTimeouts(timeouts: WireTimeouts): Uint8Array {
  const bytes = new Uint8Array(STRUCT_BYTES.timeouts)
  const view = viewOf(bytes)
  view.setUint32(0, timeouts.tcpSec, LITTLE_ENDIAN)
  view.setUint32(4, timeouts.tcpFinSec, LITTLE_ENDIAN)
  view.setUint32(8, timeouts.udpSec, LITTLE_ENDIAN)
  return bytes
}

/** struct ip_vs_timeout_user; a negative number comes out above 2147483647. */
export function readTimeouts(bytes: Uint8Array): WireTimeouts {
  const view = viewOf(bytes)
  return {
    tcpSec: view.getUint32(0, LITTLE_ENDIAN),
    tcpFinSec: view.getUint32(4, LITTLE_ENDIAN),
    udpSec: view.getUint32(8, LITTLE_ENDIAN),
  }
}

/** struct ip_vs_daemon_user: state, interface and syncid; the rest has no place in it. */
export function writeDaemonUser(daemon: WireDaemon): Uint8Array {
  const bytes = new Uint8Array(STRUCT_BYTES.daemon)
  const view = viewOf(bytes)
  view.setUint32(0, daemon.state, LITTLE_ENDIAN)
  putName(bytes, 4, daemon.interface)
  view.setUint32(20, daemon.syncId, LITTLE_ENDIAN)
  return bytes
}

/** struct ip_vs_daemon_user. An interface without NUL is read whole. */
export function readDaemonUser(bytes: Uint8Array): WireDaemon {
  const view = viewOf(bytes)
  return {
    state: view.getUint32(0, LITTLE_ENDIAN),
    interface: textOf(bytes.subarray(4, 4 + NAME_BYTES)),
    syncId: view.getUint32(20, LITTLE_ENDIAN),
    maxLength: 0,
    group: undefined,
    port: 0,
    ttl: 0,
  }
}

/** True where the interface's 16 bytes hold a NUL and do not begin with it. */
export function hasInterface(bytes: Uint8Array): boolean {
  return bytes.subarray(4, 4 + NAME_BYTES).indexOf(0) > 0
}

/** One after the other. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}
