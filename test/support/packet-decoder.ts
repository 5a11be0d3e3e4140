/**
 * Reads a frame back into the description packet-builder.ts builds from, and says what is wrong
 * with it: the other half of every golden test. Nothing is repaired and nothing is passed over in
 * silence; a decoded packet with no problems, built again, gives the same bytes.
 */
import {
  type Arp,
  type Ethernet,
  type Extension,
  type Icmp,
  type Ip,
  type Sctp,
  TCP_FLAG_LETTERS,
  type Tcp,
  type Udp,
} from './packet-builder.js'
import {
  addressToText,
  concat,
  crc32c,
  ETHER_TYPE,
  internetChecksum,
  macToText,
  onesSum,
  PROTOCOL,
  pseudoHeader,
  readBigEndian,
} from './wire.js'

export interface DecodedPacket {
  ip: Required<Pick<Ip, 'source' | 'destination' | 'ttl' | 'protocol' | 'trafficClass'>> & Ip
  tcp?: Required<Tcp>
  udp?: Required<Udp>
  /** The chunks are in `payload`. */
  sctp?: Required<Omit<Sctp, 'chunks'>>
  icmp?: Required<Icmp>
  inner?: DecodedPacket
  payload: Uint8Array
  /** Wrong lengths and checksums, in words; empty when all is well. */
  problems: string[]
}

export interface DecodedFrame extends Partial<DecodedPacket> {
  ethernet: Ethernet & { type: number }
  arp?: Arp
  payload: Uint8Array
  problems: string[]
}

/** Decodes an Ethernet frame; throws RangeError only when even the headers are not all there. */
export function decodeFrame(bytes: Uint8Array): DecodedFrame {
  const vlans: number[] = []
  let offset = 12
  while (readBigEndian(bytes, offset, 2) === ETHER_TYPE.vlan) {
    vlans.push(readBigEndian(bytes, offset + 2, 2))
    offset += 4
  }
  const type = readBigEndian(bytes, offset, 2)
  const ethernet = {
    destination: macToText(bytes.subarray(0, 6)),
    source: macToText(bytes.subarray(6, 12)),
    type,
    ...(vlans.length > 0 ? { vlans } : {}),
  }
  const body = bytes.subarray(offset + 2)
  if (type === ETHER_TYPE.arp) return { ethernet, ...decodeArp(body) }
  if (type === ETHER_TYPE.ipv4 || type === ETHER_TYPE.ipv6) {
    return { ethernet, ...decodePacket(body) }
  }
  return { ethernet, payload: body, problems: [] }
}

function decodeArp(bytes: Uint8Array): { arp: Arp; payload: Uint8Array; problems: string[] } {
  const arp: Arp = {
    operation: readBigEndian(bytes, 6, 2) === 1 ? 'request' : 'reply',
    senderMac: macToText(bytes.subarray(8, 14)),
    senderAddress: addressToText(bytes.subarray(14, 18)),
    targetMac: macToText(bytes.subarray(18, 24)),
    targetAddress: addressToText(bytes.subarray(24, 28)),
  }
  const odd = macToText(bytes.subarray(0, 6)) !== '00:01:08:00:06:04'
  return { arp, payload: bytes.subarray(28), problems: odd ? ['arp: not IPv4/Ethernet'] : [] }
}

/** Decodes a packet from its IP header on. */
export function decodePacket(bytes: Uint8Array): DecodedPacket {
  const version = readBigEndian(bytes, 0, 1) >> 4
  if (version === 4) return decodeIp4(bytes)
  if (version === 6) return decodeIp6(bytes)
  throw new RangeError(`IP version ${version}`)
}

