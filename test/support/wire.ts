/**
 * The small change of packet building: addresses to bytes and back, the Internet checksum.
 * Slow and obvious on purpose: it is what the fast native code is compared with, and therefore it
 * shares nothing with src/ or native/.
 */
import net from 'node:net'

/** Protocol numbers (IANA) the tests name. */
export const PROTOCOL = {
  hopByHop: 0,
  icmp: 1,
  ipip: 4,
  tcp: 6,
  udp: 17,
  ipv6: 41,
  routing: 43,
  fragment: 44,
  gre: 47,
  icmp6: 58,
  noNext: 59,
  authentication: 51,
  destinationOptions: 60,
  sctp: 132,
} as const

/** Ethernet types (IANA). */
export const ETHER_TYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const

export function concat(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

/** A number as big-endian bytes. */
export function bigEndian(value: number, width: 1 | 2 | 4): Uint8Array {
  const bytes = new Uint8Array(width)
  for (let i = 0; i < width; i++) bytes[i] = (value / 256 ** (width - 1 - i)) & 0xff
  return bytes
}

/** Reads `width` big-endian bytes at `offset`; throws when they are not all there. */
export function readBigEndian(bytes: Uint8Array, offset: number, width: 1 | 2 | 4): number {
  let value = 0
  for (let i = 0; i < width; i++) value = value * 256 + byteAt(bytes, offset + i)
  return value
}

function byteAt(bytes: Uint8Array, offset: number): number {
  const value = bytes[offset]
  if (value === undefined) throw new RangeError(`no byte ${offset} in ${bytes.length}`)
  return value
}

export function macToBytes(mac: string): Uint8Array {
  const parts = mac.split(':').map((part) => Number.parseInt(part, 16))
  if (parts.length !== 6 || parts.some((part) => !(part >= 0 && part <= 255))) {
    throw new TypeError(`not a link address: ${mac}`)
  }
  return Uint8Array.from(parts)
}

export function macToText(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

/** Four or sixteen bytes, by the form of the text. */
export function addressToBytes(text: string): Uint8Array {
  if (net.isIPv4(text)) return Uint8Array.from(text.split('.').map(Number))
  if (!net.isIPv6(text) || text.includes('%')) throw new TypeError(`not an IP address: ${text}`)
  // An embedded IPv4 tail (RFC 4291 section 2.2) becomes two ordinary groups first.
  const plain = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...quad: string[]) => {
    const [a, b, c, d] = quad.slice(0, 4).map(Number) as [number, number, number, number]
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`
  })
  const [head, tail] = plain.split('::') as [string, string | undefined]
  const groups = (part: string): string[] => part.split(':').filter((group) => group !== '')
  const front = groups(head)
  const back = groups(tail ?? '')
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => '0')
  const all = [...front, ...zeros, ...back].map((group) => Number.parseInt(group, 16))
  return concat(...all.map((group) => bigEndian(group, 2)))
}

/** The canonical text (RFC 5952 for IPv6). */
export function addressToText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  const groups = Array.from({ length: 8 }, (_, i) => readBigEndian(bytes, i * 2, 2))
  let best = { start: 0, length: 0 }
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (start + length < 8 && groups[start + length] === 0) length++
    if (length > best.length) best = { start, length }
  }
  const hex = groups.map((group) => group.toString(16))
  if (best.length < 2) return hex.join(':')
  const front = hex.slice(0, best.start).join(':')
  return `${front}::${hex.slice(best.start + best.length).join(':')}`
}

/** Ones' complement sum of 16-bit words, not inverted (RFC 1071); an odd byte is padded with 0. */
export function onesSum(bytes: Uint8Array): number {
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) {
    sum += byteAt(bytes, i) * 256 + (bytes[i + 1] ?? 0)
    sum = (sum & 0xffff) + (sum >>> 16)
  }
  return sum
}

/** The Internet checksum (RFC 1071): 0 over data that carries its own right checksum. */
export function internetChecksum(bytes: Uint8Array): number {
  return ~onesSum(bytes) & 0xffff
}

/** The pseudo header of TCP and UDP (RFC 9293 section 3.1, RFC 8200 section 8.1). */
export function pseudoHeader(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): Uint8Array {
  const tail =
    source.length === 4
      ? concat(Uint8Array.of(0, protocol), bigEndian(length, 2))
      : concat(bigEndian(length, 4), Uint8Array.of(0, 0, 0, protocol))
  return concat(source, destination, tail)
}

/** CRC32c (RFC 9260 appendix B), bit by bit; the checksum of SCTP where its own field is 0. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) !== 0 ? 0x82f63b78 : 0)
  }
  return ~crc >>> 0
}
