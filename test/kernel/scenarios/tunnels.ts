/**
 * Tunnels: GRE and GUE with every checksum option beside IPIP, IPv4 and IPv6 in either; ICMP errors
 * about the director's own tunnel packets, and the path MTU they bring (spec 5.5.3 to 5.7.3).
 */
import { type Builder, type FlowId, scenario, type TcpFlow } from '../language.js'
import { GUE_PORT } from '../tunnel-text.js'
import type { Icmp } from '../../support/packet-builder.js'

interface Kind {
  readonly name: string
  readonly options: string
  /** Bytes between outer header and packet. */
  readonly middle: number
}

const GUE = `-i --tun-type gue --tun-port ${GUE_PORT}`
const KINDS: readonly Kind[] = [
  { name: 'IPIP', options: '-i', middle: 0 },
  { name: 'GRE', options: '-i --tun-type gre --tun-nocsum', middle: 4 },
  { name: 'GRE with checksum', options: '-i --tun-type gre --tun-csum', middle: 8 },
  { name: 'GUE', options: `${GUE} --tun-nocsum`, middle: 12 },
  { name: 'GUE with checksum', options: `${GUE} --tun-csum`, middle: 12 },
  { name: 'GUE with remote checksum', options: `${GUE} --tun-remcsum`, middle: 12 },
]

const HEADERS = { 4: 20, 6: 40 } as const
const TCP = 20
type Family = 4 | 6
const FAMILIES: readonly Family[] = [4, 6]

/** A TCP payload that makes the tunnel packet `bytes` long. */
function filling(bytes: number, { middle }: Kind, outer: Family, inner: Family): string {
  return 'x'.repeat(bytes - HEADERS[outer] - middle - HEADERS[inner] - TCP)
}

const client = (family: Family, n: number): string =>
  family === 4 ? `$C${n}:40000` : `[$C${n}v6]:40000`
const virtual = (family: Family, n: number, port = 80): string =>
  family === 4 ? `$V${n}:${port}` : `[$V${n}v6]:${port}`
const real = (family: Family, n: number, port = 80): string =>
  family === 4 ? `$R${n}:${port}` : `[$R${n}v6]:${port}`

/** Every ICMP error that the kernel considers, and one that it does not. */
const ERRORS: readonly Icmp[] = [
  { type: 3, code: 0 },
  { type: 3, code: 1 },
  { type: 3, code: 3, rest: 7 },
  { type: 3, code: 13 },
  { type: 4, code: 0, rest: 0x01020304 },
  { type: 11, code: 0 },
  { type: 11, code: 1, rest: 9 },
  { type: 12, code: 0 },
]
const ROUTER = '198.18.1.77'

/** Outer header, tunnel header and the client's packet as far as its checksum. */
const QUOTED_BYTES = 96

function fragmentationNeeded(s: Builder, flow: FlowId, mtu: number): void {
  const icmp = { type: 3, code: 4, rest: mtu }
  s.icmpError({ from: 'server', flow, icmp, source: ROUTER, quotedBytes: 548 })
}

/** A service of its own for each kind, $V1 from port 80 on, with real servers from `first` on. */
function services(
  s: Builder,
  kinds: readonly Kind[],
  outer: Family,
  first = 1,
): { kind: Kind; flow: TcpFlow }[] {
  return kinds.map((kind, i) => {
    s.service(`-t $V1:${80 + i} -s rr`, `-r ${real(outer, first + i, 80 + i)} ${kind.options}`)
    return { kind, flow: s.tcp(`$C${i + 1}:40000`, `$V1:${80 + i}`) }
  })
}

/** The kernel tells one client of one error a second, after the first six (icmp_ratelimit). */
const LIMIT_SEC = 2

