/**
 * Netlink attributes (struct nlattr: length u16, type u16, payload, padded to four bytes) as bytes:
 * a writer with a limit, and a reader as tolerant as the kernel's nla_parse_deprecated
 * (lib/nlattr.c), which refuses values that break the policy and passes over what it does not know.
 * Netlink is in the byte order of the machine; fields the kernel calls be16/be32 are not.
 */
import { accept, refuse } from './errno.js'
import type { WireResult } from './errno.js'

/** Byte order of the machine: Node runs on little-endian processors (and s390x, not supported). */
export const LITTLE_ENDIAN = true

const HEADER_BYTES = 4
/** NLA_F_NESTED: the payload is attributes. */
const NESTED_FLAG = 0x8000
/** Without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const TYPE_MASK = 0x3fff
/** An attribute's length is 16 bits wide. */
export const MAX_ATTRIBUTE_BYTES = 0xffff

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** `length` rounded up to four. */
export function align4(length: number): number {
  return (length + 3) & ~3
}

/** A view of exactly these bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Text up to the first NUL, or all of it. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end))
}

/**
 * Writes attributes one after the other. Values wider than their field are truncated, as a C
 * assignment does. More than `limit` bytes is a broken invariant (everything that is packed here
 * has a bounded size but names, and their owner bounds those): RangeError.
 */
export class AttributeWriter {
  private bytes = new Uint8Array(512)
  private view = viewOf(this.bytes)
  private used = 0
  private readonly limit: number

  constructor(limit = MAX_ATTRIBUTE_BYTES) {
    this.limit = limit
  }

  u8(type: number, value: number): this {
    this.view.setUint8(this.start(type, 1), value)
    return this
  }

  u16(type: number, value: number): this {
    this.view.setUint16(this.start(type, 2), value, LITTLE_ENDIAN)
    return this
  }

  u32(type: number, value: number): this {
    this.view.setUint32(this.start(type, 4), value, LITTLE_ENDIAN)
    return this
  }

  u64(type: number, value: bigint): this {
    this.view.setBigUint64(this.start(type, 8), value, LITTLE_ENDIAN)
    return this
  }

  /** Network order. */
  be16(type: number, value: number): this {
    this.view.setUint16(this.start(type, 2), value)
    return this
  }

  /** Network order. */
  be32(type: number, value: number): this {
    this.view.setUint32(this.start(type, 4), value)
    return this
  }

  binary(type: number, value: Uint8Array): this {
    const at = this.start(type, value.length)
    this.bytes.set(value, at)
    return this
  }

  /** With the NUL that ends it. */
  string(type: number, value: string): this {
    const text = encoder.encode(value)
    const at = this.start(type, text.length + 1)
    this.bytes.set(text, at)
    return this
  }

  /** A container without NLA_F_NESTED, as the kernel's IPVS and control family send it. */
  nested(type: number, fill: (inner: this) => void): this {
    const start = this.used
    this.start(type, 0)
    fill(this)
    this.view.setUint16(start, this.used - start, LITTLE_ENDIAN)
    return this
  }

  /** A container with NLA_F_NESTED, as libnl sends it (nla_nest_start). */
  flaggedNested(type: number, fill: (inner: this) => void): this {
    return this.nested(type | NESTED_FLAG, fill)
  }

  /** What was written, in an array of its own. */
  finish(): Uint8Array {
    return this.bytes.slice(0, this.used)
  }

  /** Writes the header, claims the padded payload (already zero) and gives its offset. */
  private start(type: number, length: number): number {
    const at = this.used
    const end = at + HEADER_BYTES + align4(length)
    if (end > this.limit) throw new RangeError(`attributes exceed ${this.limit} bytes`)
    if (end > this.bytes.length) this.grow(end)
    this.view.setUint16(at, HEADER_BYTES + length, LITTLE_ENDIAN)
    this.view.setUint16(at + 2, type, LITTLE_ENDIAN)
    this.used = end
    return at + HEADER_BYTES
  }

  private grow(least: number): void {
    const larger = new Uint8Array(Math.max(least, 2 * this.bytes.length))
    larger.set(this.bytes)
    this.bytes = larger
    this.view = viewOf(larger)
  }
}

/**
 * The kernel's NLA_* types. A fixed width is a minimum: more bytes are tolerated. `string` must end
 * in NUL within `max` + 1 bytes (NLA_NUL_STRING), `binary` has at most `max` bytes and is padded
 * with zeroes by its reader, `bytes` has at least `min`.
 */
export type Rule =
  | 'u8'
  | 'u16'
  | 'u32'
  | 'u64'
  | 'nested'
  | { readonly string: number }
  | { readonly binary: number }
  | { readonly bytes: number }

