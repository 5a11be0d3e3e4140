/**
 * What getsockopt gives for the IPVS options of legacy-options.ts, both directions
 * (net/netfilter/ipvs/ip_vs_ctl.c: do_ip_vs_get_ctl; spec 9.3).
 */
import { LITTLE_ENDIAN, textOf, viewOf } from './attributes.js'
import { accept, refuse } from './errno.js'
import type { WireResult } from './errno.js'
import { DAEMON_STATE } from './ipvs-types.js'
import type {
  WireDaemon,
  WireDestination,
  WireInfo,
  WireServiceId,
  WireTimeouts,
} from './ipvs-types.js'
import { putServiceId } from './legacy-options.js'
import * as struct from './legacy-structs.js'
import { STRUCT_BYTES, concat } from './legacy-structs.js'
import type { ServiceEntry } from './legacy-structs.js'

/** The text of `version` with its NUL: `IP Virtual Server version 1.2.1 (size=4096)`. */
export function packVersion(info: WireInfo): Uint8Array {
  const { version, tableSize } = info
  const numbers = [version >>> 16, (version >>> 8) & 0xff, version & 0xff].join('.')
  return new TextEncoder().encode(`IP Virtual Server version ${numbers} (size=${tableSize})\0`)
}

/** The version's numbers from its text; EINVAL for any other text. */
export function unpackVersion(bytes: Uint8Array): WireResult<WireInfo> {
  const form = /^IP Virtual Server version (\d{1,3})\.(\d{1,3})\.(\d{1,3}) \(size=(\d{1,10})\)$/
  const [, major, minor, patch, size] = form.exec(textOf(bytes))?.map(Number) ?? []
  if (size === undefined) return refuse('EINVAL')
  return accept({ version: major * 0x10000 + minor * 0x100 + patch, tableSize: size })
}

/** What `info` gives: version, table size and how many IPv4 services there are. */
export interface LegacyInfo extends WireInfo {
  readonly services: number
}

/** struct ip_vs_getinfo. */
export function packLegacyInfo(info: LegacyInfo): Uint8Array {
  const bytes = new Uint8Array(STRUCT_BYTES.info)
  const view = viewOf(bytes)
  view.setUint32(0, info.version, LITTLE_ENDIAN)
  view.setUint32(4, info.tableSize, LITTLE_ENDIAN)
  view.setUint32(8, info.services, LITTLE_ENDIAN)
  return bytes
}

/** struct ip_vs_getinfo; EINVAL when it is short. */
export function unpackLegacyInfo(bytes: Uint8Array): WireResult<LegacyInfo> {
  if (bytes.length < STRUCT_BYTES.info) return refuse('EINVAL')
  const view = viewOf(bytes)
  return accept({
    version: view.getUint32(0, LITTLE_ENDIAN),
    tableSize: view.getUint32(4, LITTLE_ENDIAN),
    services: view.getUint32(8, LITTLE_ENDIAN),
  })
}

/**
 * What `services` gives: the asked header and as many entries as there are and have room. It goes
 * to the front of the program's buffer; the rest of that stays as it was, as in the kernel.
 */
export function packServices(room: number, entries: readonly ServiceEntry[]): Uint8Array {
  const header = new Uint8Array(STRUCT_BYTES.servicesHeader)
  viewOf(header).setUint32(0, room, LITTLE_ENDIAN)
  return concat([header, ...entries.slice(0, room).map(struct.writeServiceEntry)])
}

/** The entries of `services`; EINVAL where a part of one is missing. */
export function unpackServices(bytes: Uint8Array): WireResult<ServiceEntry[]> {
  const { servicesHeader, serviceEntry } = STRUCT_BYTES
  return entriesOf(bytes, servicesHeader, serviceEntry, struct.readServiceEntry)
}

/** What `service` gives. */
export function packServiceEntry(entry: ServiceEntry): Uint8Array {
  return struct.writeServiceEntry(entry)
}

/** What `service` gave; EINVAL when it is short. */
export function unpackServiceEntry(bytes: Uint8Array): WireResult<ServiceEntry> {
  if (bytes.length < STRUCT_BYTES.serviceEntry) return refuse('EINVAL')
  return accept(struct.readServiceEntry(bytes))
}

/**
 * What `destinations` gives, as packServices. Destinations that are not IPv4 are left out; they do
 * not use up room.
 */
export function packDestinations(
  service: WireServiceId,
  room: number,
  destinations: readonly WireDestination[],
): Uint8Array {
  const header = new Uint8Array(STRUCT_BYTES.destinationsHeader)
  putServiceId(header, service)
  viewOf(header).setUint32(16, room, LITTLE_ENDIAN)
  const listed = destinations.filter(({ address }) => address.family === 4).slice(0, room)
  return concat([header, ...listed.map(struct.writeDestinationEntry)])
}

/** The entries of `destinations`; EINVAL where a part of one is missing. */
export function unpackDestinations(bytes: Uint8Array): WireResult<WireDestination[]> {
  const { destinationsHeader, destinationEntry } = STRUCT_BYTES
  return entriesOf(bytes, destinationsHeader, destinationEntry, struct.readDestinationEntry)
}

/** What `timeouts` gives. */
export function packLegacyTimeouts(timeouts: WireTimeouts): Uint8Array {
  return struct.writeTimeouts(timeouts)
}

/** What `timeouts` gave; EINVAL when it is short. */
export function unpackLegacyTimeouts(bytes: Uint8Array): WireResult<WireTimeouts> {
  if (bytes.length < STRUCT_BYTES.timeouts) return refuse('EINVAL')
  return accept(struct.readTimeouts(bytes))
}

/** What `daemons` gives: the master at index 0, the backup at 1, zeroes for one that is not. */
export function packDaemons(daemons: readonly WireDaemon[]): Uint8Array {
  const slot = (state: number): Uint8Array => {
    const running = daemons.find((daemon) => daemon.state === state)
    return running ? struct.writeDaemonUser(running) : new Uint8Array(STRUCT_BYTES.daemon)
  }
  return concat([slot(DAEMON_STATE.master), slot(DAEMON_STATE.backup)])
}

/** The daemons that run; EINVAL when the structure is short. */
export function unpackDaemons(bytes: Uint8Array): WireResult<WireDaemon[]> {
  if (bytes.length < 2 * STRUCT_BYTES.daemon) return refuse('EINVAL')
  const both = [0, STRUCT_BYTES.daemon].map((at) =>
    struct.readDaemonUser(bytes.subarray(at, at + STRUCT_BYTES.daemon)),
  )
  return accept(both.filter(({ state }) => state !== 0))
}

function entriesOf<T>(
  bytes: Uint8Array,
  header: number,
  size: number,
  read: (entry: Uint8Array) => T,
): WireResult<T[]> {
  const count = (bytes.length - header) / size
  if (!Number.isInteger(count) || count < 0) return refuse('EINVAL')
  return accept(
    Array.from({ length: count }, (_, i) => {
      const at = header + i * size
      return read(bytes.subarray(at, at + size))
    }),
  )
}
