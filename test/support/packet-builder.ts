/**
 * Builds packets from a readable description, with right lengths and checksums unless the
 * description says otherwise. Golden tests, the memory port's tests and the fuzz seeds use it.
 *
 *   const syn = buildFrame({
 *     ethernet: { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
 *     ip: { source: '198.18.0.1', destination: '198.18.0.200' },
 *     tcp: { source: 40000, destination: 80, flags: 'S' },
 *   })
 *
 * IPv4 or IPv6 follows from the addresses. A field that is normally computed (length, checksum,
 * protocol...) may be given, which is how wrong packets are made. packet-decoder.ts reads back.
 */
import {
  addressToBytes,
  bigEndian,
  concat,
  crc32c,
  ETHER_TYPE,
  internetChecksum,
  macToBytes,
  onesSum,
  PROTOCOL,
  pseudoHeader,
} from './wire.js'

export interface Ethernet {
  source: string
  destination: string
  /** VLAN identifiers (802.1Q), outermost first. */
  vlans?: number[]
  type?: number
}

export interface Arp {
  operation: 'request' | 'reply'
  senderMac: string
  senderAddress: string
  targetMac: string
  targetAddress: string
}

export interface Ip {
  source: string
  destination: string
  /** TTL or hop limit; 64 unless given. */
  ttl?: number
  /** TOS or traffic class, the ECN bits included. */
  trafficClass?: number
  /** IPv6 only. */
  flowLabel?: number
  /** IPv4 only: identification, flags, options (padded to a multiple of 4 bytes by the caller). */
  identification?: number
  dontFragment?: boolean
  options?: Uint8Array
  /** Later fragments: offset in bytes, a multiple of 8. For IPv6 use `extensions`. */
  moreFragments?: boolean
  fragmentOffset?: number
  /** IPv6 only: extension headers in order; the first two bytes of each are written here. */
  extensions?: Extension[]
  /** Computed unless given. */
  protocol?: number
  headerLength?: number
  totalLength?: number
  checksum?: number
}

/** An IPv6 extension header: its number and everything behind `next header` and `length`. */
export interface Extension {
  type: number
  /** 6 bytes, or 6 + 8n. */
  body: Uint8Array
}

/** A checksum to write, or `partial`: only the pseudo header's sum, as a sender with offload. */
export type Checksum = number | 'partial'

export interface Tcp {
  source: number
  destination: number
  sequence?: number
  acknowledgment?: number
  /** Letters of F S R P A U E C; `A` unless given. */
  flags?: string
  window?: number
  urgent?: number
  /** Padded to a multiple of 4 bytes by the caller. */
  options?: Uint8Array
  /** In bytes; computed unless given. */
  headerLength?: number
  checksum?: Checksum
}

export interface Udp {
  source: number
  destination: number
  length?: number
  /** 0 means "not computed", allowed in IPv4 (RFC 768). */
  checksum?: Checksum
}

/** A chunk; its length is computed unless given, and padding follows to a multiple of 4 bytes. */
export interface SctpChunk {
  type: number
  flags?: number
  length?: number
  body?: Uint8Array
}

export interface Sctp {
  source: number
  destination: number
  /** Verification tag. */
  tag?: number
  chunks?: SctpChunk[]
  checksum?: number
}

export interface Icmp {
  type: number
  code: number
  /** The four bytes behind the checksum: identifier and sequence, next-hop MTU... */
  rest?: number
  checksum?: number
}

/**
 * A layer-3 packet. Of `tcp`, `udp`, `sctp`, `icmp` and `inner` at most one, except that an ICMP
 * error quotes its `inner`; `payload` comes last.
 */
export interface IpPacket {
  ip: Ip
  tcp?: Tcp
  udp?: Udp
  sctp?: Sctp
  icmp?: Icmp
  /** A packet inside this one: IPIP (RFC 2003), IPv6 in IPv4 and so on (RFC 2473). */
  inner?: IpPacket
  payload?: Uint8Array | string
}

export type Frame =
  | ({ ethernet: Ethernet } & IpPacket)
  | { ethernet: Ethernet; arp: Arp }
  | { ethernet: Ethernet; payload: Uint8Array }

export const TCP_FLAG_LETTERS = 'FSRPAUEC'

/** A whole Ethernet frame, without padding and without FCS. */
export function buildFrame(frame: Frame): Uint8Array {
  const [type, body] = frameBody(frame)
  const { source, destination, vlans = [] } = frame.ethernet
  const tags = vlans.map((id) => concat(bigEndian(ETHER_TYPE.vlan, 2), bigEndian(id, 2)))
  return concat(
    macToBytes(destination),
    macToBytes(source),
    ...tags,
    bigEndian(frame.ethernet.type ?? type, 2),
    body,
  )
}