/** Attribute type -> rule. Types without a rule are passed over. */
export type Policy = Readonly<Record<number, Rule>>

const WIDTH = { u8: 1, u16: 2, u32: 4, u64: 8 } as const

/** Attributes that kept to their policy: a getter gives undefined for what is absent. */
export class Attributes {
  private readonly payloads: ReadonlyMap<number, Uint8Array>

  constructor(payloads: ReadonlyMap<number, Uint8Array>) {
    this.payloads = payloads
  }

  has(type: number): boolean {
    return this.payloads.has(type)
  }

  u8(type: number): number | undefined {
    return this.wide(type, 1)?.getUint8(0)
  }

  u16(type: number): number | undefined {
    return this.wide(type, 2)?.getUint16(0, LITTLE_ENDIAN)
  }

  u32(type: number): number | undefined {
    return this.wide(type, 4)?.getUint32(0, LITTLE_ENDIAN)
  }

  u64(type: number): bigint | undefined {
    return this.wide(type, 8)?.getBigUint64(0, LITTLE_ENDIAN)
  }

  /** Network order. */
  be16(type: number): number | undefined {
    return this.wide(type, 2)?.getUint16(0)
  }

  /** Network order. */
  be32(type: number): number | undefined {
    return this.wide(type, 4)?.getUint32(0)
  }

  string(type: number): string | undefined {
    const payload = this.payloads.get(type)
    return payload && textOf(payload)
  }

  /** Exactly `length` bytes: cut, or filled with zeroes (nla_memcpy). */
  binary(type: number, length: number): Uint8Array | undefined {
    const payload = this.payloads.get(type)
    if (payload === undefined) return undefined
    const bytes = new Uint8Array(length)
    bytes.set(payload.subarray(0, length))
    return bytes
  }

  /** The payload as it came. */
  raw(type: number): Uint8Array | undefined {
    return this.payloads.get(type)
  }

  private wide(type: number, width: number): DataView | undefined {
    const payload = this.payloads.get(type)
    return payload && payload.length >= width ? viewOf(payload) : undefined
  }
}

/**
 * Reads a stream of attributes. The last of equal types counts; a header that does not fit ends the
 * stream and what follows is ignored; flags in the type are ignored. ERANGE or EINVAL where a value
 * breaks its rule, as validate_nla gives them.
 */
export function readAttributes(stream: Uint8Array, policy: Policy): WireResult<Attributes> {
  const view = viewOf(stream)
  const payloads = new Map<number, Uint8Array>()
  for (let at = 0; at + HEADER_BYTES <= stream.length;) {
    const length = view.getUint16(at, LITTLE_ENDIAN)
    if (length < HEADER_BYTES || at + length > stream.length) break
    const type = view.getUint16(at + 2, LITTLE_ENDIAN) & TYPE_MASK
    if (Object.hasOwn(policy, type)) {
      const payload = stream.subarray(at + HEADER_BYTES, at + length)
      const broken = offense(payload, policy[type])
      if (broken !== undefined) return refuse(broken)
      payloads.set(type, payload)
    }
    at += align4(length)
  }
  return accept(new Attributes(payloads))
}

/** A container's payload; EINVAL where it is absent or breaks the policy (ip_vs_ctl.c). */
export function readNested(
  container: Uint8Array | undefined,
  policy: Policy,
): WireResult<Attributes> {
  const read = container && readAttributes(container, policy)
  return read?.ok ? read : refuse('EINVAL')
}

function offense(payload: Uint8Array, rule: Rule): 'EINVAL' | 'ERANGE' | undefined {
  if (rule === 'nested') {
    return payload.length > 0 && payload.length < HEADER_BYTES ? 'ERANGE' : undefined
  }
  if (typeof rule === 'string') return payload.length < WIDTH[rule] ? 'ERANGE' : undefined
  if ('bytes' in rule) return payload.length < rule.bytes ? 'ERANGE' : undefined
  if ('binary' in rule) return payload.length > rule.binary ? 'ERANGE' : undefined
  if (!payload.subarray(0, rule.string + 1).includes(0)) return 'EINVAL'
  const isTerminated = payload[payload.length - 1] === 0
  return payload.length - (isTerminated ? 1 : 0) > rule.string ? 'ERANGE' : undefined
}

/** The payloads of a stream in their order, for arrays whose types are only indices. */
export function readArray(stream: Uint8Array): Uint8Array[] {
  const view = viewOf(stream)
  const payloads: Uint8Array[] = []
  for (let at = 0; at + HEADER_BYTES <= stream.length;) {
    const length = view.getUint16(at, LITTLE_ENDIAN)
    if (length < HEADER_BYTES || at + length > stream.length) break
    payloads.push(stream.subarray(at + HEADER_BYTES, at + length))
    at += align4(length)
  }
  return payloads
}
