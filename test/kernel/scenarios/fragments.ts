/**
 * Datagrams in fragments, flows that begin with an ICMP error, and replies that no connection knows
 * (spec sections 5.2, 5.6, 5.7.2).
 */
import type { Extension, Icmp, Ip, IpPacket } from '../../support/packet-builder.js'
import { internetChecksum } from '../../support/wire.js'
import { type Builder, scenario } from '../language.js'

const FRAGMENT_HEADER = 44
const PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const
/** What is in front of the payload; a checksum that nobody verifies on the way. */
const CHECKSUM = 0x1234
/** What an Ethernet frame carries beside an IPv4 header, and beside IPv6's two. */
const EACH = 1480
const EACH6 = 1440

interface Ends {
  readonly source: string
  readonly destination: string
  readonly sourcePort: number
  readonly destinationPort: number
}

/** One part of a datagram: its bytes from `start` to `end`, transport header included. */
interface Part {
  readonly start: number
  readonly end: number
}

const REQUEST: Ends = {
  source: '$C1',
  destination: '$V1',
  sourcePort: 40_000,
  destinationPort: 53,
}
const REQUEST6: Ends = { ...REQUEST, source: '$C1v6', destination: '$V1v6' }

function payload(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 7) & 0xff)
}

/** Parts of `bytes` in order, each but the last `each` long. */
function parts(bytes: number, each: number): Part[] {
  const count = Math.ceil(bytes / each)
  return Array.from({ length: count }, (_, i) => ({
    start: i * each,
    end: Math.min(bytes, (i + 1) * each),
  }))
}

/** IP header of a part; `more`: it is not the last. */
function headerOf(ends: Ends, { start }: Part, more: boolean, id: number, protocol: number): Ip {
  const { source, destination } = ends
  if (!source.includes('v6')) {
    const flags = { moreFragments: more, fragmentOffset: start }
    return { source, destination, identification: id, protocol, ...flags }
  }
  const body = Uint8Array.of(start >> 8, (start & 0xff) | (more ? 1 : 0), 0, 0, id >> 8, id & 0xff)
  const extensions: Extension[] = [{ type: FRAGMENT_HEADER, body }]
  return { source, destination, protocol, extensions }
}

type Transport = Pick<IpPacket, 'udp' | 'tcp' | 'icmp'>

/** One part of the datagram of `bytes` that begins with `transport`'s header. */
function packetOf(
  ends: Ends,
  part: Part,
  bytes: number,
  id: number,
  [name, transport, header]: readonly [keyof typeof PROTOCOL, Transport, number],
): IpPacket {
  const content = payload(bytes - header)
  const ip = headerOf(ends, part, part.end !== bytes, id, PROTOCOL[name])
  if (part.start !== 0)
    return { ip, payload: content.subarray(part.start - header, part.end - header) }
  return { ip, ...transport, payload: content.subarray(0, part.end - header) }
}

function udpOf(ends: Ends, bytes: number): readonly ['udp', Transport, number] {
  const { sourcePort: source, destinationPort: destination } = ends
  return ['udp', { udp: { source, destination, length: bytes, checksum: CHECKSUM } }, 8]
}

function tcpOf(ends: Ends, flags: string): readonly ['tcp', Transport, number] {
  const { sourcePort: source, destinationPort: destination } = ends
  return ['tcp', { tcp: { source, destination, flags, sequence: 1, checksum: CHECKSUM } }, 20]
}

/** A UDP datagram from the client, its parts in the order of `order` (numbers of parts). */
export function sendInFragments(
  s: Builder,
  ends: Ends,
  bytes: number,
  id: number,
  order?: readonly number[],
): void {
  const all = parts(bytes, ends.source.includes('v6') ? EACH6 : EACH)
  for (const i of order ?? all.keys()) {
    s.fromClient(packetOf(ends, all[i], bytes, id, udpOf(ends, bytes)))
  }
}

const SERVICES = [
  ['NAT', '-r $R1:5353 -m'],
  ['DR', '-r $R1 -g'],
  ['TUN', '-r $R1 -i'],
] as const

/** The director says so to the client, which is a reply to a connection that is there already. */
const HALF_THERE = SERVICES.flatMap(([name, destination]) =>
  (['', 'v6'] as const).map((family) => {
    const [client, virtual] = [`$C1${family}`, `$V1${family}`]
    const six = family === 'v6'
    return scenario(`${six ? 'IPv6, ' : ''}${name}: half a datagram of a connection`, (s) => {
      const address = six ? '[$V1v6]' : '$V1'
      s.service(
        `-u ${address}:53 -s rr`,
        six ? destination.replace(/\$R1/, '[$R1v6]') : destination,
      )
      const ends = { ...REQUEST, source: client, destination: virtual }
      sendInFragments(s, ends, 3000, 161)
      sendInFragments(s, ends, 3000, 162, [0])
      s.wait(65)
      s.connections()
      s.stats()
    })
  }),
)