function frameBody(frame: Frame): [number, Uint8Array] {
  if ('arp' in frame) return [ETHER_TYPE.arp, buildArp(frame.arp)]
  if (!('ip' in frame)) return [0, frame.payload]
  const family = addressToBytes(frame.ip.source).length
  return [family === 4 ? ETHER_TYPE.ipv4 : ETHER_TYPE.ipv6, buildPacket(frame)]
}

/** An ARP message for IPv4 over Ethernet (RFC 826). */
export function buildArp(arp: Arp): Uint8Array {
  return concat(
    Uint8Array.of(0, 1, 8, 0, 6, 4, 0, arp.operation === 'request' ? 1 : 2),
    macToBytes(arp.senderMac),
    addressToBytes(arp.senderAddress),
    macToBytes(arp.targetMac),
    addressToBytes(arp.targetAddress),
  )
}

/** A packet from its IP header on: what a TUN device carries and what an ICMP error quotes. */
export function buildPacket(packet: IpPacket): Uint8Array {
  const source = addressToBytes(packet.ip.source)
  const destination = addressToBytes(packet.ip.destination)
  if (source.length !== destination.length) throw new TypeError('addresses of two families')
  const [protocol, body] = buildTransport(packet, source, destination)
  return source.length === 4
    ? buildIp4(packet.ip, source, destination, protocol, body)
    : buildIp6(packet.ip, source, destination, protocol, body)
}

function buildTransport(
  packet: IpPacket,
  source: Uint8Array,
  destination: Uint8Array,
): [number, Uint8Array] {
  const text = packet.payload ?? new Uint8Array()
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text
  const payload = packet.icmp && packet.inner ? concat(buildPacket(packet.inner), bytes) : bytes
  const pseudo = (protocol: number, length: number): Uint8Array =>
    pseudoHeader(source, destination, protocol, length)
  if (packet.tcp) return [PROTOCOL.tcp, buildTcp(packet.tcp, payload, pseudo)]
  if (packet.udp) return [PROTOCOL.udp, buildUdp(packet.udp, payload, pseudo)]
  if (packet.sctp) return [PROTOCOL.sctp, buildSctp(packet.sctp, payload)]
  if (packet.icmp && source.length === 4) {
    return [PROTOCOL.icmp, buildIcmp(packet.icmp, payload, new Uint8Array())]
  }
  if (packet.icmp) {
    // ICMPv6 sums a pseudo header (RFC 4443 section 2.3), ICMP does not (RFC 792).
    const length = 8 + payload.length
    return [PROTOCOL.icmp6, buildIcmp(packet.icmp, payload, pseudo(PROTOCOL.icmp6, length))]
  }
  if (packet.inner) {
    const inner = buildPacket(packet.inner)
    return [inner[0] === undefined || inner[0] >> 4 === 4 ? PROTOCOL.ipip : PROTOCOL.ipv6, inner]
  }
  return [PROTOCOL.noNext, payload]
}

function buildIp4(
  ip: Ip,
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  body: Uint8Array,
): Uint8Array {
  const options = ip.options ?? new Uint8Array()
  const headerLength = 20 + options.length
  const offset = ip.fragmentOffset ?? 0
  if (offset % 8 !== 0) throw new RangeError('a fragment offset is a multiple of 8 bytes')
  const bits = (ip.dontFragment ? 0x4000 : 0) | (ip.moreFragments ? 0x2000 : 0) | (offset / 8)
  const header = concat(
    Uint8Array.of(0x40 | ((ip.headerLength ?? headerLength) / 4), ip.trafficClass ?? 0),
    bigEndian(ip.totalLength ?? headerLength + body.length, 2),
    bigEndian(ip.identification ?? 0, 2),
    bigEndian(bits, 2),
    Uint8Array.of(ip.ttl ?? 64, ip.protocol ?? protocol, 0, 0),
    source,
    destination,
    options,
  )
  header.set(bigEndian(ip.checksum ?? internetChecksum(header), 2), 10)
  return concat(header, body)
}

/** The second byte of an extension header (RFC 8200 4.2, RFC 4302 2.2). */
function lengthField(type: number, content: Uint8Array): number {
  if (type === PROTOCOL.fragment) return 0
  const bytes = content.length + 2
  return type === PROTOCOL.authentication ? bytes / 4 - 2 : bytes / 8 - 1
}

