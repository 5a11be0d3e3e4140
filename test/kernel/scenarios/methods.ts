/** The forwarding methods: what of a packet is rewritten, wrapped, refused (spec 5.5, 5.6). */
import { scenario } from '../language.js'

/** TCP payloads that make packets of 1500, 1480 (what an IPIP tunnel carries) and 1481 bytes. */
const FULL = 'x'.repeat(1460)
const TUNNEL_FULL = 'x'.repeat(1440)
const TUNNEL_OVER = 'x'.repeat(1441)
/** Router alert, RFC 2113; and a timestamp nobody fills in. */
const ROUTER_ALERT = Uint8Array.of(0x94, 0x04, 0x00, 0x00)
const NO_OPERATIONS = Uint8Array.of(1, 1, 1, 0)

export const METHODS = [
  scenario('NAT: ports translated, several destinations, both directions', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -m', '-r $R2:80 -m', '-r $R3:65535 -m')
    for (let i = 1; i <= 4; i++) {
      const c = s.tcp(`$C${i}:${40000 + i}`, '$V1:80')
      c.open()
      c.send('PA', { payload: 'question' })
      c.answer('PA', { payload: 'answer number ' + 'y'.repeat(i) })
    }
    s.connections()
    s.stats()
  }),

  scenario('NAT: full-sized segments, TCP options, windows, urgent data', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    const mss = Uint8Array.of(2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 1, 1)
    c.send('S', { tcp: { options: mss, window: 64240 } })
    c.answer('SA', { tcp: { options: mss, window: 65160 } })
    c.send('A')
    c.send('A', { payload: FULL })
    c.send('PAU', { payload: 'odd', tcp: { urgent: 3, window: 1 } })
    c.answer('A', { payload: FULL })
    c.answer('PAEC', { payload: 'z', tcp: { window: 0 } })
    s.stats()
  }),

  scenario('NAT: UDP with and without checksum, empty and full-sized', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:5353 -m')
    const u = s.udp('$C1:5000', '$V1:53')
    u.send()
    u.answer()
    u.send('')
    u.answer('')
    u.send('q'.repeat(1472))
    u.answer('a'.repeat(1472))
    s.fromClient({
      ip: { source: '$C2', destination: '$V1', identification: 50_001 },
      udp: { source: 5000, destination: 53, checksum: 0 },
      payload: 'no checksum',
    })
    s.fromServer(1, {
      ip: { source: '$R1', destination: '$C2', identification: 50_002 },
      udp: { source: 5353, destination: 5000, checksum: 0 },
      payload: 'none either',
    })
    s.connections()
    s.stats()
  }),

  scenario('NAT: wrong checksums stay wrong', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -m')
    s.service('-u $V1:53 -s rr', '-r $R1:5353 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.send('S', { tcp: { checksum: 0x1234 } })
    c.answer('SA', { tcp: { checksum: 0x4321 } })
    s.fromClient({
      ip: { source: '$C2', destination: '$V1', identification: 50_001 },
      udp: { source: 5000, destination: 53, checksum: 0x1234 },
      payload: 'wrong',
    })
    s.connections()
  }),

  scenario('IP options travel along: NAT, DR, TUN', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -m')
    s.service('-t $V2:80 -s rr', '-r $R2 -g')
    s.service('-t $V3:80 -s rr', '-r $R3 -i')
    for (const n of [3, 2, 1]) {
      const c = s.tcp(`$C${n}:40000`, `$V${n}:80`)
      c.send('S', { ip: { options: ROUTER_ALERT } })
      c.send('A', { ip: { options: NO_OPERATIONS }, payload: 'data' })
    }
    s.tcp('$C1:40000', '$V1:80').answer('SA', { ip: { options: ROUTER_ALERT } })
    s.stats()
  }),

  scenario('TTL 1 and 2: NAT, DR, TUN', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -m')
    s.service('-t $V2:80 -s rr', '-r $R2 -g')
    s.service('-t $V3:80 -s rr', '-r $R3 -i')
    for (const n of [1, 2, 3]) {
      const c = s.tcp(`$C${n}:40000`, `$V${n}:80`)
      c.send('S', { ip: { ttl: 1 } })
      c.send('S', { ip: { ttl: 2 } })
      c.send('A', { ip: { ttl: 1 }, payload: 'too far' })
    }
    const answered = s.tcp('$C1:40000', '$V1:80')
    answered.answer('SA', { ip: { ttl: 2 } })
    answered.answer('A', { ip: { ttl: 1 }, payload: 'too far' })
    s.connections()
    s.stats()
  }),

  scenario('IPv6, hop limit 1 and 2: NAT, DR, TUN', (s) => {
    s.service('-t [$V1v6]:80 -s rr', '-r [$R1v6]:8080 -m')
    s.service('-t [$V2v6]:80 -s rr', '-r [$R2v6]:80 -g')
    s.service('-t [$V3v6]:80 -s rr', '-r [$R3v6]:80 -i')
    for (const n of [1, 2, 3]) {
      const c = s.tcp(`[$C${n}v6]:40000`, `[$V${n}v6]:80`)
      c.send('S', { ip: { ttl: 1 } })
      c.send('S', { ip: { ttl: 2 } })
      c.send('A', { ip: { ttl: 1 }, payload: 'too far' })
    }
    const answered = s.tcp('[$C1v6]:40000', '[$V1v6]:80')
    answered.answer('SA', { ip: { ttl: 2 } })
    answered.answer('A', { ip: { ttl: 1 }, payload: 'too far' })
    s.connections()
  }),

  scenario('TOS and ECN: kept by NAT and DR, copied into the outer header by TUN', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m')
    s.service('-u $V2:53 -s rr', '-r $R2 -g')
    s.service('-u $V3:53 -s rr', '-r $R3 -i')
    for (const trafficClass of [0xb8, 0xb9, 0xba, 0xbb, 0x03]) {
      for (const n of [1, 2, 3]) {
        s.udp(`$C${n}:5000`, `$V${n}:53`).send('tos', { ip: { trafficClass } })
      }
    }
    s.udp('$C1:5000', '$V1:53').answer('tos', { ip: { trafficClass: 0xbb } })
  }),

  scenario('IPv6, traffic class and flow label: NAT, DR, TUN', (s) => {
    s.service('-u [$V1v6]:53 -s rr', '-r [$R1v6]:53 -m')
    s.service('-u [$V2v6]:53 -s rr', '-r [$R2v6]:53 -g')
    s.service('-u [$V3v6]:53 -s rr', '-r [$R3v6]:53 -i')
    for (const trafficClass of [0xb8, 0xb9, 0xba, 0xbb]) {
      for (const n of [1, 2, 3]) {
        const ip = { trafficClass, flowLabel: 0x12345 }
        s.udp(`[$C${n}v6]:5000`, `[$V${n}v6]:53`).send('class', { ip })
      }
    }
    s.udp('[$C1v6]:5000', '[$V1v6]:53').answer('class', { ip: { trafficClass: 0x2e } })
  }),

  scenario('TUN, MTU: DF set, at the limit and above it', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -i')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.send('S')
    c.send('A')
    c.send('A', { payload: TUNNEL_FULL })
    c.send('A', { payload: TUNNEL_OVER })
    c.send('A', { payload: FULL })
    s.connections()
    s.stats()
  }),

  scenario('TUN, MTU: DF clear, what is too long leaves in fragments', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -i')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.send('S')
    const ip = { dontFragment: false }
    c.send('A', { ip, payload: TUNNEL_FULL })
    c.send('A', { ip, payload: TUNNEL_OVER })
    c.send('A', { ip, payload: FULL })
    s.stats()
  }),

  scenario('TUN, pmtu_disc 0: DF is not copied and nothing is refused', (s) => {
    s.sysctl('pmtu_disc', 0)
    s.service('-t $V1:80 -s rr', '-r $R1 -i')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.send('S')
    c.send('A', { payload: TUNNEL_FULL })
    c.send('A', { payload: FULL })
    c.send('A', { ip: { dontFragment: false }, payload: FULL })
    s.stats()
  }),

  scenario('TUN, MTU, UDP: too long for the first packet of a connection', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1 -i')
    s.udp('$C1:5000', '$V1:53').send('q'.repeat(1472))
    s.udp('$C2:5000', '$V1:53').send('q'.repeat(1452))
    s.connections()
    s.stats()
  }),

  scenario('IPv6, TUN, MTU: packet too big', (s) => {
    s.service('-t [$V1v6]:80 -s rr', '-r [$R1v6]:80 -i')
    const c = s.tcp('[$C1v6]:40000', '[$V1v6]:80')
    c.send('S')
    c.send('A', { payload: 'x'.repeat(1400) })
    c.send('A', { payload: 'x'.repeat(1401) })
    c.send('A', { payload: 'x'.repeat(1440) })
    s.connections()
    s.stats()
  }),

  scenario('IPv6, TUN: TCP and UDP', (s) => {
    s.service('-t [$V1v6]:80 -s rr', '-r [$R1v6]:80 -i', '-r [$R2v6]:80 -i')
    s.service('-u [$V1v6]:53 -s rr', '-r [$R3v6]:53 -i')
    for (let i = 1; i <= 3; i++) {
      const c = s.tcp(`[$C${i}v6]:40000`, '[$V1v6]:80')
      c.send('S')
      c.send('A')
      c.send('PA', { payload: 'hello' })
    }
    s.udp('[$C1v6]:5000', '[$V1v6]:53').send()
    s.connections()
    s.stats()
  }),

  scenario('IPv6, DR: TCP and UDP', (s) => {
    s.service('-t [$V1v6]:80 -s rr', '-r [$R1v6]:80 -g', '-r [$R2v6]:80 -g')
    s.service('-u [$V1v6]:53 -s rr', '-r [$R3v6]:53 -g')
    for (let i = 1; i <= 3; i++) {
      const c = s.tcp(`[$C${i}v6]:40000`, '[$V1v6]:80')
      c.send('S')
      c.send('A')
      c.send('PA', { payload: 'x'.repeat(1440) })
    }
    s.udp('[$C1v6]:5000', '[$V1v6]:53').send()
    s.connections()
    s.stats()
  }),

  scenario('mixed families: IPv6 through an IPv4 tunnel and IPv4 through an IPv6 one', (s) => {
    s.service('-t $V1:80 -s rr', '-r [$R1v6]:80 -i')
    s.service('-t [$V1v6]:80 -s rr', '-r $R2:80 -i')
    s.list()
    const four = s.tcp('$C1:40000', '$V1:80')
    four.send('S', { ip: { trafficClass: 0x03 } })
    four.send('A', { payload: 'x'.repeat(1420) })
    four.send('A', { payload: 'x'.repeat(1421) })
    const six = s.tcp('[$C1v6]:40000', '[$V1v6]:80')
    six.send('S', { ip: { trafficClass: 0x03 } })
    six.send('A', { payload: 'x'.repeat(1420) })
    six.send('A', { payload: 'x'.repeat(1421) })
    s.connections()
    s.stats()
  }),

  scenario('DR: the port of the service, whatever the destination says', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -g', '-r $R2 -g')
    s.service('-u $V1:53 -s rr', '-r $R3 -g')
    s.list()
    for (let i = 1; i <= 2; i++) {
      const c = s.tcp(`$C${i}:40000`, '$V1:80')
      c.send('S')
      c.send('A', { payload: FULL })
    }
    s.udp('$C1:5000', '$V1:53').send('q'.repeat(1472), { ip: { dontFragment: false } })
    s.connections()
    s.stats()
  }),

  scenario('one service, three methods; the method changed for what comes later', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m', '-r $R2 -g', '-r $R3 -i')
    const flows = [1, 2, 3].map((i) => s.tcp(`$C${i}:40000`, '$V1:80'))
    for (const flow of flows) flow.send('S')
    // Not to DR: the kernel would send along the route that an old connection has left in the
    // destination's cache, and on that it asks the link for the virtual address.
    s.ipvsadm('-e -t $V1:80 -r $R1:80 -i')
    s.ipvsadm('-e -t $V1:80 -r $R2:80 -m')
    s.ipvsadm('-e -t $V1:80 -r $R3:80 -m')
    s.list()
    for (const flow of flows) flow.send('A')
    for (let i = 4; i <= 6; i++) s.tcp(`$C${i}:40000`, '$V1:80').send('S')
    s.connections()
  }),

  scenario('a port of a virtual address without service, and other protocols', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    s.tcp('$C1:40000', '$V1:81').send('S')
    s.tcp('$C1:40000', '$V1:81').send('A')
    s.udp('$C1:5000', '$V1:80').send()
    s.tcp('$C1:40000', '$V2:80').send('S')
    s.fromClient({
      ip: { source: '$C1', destination: '$V1', identification: 50_001, protocol: 47 },
      payload: 'a protocol nobody speaks',
    })
    s.connections()
    s.stats()
  }),

  scenario('replies of a real server that belong to no connection', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    const ip = { source: '$R1', destination: '$C1', identification: 50_001, dontFragment: true }
    s.fromServer(1, { ip, tcp: { source: 80, destination: 40000, flags: 'SA' } })
    s.fromServer(1, { ip, udp: { source: 53, destination: 5000 }, payload: 'answer' })
    const c = s.tcp('$C1:40000', '$V1:80')
    c.open()
    s.fromServer(1, { ip, tcp: { source: 80, destination: 40001, flags: 'PA' }, payload: 'lost' })
    s.fromServer(2, {
      ip: { ...ip, source: '$R2' },
      tcp: { source: 80, destination: 40000, flags: 'PA' },
      payload: 'not who was asked',
    })
    s.connections()
    s.stats()
  }),

  scenario('local node: a destination that is the director itself', (s) => {
    s.service('-t $V1:80 -s rr', '-r $D:81 -m')
    s.service('-t [$V1v6]:80 -s rr', '-r [$Dv6]:81 -m')
    s.list()
    s.tcp('$C1:40000', '$V1:80').send('S')
    s.tcp('[$C1v6]:40000', '[$V1v6]:80').send('S')
    s.connections()
    s.stats()
  }),

  scenario('local node: a datagram that nobody on the director listens for', (s) => {
    s.service('-u $V1:53 -s rr', '-r $D:54 -m')
    s.udp('$C1:5000', '$V1:53').send()
    s.connections()
    s.stats()
  }),

  scenario('TUN and DR: real HTTP requests beside a destination without weight', (s) => {
    s.service('-t $V1:80 -s wrr', '-r $S -i', '-r $R1 -g -w 0')
    s.list()
    s.realClients('$V1', 4)
    s.list()
    s.connections()
  }),

  scenario('removed destination: NAT, DR and TUN connections, packets of both sides', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    s.service('-t $V2:80 -s rr', '-r $R2 -g')
    s.service('-t $V3:80 -s rr', '-r $R3 -i')
    const flows = [1, 2, 3].map((n) => s.tcp(`$C${n}:40000`, `$V${n}:80`))
    for (const flow of flows) flow.send('S')
    s.ipvsadm('-d -t $V1:80 -r $R1:80')
    s.ipvsadm('-d -t $V2:80 -r $R2')
    s.ipvsadm('-D -t $V3:80')
    for (const flow of flows) flow.send('A', { payload: 'anyone' })
    flows[0].answer('SA')
    s.connections()
    s.list()
    s.tcp('$C4:40000', '$V3:80').send('S')
    s.ipvsadm('-A -t $V3:80 -s rr')
    s.ipvsadm('-a -t $V3:80 -r $R3 -i')
    flows[2].send('A', { payload: 'back' })
    s.connections()
  }),

  scenario('removed destination, expire_nodest_conn: NAT and UDP connections end', (s) => {
    s.sysctl('expire_nodest_conn', 1)
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    s.service('-u $V2:53 -s rr', '-r $R2 -g', '-r $R3 -i')
    const c = s.tcp('$C1:40000', '$V1:80')
    const flows = [2, 3].map((n) => s.udp(`$C${n}:5000`, '$V2:53'))
    c.open()
    for (const flow of flows) flow.send()
    s.ipvsadm('-d -t $V1:80 -r $R1:80')
    s.ipvsadm('-d -u $V2:53 -r $R2')
    c.send('PA', { payload: 'anyone' })
    for (const flow of flows) flow.send()
    s.wait(1)
    s.connections()
    s.list()
    s.stats()
  }),

  scenario('removed destination, expire_nodest_conn: a DR connection and its RST', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.send('S')
    c.send('A')
    s.ipvsadm('-d -t $V1:80 -r $R1')
    s.sysctl('expire_nodest_conn', 1)
    c.send('A')
    s.connections()
    s.wait(14)
    s.connections()
  }),
]
