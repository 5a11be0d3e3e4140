/**
 * A frame in one line of words: what of it is compared, and what a person reads when it differs.
 *
 * Left out because it may differ:
 *   identification of packets the director made itself (tunnel headers, ICMP errors, resets): the
 *     kernel draws them from counters of its own. Those of forwarded packets are compared.
 *   source port of GUE packets: a hash of the flow, keyed at random at boot.
 *   checksums as numbers: they follow from the rest. A wrong one is named, on either side.
 */
import { createHash } from 'node:crypto'
import { type DecodedPacket, decodeFrame } from '../support/packet-decoder.js'
import { readBigEndian } from '../support/wire.js'
import { linkName } from './addresses.js'
import { GUE_PORT, openTunnel } from './tunnel-text.js'

const IGMP = 2
const ICMP6 = 58
const FRAGMENT_HEADER = 44
/** Router solicitation and multicast listening: RFC 4861 and RFC 3810. */
const OWN_BUSINESS = [130, 131, 132, 133, 143]
const SHOWN_BYTES = 24

/** Names a packet that the tester sends, for recognising it when it is forwarded. */
export function sentKey(protocol: number, identification: number): string {
  return `${protocol}/${identification}`
}

/** The frame's line; `sent` holds the keys of all packets that the tester sent. */
export function frameText(frame: Uint8Array, sent: ReadonlySet<string>): string {
  const { ethernet, ...rest } = decodeFrame(frame)
  const link = `${linkName(ethernet.source)} > ${linkName(ethernet.destination)}`
  if (rest.arp !== undefined) {
    const { operation, senderAddress, targetAddress } = rest.arp
    return `${link} arp ${operation} ${senderAddress} asks for ${targetAddress}`
  }
  if (rest.ip === undefined) return `${link} type ${ethernet.type} ${bytesText(rest.payload)}`
  const problems = rest.problems.map((text) => ` WRONG ${text}`).join('')
  return `${link} ${packetText(rest as DecodedPacket, sent)}${problems}`
}

/** Whether a frame belongs to the conversation of hosts about themselves; IGMP too, RFC 3376. */
export function isOwnBusiness(frame: Uint8Array): boolean {
  const { ip, icmp } = decodeFrame(frame)
  if (ip?.protocol === IGMP) return true
  return ip?.protocol === ICMP6 && icmp !== undefined && OWN_BUSINESS.includes(icmp.type)
}

function packetText(packet: DecodedPacket, sent: ReadonlySet<string>): string {
  const { ip, tcp, udp, sctp, icmp, payload } = packet
  const tunnel = openTunnel(packet)
  const inner = packet.inner ?? tunnel?.inner
  const parts = [`${ip.source} > ${ip.destination} ttl ${ip.ttl} tos ${ip.trafficClass}`]
  const isGenerated =
    inner !== undefined || !sent.has(sentKey(ip.protocol, ip.identification ?? -1))
  if (ip.identification !== undefined) {
    parts.push(isGenerated ? 'own id' : `id ${ip.identification}`)
  }
  if (ip.dontFragment) parts.push('DF')
  if (ip.moreFragments || (ip.fragmentOffset ?? 0) > 0) {
    parts.push(`fragment ${ip.fragmentOffset}${ip.moreFragments ? '+' : ''}`)
  }
  if (ip.options !== undefined) parts.push(`options ${hex(ip.options)}`)
  if (ip.flowLabel) parts.push(`flow label ${ip.flowLabel}`)
  for (const { type, body } of ip.extensions ?? []) {
    // A fragment's identification is the director's own (RFC 8200 4.5): offset and flag only.
    parts.push(`extension ${type} ${hex(type === FRAGMENT_HEADER ? body.subarray(0, 2) : body)}`)
  }
  if (tcp !== undefined) {
    parts.push(`tcp ${tcp.source} > ${tcp.destination} ${tcp.flags}`)
    parts.push(`seq ${tcp.sequence} ack ${tcp.acknowledgment} window ${tcp.window}`)
    if (tcp.options.length > 0) parts.push(`tcp options ${hex(tcp.options)}`)
  }
  if (udp !== undefined) {
    const source = udp.destination === GUE_PORT ? 'some port' : udp.source
    parts.push(`udp ${source} > ${udp.destination}${udp.checksum === 0 ? ' no checksum' : ''}`)
  }
  if (sctp !== undefined) parts.push(`sctp ${sctp.source} > ${sctp.destination} tag ${sctp.tag}`)
  if (icmp !== undefined) {
    parts.push(
      `icmp ${icmp.type}/${icmp.code} rest ${icmp.rest} ${quoteText(ip.protocol, payload)}`,
    )
    return parts.join(' ')
  }
  if (tunnel !== undefined) parts.push(tunnel.header)
  if (inner !== undefined) return `${parts.join(' ')} [ ${packetText(inner, sent)} ]`
  if (tcp === undefined && udp === undefined && sctp === undefined)
    parts.push(`protocol ${ip.protocol}`)
  return `${parts.join(' ')} ${bytesText(payload)}`
}

/**
 * What an ICMP message carries. A quoted header keeps everything, its checksums too: they are the
 * sender's, not the director's.
 */
function quoteText(protocol: number, payload: Uint8Array): string {
  const isQuote = payload.length >= 20 && [4, 6].includes(readBigEndian(payload, 0, 1) >> 4)
  return `${isQuote ? 'quotes' : 'carries'} ${bytesText(payload, protocol === ICMP6 ? 80 : 48)}`
}

function bytesText(bytes: Uint8Array, shown = SHOWN_BYTES): string {
  if (bytes.length <= shown) return `${bytes.length} bytes ${hex(bytes)}`.trimEnd()
  const digest = createHash('sha256').update(bytes).digest('hex').slice(0, 8)
  return `${bytes.length} bytes ${hex(bytes.subarray(0, shown))}.. (${digest})`
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
