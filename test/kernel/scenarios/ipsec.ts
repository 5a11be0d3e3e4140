/** AH and ESP: of the connection that exchanged their keys, never the first of one (spec 3.2). */
import type { Extension, Icmp, IpPacket } from '../../support/packet-builder.js'
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

/** Unreachable host, fragmentation needed; the same of IPv6. */
const ERRORS: readonly Icmp[] = [
  { type: 3, code: 1 },
  { type: 3, code: 4, rest: 1400 },
  { type: 11, code: 0 },
]
const ERRORS6: readonly Icmp[] = [
  { type: 1, code: 3 },
  { type: 2, code: 0, rest: 1400 },
  { type: 3, code: 0 },
]

/** A router at `source` says something about a packet of an association to who sent it. */
function error(
  [source, sender, receiver]: readonly string[],
  protocol: number,
  icmp: Icmp,
  id: number,
): IpPacket {
  const quoted = { ip: { source: sender, destination: receiver, protocol, identification: 7 } }
  const ip = { source, destination: sender, identification: id }
  return { ip, icmp, inner: { ...quoted, payload: BODY.subarray(0, 16) } }
}

/** Errors about what both sides sent, before their keys are exchanged and then. */
function complaints(s: Builder, [client, virtual, server]: readonly string[], nat: boolean) {
  const six = virtual.includes('6')
  const [router, other] = six ? ['2001:db8::77', '2001:db8:1::77'] : ['198.18.0.77', '198.18.1.77']
  const errors = six ? ERRORS6 : ERRORS
  const keys = s.udp(ends(client), ends(virtual))
  s.fromClient(error([router, virtual, client], ESP, errors[0], 50_020))
  keys.send()
  if (nat) keys.answer()
  s.wait(2)
  let id = 50_100
  for (const protocol of six ? [ESP] : [ESP, AH]) {
    for (const icmp of errors) {
      s.fromClient(error([router, virtual, client], protocol, icmp, id++))
      if (nat) s.fromServer(1, error([other, client, server], protocol, icmp, id++))
    }
  }
  s.connections()
  s.stats()
}

/** The 24 bytes of an AH that nobody verifies, without its first two. */
const AUTHENTICATION: Extension = {
  type: AH,
  body: Uint8Array.from({ length: 22 }, (_, i) => (i < 10 ? i : 0xa5)),
}

/** UDP behind AH. */
function signed([source, from]: [string, number], [destination, to]: [string, number]): IpPacket {
  const ip = { source, destination, extensions: [AUTHENTICATION] }
  return { ip, udp: { source: from, destination: to }, payload: 'signed' }
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

  scenario('ICMP errors about ESP and AH with NAT', (s) => {
    s.service('-u $V1:500 -s rr', '-r $R1:500 -m')
    complaints(s, ['$C1', '$V1', '$R1'], true)
  }),

  scenario('ICMP errors about ESP over IPv6 with NAT', (s) => {
    s.service('-u [$V1v6]:500 -s rr', '-r [$R1v6]:500 -m')
    complaints(s, ['$C1v6', '$V1v6', '$R1v6'], true)
  }),

  scenario('ICMP errors about ESP and AH with DR', (s) => {
    s.service('-u $V1:500 -s rr', '-r $R1 -g')
    complaints(s, ['$C1', '$V1', '$R1'], false)
  }),

  scenario('ICMP errors about ESP and AH with IPIP', (s) => {
    s.service('-u $V1:500 -s rr', '-r $R1 -i')
    complaints(s, ['$C1', '$V1', '$R1'], false)
  }),

  scenario('ICMP errors about ESP and AH begin nothing, with schedule_icmp neither', (s) => {
    s.sysctl('schedule_icmp', 1)
    s.service('-u $V1:500 -s rr', '-r $R1:500 -m')
    s.fromClient(error(['198.18.0.77', '$V1', '$C1'], ESP, ERRORS[0], 50_030))
    s.fromClient(error(['198.18.0.77', '$V1', '$C1'], AH, ERRORS[0], 50_031))
    s.connections()
  }),

  // Over IPv6 AH is an extension header: what it protects has a connection of its own.
  scenario('AH over IPv6 with NAT', (s) => {
    s.service('-u [$V1v6]:53 -s rr', '-r [$R1v6]:5353 -m')
    s.fromClient(signed(['$C1v6', 4000], ['$V1v6', 53]))
    s.fromServer(1, signed(['$R1v6', 5353], ['$C1v6', 4000]))
    s.connections()
    s.stats()
  }),

  scenario('AH over IPv6 with DR, and ICMP errors about it', (s) => {
    s.service('-u [$V1v6]:53 -s rr', '-r [$R1v6] -g')
    s.fromClient(signed(['$C1v6', 4000], ['$V1v6', 53]))
    s.fromClient({
      ip: { source: '2001:db8::77', destination: '$V1v6' },
      icmp: ERRORS6[0],
      inner: signed(['$V1v6', 53], ['$C1v6', 4000]),
    })
    s.connections()
    s.stats()
  }),

  scenario('ESP with NAT, a port that is mapped', (s) => {
    s.service('-u $V1:500 -s rr', '-r $R1:5000 -m')
    association(s, ['$C1', '$V1', '$R1'], true)
  }),
]
