/**
 * IPv4 and IPv6 addresses as one small immutable value, with the text forms of inet_aton, inet_pton
 * and inet_ntop. The only file that knows ip-num.
 */
import { isIPv4, isIPv6 } from 'node:net'
import { IPv4, IPv6 } from 'ip-num'

export type Family = 4 | 6

/** `text` is canonical (inet_ntop), so equal addresses have equal text and family. */
export interface Address {
  readonly family: Family
  readonly text: string
}

const GROUPS = 8

/** The numeric value: 32 bits for IPv4, 128 bits for IPv6. */
export function addressValue(address: Address): bigint {
  return address.family === 4 ? new IPv4(address.text).value : new IPv6(address.text).value
}

/** Network-order bytes, IPv4 as IPv4-mapped IPv6 (RFC 4291 2.5.5.2). Always a fresh array. */
export function mappedBytes(address: Address): Uint8Array {
  const bytes = new Uint8Array(16)
  const value = addressValue(address) | (address.family === 4 ? 0xffffn << 32n : 0n)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, value >> 64n)
  view.setBigUint64(8, BigInt.asUintN(64, value))
  return bytes
}

/** The address in 16 network-order bytes; an IPv4-mapped one is IPv4. */
export function addressFromMapped(bytes: Uint8Array): Address {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16)
  const value = (view.getBigUint64(0) << 64n) | view.getBigUint64(8)
  const isMapped = value >> 32n === 0xffffn
  return addressFromValue(isMapped ? 4 : 6, isMapped ? BigInt.asUintN(32, value) : value)
}

/** The four 32-bit words XORed; for IPv4 the address itself (spec 0.1, `fold`). */
export function foldAddress(address: Address): number {
  let rest = addressValue(address)
  let folded = 0
  for (; rest > 0n; rest >>= 32n) folded ^= Number(BigInt.asUintN(32, rest))
  return folded >>> 0
}

/** IPv4 address from a 32-bit host-order integer. */
export function ipv4FromNumber(value: number): Address {
  return { family: 4, text: new IPv4(BigInt(value >>> 0)).toString() }
}

/** 32-bit host-order integer of an IPv4 address. */
export function ipv4ToNumber(address: Address): number {
  return Number(addressValue(address))
}

/** An address from its 128-bit or 32-bit value. */
export function addressFromValue(family: Family, value: bigint): Address {
  return family === 4
    ? ipv4FromNumber(Number(value))
    : { family: 6, text: formatIpv6(groupsOf(value)) }
}

/** Strict text form of either family (inet_pton); undefined when it is not one. */
export function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return { family: 4, text: new IPv4(text).toString() }
  return parseIpv6(text)
}

/** Strict IPv6 text without zone; undefined when it is not one. */
export function parseIpv6(text: string): Address | undefined {
  if (!isIPv6(text) || text.includes('%')) return undefined
  return { family: 6, text: formatIpv6(groupsOf(new IPv6(embeddedToHex(text)).value)) }
}

/**
 * The forms inet_aton takes: one to four parts, each decimal, octal (0...) or hexadecimal (0x...),
 * the last one filling the remaining bytes; blanks and what follows them are ignored.
 */
export function parseIpv4Aton(text: string): Address | undefined {
  const head = text.split(/\s/, 1)[0]
  const parts = head.split('.')
  if (head === '' || parts.length > 4) return undefined
  const numbers: number[] = []
  for (const part of parts) {
    const value = partValue(part)
    if (value === undefined) return undefined
    numbers.push(value)
  }
  const last = numbers.pop() ?? 0
  if (numbers.some((n) => n > 255) || last >= 2 ** (8 * (4 - numbers.length))) return undefined
  const high = numbers.reduce((sum, n, i) => sum + n * 2 ** (24 - 8 * i), 0)
  return ipv4FromNumber(high + last)
}

function partValue(part: string): number | undefined {
  if (/^0x[0-9a-f]+$/i.test(part)) return Number.parseInt(part.slice(2), 16)
  if (/^0[0-7]*$/.test(part)) return Number.parseInt(part, 8)
  return /^[1-9][0-9]*$/.test(part) ? Number.parseInt(part, 10) : undefined
}

/** The all-zero address of a family. */
export function anyAddress(family: Family): Address {
  return family === 4 ? { family: 4, text: '0.0.0.0' } : { family: 6, text: '::' }
}

/** Equal family and value. */
export function sameAddress(a: Address, b: Address): boolean {
  return a.family === b.family && a.text === b.text
}

/** `a.b.c.d:port` or `[v6]:port`. */
export function formatEndpoint(address: Address, port: number): string {
  return address.family === 4 ? `${address.text}:${port}` : `[${address.text}]:${port}`
}

/**
 * Whether a packet may be sent to this one host: not unspecified, multicast, broadcast or, in IPv6,
 * link-local (kernel: the address check of __ip_vs_add_dest; spec 1.4).
 */
export function isUsableUnicast(address: Address): boolean {
  const value = addressValue(address)
  if (address.family === 4) {
    const first = Number(value >> 24n)
    return first !== 0 && (first < 224 || first > 239) && value !== 0xffffffffn
  }
  return value !== 0n && value >> 120n !== 0xffn && value >> 118n !== 0xfe80n >> 6n
}

/** Addresses from `first` to `last`, at most `limit`; undefined when they do not form a range. */
export function addressRange(first: Address, last: Address, limit: number): Address[] | undefined {
  const from = addressValue(first)
  const count = addressValue(last) - from + 1n
  if (first.family !== last.family || count < 1n || count > BigInt(limit)) return undefined
  return Array.from({ length: Number(count) }, (_, i) =>
    addressFromValue(first.family, from + BigInt(i)),
  )
}

function groupsOf(value: bigint): number[] {
  return Array.from({ length: GROUPS }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn))
}

/** `::ffff:1.2.3.4` with its last 32 bits as two hexadecimal groups. */
function embeddedToHex(text: string): string {
  const at = text.lastIndexOf(':') + 1
  if (!text.includes('.')) return text
  const value = ipv4ToNumber({ family: 4, text: text.slice(at) })
  return `${text.slice(0, at)}${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`
}

/**
 * As glibc's inet_ntop: the first longest run of two or more zero groups becomes `::`; addresses
 * below ::ffff:0:0/96 and ::/96 show their last 32 bits dotted.
 */
function formatIpv6(groups: readonly number[]): string {
  const { start, length } = longestZeroRun(groups)
  if (start === 0 && (length === 6 || (length === 5 && groups[5] === 0xffff))) {
    const dotted = ipv4FromNumber(groups[6] * 0x10000 + groups[7]).text
    return `::${length === 5 ? 'ffff:' : ''}${dotted}`
  }
  const hex = (part: readonly number[]) => part.map((g) => g.toString(16)).join(':')
  if (length < 2) return hex(groups)
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: -1, length: 0 }
  for (let i = 0; i < GROUPS; i++) {
    let end = i
    while (end < GROUPS && groups[end] === 0) end++
    if (end - i > best.length) best = { start: i, length: end - i }
    i = Math.max(i, end - 1)
  }
  return best
}
