/**
 * The DEST attribute: which destination a command is for, what it shall be, and how a listing shows
 * it (net/netfilter/ipvs/ip_vs_ctl.c: ip_vs_genl_parse_dest, ip_vs_genl_fill_dest; ipvsadm's
 * libipvs.c for the order of a request; spec 9.1).
 */
import type { Family } from '../model/address.js'
import { AttributeWriter, type Attributes, readNested } from './attributes.js'
import { accept, refuse } from './errno.js'
import type { WireResult } from './errno.js'
import {
  ADDRESS_BYTES,
  COMMAND_ATTR,
  DESTINATION_ATTR,
  DESTINATION_POLICY,
} from './ipvs-attributes.js'
import type { WireDestination, WireDestinationId, WireDestinationOptions } from './ipvs-types.js'
import {
  addressBytes,
  addressFromBytes,
  familyFromNumber,
  familyNumber,
  readStats,
  writeStats,
} from './wire-values.js'

/** IP_VS_CONN_F_FWD_MASK. */
const METHOD_MASK = 0x7

/** Writes DEST into a request; the id alone where there are no options. */
export function writeDestination(
  writer: AttributeWriter,
  id: WireDestinationId,
  options?: WireDestinationOptions,
): void {
  writer.flaggedNested(COMMAND_ATTR.destination, () => {
    writer.u16(DESTINATION_ATTR.family, familyNumber(id.address.family))
    writeId(writer, id)
    if (options !== undefined) writeOptions(writer, options)
  })
}

/** The attributes of one message of a listing. */
export function packDestinationReply(destination: WireDestination): Uint8Array {
  const writer = new AttributeWriter()
  return writer
    .nested(COMMAND_ATTR.destination, () => {
      writeId(writer, destination)
      writeOptions(writer, destination)
      writer
        .u32(DESTINATION_ATTR.active, destination.active)
        .u32(DESTINATION_ATTR.inactive, destination.inactive)
        .u32(DESTINATION_ATTR.persistent, destination.persistent)
        .u16(DESTINATION_ATTR.family, familyNumber(destination.address.family))
      writeStats(writer, DESTINATION_ATTR, destination.stats)
    })
    .finish()
}

function writeId(writer: AttributeWriter, id: WireDestinationId): void {
  writer
    .binary(DESTINATION_ATTR.address, addressBytes(id.address))
    .be16(DESTINATION_ATTR.port, id.port)
}

function writeOptions(writer: AttributeWriter, options: WireDestinationOptions): void {
  writer
    .u32(DESTINATION_ATTR.method, options.method & METHOD_MASK)
    .u32(DESTINATION_ATTR.weight, options.weight)
    .u8(DESTINATION_ATTR.tunnelType, options.tunnelType)
    .be16(DESTINATION_ATTR.tunnelPort, options.tunnelPort)
    .u16(DESTINATION_ATTR.tunnelFlags, options.tunnelFlags)
    .u32(DESTINATION_ATTR.upperThreshold, options.upperThreshold)
    .u32(DESTINATION_ATTR.lowerThreshold, options.lowerThreshold)
}

/**
 * Which destination a command is for. `container` is the payload of DEST. EINVAL: it is absent,
 * malformed or incomplete; EAFNOSUPPORT: its family is neither IPv4 nor IPv6. Without a family, or
 * with family 0, it is of the service's.
 */
export function unpackDestinationId(
  container: Uint8Array | undefined,
  serviceFamily: Family,
): WireResult<WireDestinationId> {
  const read = readNested(container, DESTINATION_POLICY)
  return read.ok ? idOf(read.value, serviceFamily) : read
}

/**
 * As unpackDestinationId, with all that a new or edited destination needs. The tunnel attributes
 * may be absent: also an edit then makes it a plain ipip tunnel.
 */
export function unpackDestination(
  container: Uint8Array | undefined,
  serviceFamily: Family,
): WireResult<WireDestinationId & WireDestinationOptions> {
  const read = readNested(container, DESTINATION_POLICY)
  return read.ok ? destinationOf(read.value, serviceFamily) : read
}

/** The DEST of a kernel's answer; EINVAL when it is not a whole destination. */
export function unpackDestinationReply(
  container: Uint8Array | undefined,
  serviceFamily: Family,
): WireResult<WireDestination> {
  const read = readNested(container, DESTINATION_POLICY)
  if (!read.ok) return read
  const destination = destinationOf(read.value, serviceFamily)
  if (!destination.ok) return destination
  const stats = readStats(read.value, DESTINATION_ATTR)
  if (stats === undefined) return refuse('EINVAL')
  return accept({
    ...destination.value,
    active: read.value.u32(DESTINATION_ATTR.active) ?? 0,
    inactive: read.value.u32(DESTINATION_ATTR.inactive) ?? 0,
    persistent: read.value.u32(DESTINATION_ATTR.persistent) ?? 0,
    stats,
  })
}

function idOf(attributes: Attributes, serviceFamily: Family): WireResult<WireDestinationId> {
  const bytes = attributes.binary(DESTINATION_ATTR.address, ADDRESS_BYTES)
  const port = attributes.be16(DESTINATION_ATTR.port)
  if (bytes === undefined || port === undefined) return refuse('EINVAL')
  const number = attributes.u16(DESTINATION_ATTR.family) ?? 0
  const family = number === 0 ? serviceFamily : familyFromNumber(number)
  if (family === undefined) return refuse('EAFNOSUPPORT')
  return accept({ address: addressFromBytes(family, bytes), port })
}

/** What is missing is refused before a family that does not exist. */
function destinationOf(
  attributes: Attributes,
  serviceFamily: Family,
): WireResult<WireDestinationId & WireDestinationOptions> {
  const method = attributes.u32(DESTINATION_ATTR.method)
  const weight = attributes.u32(DESTINATION_ATTR.weight)
  const upperThreshold = attributes.u32(DESTINATION_ATTR.upperThreshold)
  const lowerThreshold = attributes.u32(DESTINATION_ATTR.lowerThreshold)
  if (
    method === undefined ||
    weight === undefined ||
    upperThreshold === undefined ||
    lowerThreshold === undefined
  ) {
    return refuse('EINVAL')
  }
  const id = idOf(attributes, serviceFamily)
  if (!id.ok) return id
  return accept({
    ...id.value,
    method: method & METHOD_MASK,
    weight: weight | 0,
    upperThreshold,
    lowerThreshold,
    tunnelType: attributes.u8(DESTINATION_ATTR.tunnelType) ?? 0,
    tunnelPort: attributes.be16(DESTINATION_ATTR.tunnelPort) ?? 0,
    tunnelFlags: attributes.u16(DESTINATION_ATTR.tunnelFlags) ?? 0,
  })
}
