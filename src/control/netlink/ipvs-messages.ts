/**
 * What stands after the generic netlink header of the IPVS commands: one pack function per shape of
 * request and of answer, and what takes them apart (spec 9.1). Requests are what ipvsadm 1.31 with
 * libnl sends, byte for byte; answers are what the kernel sends. The attribute of each object has a
 * file of its own.
 *
 * | command                        | request                    | answer                          |
 * | ------------------------------ | -------------------------- | ------------------------------- |
 * | new, set, delete, getService   | packServiceRequest         | get: packServiceReply           |
 * | new, set, deleteDestination    | packDestinationRequest     |                                 |
 * | getDestination (dump)          | packServiceRequest         | packDestinationReply each       |
 * | newDaemon, deleteDaemon        | packDaemonRequest          |                                 |
 * | getDaemon (dump)               | NO_ATTRIBUTES              | packDaemonReply each            |
 * | setConfig                      | packTimeouts               |                                 |
 * | getConfig, getInfo             | NO_ATTRIBUTES              | packTimeouts, packInfo          |
 * | zero                           | packServiceRequest or none |                                 |
 * | getService (dump), flush       | NO_ATTRIBUTES              | packServiceReply each           |
 */
import { AttributeWriter, readAttributes } from './attributes.js'
import { accept, refuse } from './errno.js'
import type { WireResult } from './errno.js'
import { COMMAND_ATTR, COMMAND_POLICY, INFO_ATTR, INFO_POLICY } from './ipvs-attributes.js'
import { writeDaemon } from './ipvs-daemon.js'
import { writeDestination } from './ipvs-destination.js'
import { writeService } from './ipvs-service.js'
import type {
  WireDaemon,
  WireDestinationId,
  WireDestinationOptions,
  WireInfo,
  WireServiceId,
  WireServiceOptions,
  WireTimeouts,
} from './ipvs-types.js'

export {
  packDaemonReply,
  unpackDaemon,
  unpackDaemonReply,
  unpackDaemonStop,
} from './ipvs-daemon.js'
export {
  packDestinationReply,
  unpackDestination,
  unpackDestinationId,
  unpackDestinationReply,
} from './ipvs-destination.js'
export {
  packServiceReply,
  unpackService,
  unpackServiceId,
  unpackServiceReply,
} from './ipvs-service.js'

export const NO_ATTRIBUTES = new Uint8Array()

/** The payloads at the top of a message; the containers go to the unpack function of the object. */
export interface CommandAttributes {
  readonly service: Uint8Array | undefined
  readonly destination: Uint8Array | undefined
  readonly daemon: Uint8Array | undefined
  /** 0 where absent: in a request both mean "leave as it is" (ip_vs_set_timeout). */
  readonly timeouts: WireTimeouts
}

/**
 * A request for one service. The kernel needs `options` for newService and setService only; ipvsadm
 * always sends some.
 */
export function packServiceRequest(id: WireServiceId, options?: WireServiceOptions): Uint8Array {
  const writer = new AttributeWriter()
  writeService(writer, id, options)
  return writer.finish()
}

/**
 * A request for one destination of `service`. The kernel needs `options` for newDestination and
 * setDestination only, `serviceOptions` never; ipvsadm always sends both.
 */
export function packDestinationRequest(
  service: WireServiceId,
  id: WireDestinationId,
  options?: WireDestinationOptions,
  serviceOptions?: WireServiceOptions,
): Uint8Array {
  const writer = new AttributeWriter()
  writeService(writer, service, serviceOptions)
  writeDestination(writer, id, options)
  return writer.finish()
}

/** A request to start or stop a synchronisation daemon. */
export function packDaemonRequest(daemon: WireDaemon): Uint8Array {
  const writer = new AttributeWriter()
  writeDaemon(writer, daemon)
  return writer.finish()
}

/** The three timeouts, as setConfig sends them and getConfig is answered. */
export function packTimeouts(timeouts: WireTimeouts): Uint8Array {
  return new AttributeWriter()
    .u32(COMMAND_ATTR.timeoutTcp, timeouts.tcpSec)
    .u32(COMMAND_ATTR.timeoutTcpFin, timeouts.tcpFinSec)
    .u32(COMMAND_ATTR.timeoutUdp, timeouts.udpSec)
    .finish()
}

/** The answer to getInfo. */
export function packInfo(info: WireInfo): Uint8Array {
  return new AttributeWriter()
    .u32(INFO_ATTR.version, info.version)
    .u32(INFO_ATTR.tableSize, info.tableSize)
    .finish()
}

/**
 * The attributes of any message but getInfo's answer. ERANGE or EINVAL where one breaks its policy;
 * the kernel then refuses a request before it looks at the command.
 */
export function unpackCommand(attributes: Uint8Array): WireResult<CommandAttributes> {
  const read = readAttributes(attributes, COMMAND_POLICY)
  if (!read.ok) return read
  return accept({
    service: read.value.raw(COMMAND_ATTR.service),
    destination: read.value.raw(COMMAND_ATTR.destination),
    daemon: read.value.raw(COMMAND_ATTR.daemon),
    timeouts: {
      tcpSec: read.value.u32(COMMAND_ATTR.timeoutTcp) ?? 0,
      tcpFinSec: read.value.u32(COMMAND_ATTR.timeoutTcpFin) ?? 0,
      udpSec: read.value.u32(COMMAND_ATTR.timeoutUdp) ?? 0,
    },
  })
}

/** The answer to getInfo; EINVAL when a part is missing. */
export function unpackInfo(attributes: Uint8Array): WireResult<WireInfo> {
  const read = readAttributes(attributes, INFO_POLICY)
  if (!read.ok) return read
  const version = read.value.u32(INFO_ATTR.version)
  const tableSize = read.value.u32(INFO_ATTR.tableSize)
  if (version === undefined || tableSize === undefined) return refuse('EINVAL')
  return accept({ version, tableSize })
}
