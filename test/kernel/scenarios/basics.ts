/** One scenario for each thing a director does: what `npm test` runs. */
import { scenario } from '../language.js'

export const BASICS = [
  scenario('rr, NAT: a TCP connection from SYN to the end', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m', '-r $R2:8080 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.send('S')
    s.connections()
    c.answer('SA')
    s.connections()
    c.send('A')
    s.connections()
    c.send('PA', { payload: 'GET / HTTP/1.0' })
    c.answer('PA', { payload: 'HTTP/1.0 200 OK and so on' })
    s.list()
    c.send('FA')
    s.connections()
    c.answer('FA')
    s.connections()
    c.send('A')
    s.connections()
    s.list()
    s.stats()
  }),

  scenario('wlc, DR: weights changed under load', (s) => {
    s.service('-t $V1:80 -s wlc', '-r $R1 -g -w 1', '-r $R2 -g -w 2', '-r $R3 -g -w 3')
    for (let i = 1; i <= 8; i++) {
      const c = s.tcp(`$C${i}:40000`, '$V1:80')
      c.send('S')
      c.send('A')
    }
    s.list()
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -w 10')
    s.ipvsadm('-e -t $V1:80 -r $R3 -g -w 0')
    for (let i = 9; i <= 16; i++) s.tcp(`$C${i}:40000`, '$V1:80').send('S')
    s.list()
    s.connections()
  }),

  scenario('wrr, TUN: IPIP to the real servers', (s) => {
    s.service('-t $V1:80 -s wrr', '-r $R1 -i -w 2', '-r $R2 -i -w 1')
    for (let i = 1; i <= 4; i++) {
      const c = s.tcp(`$C${i}:40000`, '$V1:80')
      c.send('S', { ip: { trafficClass: 0x10 } })
      c.send('A')
      c.send('PA', { payload: 'hello', ip: { dontFragment: false } })
    }
    s.list()
    s.connections()
    s.stats()
  }),

  scenario('UDP: a connection and its end after five minutes', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m', '-r $R2:53 -m')
    const u = s.udp('$C1:5000', '$V1:53')
    u.send()
    u.answer()
    s.connections()
    s.wait(200)
    s.connections()
    s.wait(150)
    s.connections()
    s.list()
    u.send()
    u.answer()
    s.stats()
  }),

  scenario('persistence: a client stays, its network with a netmask', (s) => {
    s.service('-t $V1:80 -s rr -p 30', '-r $R1 -g', '-r $R2 -g')
    s.service('-t $V2:80 -s rr -p 30 -M 255.255.255.0', '-r $R1 -g', '-r $R2 -g')
    for (const virtual of ['$V1', '$V2']) {
      for (const client of [1, 2, 1]) {
        const c = s.tcp(`$C${client}:${40000 + s.steps.length}`, `${virtual}:80`)
        c.send('S')
      }
    }
    s.connections()
    s.ipvsadm('-L -n --persistent-conn')
    s.wait(100)
    s.connections()
    s.list()
  }),

  scenario('a destination removed and added again within two minutes', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m', '-r $R2:80 -m')
    const [a, b] = [s.tcp('$C1:40000', '$V1:80'), s.tcp('$C2:40000', '$V1:80')]
    a.open()
    b.open()
    s.ipvsadm('-d -t $V1:80 -r $R1:80')
    s.list()
    a.send('PA', { payload: 'to whom' })
    b.send('PA', { payload: 'to whom' })
    s.connections()
    s.wait(20)
    s.ipvsadm('-a -t $V1:80 -r $R1:80 -m')
    s.list()
    a.send('PA', { payload: 'and now' })
    b.send('PA', { payload: 'and now' })
    s.tcp('$C3:40000', '$V1:80').send('S')
    s.list()
    s.stats()
  }),

  scenario('IPv6, NAT: TCP and UDP', (s) => {
    s.service('-t [$V1v6]:80 -s rr', '-r [$R1v6]:80 -m', '-r [$R2v6]:8080 -m')
    s.service('-u [$V1v6]:53 -s rr', '-r [$R3v6]:53 -m')
    const c = s.tcp('[$C1v6]:40000', '[$V1v6]:80')
    c.open()
    c.send('PA', { payload: 'hello' })
    c.answer('PA', { payload: 'hello yourself' })
    const u = s.udp('[$C2v6]:5000', '[$V1v6]:53')
    u.send()
    u.answer()
    s.list()
    s.connections()
    c.close()
    s.connections()
    s.stats()
  }),

  scenario('errors of ipvsadm', (s) => {
    s.ipvsadm('-A -t $V1:80 -s rr')
    for (const line of [
      '-A -t $V1:80',
      '-A -t $V1:99999',
      '-A -t $V1:80 -s nothing',
      '-A -u $V1:53 -p 0',
      '-E -t $V2:80 -s rr',
      '-D -t $V2:80',
      '-a -t $V2:80 -r $R1',
      '-a -t $V1:80',
      '-a -t $V1:80 -r $R1 -w -1',
      '-a -t $V1:80 -r $R1 -x 1 -y 2',
      '-a -t $V1:80 -r $R1:90 -g',
      '-a -t $V1:80 -r [$R1v6]:80 -m',
      '-d -t $V1:80 -r $R1',
      '-e -t $V1:80 -r $R2',
      '-L -t $V2:80',
      '-L -n -Z',
      '-Z -t $V2:80',
      '-X',
      '--nothing',
      '--set 1 2',
      '-L -n',
    ]) {
      s.ipvsadm(line)
    }
  }),

  scenario('--set changes the timers of what comes after', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g')
    s.service('-u $V1:53 -s rr', '-r $R1 -g')
    s.ipvsadm('-L --timeout')
    const before = s.tcp('$C1:40000', '$V1:80')
    before.send('S')
    before.send('A')
    s.ipvsadm('--set 60 20 30')
    s.ipvsadm('-L --timeout')
    const after = s.tcp('$C2:40000', '$V1:80')
    after.send('S')
    after.send('A')
    s.udp('$C3:5000', '$V1:53').send()
    s.connections()
    after.send('FA')
    s.connections()
    s.wait(35)
    s.connections()
    before.send('A')
    s.connections()
    s.ipvsadm('--set 0 0 40')
    s.ipvsadm('-L --timeout')
  }),

  scenario('sh: the client chooses, with and without its port', (s) => {
    const servers = ['-r $R1 -g -w 1', '-r $R2 -g -w 2', '-r $R3 -g -w 0', '-r $R4 -g']
    s.service('-t $V1:80 -s sh', ...servers)
    s.service('-t $V2:80 -s sh -b sh-port,sh-fallback', ...servers)
    s.list()
    for (let i = 1; i <= 10; i++) {
      s.tcp(`$C${i}:${40000 + i}`, '$V1:80').send('S')
      s.tcp(`$C${i}:${40000 + i}`, '$V2:80').send('S')
    }
    s.list()
  }),

  scenario('ICMP errors about a NAT connection, from both sides', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m')
    const u = s.udp('$C1:5000', '$V1:53')
    u.send()
    u.answer()
    const about = { flow: u, quotedBytes: 28 }
    s.icmpError({ ...about, from: 'server', source: '$R1', icmp: { type: 3, code: 3 } })
    s.icmpError({ ...about, from: 'client', source: '$C1', icmp: { type: 3, code: 3 } })
    s.connections()
    s.stats()
  }),

  scenario('no connection: segments other than SYN, no service, no destination', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    s.service('-t $V2:80 -s rr')
    s.service('-u $V2:53 -s rr')
    s.tcp('$C1:40000', '$V1:80').send('A')
    s.tcp('$C2:40000', '$V1:80').send('R')
    s.tcp('$C3:40000', '$V2:80').send('S')
    s.udp('$C4:5000', '$V2:53').send()
    s.connections()
    s.stats()
  }),

  scenario('TUN to a real server with tunl0: real HTTP requests', (s) => {
    s.service('-t $V1:80 -s rr', '-r $S -i')
    s.realClients('$V1', 5)
    s.list()
    s.connections()
  }),
]
