/**
 * Persistence: which template a connection follows, how long templates live, and what becomes of
 * them when destinations are quiesced or removed. `--set` makes connections short, so that it is
 * the templates whose end is seen.
 */
import { type Builder, scenario } from '../language.js'

/** A connection that has been opened; direct routing needs no answers. */
function opened(s: Builder, client: string, virtual = '$V1:80') {
  const c = s.tcp(client, virtual)
  c.send('S')
  c.send('A')
  return c
}

function syns(s: Builder, virtual: string, ...ends: readonly string[]): void {
  for (const client of ends) s.tcp(client, virtual).send('S')
}

const TWO = ['-r $R1 -g', '-r $R2 -g']
const THREE = [...TWO, '-r $R3 -g']

const TEMPLATES = [
  scenario('persistence: the template ends after its last connection', (s) => {
    s.ipvsadm('--set 0 0 3')
    s.service('-u $V1:53 -s rr -p 8', ...THREE)
    s.udp('$C1:5000', '$V1:53').send()
    s.connections()
    s.wait(5)
    s.connections()
    s.udp('$C1:5001', '$V1:53').send()
    s.connections()
    s.wait(12)
    s.connections()
    s.list()
    s.udp('$C1:5002', '$V1:53').send()
    s.connections()
  }),

  scenario('persistence: packets of a connection leave the template alone', (s) => {
    s.service('-u $V1:53 -s rr -p 20', '-r $R1:53 -m', '-r $R2:53 -m')
    const u = s.udp('$C1:5000', '$V1:53')
    u.send()
    s.wait(8)
    u.send()
    u.answer()
    s.connections()
    s.udp('$C1:5001', '$V1:53').send()
    s.connections()
  }),

  scenario('persistence: a template outlives its time in steps of a minute', (s) => {
    s.service('-t $V1:80 -s rr -p 4', ...TWO)
    const c = opened(s, '$C1:40000')
    s.wait(7)
    s.connections()
    opened(s, '$C1:40001').send('R')
    s.connections()
    c.send('R')
    s.wait(12)
    s.connections()
    s.wait(58)
    s.connections()
    syns(s, '$V1:80', '$C1:40002')
    s.connections()
  }),

  scenario('persistence: another timeout is that of later templates', (s) => {
    s.service('-t $V1:80 -s rr -p 30', ...TWO)
    syns(s, '$V1:80', '$C1:40000')
    s.ipvsadm('-E -t $V1:80 -s rr -p 100')
    syns(s, '$V1:80', '$C1:40001', '$C2:40000')
    s.connections()
    s.ipvsadm('-E -t $V1:80 -s rr')
    syns(s, '$V1:80', '$C1:40002', '$C1:40003')
    s.list()
    s.ipvsadm('-E -t $V1:80 -s rr -p')
    syns(s, '$V1:80', '$C1:40004', '$C3:40000')
    s.list()
    s.connections()
  }),

  scenario('persistence: masquerading and tunnels', (s) => {
    s.service('-t $V1:80 -s rr -p 30', '-r $R1:8080 -m', '-r $R2:80 -m')
    s.service('-t $V2:80 -s rr -p 30', '-r $R1 -i', '-r $R2 -i')
    for (const port of [40000, 40001]) {
      for (const n of [1, 2]) s.tcp(`$C${n}:${port}`, '$V1:80').open()
      for (const n of [1, 2]) opened(s, `$C${n}:${port}`, '$V2:80')
    }
    s.list()
    s.ipvsadm('-L -n --persistent-conn')
    s.connections()
  }),

  scenario('persistence: listings of connections with templates', (s) => {
    s.service('-t $V1:80 -s wlc -p 60', ...THREE)
    s.service('-u $V1:53 -s wlc -p 60', ...THREE)
    syns(s, '$V1:80', '$C1:40000', '$C2:40000', '$C2:40001')
    s.udp('$C1:5000', '$V1:53').send()
    for (const options of ['', ' -c --sort', ' --thresholds']) {
      s.ipvsadm(`-L -n --persistent-conn${options}`)
    }
    s.ipvsadm('-L -n --persistent-conn -t $V1:80')
    s.ipvsadm('-L -n -c')
    s.ipvsadm('-S -n')
    s.stats()
  }),

  scenario('persistence: established connections assure the template', (s) => {
    s.service('-t $V1:80 -s rr -p 60', '-r $R1:80 -m', '-r $R2:80 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.send('S')
    s.connections()
    c.answer('SA')
    c.send('A')
    s.connections()
    c.close()
    s.connections()
    s.list()
  }),

  scenario('persistence, UDP: an answer assures the template', (s) => {
    s.service('-u $V1:53 -s rr -p 60', '-r $R1:53 -m', '-r $R2:53 -m')
    const u = s.udp('$C1:5000', '$V1:53')
    u.send()
    s.connections()
    u.answer()
    s.connections()
  }),

  scenario('persistence, UDP: one packet each', (s) => {
    s.service('-u $V1:53 -s rr -o -p 20', ...TWO)
    for (const client of ['$C1:5000', '$C1:5001', '$C2:5000', '$C1:5000']) {
      s.udp(client, '$V1:53').send()
    }
    s.connections()
    s.ipvsadm('-L -n --persistent-conn')
    s.stats()
  }),
]

const KEYS = [
  scenario('persistence: netmasks of several lengths', (s) => {
    s.service('-t $V1:80 -s rr -p 60 -M 255.255.255.0', ...THREE)
    s.service('-t $V2:80 -s rr -p 60 -M 255.255.255.252', ...THREE)
    s.service('-t $V3:80 -s rr -p 60 -M 255.255.255.255', ...THREE)
    for (const n of [1, 2, 3, 4]) {
      const ends = [1, 2, 4, 5, 130].map((client) => `$C${client}:4000${n}`)
      if (n < 4) syns(s, `$V${n}:80`, ...ends)
    }
    s.ipvsadm('-L -n --persistent-conn')
    s.connections()
  }),

  scenario('persistence, IPv6: prefixes of 64 and 126 bits', (s) => {
    const servers = ['-r [$R1v6]:80 -g', '-r [$R2v6]:80 -g', '-r [$R3v6]:80 -g']
    s.service('-t [$V1v6]:80 -s rr -p 60 -M 64', ...servers)
    s.service('-t [$V2v6]:80 -s rr -p 60 -M 126', ...servers)
    s.service('-t [$V3v6]:80 -s rr -p 60', ...servers)
    for (const n of [1, 2, 3]) {
      syns(s, `[$V${n}v6]:80`, ...[1, 2, 4, 5, 200].map((client) => `[$C${client}v6]:40000`))
    }
    s.list()
    s.connections()
  }),

  scenario('persistence: the netmask changes with templates there', (s) => {
    s.service('-t $V1:80 -s rr -p 60', ...THREE)
    syns(s, '$V1:80', '$C1:40000', '$C2:40000')
    s.ipvsadm('-E -t $V1:80 -s rr -p 60 -M 255.255.255.0')
    syns(s, '$V1:80', '$C1:40001', '$C2:40001', '$C9:40001')
    s.list()
    s.ipvsadm('-E -t $V1:80 -s rr -p 60')
    syns(s, '$V1:80', '$C1:40002', '$C2:40002', '$C9:40002')
    s.connections()
  }),

  scenario('persistence: port 0, all ports of a client', (s) => {
    s.service('-t $V1:0 -s rr -p 60', '-r $R1:0 -g', '-r $R2:0 -g')
    syns(s, '$V1:80', '$C1:40000', '$C2:40000')
    syns(s, '$V1:443', '$C1:40001', '$C2:40001')
    syns(s, '$V1:8080', '$C3:40000', '$C1:40002')
    s.list()
    s.ipvsadm('-L -n --persistent-conn')
    s.connections()
  }),

  scenario('persistence: port 0, masqueraded, TCP and UDP', (s) => {
    s.service('-t $V1:0 -s rr -p 60', '-r $R1:0 -m', '-r $R2:0 -m')
    s.service('-u $V1:0 -s rr -p 60', '-r $R1:0 -m', '-r $R2:0 -m')
    for (const port of [80, 443]) {
      const c = s.tcp(`$C1:${40000 + port}`, `$V1:${port}`)
      c.open()
      const u = s.udp(`$C1:${50000 + port}`, `$V1:${port}`)
      u.send()
      u.answer()
    }
    s.connections()
    s.list()
  }),

  scenario('persistence: port 0, masqueraded, to real servers with ports', (s) => {
    s.service('-t $V1:0 -s rr -p 60', '-r $R1:8080 -m', '-r $R2:80 -m')
    for (const port of [80, 8080, 443]) {
      const c = s.tcp(`$C1:${40000 + port}`, `$V1:${port}`)
      c.open()
    }
    s.connections()
    s.list()
  }),

  scenario('persistence: port 0 beside a port of its own', (s) => {
    s.service('-t $V1:0 -s rr -p 60', '-r $R1:0 -g', '-r $R2:0 -g')
    s.service('-t $V1:80 -s rr -p 30', '-r $R3 -g', '-r $R4 -g')
    s.service('-t $V1:443 -s rr', '-r $R5 -g', '-r $R6 -g')
    for (const port of [80, 443, 22]) {
      syns(s, `$V1:${port}`, `$C1:${40000 + port}`, `$C2:${40000 + port}`, `$C1:${50000 + port}`)
    }
    s.connections()
    s.list()
  }),

  scenario('persistence: port 21 and the data connections', (s) => {
    s.service('-t $V1:21 -s rr -p 60', '-r $R1:21 -g', '-r $R2:21 -g')
    syns(s, '$V1:21', '$C1:40000', '$C2:40000')
    syns(s, '$V1:20', '$C1:40001')
    syns(s, '$V1:50000', '$C1:40002', '$C2:40002', '$C3:40002')
    s.connections()
    s.list()
  }),

  scenario('persistence: port 21 and the data connections, masqueraded', (s) => {
    s.service('-t $V1:21 -s rr -p 60', '-r $R1:21 -m', '-r $R2:2121 -m')
    for (const n of [1, 2]) s.tcp(`$C${n}:40000`, '$V1:21').open()
    for (const n of [1, 2]) s.tcp(`$C${n}:40001`, '$V1:50000').open()
    s.connections()
    s.list()
  }),

  scenario("port 21 without persistence: other ports are the host's", (s) => {
    s.service('-t $V1:21 -s rr', '-r $R1:21 -m')
    s.tcp('$C1:40000', '$V1:21').open()
    s.tcp('$C1:40001', '$V1:50000').send('S')
    s.tcp('$C1:40002', '$V1:20').send('S')
    s.connections()
  }),

  scenario('persistence: services of one address have templates of their own', (s) => {
    s.service('-t $V1:80 -s rr -p 60', ...TWO)
    s.service('-t $V1:443 -s rr -p 90', ...THREE)
    s.service('-u $V1:80 -s rr -p 30', ...TWO)
    syns(s, '$V1:443', '$C9:40000')
    for (const port of [40000, 40001]) {
      syns(s, '$V1:80', `$C1:${port}`)
      syns(s, '$V1:443', `$C1:${port}`)
      s.udp(`$C1:${port}`, '$V1:80').send()
    }
    s.connections()
    s.list()
  }),

  scenario('persistence with every kind of scheduler', (s) => {
    for (const [i, scheduler] of ['sh', 'wlc', 'lblc', 'dh'].entries()) {
      s.service(`-t $V${i + 1}:80 -s ${scheduler} -p 60`, ...THREE)
      syns(s, `$V${i + 1}:80`, '$C1:40000', '$C2:40000', '$C1:40001', '$C2:40001')
    }
    s.list()
    s.ipvsadm('-L -n --persistent-conn')
  }),
]

const DESTINATIONS = [
  scenario('persistence: a quiesced real server keeps its clients', (s) => {
    s.service('-t $V1:80 -s rr -p 60', ...TWO)
    syns(s, '$V1:80', '$C1:40000', '$C2:40000')
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 0')
    syns(s, '$V1:80', '$C1:40001', '$C2:40001', '$C3:40001')
    s.list()
    s.connections()
  }),

  scenario('persistence: expire_quiescent_template', (s) => {
    s.sysctl('expire_quiescent_template', 1)
    s.service('-t $V1:80 -s rr -p 60', ...TWO)
    const open = [opened(s, '$C1:40000'), opened(s, '$C2:40000')]
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 0')
    syns(s, '$V1:80', '$C1:40001', '$C2:40001', '$C3:40001')
    for (const c of open) c.send('PA', { payload: 'as before' })
    s.list()
    s.connections()
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 1')
    syns(s, '$V1:80', '$C1:40002', '$C2:40002', '$C4:40002')
    s.connections()
  }),

  scenario('persistence: expire_quiescent_template when all are quiesced', (s) => {
    s.sysctl('expire_quiescent_template', 1)
    s.service('-t $V1:80 -s rr -p 60', ...TWO)
    syns(s, '$V1:80', '$C1:40000')
    for (const n of [1, 2]) s.ipvsadm(`-e -t $V1:80 -r $R${n} -g -w 0`)
    syns(s, '$V1:80', '$C1:40001', '$C2:40001')
    s.connections()
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 1')
    syns(s, '$V1:80', '$C1:40002')
    s.connections()
  }),

  scenario('persistence: removed, and added again before anyone asks', (s) => {
    s.service('-t $V1:80 -s rr -p 90', ...TWO)
    const [a, b] = [opened(s, '$C1:40000'), opened(s, '$C2:40000')]
    s.ipvsadm('-d -t $V1:80 -r $R2')
    s.ipvsadm('-L -n --persistent-conn')
    a.send('PA', { payload: 'to whom' })
    s.ipvsadm('-a -t $V1:80 -r $R2 -g')
    s.ipvsadm('-L -n --persistent-conn')
    a.send('PA', { payload: 'and now' })
    b.send('PA', { payload: 'and now' })
    syns(s, '$V1:80', '$C1:40001', '$C2:40001')
    s.connections()
    s.list()
  }),

  scenario('persistence: removed, its clients go elsewhere and stay there', (s) => {
    s.service('-t $V1:80 -s rr -p 90', ...TWO)
    const [a, b] = [opened(s, '$C1:40000'), opened(s, '$C2:40000')]
    s.ipvsadm('-d -t $V1:80 -r $R2')
    syns(s, '$V1:80', '$C1:40001', '$C2:40001')
    s.connections()
    s.ipvsadm('-a -t $V1:80 -r $R2 -g')
    syns(s, '$V1:80', '$C1:40002', '$C2:40002', '$C3:40002')
    a.send('PA', { payload: 'and now' })
    b.send('PA', { payload: 'and now' })
    s.connections()
    s.ipvsadm('-L -n --persistent-conn')
  }),

  scenario('persistence: removed, and added again after it was forgotten', (s) => {
    s.ipvsadm('--set 0 0 2')
    s.service('-u $V1:53 -s rr -p 2', ...TWO)
    for (const n of [1, 2, 1]) s.udp(`$C${n}:5000`, '$V1:53').send()
    s.stats()
    s.ipvsadm('-d -u $V1:53 -r $R2')
    s.wait(250)
    s.ipvsadm('-a -u $V1:53 -r $R2 -g')
    s.list()
    s.stats()
    s.udp('$C1:5001', '$V1:53').send()
    s.connections()
  }),

  scenario('persistence: expire_nodest_conn takes the template along', (s) => {
    s.sysctl('expire_nodest_conn', 1)
    s.service('-t $V1:80 -s rr -p 90', ...TWO)
    const [a, b] = [opened(s, '$C1:40000'), opened(s, '$C2:40000')]
    syns(s, '$V1:80', '$C1:40001')
    s.ipvsadm('-d -t $V1:80 -r $R2')
    s.wait(1)
    s.connections()
    a.send('PA', { payload: 'to whom' })
    b.send('PA', { payload: 'to whom' })
    syns(s, '$V1:80', '$C1:40002', '$C2:40002')
    s.connections()
    s.list()
  }),

  scenario('persistence: a client keeps a real server that is full', (s) => {
    s.service('-t $V1:80 -s rr -p 60', '-r $R1 -g -x 2', '-r $R2 -g -x 2')
    syns(s, '$V1:80', '$C1:40000', '$C1:40001', '$C1:40002', '$C2:40000', '$C3:40000', '$C1:40003')
    syns(s, '$V1:80', '$C4:40000', '$C4:40001')
    s.list()
    s.connections()
  }),

  scenario('persistence: a template that has as long as its only connection', (s) => {
    s.ipvsadm('--set 0 0 60')
    s.service('-u $V1:53 -s rr -p 60', '-r $R1:53 -m', '-r $R2:53 -m')
    s.service('-t $V1:80 -s rr -p 60', '-r $R1:80 -m', '-r $R2:80 -m')
    const udp = s.udp('$C1:5000', '$V1:53')
    const tcp = s.tcp('$C1:40000', '$V1:80')
    for (let round = 0; round < 3; round++) {
      udp.send()
      tcp.send('S')
      s.connections()
      s.wait(75)
      s.connections()
    }
    s.stats()
  }),

  scenario('persistence: the service deleted and added again', (s) => {
    s.service('-t $V1:80 -s rr -p 60', ...TWO)
    const open = [opened(s, '$C1:40000'), opened(s, '$C2:40000')]
    s.ipvsadm('-D -t $V1:80')
    s.connections()
    s.service('-t $V1:80 -s rr -p 30', ...TWO)
    s.ipvsadm('-L -n --persistent-conn')
    for (const c of open) c.send('PA', { payload: 'still here' })
    syns(s, '$V1:80', '$C1:40001', '$C2:40001')
    s.connections()
    s.stats()
  }),
]

export const PERSISTENCE = [...TEMPLATES, ...KEYS, ...DESTINATIONS]