function decodeIp4(bytes: Uint8Array): DecodedPacket {
  const headerLength = (readBigEndian(bytes, 0, 1) & 15) * 4
  const totalLength = readBigEndian(bytes, 2, 2)
  const bits = readBigEndian(bytes, 6, 2)
  const source = bytes.subarray(12, 16)
  const destination = bytes.subarray(16, 20)
  const options = bytes.slice(20, headerLength)
  const problems = lengthProblems('ip', totalLength, bytes.length)
  if (internetChecksum(bytes.subarray(0, headerLength)) !== 0) problems.push('ip: checksum')
  const ip = {
    source: addressToText(source),
    destination: addressToText(destination),
    ttl: readBigEndian(bytes, 8, 1),
    protocol: readBigEndian(bytes, 9, 1),
    trafficClass: readBigEndian(bytes, 1, 1),
    identification: readBigEndian(bytes, 4, 2),
    dontFragment: (bits & 0x4000) !== 0,
    moreFragments: (bits & 0x2000) !== 0,
    fragmentOffset: (bits & 0x1fff) * 8,
    headerLength,
    totalLength,
    checksum: readBigEndian(bytes, 10, 2),
    ...(options.length > 0 ? { options } : {}),
  }
  const whole = !ip.moreFragments && ip.fragmentOffset === 0
  const body = bytes.subarray(headerLength, totalLength)
  return decodeTransport({ ip, problems, payload: body }, body, source, destination, whole)
}

const EXTENSIONS: readonly number[] = [
  PROTOCOL.hopByHop,
  PROTOCOL.routing,
  PROTOCOL.fragment,
  PROTOCOL.authentication,
  PROTOCOL.destinationOptions,
]

/** Bytes of an extension header whose second byte is `field` (RFC 8200 4.2, RFC 4302 2.2). */
function extensionBytes(type: number, field: number): number {
  if (type === PROTOCOL.fragment) return 8
  return type === PROTOCOL.authentication ? (field + 2) * 4 : (field + 1) * 8
}

function decodeIp6(bytes: Uint8Array): DecodedPacket {
  const first = readBigEndian(bytes, 0, 4)
  const totalLength = 40 + readBigEndian(bytes, 4, 2)
  const source = bytes.subarray(8, 24)
  const destination = bytes.subarray(24, 40)
  const extensions: Extension[] = []
  let protocol = readBigEndian(bytes, 6, 1)
  let offset = 40
  let whole = true
  while (EXTENSIONS.includes(protocol)) {
    const isFragment = protocol === PROTOCOL.fragment
    const length = extensionBytes(protocol, readBigEndian(bytes, offset + 1, 1))
    extensions.push({ type: protocol, body: bytes.slice(offset + 2, offset + length) })
    // Offset or "more fragments": the transport checksum covers what is not here.
    if (isFragment && (readBigEndian(bytes, offset + 2, 2) & 0xfff9) !== 0) whole = false
    protocol = readBigEndian(bytes, offset, 1)
    offset += length
  }
  const ip = {
    source: addressToText(source),
    destination: addressToText(destination),
    ttl: readBigEndian(bytes, 7, 1),
    protocol,
    trafficClass: Math.floor(first / 2 ** 20) & 0xff,
    flowLabel: first % 2 ** 20,
    totalLength,
    ...(extensions.length > 0 ? { extensions } : {}),
  }
  const problems = lengthProblems('ip', totalLength, bytes.length)
  const body = bytes.subarray(offset, totalLength)
  return decodeTransport({ ip, problems, payload: body }, body, source, destination, whole)
}

function lengthProblems(layer: string, says: number, has: number): string[] {
  // More bytes than said is padding of a short Ethernet frame, and no fault.
  return says > has ? [`${layer}: length ${says}, but there are ${has} bytes`] : []
}

/** Adds the layer behind IP. Checksums are judged only when the `whole` datagram is here. */
function decodeTransport(
  packet: DecodedPacket,
  body: Uint8Array,
  source: Uint8Array,
  destination: Uint8Array,
  whole: boolean,
): DecodedPacket {
  const { protocol, fragmentOffset = 0, extensions = [] } = packet.ip
  const isLater =
    fragmentOffset > 0 ||
    extensions.some(
      ({ type, body: content }) =>
        type === PROTOCOL.fragment && (readBigEndian(content, 0, 2) & 0xfff8) !== 0,
    )
  if (isLater) return packet
  const pseudo = pseudoHeader(source, destination, protocol, body.length)
  switch (protocol) {
    case PROTOCOL.tcp:
      return decodeTcp(packet, body, pseudo, whole)
    case PROTOCOL.udp:
      return decodeUdp(packet, body, pseudo, whole)
    case PROTOCOL.sctp:
      return decodeSctp(packet, body, whole)
    case PROTOCOL.icmp:
      return decodeIcmp(packet, body, new Uint8Array(), whole)
    case PROTOCOL.icmp6:
      return decodeIcmp(packet, body, pseudo, whole)
    case PROTOCOL.ipip:
    case PROTOCOL.ipv6: {
      const inner = decodePacket(body)
      const problems = [...packet.problems, ...inner.problems.map((text) => `inner ${text}`)]
      return { ...packet, inner, payload: new Uint8Array(), problems }
    }
    default:
      return packet
  }
}

