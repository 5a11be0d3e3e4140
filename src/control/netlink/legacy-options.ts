/**
 * The IPVS socket options: what a program sets and gets at level IPPROTO_IP of a raw IPv4 socket
 * (net/netfilter/ipvs/ip_vs_ctl.c: do_ip_vs_set_ctl, do_ip_vs_get_ctl; spec 9.3). Names as in the
 * header file: IP_VS_SO_SET_*, IP_VS_SO_GET_*. legacy-structs.ts has the structures,
 * legacy-answers.ts what the kernel gives.
 */
import { ipv4FromNumber, ipv4ToNumber } from '../model/address.js'
import { PROTOCOL_NUMBER } from '../model/service.js'
import { LITTLE_ENDIAN, viewOf } from './attributes.js'
import { accept, refuse } from './errno.js'
import type { WireResult } from './errno.js'
import type {
  WireDaemon,
  WireDestinationId,
  WireDestinationOptions,
  WireServiceId,
  WireServiceOptions,
  WireTimeouts,
} from './ipvs-types.js'
import * as struct from './legacy-structs.js'
import { STRUCT_BYTES, concat } from './legacy-structs.js'

/** IPPROTO_IP, the level of all options. */
export const OPTION_LEVEL = 0

/** Numbers for setsockopt. 1152, 1153, 1158, 1165 and 1166 exist and do nothing (EINVAL). */
export const SET_OPTION = {
  addService: 1154,
  setService: 1155,
  deleteService: 1156,
  flush: 1157,
  addDestination: 1159,
  deleteDestination: 1160,
  setDestination: 1161,
  setTimeouts: 1162,
  startDaemon: 1163,
  stopDaemon: 1164,
  zero: 1167,
} as const

/** Numbers for getsockopt. */
export const GET_OPTION = {
  version: 1152,
  info: 1153,
  services: 1154,
  service: 1155,
  destinations: 1156,
  timeouts: 1158,
  daemons: 1159,
} as const

/** First and last number of either direction that are IPVS's. */
export const SET_RANGE = { first: 1152, last: 1167 } as const
export const GET_RANGE = { first: 1152, last: 1159 } as const

type FullService = WireServiceId & WireServiceOptions
type FullDestination = WireDestinationId & WireDestinationOptions

/** What a setsockopt asks for. `zero` without a service is for everything. */
export type SetRequest =
  | {
      readonly option: 'addService' | 'setService' | 'deleteService'
      readonly service: FullService
    }
  | { readonly option: 'zero'; readonly service: FullService | undefined }
  | {
      readonly option: 'addDestination' | 'setDestination' | 'deleteDestination'
      readonly service: FullService
      readonly destination: FullDestination
    }
  | { readonly option: 'setTimeouts'; readonly timeouts: WireTimeouts }
  | { readonly option: 'startDaemon' | 'stopDaemon'; readonly daemon: WireDaemon }
  | { readonly option: 'flush' }

type SetName = SetRequest['option']

const SET_BYTES: Readonly<Record<SetName, number>> = {
  addService: STRUCT_BYTES.serviceUser,
  setService: STRUCT_BYTES.serviceUser,
  deleteService: STRUCT_BYTES.serviceUser,
  flush: 0,
  addDestination: STRUCT_BYTES.serviceUser + STRUCT_BYTES.destinationUser,
  deleteDestination: STRUCT_BYTES.serviceUser + STRUCT_BYTES.destinationUser,
  setDestination: STRUCT_BYTES.serviceUser + STRUCT_BYTES.destinationUser,
  setTimeouts: STRUCT_BYTES.timeouts,
  startDaemon: STRUCT_BYTES.daemon,
  stopDaemon: STRUCT_BYTES.daemon,
  zero: STRUCT_BYTES.serviceUser,
}

const SET_NAMES = Object.keys(SET_OPTION) as SetName[]
const PROTOCOLS: readonly number[] = Object.values(PROTOCOL_NUMBER)

/** The argument of a setsockopt; `name` gives its number in SET_OPTION. */
export function packSet(request: SetRequest): Uint8Array {
  switch (request.option) {
    case 'flush':
      return new Uint8Array()
    case 'setTimeouts':
      return struct.writeTimeouts(request.timeouts)
    case 'startDaemon':
    case 'stopDaemon':
      return struct.writeDaemonUser(request.daemon)
    case 'zero':
      return request.service
        ? struct.writeServiceUser(request.service)
        : new Uint8Array(SET_BYTES.zero)
    case 'addService':
    case 'setService':
    case 'deleteService':
      return struct.writeServiceUser(request.service)
    default:
      return concat([
        struct.writeServiceUser(request.service),
        struct.writeDestinationUser(request.destination),
      ])
  }
}

/**
 * What the argument of option `number` asks for, with the refusals that come before the service is
 * looked up: EINVAL for an option that does nothing, another length than the structure's, a
 * scheduler or interface without NUL; EFAULT for a protocol that is not TCP, UDP or SCTP, also
 * beside a mark.
 */
export function unpackSet(number: number, bytes: Uint8Array): WireResult<SetRequest> {
  const option = SET_NAMES.find((name) => SET_OPTION[name] === number)
  if (option === undefined || bytes.length !== SET_BYTES[option]) return refuse('EINVAL')
  switch (option) {
    case 'flush':
      return accept({ option })
    case 'setTimeouts':
      return accept({ option, timeouts: struct.readTimeouts(bytes) })
    case 'startDaemon':
      if (!struct.hasInterface(bytes)) return refuse('EINVAL')
      return accept({ option, daemon: struct.readDaemonUser(bytes) })
    case 'stopDaemon':
      return accept({ option, daemon: struct.readDaemonUser(bytes) })
    default:
      return unpackServiceSet(option, bytes)
  }
}

