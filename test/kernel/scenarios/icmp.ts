/** ICMP about connections, to virtual addresses, and from the director (spec sections 5.4, 5.7). */
import { type Builder, type FlowId, scenario } from '../language.js'
import type { Icmp, IpPacket } from '../../support/packet-builder.js'

/** Unreachable by network, host and port, fragmentation needed, quench, time exceeded. */
const ERRORS: readonly Icmp[] = [
  { type: 3, code: 0 },
  { type: 3, code: 1 },
  { type: 3, code: 3 },
  { type: 3, code: 4, rest: 1400 },
  { type: 4, code: 0 },
  { type: 11, code: 0 },
]
/** Unreachable by address and port, packet too big, hop limit, parameter problem. */
const ERRORS6: readonly Icmp[] = [
  { type: 1, code: 3 },
  { type: 1, code: 4 },
  { type: 2, code: 0, rest: 1400 },
  { type: 3, code: 0 },
  { type: 4, code: 0, rest: 40 },
]
/** Not about another packet: redirect, router advertisement, parameter problem. */
const NOT_CONSIDERED: readonly Icmp[] = [
  { type: 5, code: 1 },
  { type: 12, code: 0 },
]
const ROUTER = '198.18.0.77'
const ROUTER6 = '2001:db8::77'
/** IPv4 or IPv6 header and eight bytes of what follows, RFC 792 and more than it. */
const QUOTED_BYTES = 28
const QUOTED_BYTES6 = 48

/**
 * A router tells the virtual address that a reply to the client did not arrive. DR and TUN real
 * servers reply past the director, so the quoted packet is written down here.
 */
function aboutReply(flow: FlowId, icmp: Icmp, identification: number): IpPacket {
  const { client, virtual, protocol } = flow
  const isV4 = !client.address.includes('v6')
  const ports = { source: virtual.port, destination: client.port }
  return {
    ip: { source: isV4 ? ROUTER : ROUTER6, destination: virtual.address, identification },
    icmp,
    inner: {
      ip: { source: virtual.address, destination: client.address, identification: 7 },
      ...(protocol === 'tcp' ? { tcp: { ...ports, flags: 'PA' } } : { udp: ports }),
      payload: 'reply',
    },
  }
}

/** All errors about the replies of a flow. */
function complain(s: Builder, flow: FlowId, errors: readonly Icmp[]): void {
  for (const [i, icmp] of errors.entries()) s.fromClient(aboutReply(flow, icmp, 50_001 + i))
}

/** An echo request, RFC 792 and RFC 4443 section 4. */
function echo(source: string, destination: string): IpPacket {
  const type = source.endsWith('v6') ? 128 : 8
  const icmp = { type, code: 0, rest: 0x0007_0001 }
  return { ip: { source, destination, identification: 50_001 }, icmp, payload: 'anyone there' }
}

