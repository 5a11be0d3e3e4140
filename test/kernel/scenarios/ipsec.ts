/** AH and ESP: of the connection that exchanged their keys, never the first of one (spec 3.2). */
import type { IpPacket } from '../../support/packet-builder.js'
import { scenario, type Builder } from '../language.js'

const [ESP, AH] = [50, 51]
/** SPI, sequence number, and what looks like nothing. */
const BODY = Uint8Array.from({ length: 64 }, (_, i) => (i * 7 + 1) & 0xff)

function packet(source: string, destination: string, protocol: number, id: number): IpPacket {
  const ip = { source, destination, protocol, identification: id, dontFragment: true }
  return { ip, payload: BODY }
}

/** Keys are exchanged, then both sides use them. */
function association(s: Builder, [client, virtual, server]: readonly string[], nat: boolean) {
  const six = virtual.includes('6')
  const keys = s.udp(ends(client), ends(virtual))
  // Before: nobody's.
  s.fromClient(packet(client, virtual, ESP, 50_000))
  keys.send()
  if (nat) keys.answer()
  s.wait(2)
  for (const protocol of six ? [ESP] : [ESP, AH]) {
    s.fromClient(packet(client, virtual, protocol, 50_001))
    if (nat) s.fromServer(1, packet(server, client, protocol, 50_002))
  }
  s.connections()
  s.stats()
}

const ends = (address: string): string =>
  address.includes('6') ? `[${address}]:500` : `${address}:500`

export const IPSEC = [
  scenario('ESP and AH with NAT', (s) => {
    s.service('-u $V1:500 -s rr', '-r $R1:500 -m')
    association(s, ['$C1', '$V1', '$R1'], true)
    // Of a client whose keys went elsewhere, and to a service that has none.
    s.fromClient(packet('$C2', '$V1', ESP, 50_010))
    s.service('-u $V2:53 -s rr', '-r $R1:53 -m')
    s.fromClient(packet('$C1', '$V2', ESP, 50_011))
    s.connections()
  }),

  scenario('ESP over IPv6 with NAT', (s) => {
    s.service('-u [$V1v6]:500 -s rr', '-r [$R1v6]:500 -m')
    association(s, ['$C1v6', '$V1v6', '$R1v6'], true)
  }),

  scenario('ESP and AH with DR', (s) => {
    s.service('-u $V1:500 -s rr', '-r $R1 -g')
    association(s, ['$C1', '$V1', '$R1'], false)
  }),

  scenario('ESP and AH with IPIP', (s) => {
    s.service('-u $V1:500 -s rr', '-r $R1 -i')
    association(s, ['$C1', '$V1', '$R1'], false)
  }),

  scenario('ESP with NAT, a port that is mapped', (s) => {
    s.service('-u $V1:500 -s rr', '-r $R1:5000 -m')
    association(s, ['$C1', '$V1', '$R1'], true)
  }),
]
