/**
 * The generic netlink controller, which gives families their numbers: the request for one family
 * and the description that answers it (net/netlink/genetlink.c, ctrl_fill_info).
 */
import { AttributeWriter, type Policy, readArray, readAttributes } from './attributes.js'
import { accept, refuse } from './errno.js'
import type { WireResult } from './errno.js'

/** GENL_ID_CTRL: the one family whose number is fixed. */
export const CONTROL_FAMILY = 0x10
export const CONTROL_VERSION = 1
/** The version kernels put into their answers. */
export const CONTROL_REPLY_VERSION = 2
export const CONTROL_COMMAND = { newFamily: 1, getFamily: 3 } as const

/** GENL_ADMIN_PERM and GENL_CMD_CAP_*. */
export const OPERATION_FLAG = { admin: 0x1, do: 0x2, dump: 0x4, policy: 0x8 } as const

const ATTR = {
  familyId: 1,
  familyName: 2,
  version: 3,
  headerSize: 4,
  maxAttribute: 5,
  operations: 6,
} as const
const OPERATION = { id: 1, flags: 2 } as const

/** GENL_NAMSIZ with the NUL. */
const NAME_BYTES = 16

const POLICY: Policy = { [ATTR.familyId]: 'u16', [ATTR.familyName]: { string: NAME_BYTES - 1 } }

const REPLY_POLICY: Policy = {
  ...POLICY,
  [ATTR.version]: 'u32',
  [ATTR.headerSize]: 'u32',
  [ATTR.maxAttribute]: 'u32',
  [ATTR.operations]: 'nested',
}
const OPERATION_POLICY: Policy = { [OPERATION.id]: 'u32', [OPERATION.flags]: 'u32' }

/** Which family is asked for. Where both are given the kernel goes by the name. */
export interface FamilyRequest {
  readonly id?: number
  readonly name?: string
}

export interface FamilyOperation {
  readonly id: number
  /** OPERATION_FLAG bits. */
  readonly flags: number
}

export interface FamilyDescription {
  readonly id: number
  readonly name: string
  readonly version: number
  /** Bytes between generic header and attributes. */
  readonly headerSize: number
  readonly maxAttribute: number
  readonly operations: readonly FamilyOperation[]
}

/** Attributes of CTRL_CMD_GETFAMILY. */
export function packFamilyRequest(request: FamilyRequest): Uint8Array {
  const writer = new AttributeWriter()
  if (request.id !== undefined) writer.u16(ATTR.familyId, request.id)
  if (request.name !== undefined) writer.string(ATTR.familyName, request.name)
  return writer.finish()
}

/** What CTRL_CMD_GETFAMILY asks for; EINVAL when it names no family. */
export function unpackFamilyRequest(attributes: Uint8Array): WireResult<FamilyRequest> {
  const read = readAttributes(attributes, POLICY)
  if (!read.ok) return read
  const id = read.value.u16(ATTR.familyId)
  const name = read.value.string(ATTR.familyName)
  if (id === undefined && name === undefined) return refuse('EINVAL')
  return accept({ ...(id === undefined ? {} : { id }), ...(name === undefined ? {} : { name }) })
}

/** Attributes of CTRL_CMD_NEWFAMILY, in the kernel's order. */
export function packFamily(family: FamilyDescription): Uint8Array {
  const writer = new AttributeWriter()
    .string(ATTR.familyName, family.name)
    .u16(ATTR.familyId, family.id)
    .u32(ATTR.version, family.version)
    .u32(ATTR.headerSize, family.headerSize)
    .u32(ATTR.maxAttribute, family.maxAttribute)
  if (family.operations.length === 0) return writer.finish()
  return writer
    .nested(ATTR.operations, () => {
      family.operations.forEach(({ id, flags }, index) => {
        writer.nested(index + 1, () => writer.u32(OPERATION.id, id).u32(OPERATION.flags, flags))
      })
    })
    .finish()
}

/** The description a kernel sent; EINVAL when it does not say name and number. */
export function unpackFamily(attributes: Uint8Array): WireResult<FamilyDescription> {
  const read = readAttributes(attributes, REPLY_POLICY)
  if (!read.ok) return read
  const id = read.value.u16(ATTR.familyId)
  const name = read.value.string(ATTR.familyName)
  if (id === undefined || name === undefined) return refuse('EINVAL')
  const operations: FamilyOperation[] = []
  for (const payload of readArray(read.value.raw(ATTR.operations) ?? new Uint8Array())) {
    const operation = readAttributes(payload, OPERATION_POLICY)
    if (!operation.ok) return operation
    operations.push({
      id: operation.value.u32(OPERATION.id) ?? 0,
      flags: operation.value.u32(OPERATION.flags) ?? 0,
    })
  }
  return accept({
    id,
    name,
    version: read.value.u32(ATTR.version) ?? 0,
    headerSize: read.value.u32(ATTR.headerSize) ?? 0,
    maxAttribute: read.value.u32(ATTR.maxAttribute) ?? 0,
    operations,
  })
}