export const ICMP = [
  scenario('NAT, TCP: every ICMP error from the side of the real server', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.open()
    const about = { flow: c, from: 'server', quotedBytes: QUOTED_BYTES } as const
    for (const icmp of [...ERRORS, ...NOT_CONSIDERED])
      s.icmpError({ ...about, source: '$R1', icmp })
    s.icmpError({ ...about, source: '198.18.1.77', icmp: ERRORS[1] })
    s.connections()
    s.stats()
  }),

  scenario('NAT, TCP: every ICMP error from the side of the client', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.open()
    c.answer('PA', { payload: 'answer' })
    const about = { flow: c, from: 'client', quotedBytes: QUOTED_BYTES } as const
    for (const icmp of [...ERRORS, ...NOT_CONSIDERED])
      s.icmpError({ ...about, source: '$C1', icmp })
    s.icmpError({ ...about, source: ROUTER, icmp: ERRORS[3] })
    s.connections()
    s.stats()
  }),

  scenario('NAT: how much an ICMP error quotes', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -m')
    s.service('-u $V1:53 -s rr', '-r $R1:5353 -m')
    const [c, u] = [s.tcp('$C1:40000', '$V1:80'), s.udp('$C1:5000', '$V1:53')]
    c.open()
    c.answer('PA', { payload: 'answer' })
    u.send()
    u.answer()
    for (const flow of [c, u]) {
      for (const quotedBytes of [8, 20, 24, 28, 40, 1000]) {
        s.icmpError({ flow, from: 'server', source: '$R1', icmp: ERRORS[2], quotedBytes })
        s.icmpError({ flow, from: 'client', source: '$C1', icmp: ERRORS[2], quotedBytes })
      }
    }
    s.stats()
  }),

  scenario('NAT, UDP: port unreachable, the timer is not touched', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:5353 -m')
    const u = s.udp('$C1:5000', '$V1:53')
    u.send()
    s.wait(100)
    const about = { flow: u, quotedBytes: QUOTED_BYTES, icmp: ERRORS[2] }
    s.icmpError({ ...about, from: 'server', source: '$R1' })
    s.connections()
    u.answer()
    s.wait(100)
    s.icmpError({ ...about, from: 'client', source: '$C1' })
    s.connections()
    s.stats()
  }),

  scenario('NAT: TTL 1 and wrong checksums of ICMP errors', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:5353 -m')
    const u = s.udp('$C1:5000', '$V1:53')
    u.send()
    u.answer()
    const error = aboutReply(u, ERRORS[2], 50_001)
    s.fromClient(error)
    s.fromClient({ ...error, ip: { ...error.ip, ttl: 1 } })
    s.fromClient({ ...error, icmp: { ...ERRORS[2], checksum: 0x1234 } })
    s.stats()
  }),

  scenario('IPv6, NAT: every ICMPv6 error from both sides', (s) => {
    s.service('-t [$V1v6]:80 -s rr', '-r [$R1v6]:8080 -m')
    s.service('-u [$V1v6]:53 -s rr', '-r [$R1v6]:5353 -m')
    const c = s.tcp('[$C1v6]:40000', '[$V1v6]:80')
    const u = s.udp('[$C1v6]:5000', '[$V1v6]:53')
    c.open()
    c.answer('PA', { payload: 'answer' })
    u.send()
    u.answer()
    for (const flow of [c, u]) {
      const about = { flow, quotedBytes: QUOTED_BYTES6 }
      for (const icmp of ERRORS6) {
        s.icmpError({ ...about, icmp, from: 'server', source: '$R1v6' })
        s.icmpError({ ...about, icmp, from: 'client', source: '$C1v6' })
      }
    }
    s.connections()
    s.stats()
  }),

  scenario('DR: ICMP errors about replies go to the real server', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g')
    s.service('-u $V1:53 -s rr', '-r $R2 -g')
    const [c, u] = [s.tcp('$C1:40000', '$V1:80'), s.udp('$C1:5000', '$V1:53')]
    c.send('S')
    c.send('A')
    u.send()
    complain(s, c, [...ERRORS, ...NOT_CONSIDERED])
    complain(s, u, ERRORS)
    complain(s, s.tcp('$C2:40000', '$V1:80'), [ERRORS[2]])
    s.connections()
    s.stats()
  }),

  scenario('TUN: ICMP errors about replies are sent into the tunnel', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -i')
    s.service('-u $V1:53 -s rr', '-r $R2 -i')
    const [c, u] = [s.tcp('$C1:40000', '$V1:80'), s.udp('$C1:5000', '$V1:53')]
    c.send('S')
    c.send('A')
    u.send()
    complain(s, c, ERRORS)
    complain(s, u, ERRORS)
    s.connections()
    s.stats()
  }),

  scenario('IPv6, DR and TUN: ICMPv6 errors about replies', (s) => {
    s.service('-t [$V1v6]:80 -s rr', '-r [$R1v6]:80 -g')
    s.service('-t [$V2v6]:80 -s rr', '-r [$R2v6]:80 -i')
    for (const virtual of ['[$V1v6]:80', '[$V2v6]:80']) {
      const c = s.tcp('[$C1v6]:40000', virtual)
      c.send('S')
      complain(s, c, ERRORS6)
    }
    s.connections()
    s.stats()
  }),

  scenario('DR: ICMP errors of the real server to the client pass through', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1 -g')
    const u = s.udp('$C1:5000', '$V1:53')
    u.send()
    const about = { flow: u, from: 'server', quotedBytes: QUOTED_BYTES } as const
    for (const icmp of ERRORS) s.icmpError({ ...about, source: '$R1', icmp })
    s.connections()
    s.stats()
  }),

  scenario('an ICMP error about a connection whose destination was removed', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.open()
    c.answer('PA', { payload: 'answer' })
    s.ipvsadm('-d -t $V1:80 -r $R1:8080')
    const about = { flow: c, quotedBytes: QUOTED_BYTES, icmp: ERRORS[2] }
    s.icmpError({ ...about, from: 'server', source: '$R1' })
    s.icmpError({ ...about, from: 'client', source: '$C1' })
    s.connections()
  }),

  scenario('echo requests to virtual addresses are the host its own business', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    s.service('-t [$V1v6]:80 -s rr', '-r [$R1v6]:80 -m')
    s.fromClient(echo('$C1', '$V1'))
    s.fromClient(echo('$C1', '$V2'))
    s.fromClient(echo('$C1v6', '$V1v6'))
    s.stats()
  }),

  scenario('no destination available: TCP, UDP, IPv6', (s) => {
    s.service('-t $V1:80 -s rr')
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m -w 0')
    s.service('-t [$V1v6]:80 -s rr')
    s.service('-u [$V1v6]:53 -s wlc', '-r [$R1v6]:53 -m -w 0')
    s.tcp('$C1:40000', '$V1:80').send('S')
    s.tcp('$C1:40000', '$V1:80').send('A')
    s.udp('$C1:5000', '$V1:53').send()
    s.udp('$C1:5000', '$V1:53').send('q'.repeat(1000))
    s.tcp('[$C1v6]:40000', '[$V1v6]:80').send('S')
    s.udp('[$C1v6]:5000', '[$V1v6]:53').send()
    s.udp('[$C1v6]:5000', '[$V1v6]:53').send('q'.repeat(1300))
    s.connections()
    s.stats()
  }),

  scenario('no destination available: thresholds reached, weights brought back', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g -x 1')
    s.tcp('$C1:40000', '$V1:80').send('S')
    s.tcp('$C2:40000', '$V1:80').send('S')
    s.ipvsadm('-a -t $V1:80 -r $R2 -g -w 0')
    s.tcp('$C2:40000', '$V1:80').send('S')
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 1')
    s.tcp('$C2:40000', '$V1:80').send('S')
    s.list()
    s.stats()
  }),

  scenario('source port 20 is not scheduled', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m')
    s.tcp('$C1:20', '$V1:80').send('S')
    s.udp('$C1:20', '$V1:53').send()
    s.connections()
    s.stats()
  }),

  scenario('no neighbour: what clients of a real server hear that is not there', (s) => {
    s.service('-t $V1:80 -s rr', '-r 198.18.1.200:8080 -m')
    s.service('-u $V1:53 -s rr', '-r 198.18.1.201:53 -g')
    s.service('-t [$V1v6]:80 -s rr', '-r [2001:db8:1::c8]:8080 -m')
    for (const flow of [s.tcp('$C1:40000', '$V1:80'), s.tcp('[$C1v6]:40000', '[$V1v6]:80')]) {
      flow.send('S')
      s.wait(5)
    }
    s.udp('$C1:5000', '$V1:53').send()
    s.wait(5)
    s.connections()
    s.stats()
  }),
]
