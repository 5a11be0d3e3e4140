/** What is inside GRE and GUE packets; IPIP is the decoder's own. */
import { type DecodedPacket, decodePacket } from '../support/packet-decoder.js'
import { internetChecksum, PROTOCOL, readBigEndian } from '../support/wire.js'

/** The port that the scenarios' GUE tunnels go to. */
export const GUE_PORT = 6080

const GRE = 47

export interface OpenedTunnel {
  /** The header in words. */
  readonly header: string
  readonly inner: DecodedPacket
}

/** The packet inside `packet`, if it is a whole GRE or GUE packet as IPVS sends them. */
export function openTunnel({ ip, udp, payload }: DecodedPacket): OpenedTunnel | undefined {
  if (ip.moreFragments || (ip.fragmentOffset ?? 0) > 0) return undefined
  if (ip.extensions?.some(({ type }) => type === PROTOCOL.fragment)) return undefined
  if (ip.protocol === GRE) return openGre(payload)
  return udp?.destination === GUE_PORT ? openGue(payload) : undefined
}

/** RFC 2784. */
function openGre(bytes: Uint8Array): OpenedTunnel {
  const flags = readBigEndian(bytes, 0, 2)
  const isSummed = (flags & 0x8000) !== 0
  const wrong = isSummed && internetChecksum(bytes) !== 0 ? ' WRONG checksum' : ''
  const header = `gre flags ${flags} protocol ${readBigEndian(bytes, 2, 2)}${wrong}`
  return { header, inner: decodePacket(bytes.subarray(isSummed ? 8 : 4)) }
}

/** draft-ietf-intarea-gue; a checksum that is left to the receiver stays as it is. */
function openGue(bytes: Uint8Array): OpenedTunnel {
  const length = 4 + 4 * (readBigEndian(bytes, 0, 1) & 0x1f)
  const header = `gue ${Buffer.from(bytes.subarray(0, length)).toString('hex')}`
  return { header, inner: decodePacket(bytes.subarray(length)) }
}

/** The packet in the middle of all tunnels; ports and addresses there are the flow's. */
export function innermost(packet: Partial<DecodedPacket>): Partial<DecodedPacket> {
  for (let now = packet; ;) {
    const inner: DecodedPacket | undefined =
      now.inner ?? (now.ip === undefined ? undefined : openTunnel(now as DecodedPacket)?.inner)
    if (inner === undefined) return now
    now = inner
  }
}