export const TUNNELS = [
  ...KINDS.slice(1).map((kind) =>
    scenario(`tunnels, ${kind.name}: IPv4 and IPv6 in either, TCP and UDP`, (s) => {
      for (const [o, outer] of FAMILIES.entries()) {
        for (const [i, inner] of FAMILIES.entries()) {
          const to = (port: number) => `-r ${real(outer, 2 * o + i + 1, port)} ${kind.options}`
          s.service(`-t ${virtual(inner, o + 1)} -s rr`, to(80))
          s.service(`-u ${virtual(inner, o + 1, 53)} -s rr`, to(53))
        }
      }
      s.ipvsadm('-L -n --tun-info')
      for (const [o, outer] of FAMILIES.entries()) {
        for (const inner of FAMILIES) {
          const c = s.tcp(client(inner, o + 1), virtual(inner, o + 1))
          c.send('S', { ip: { trafficClass: 0x03 } })
          c.send('A', { ip: { trafficClass: 0xb9, ttl: 2 } })
          c.send('PA', { payload: filling(1500, kind, outer, inner) })
          c.send('PA', { payload: filling(1501, kind, outer, inner) })
          c.send('A', { ip: { ttl: 1 } })
          s.udp(client(inner, o + 11), virtual(inner, o + 1, 53)).send('question')
        }
      }
      s.connections()
      s.stats()
    }),
  ),

  scenario('tunnels: traffic class, TTL and DF of the outer header', (s) => {
    for (const { flow } of services(s, KINDS, 4)) {
      flow.send('S')
      for (const trafficClass of [0, 1, 2, 3, 0xb8, 0xb9, 0xba, 0xbb, 0xff]) {
        flow.send('A', { ip: { trafficClass } })
      }
      for (const ttl of [255, 64, 3, 2, 1]) flow.send('A', { ip: { ttl } })
      for (const dontFragment of [true, false]) flow.send('A', { ip: { dontFragment } })
    }
    s.stats()
  }),

  ...FAMILIES.map((outer) =>
    scenario(`tunnels over IPv${outer}: too long, with DF and without, pmtu_disc`, (s) => {
      const flows = services(s, KINDS, outer)
      for (const { flow } of flows) flow.send('S')
      for (const value of [1, 0]) {
        s.sysctl('pmtu_disc', value)
        for (const { kind, flow } of flows) {
          const payload = filling(1504, kind, outer, 4)
          flow.send('A', { ip: { dontFragment: true } })
          for (const dontFragment of [true, false])
            flow.send('A', { payload, ip: { dontFragment } })
        }
      }
      s.stats()
    }),
  ),

  scenario('tunnels over IPv4 without pmtu_disc: IPv6 inside is answered all the same', (s) => {
    s.sysctl('pmtu_disc', 0)
    for (const [i, kind] of KINDS.entries()) {
      const port = 80 + i
      s.service(`-t ${virtual(6, 1, port)} -s rr`, `-r $R${i + 1} ${kind.options}`)
      const c = s.tcp(client(6, i + 1), virtual(6, 1, port))
      c.send('S')
      c.send('A', { payload: filling(1500, kind, 4, 6) })
      c.send('A', { payload: filling(1501, kind, 4, 6) })
    }
    s.stats()
  }),

  ...[KINDS[0], KINDS[2], KINDS[4]].map((kind) =>
    scenario(`tunnels, ${kind.name}: ICMP errors about its packets are passed on`, (s) => {
      const [{ flow }] = services(s, [kind], 4)
      flow.send('S')
      flow.send('PA', { payload: 'request'.repeat(20) })
      const about = { from: 'server', flow, source: ROUTER } as const
      for (const icmp of ERRORS) {
        s.icmpError({ ...about, icmp, quotedBytes: QUOTED_BYTES })
        s.wait(LIMIT_SEC)
      }
      for (const quotedBytes of [8, 20, 28, 40, 48, 56, 60, 68, 72, 1000]) {
        s.icmpError({ ...about, icmp: ERRORS[1], quotedBytes })
        s.wait(LIMIT_SEC)
      }
      s.connections()
      s.stats()
    }),
  ),

  // Real servers of their own: the director keeps a path's MTU for ten minutes.
  ...[KINDS.slice(0, 3), KINDS.slice(3)].map((kinds, i) =>
    scenario(
      `tunnels, ${kinds[0].name}: a router whose path is narrower, and another behind it`,
      (s) => {
        for (const { kind, flow } of services(s, kinds, 4, 11 + 3 * i)) {
          const send = (bytes: number, dontFragment = true) => {
            flow.send('PA', { payload: filling(bytes, kind, 4, 4), ip: { dontFragment } })
          }
          flow.send('S')
          send(1500)
          fragmentationNeeded(s, flow, 1400)
          send(1500)
          fragmentationNeeded(s, flow, 1400)
          send(1401)
          send(1400)
          fragmentationNeeded(s, flow, 1450)
          fragmentationNeeded(s, flow, 1300)
          send(1301)
          send(1300)
          send(1400, false)
        }
        s.connections()
        s.stats()
      },
    ),
  ),

  scenario('tunnels, IPIP: a narrower path and a client that does not look for it', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R17 -i')
    const flow = s.tcp('$C1:40000', '$V1:80')
    const loose = { ip: { dontFragment: false }, payload: 'x'.repeat(1400) }
    flow.send('S')
    flow.send('PA', loose)
    fragmentationNeeded(s, flow, 1300)
    flow.send('PA', loose)
    flow.send('PA', { payload: 'x'.repeat(1400) })
    s.stats()
  }),

  scenario('tunnels, IPIP: a router that says a path is hardly there', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R18 -i', '-r $R19 -i')
    for (const [i, mtu] of [100, 0].entries()) {
      const flow = s.tcp(`$C${i + 1}:40000`, '$V1:80')
      flow.send('S')
      flow.send('PA', { payload: 'x'.repeat(1440) })
      fragmentationNeeded(s, flow, mtu)
      flow.send('PA', { payload: 'x'.repeat(1440) })
      flow.send('PA', { payload: 'x'.repeat(492) })
    }
    s.stats()
  }),

  scenario('tunnels, IPIP: a narrower path is forgotten after ten minutes', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R20 -i')
    const u = s.udp('$C1:5000', '$V1:53')
    u.send('x'.repeat(1452))
    s.icmpError({
      from: 'server',
      flow: u,
      icmp: { type: 3, code: 4, rest: 1400 },
      source: ROUTER,
      quotedBytes: QUOTED_BYTES,
    })
    u.send('x'.repeat(1452))
    s.wait(250)
    u.send('x'.repeat(1452))
    s.wait(250)
    u.send('x'.repeat(1452))
    s.wait(150)
    u.send('x'.repeat(1452))
  }),

  scenario('tunnels whose connection, destination or type is another by now', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -i')
    const flow = s.tcp('$C1:40000', '$V1:80')
    flow.send('S')
    const about = { from: 'server', flow, source: ROUTER, quotedBytes: QUOTED_BYTES } as const
    s.ipvsadm('-e -t $V1:80 -r $R1 -i --tun-type gre --tun-csum')
    s.icmpError({ ...about, icmp: ERRORS[1] })
    flow.send('A')
    s.icmpError({ ...about, icmp: ERRORS[1] })
    s.ipvsadm('-e -t $V1:80 -r $R1 -g')
    s.icmpError({ ...about, icmp: ERRORS[1] })
    s.ipvsadm('-d -t $V1:80 -r $R1')
    s.icmpError({ ...about, icmp: ERRORS[1] })
    s.list()
    s.connections()
  }),

  scenario('tunnels, GRE: real HTTP requests, taken apart by the kernel', (s) => {
    s.service('-t $V1:80 -s rr', '-r $S -i --tun-type gre --tun-nocsum')
    s.realClients('$V1', 4)
    s.list()
    s.connections()
  }),

  scenario('tunnels, GUE: real HTTP requests, taken apart by the kernel', (s) => {
    s.service('-t $V1:80 -s rr', `-r $S ${GUE} --tun-csum`)
    s.realClients('$V1', 4)
    s.list()
    s.connections()
  }),

  scenario(
    'tunnels, GUE with remote checksum: real HTTP requests, taken apart by the kernel',
    (s) => {
      s.service('-t $V1:80 -s rr', `-r $S ${GUE} --tun-remcsum`)
      s.realClients('$V1', 4)
      s.list()
      s.connections()
    },
  ),
]