const IN_ORDER = SERVICES.map(([name, destination]) =>
  scenario(`${name}: datagrams in fragments, in every order`, (s) => {
    s.service('-u $V1:53 -s rr', destination)
    sendInFragments(s, REQUEST, 4000, 101)
    sendInFragments(s, REQUEST, 4000, 102, [2, 1, 0])
    sendInFragments(s, REQUEST, 4000, 103, [1, 2, 0])
    sendInFragments(s, REQUEST, 4000, 104, [0, 0, 1, 0, 2])
    s.connections()
    s.stats()
  }),
)

const IN_ORDER6 = SERVICES.map(([name, destination]) =>
  scenario(`IPv6, ${name}: datagrams in fragments, in every order`, (s) => {
    s.service('-u [$V1v6]:53 -s rr', destination.replace(/\$R1/, '[$R1v6]'))
    // Two headers more would not fit: what comes is small enough for a tunnel.
    const bytes = 3000
    const all = parts(bytes, 1360)
    for (const [id, order] of [
      [201, [0, 1, 2]],
      [202, [2, 1, 0]],
      [203, [1, 0, 2]],
    ] as const) {
      for (const i of order) {
        s.fromClient(packetOf(REQUEST6, all[i], bytes, id, udpOf(REQUEST6, bytes)))
      }
    }
    s.connections()
    s.stats()
  }),
)

function echoParts(): IpPacket[] {
  const bytes = 4000
  const content = payload(bytes - 8)
  const head = Uint8Array.of(8, 0, 0, 0, 0, 7, 0, 1)
  const checksum = internetChecksum(Buffer.concat([head, content]))
  const icmp: Icmp = { type: 8, code: 0, rest: 0x0007_0001, checksum }
  const ends = { ...REQUEST, sourcePort: 0, destinationPort: 0 }
  return parts(bytes, EACH).map((part) => packetOf(ends, part, bytes, 105, ['icmp', { icmp }, 8]))
}

/** A router at the client's tells the service that a reply of it did not arrive. */
function complaint(
  client: string,
  virtual: string,
  ports: readonly [number, number],
  id: number,
  protocol: 'tcp' | 'udp',
): IpPacket {
  const isV6 = client.includes('v6')
  const [source, destination] = ports
  return {
    ip: { source: isV6 ? '2001:db8::77' : '198.18.0.77', destination: virtual, identification: id },
    icmp: isV6 ? { type: 1, code: 4 } : { type: 3, code: 3 },
    inner: {
      ip: { source: virtual, destination: client, identification: 7 },
      ...(protocol === 'tcp'
        ? { tcp: { source, destination, flags: 'PA' } }
        : { udp: { source, destination } }),
      payload: 'reply',
    },
  }
}

const SCHEDULED = SERVICES.flatMap(([name, destination]) =>
  (['tcp', 'udp'] as const).map((protocol) =>
    scenario(`schedule_icmp, ${name}: an ICMP error begins a ${protocol} connection`, (s) => {
      const port = name === 'NAT' ? 53 : 5353
      s.service(`-${protocol[0]} $V1:${port} -s rr`, destination)
      s.service(`-${protocol[0]} [$V1v6]:${port} -s rr`, destination.replace(/\$R1/, '[$R1v6]'))
      s.fromClient(complaint('$C1', '$V1', [port, 40_000], 301, protocol))
      s.sysctl('schedule_icmp', 1)
      s.fromClient(complaint('$C1', '$V1', [port, 40_000], 302, protocol))
      s.fromClient(complaint('$C1', '$V1', [port, 40_000], 303, protocol))
      s.fromClient(complaint('$C2', '$V1', [port + 1, 40_000], 304, protocol))
      s.fromClient(complaint('$C2', '$V1', [port, 20], 305, protocol))
      s.fromClient(complaint('$C1v6', '$V1v6', [port, 40_000], 306, protocol))
      s.connections()
      s.stats()
    }),
  ),
)