function buildIp6(
  ip: Ip,
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  body: Uint8Array,
): Uint8Array {
  const extensions = ip.extensions ?? []
  const last = ip.protocol ?? protocol
  const chain = extensions.map(({ type, body: content }, i) => {
    if ((content.length + 2) % 8 !== 0) throw new RangeError('an extension is 8n bytes long')
    return concat(
      Uint8Array.of(extensions[i + 1]?.type ?? last, lengthField(type, content)),
      content,
    )
  })
  const rest = concat(...chain, body)
  const first = 6 * 2 ** 28 + (ip.trafficClass ?? 0) * 2 ** 20 + (ip.flowLabel ?? 0)
  return concat(
    bigEndian(first, 4),
    bigEndian(ip.totalLength === undefined ? rest.length : ip.totalLength - 40, 2),
    Uint8Array.of(extensions[0]?.type ?? last, ip.ttl ?? 64),
    source,
    destination,
    rest,
  )
}

type Pseudo = (protocol: number, length: number) => Uint8Array

/** Writes a checksum at `offset`: given, partial or computed over the pseudo header and `bytes`. */
function seal(bytes: Uint8Array, offset: number, pseudo: Uint8Array, given?: Checksum): Uint8Array {
  const value =
    given === 'partial' ? onesSum(pseudo) : (given ?? internetChecksum(concat(pseudo, bytes)))
  bytes.set(bigEndian(value, 2), offset)
  return bytes
}

function buildTcp(tcp: Tcp, payload: Uint8Array, pseudo: Pseudo): Uint8Array {
  const options = tcp.options ?? new Uint8Array()
  const headerLength = tcp.headerLength ?? 20 + options.length
  const flags = [...(tcp.flags ?? 'A')].reduce((bits, letter) => {
    const bit = TCP_FLAG_LETTERS.indexOf(letter)
    if (bit < 0) throw new TypeError(`no TCP flag ${letter}; they are ${TCP_FLAG_LETTERS}`)
    return bits | (1 << bit)
  }, 0)
  const segment = concat(
    bigEndian(tcp.source, 2),
    bigEndian(tcp.destination, 2),
    bigEndian(tcp.sequence ?? 0, 4),
    bigEndian(tcp.acknowledgment ?? 0, 4),
    Uint8Array.of((headerLength / 4) << 4, flags),
    bigEndian(tcp.window ?? 65535, 2),
    Uint8Array.of(0, 0),
    bigEndian(tcp.urgent ?? 0, 2),
    options,
    payload,
  )
  return seal(segment, 16, pseudo(PROTOCOL.tcp, segment.length), tcp.checksum)
}

function buildUdp(udp: Udp, payload: Uint8Array, pseudo: Pseudo): Uint8Array {
  const length = udp.length ?? 8 + payload.length
  const datagram = concat(
    bigEndian(udp.source, 2),
    bigEndian(udp.destination, 2),
    bigEndian(length, 2),
    Uint8Array.of(0, 0),
    payload,
  )
  const header = pseudo(PROTOCOL.udp, length)
  const computed = internetChecksum(concat(header, datagram))
  // 0 would mean "none", so a computed 0 is sent as its other form (RFC 768).
  return seal(datagram, 6, header, udp.checksum ?? (computed === 0 ? 0xffff : computed))
}

/** RFC 9260 section 3; `payload` stands behind the chunks. */
function buildSctp(sctp: Sctp, payload: Uint8Array): Uint8Array {
  const chunks = (sctp.chunks ?? []).map(({ type, flags = 0, length, body = new Uint8Array() }) =>
    concat(
      Uint8Array.of(type, flags),
      bigEndian(length ?? 4 + body.length, 2),
      body,
      new Uint8Array(-body.length & 3),
    ),
  )
  const packet = concat(
    bigEndian(sctp.source, 2),
    bigEndian(sctp.destination, 2),
    bigEndian(sctp.tag ?? 0, 4),
    new Uint8Array(4),
    ...chunks,
    payload,
  )
  // The one field that is sent with its low byte first.
  packet.set(bigEndian(sctp.checksum ?? crc32c(packet), 4).reverse(), 8)
  return packet
}

function buildIcmp(icmp: Icmp, payload: Uint8Array, pseudo: Uint8Array): Uint8Array {
  const head = Uint8Array.of(icmp.type, icmp.code, 0, 0)
  const message = concat(head, bigEndian(icmp.rest ?? 0, 4), payload)
  return seal(message, 2, pseudo, icmp.checksum)
}