function unpackServiceSet(
  option: Exclude<SetName, 'flush' | 'setTimeouts' | 'startDaemon' | 'stopDaemon'>,
  bytes: Uint8Array,
): WireResult<SetRequest> {
  const service = struct.readServiceUser(bytes)
  if (option === 'zero' && isUnnamed(service)) return accept({ option, service: undefined })
  const needsScheduler = option === 'addService' || option === 'setService'
  if (needsScheduler && !struct.isSchedulerTerminated(bytes)) return refuse('EINVAL')
  if (!PROTOCOLS.includes(service.protocol)) return refuse('EFAULT')
  switch (option) {
    case 'addDestination':
    case 'setDestination':
    case 'deleteDestination': {
      const rest = bytes.subarray(STRUCT_BYTES.serviceUser)
      return accept({ option, service, destination: struct.readDestinationUser(rest) })
    }
    default:
      return accept({ option, service })
  }
}

/** Names no service: neither mark, address nor port. */
function isUnnamed(service: WireServiceId): boolean {
  return service.fwmark === 0 && service.port === 0 && ipv4ToNumber(service.address) === 0
}

/**
 * What a getsockopt asks for: `room` entries for the lists, which service for the others. The
 * service's address is IPv4.
 */
export type GetRequest =
  | { readonly option: 'version' | 'info' | 'timeouts' | 'daemons' }
  | { readonly option: 'services'; readonly room: number }
  | { readonly option: 'service'; readonly service: WireServiceId }
  | { readonly option: 'destinations'; readonly service: WireServiceId; readonly room: number }

type GetName = GetRequest['option']

const VERSION_BYTES = 64

/** Least bytes of the buffer, which is also what the kernel reads from it. */
const GET_BYTES: Readonly<Record<GetName, number>> = {
  version: VERSION_BYTES,
  info: STRUCT_BYTES.info,
  services: STRUCT_BYTES.servicesHeader,
  service: STRUCT_BYTES.serviceEntry,
  destinations: STRUCT_BYTES.destinationsHeader,
  timeouts: STRUCT_BYTES.timeouts,
  daemons: 2 * STRUCT_BYTES.daemon,
}

const GET_NAMES = Object.keys(GET_OPTION) as GetName[]

/** The buffer to call getsockopt with: the question, and room for the answer. */
export function packGet(request: GetRequest): Uint8Array {
  switch (request.option) {
    case 'services': {
      const { room } = request
      const bytes = new Uint8Array(listBytes('services', room))
      viewOf(bytes).setUint32(0, room, LITTLE_ENDIAN)
      return bytes
    }
    case 'service': {
      const bytes = new Uint8Array(GET_BYTES.service)
      putServiceId(bytes, request.service)
      return bytes
    }
    case 'destinations': {
      const { room } = request
      const bytes = new Uint8Array(listBytes('destinations', room))
      putServiceId(bytes, request.service)
      viewOf(bytes).setUint32(16, room, LITTLE_ENDIAN)
      return bytes
    }
    default:
      return new Uint8Array(GET_BYTES[request.option])
  }
}

/**
 * What a buffer given to option `number` asks for. EINVAL: an unknown option, a buffer that is too
 * short, or for the lists one that is not exactly as long as its number of entries says.
 */
export function unpackGet(number: number, bytes: Uint8Array): WireResult<GetRequest> {
  const option = GET_NAMES.find((name) => GET_OPTION[name] === number)
  if (option === undefined || bytes.length < GET_BYTES[option]) return refuse('EINVAL')
  const view = viewOf(bytes)
  switch (option) {
    case 'services': {
      const room = view.getUint32(0, LITTLE_ENDIAN)
      return bytes.length === listBytes(option, room) ? accept({ option, room }) : refuse('EINVAL')
    }
    case 'service':
      return accept({ option, service: serviceIdOf(view) })
    case 'destinations': {
      const room = view.getUint32(16, LITTLE_ENDIAN)
      if (bytes.length !== listBytes(option, room)) return refuse('EINVAL')
      return accept({ option, service: serviceIdOf(view), room })
    }
    default:
      return accept({ option })
  }
}

function listBytes(list: 'services' | 'destinations', room: number): number {
  return list === 'services'
    ? STRUCT_BYTES.servicesHeader + room * STRUCT_BYTES.serviceEntry
    : STRUCT_BYTES.destinationsHeader + room * STRUCT_BYTES.destinationEntry
}

/** What service_entry and get_dests begin with: protocol, address, port, mark. */
export function putServiceId(bytes: Uint8Array, id: WireServiceId): void {
  const view = viewOf(bytes)
  view.setUint16(0, id.protocol, LITTLE_ENDIAN)
  view.setUint32(4, ipv4ToNumber(id.address))
  view.setUint16(8, id.port)
  view.setUint32(12, id.fwmark, LITTLE_ENDIAN)
}

function serviceIdOf(view: DataView): WireServiceId {
  return {
    family: 4,
    protocol: view.getUint16(0, LITTLE_ENDIAN),
    address: ipv4FromNumber(view.getUint32(4)),
    port: view.getUint16(8),
    fwmark: view.getUint32(12, LITTLE_ENDIAN),
  }
}