export const FRAGMENTS = [
  ...IN_ORDER,
  ...IN_ORDER6,

  scenario('NAT: overlapping fragments, and lengths that cannot be', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:5353 -m')
    const bytes = 4000
    const send = (id: number, ...list: readonly Part[]) => {
      for (const part of list)
        s.fromClient(packetOf(REQUEST, part, bytes, id, udpOf(REQUEST, bytes)))
    }
    // Shorter than they might be, so that an overlapping one fits the cable too.
    const [a, b, c] = parts(bytes, 1400)
    send(111, a, { start: b.start - 8, end: b.end }, b, c)
    send(112, b, { start: 0, end: b.start + 8 }, a, c)
    send(113, c, b, { start: 8, end: b.start + 16 }, a)
    send(114, a, b, { start: 8, end: b.start + 8 }, c)
    s.connections()
    s.stats()
    // What the refused ones left behind: nobody is told of them but where the first part is there.
    s.wait(40)
  }),

  scenario('NAT: replies in fragments', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:5353 -m')
    const c = s.udp('$C1:40000', '$V1:53')
    c.send()
    const reply = { source: '$R1', destination: '$C1', sourcePort: 5353, destinationPort: 40_000 }
    for (const [id, bytes] of [
      [121, 4000],
      [122, 1500],
    ]) {
      for (const part of parts(bytes, EACH)) {
        s.fromServer(1, packetOf(reply, part, bytes, id, udpOf(reply, bytes)))
      }
    }
    s.connections()
    s.stats()
  }),

  scenario('NAT: TCP in fragments begins and ends a connection', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -m')
    const ends = { ...REQUEST, destinationPort: 80 }
    for (const [i, flags] of ['S', 'A', 'FA'].entries()) {
      for (const part of parts(100, 24)) {
        s.fromClient(packetOf(ends, part, 100, 131 + i, tcpOf(ends, flags)))
      }
      s.connections()
    }
    s.stats()
  }),

  scenario('a long echo request to a virtual address is the host its own business', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    for (const packet of echoParts()) s.fromClient(packet)
    s.stats()
  }),

  scenario('fragments that do not all come', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:5353 -m')
    sendInFragments(s, REQUEST, 4000, 141, [0, 1])
    sendInFragments(s, REQUEST, 4000, 142, [1, 2])
    sendInFragments(s, REQUEST, 4000, 143, [0, 2])
    s.wait(25)
    sendInFragments(s, REQUEST, 4000, 141, [2])
    s.wait(40)
    sendInFragments(s, REQUEST, 4000, 142, [0])
    s.connections()
  }),

  ...HALF_THERE,

  ...SCHEDULED,

  scenario('schedule_icmp: schedulers by source and by destination', (s) => {
    s.sysctl('schedule_icmp', 1)
    for (const [i, name] of ['sh', 'dh', 'lblc', 'lblcr'].entries()) {
      s.service(`-u $V1:${1000 + i} -s ${name}`, '-r $R1 -g', '-r $R2 -g', '-r $R3 -g')
      for (let client = 1; client <= 4; client++) {
        s.fromClient(
          complaint(`$C${client}`, '$V1', [1000 + i, 40_000], 400 + 8 * i + client, 'udp'),
        )
      }
      // Before three seconds are over, which is all that such a connection has.
      s.connections()
      s.wait(5)
    }
  }),

  scenario('schedule_icmp: persistence, and nobody there', (s) => {
    s.sysctl('schedule_icmp', 1)
    s.service('-u $V1:53 -s rr -p 60', '-r $R1:53 -m', '-r $R2:53 -m')
    s.service('-u $V2:53 -s rr')
    s.fromClient(complaint('$C1', '$V1', [53, 40_000], 501, 'udp'))
    s.fromClient(complaint('$C1', '$V1', [53, 40_001], 502, 'udp'))
    s.fromClient(complaint('$C2', '$V1', [53, 40_000], 503, 'udp'))
    s.fromClient(complaint('$C1', '$V2', [53, 40_000], 504, 'udp'))
    s.connections()
    s.stats()
  }),

  scenario('nat_icmp_send: what real servers send without a connection', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -m')
    s.service('-u $V1:53 -s rr', '-r $R1:5353 -m', '-r $R2:5353 -m')
    s.service('-u [$V1v6]:53 -s rr', '-r [$R1v6]:5353 -m')
    const all = (id: number) => {
      const ip = { source: '$R1', destination: '$C1', identification: id }
      const tcp = { source: 8080, destination: 40_000 }
      s.fromServer(1, { ip, tcp: { ...tcp, flags: 'SA' } })
      s.fromServer(1, { ip: { ...ip, identification: id + 1 }, tcp: { ...tcp, flags: 'R' } })
      const udp = { source: 5353, destination: 40_000 }
      s.fromServer(1, { ip: { ...ip, identification: id + 2 }, udp, payload: 'stray' })
      s.fromServer(1, {
        ip: { ...ip, identification: id + 3 },
        udp: { source: 5354, destination: 40_000 },
        payload: 'stray',
      })
      s.fromServer(1, { ip: { source: '$R1v6', destination: '$C1v6' }, udp, payload: 'stray' })
    }
    all(601)
    s.sysctl('nat_icmp_send', 1)
    all(611)
    s.stats()
  }),
]
