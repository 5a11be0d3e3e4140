/**
 * The SERVICE attribute: which service a command is for, what it shall be, and how a listing shows
 * it (net/netfilter/ipvs/ip_vs_ctl.c: ip_vs_genl_parse_service, ip_vs_genl_fill_service; ipvsadm's
 * libipvs.c for the order of a request; spec 9.1).
 */
import { anyAddress } from '../model/address.js'
import { PROTOCOL_NUMBER } from '../model/service.js'
import {
  AttributeWriter,
  type Attributes,
  LITTLE_ENDIAN,
  readNested,
  viewOf,
} from './attributes.js'
import { accept, refuse } from './errno.js'
import type { WireResult } from './errno.js'
import {
  ADDRESS_BYTES,
  COMMAND_ATTR,
  FLAGS_BYTES,
  SERVICE_ATTR,
  SERVICE_POLICY,
} from './ipvs-attributes.js'
import type { WireService, WireServiceId, WireServiceOptions } from './ipvs-types.js'
import {
  addressBytes,
  addressFromBytes,
  familyFromNumber,
  familyNumber,
  readStats,
  writeStats,
} from './wire-values.js'

const ALL_FLAGS = 0xffffffff

/** Writes SERVICE into a request; the id alone where there are no options. */
export function writeService(
  writer: AttributeWriter,
  id: WireServiceId,
  options?: WireServiceOptions,
): void {
  writer.flaggedNested(COMMAND_ATTR.service, () => {
    writeId(writer, id)
    if (options !== undefined) writeOptions(writer, id, options)
  })
}

/** The attributes of an answer: one service, alone or as a part of a listing. */
export function packServiceReply(service: WireService): Uint8Array {
  const writer = new AttributeWriter()
  return writer
    .nested(COMMAND_ATTR.service, () => {
      writeId(writer, service)
      writeOptions(writer, service, { ...service, flagsMask: ALL_FLAGS })
      writeStats(writer, SERVICE_ATTR, service.stats)
    })
    .finish()
}

function writeId(writer: AttributeWriter, id: WireServiceId): void {
  writer.u16(SERVICE_ATTR.family, familyNumber(id.family))
  if (id.fwmark !== 0) {
    writer.u32(SERVICE_ATTR.fwmark, id.fwmark)
    return
  }
  writer
    .u16(SERVICE_ATTR.protocol, id.protocol)
    .binary(SERVICE_ATTR.address, addressBytes(id.address))
    .be16(SERVICE_ATTR.port, id.port)
}

function writeOptions(
  writer: AttributeWriter,
  id: WireServiceId,
  options: WireServiceOptions,
): void {
  const flags = new Uint8Array(FLAGS_BYTES)
  viewOf(flags).setUint32(0, options.flags, LITTLE_ENDIAN)
  viewOf(flags).setUint32(4, options.flagsMask, LITTLE_ENDIAN)
  writer.string(SERVICE_ATTR.scheduler, options.scheduler)
  if (options.engine !== '') writer.string(SERVICE_ATTR.engine, options.engine)
  writer.binary(SERVICE_ATTR.flags, flags).u32(SERVICE_ATTR.timeout, options.timeoutSec)
  // An IPv4 mask travels in network order, an IPv6 prefix length in host order.
  if (id.family === 4) writer.be32(SERVICE_ATTR.netmask, options.netmask)
  else writer.u32(SERVICE_ATTR.netmask, options.netmask)
}

/**
 * Which service a command is for. `container` is the payload of SERVICE. EINVAL: it is absent,
 * malformed or incomplete; EAFNOSUPPORT: neither IPv4 nor IPv6. A mark hides the address
 * attributes, and mark 0 names the TCP service 0.0.0.0:0.
 */
export function unpackServiceId(container: Uint8Array | undefined): WireResult<WireServiceId> {
  const read = readNested(container, SERVICE_POLICY)
  return read.ok ? idOf(read.value) : read
}

/** As unpackServiceId, with all that a new or edited service needs; EINVAL without a part of it. */
export function unpackService(
  container: Uint8Array | undefined,
): WireResult<WireServiceId & WireServiceOptions> {
  const read = readNested(container, SERVICE_POLICY)
  return read.ok ? serviceOf(read.value) : read
}

/** The SERVICE of a kernel's answer; EINVAL when it is not a whole service. */
export function unpackServiceReply(container: Uint8Array | undefined): WireResult<WireService> {
  const read = readNested(container, SERVICE_POLICY)
  if (!read.ok) return read
  const service = serviceOf(read.value)
  if (!service.ok) return service
  const stats = readStats(read.value, SERVICE_ATTR)
  return stats === undefined ? refuse('EINVAL') : accept({ ...service.value, stats })
}

function idOf(attributes: Attributes): WireResult<WireServiceId> {
  const number = attributes.u16(SERVICE_ATTR.family)
  const fwmark = attributes.u32(SERVICE_ATTR.fwmark)
  const protocol = attributes.u16(SERVICE_ATTR.protocol)
  const bytes = attributes.binary(SERVICE_ATTR.address, ADDRESS_BYTES)
  const port = attributes.be16(SERVICE_ATTR.port)
  const hasEndpoint = protocol !== undefined && bytes !== undefined && port !== undefined
  if (number === undefined || (fwmark === undefined && !hasEndpoint)) return refuse('EINVAL')
  const family = familyFromNumber(number)
  if (family === undefined) return refuse('EAFNOSUPPORT')
  if (fwmark !== undefined || !hasEndpoint) {
    const address = anyAddress(family)
    return accept({ family, protocol: PROTOCOL_NUMBER.tcp, address, port: 0, fwmark: fwmark ?? 0 })
  }
  return accept({ family, protocol, address: addressFromBytes(family, bytes), port, fwmark: 0 })
}

function serviceOf(attributes: Attributes): WireResult<WireServiceId & WireServiceOptions> {
  const id = idOf(attributes)
  if (!id.ok) return id
  const scheduler = attributes.string(SERVICE_ATTR.scheduler)
  const flags = attributes.binary(SERVICE_ATTR.flags, FLAGS_BYTES)
  const timeoutSec = attributes.u32(SERVICE_ATTR.timeout)
  const isIpv4 = id.value.family === 4
  const netmask = isIpv4
    ? attributes.be32(SERVICE_ATTR.netmask)
    : attributes.u32(SERVICE_ATTR.netmask)
  if (
    scheduler === undefined ||
    flags === undefined ||
    timeoutSec === undefined ||
    netmask === undefined
  ) {
    return refuse('EINVAL')
  }
  return accept({
    ...id.value,
    scheduler,
    flags: viewOf(flags).getUint32(0, LITTLE_ENDIAN),
    flagsMask: viewOf(flags).getUint32(4, LITTLE_ENDIAN),
    timeoutSec,
    netmask,
    engine: attributes.string(SERVICE_ATTR.engine) ?? '',
  })
}