/** Names a wrong checksum; the offload form is told apart, because a receiver must know which. */
function checksumProblems(layer: string, bytes: Uint8Array, pseudo: Uint8Array, field: number) {
  if (internetChecksum(concat(pseudo, bytes)) === 0) return []
  const partial = readBigEndian(bytes, field, 2) === onesSum(pseudo)
  return [`${layer}: ${partial ? 'partial checksum' : 'checksum'}`]
}

function decodeTcp(
  packet: DecodedPacket,
  bytes: Uint8Array,
  pseudo: Uint8Array,
  whole: boolean,
): DecodedPacket {
  const headerLength = (readBigEndian(bytes, 12, 1) >> 4) * 4
  const bits = readBigEndian(bytes, 13, 1)
  const tcp = {
    source: readBigEndian(bytes, 0, 2),
    destination: readBigEndian(bytes, 2, 2),
    sequence: readBigEndian(bytes, 4, 4),
    acknowledgment: readBigEndian(bytes, 8, 4),
    flags: [...TCP_FLAG_LETTERS].filter((_, bit) => (bits & (1 << bit)) !== 0).join(''),
    window: readBigEndian(bytes, 14, 2),
    checksum: readBigEndian(bytes, 16, 2),
    urgent: readBigEndian(bytes, 18, 2),
    options: bytes.slice(20, headerLength),
    headerLength,
  }
  const problems = [
    ...packet.problems,
    ...lengthProblems('tcp', headerLength, bytes.length),
    ...(whole ? checksumProblems('tcp', bytes, pseudo, 16) : []),
  ]
  return { ...packet, tcp, payload: bytes.slice(headerLength), problems }
}

function decodeUdp(
  packet: DecodedPacket,
  bytes: Uint8Array,
  pseudo: Uint8Array,
  whole: boolean,
): DecodedPacket {
  const udp = {
    source: readBigEndian(bytes, 0, 2),
    destination: readBigEndian(bytes, 2, 2),
    length: readBigEndian(bytes, 4, 2),
    checksum: readBigEndian(bytes, 6, 2),
  }
  // No checksum at all is allowed in IPv4 (RFC 768) and a fault in IPv6 (RFC 8200 section 8.1).
  const none = udp.checksum === 0
  const problems = [
    ...packet.problems,
    ...(whole ? lengthProblems('udp', udp.length, bytes.length) : []),
    ...(whole && !none ? checksumProblems('udp', bytes, pseudo, 6) : []),
    ...(none && packet.ip.source.includes(':') ? ['udp: no checksum'] : []),
  ]
  return { ...packet, udp, payload: bytes.slice(8), problems }
}

function decodeSctp(packet: DecodedPacket, bytes: Uint8Array, whole: boolean): DecodedPacket {
  const sctp = {
    source: readBigEndian(bytes, 0, 2),
    destination: readBigEndian(bytes, 2, 2),
    tag: readBigEndian(bytes, 4, 4),
    checksum: readBigEndian(bytes.slice(8, 12).reverse(), 0, 4),
  }
  const zeroed = concat(bytes.subarray(0, 8), new Uint8Array(4), bytes.subarray(12))
  const isWrong = whole && crc32c(zeroed) !== sctp.checksum
  const problems = [...packet.problems, ...(isWrong ? ['sctp: checksum'] : [])]
  return { ...packet, sctp, payload: bytes.slice(12), problems }
}

function decodeIcmp(
  packet: DecodedPacket,
  bytes: Uint8Array,
  pseudo: Uint8Array,
  whole: boolean,
): DecodedPacket {
  const icmp = {
    type: readBigEndian(bytes, 0, 1),
    code: readBigEndian(bytes, 1, 1),
    checksum: readBigEndian(bytes, 2, 2),
    rest: readBigEndian(bytes, 4, 4),
  }
  const problems = [
    ...packet.problems,
    ...(whole ? checksumProblems('icmp', bytes, pseudo, 2) : []),
  ]
  return { ...packet, icmp, payload: bytes.slice(8), problems }
}
