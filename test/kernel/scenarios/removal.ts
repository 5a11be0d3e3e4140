/**
 * What becomes of connections whose destination or service is removed, edited, full or quiesced,
 * and when a new connection takes the place of an old one.
 */
import { type Builder, scenario } from '../language.js'

/** A connection that has been opened; direct routing needs no answers. */
function opened(s: Builder, client: string, virtual = '$V1:80') {
  const c = s.tcp(client, virtual)
  c.send('S')
  c.send('A')
  return c
}

function syns(s: Builder, ...ends: readonly string[]): void {
  for (const client of ends) s.tcp(client, '$V1:80').send('S')
}

/** Connections of earlier scenarios are gone, and the trash is empty: its timer is armed anew. */
function emptyTrash(s: Builder): void {
  s.wait(1300)
}

const TWO = ['-r $R1 -g', '-r $R2 -g']
const TWO_NAT = ['-r $R1:80 -m', '-r $R2:80 -m']

const REMOVED = [
  scenario('removed: answers of its real server still go to the client', (s) => {
    s.service('-t $V1:80 -s rr', ...TWO_NAT)
    const c = s.tcp('$C1:40000', '$V1:80')
    c.open()
    c.send('PA', { payload: 'question' })
    s.ipvsadm('-d -t $V1:80 -r $R2:80')
    c.answer('PA', { payload: 'answer' })
    c.send('A')
    c.answer('FA')
    s.connections()
    c.send('FA')
    s.connections()
    s.list()
  }),

  scenario('removed: expire_nodest_conn ends its connections', (s) => {
    s.sysctl('expire_nodest_conn', 1)
    s.service('-t $V1:80 -s rr', ...TWO)
    const [a, b] = [opened(s, '$C1:40000'), opened(s, '$C2:40000')]
    s.ipvsadm('-d -t $V1:80 -r $R2')
    s.wait(1)
    s.connections()
    a.send('PA', { payload: 'to whom' })
    b.send('PA', { payload: 'to whom' })
    a.send('S')
    s.ipvsadm('-a -t $V1:80 -r $R2 -g')
    s.list()
    s.connections()
  }),

  scenario('removed: expire_nodest_conn set afterwards ends them by their next packet', (s) => {
    s.service('-u $V1:53 -s rr', ...TWO_NAT.map((words) => words.replace(':80', ':53')))
    const [a, b] = [s.udp('$C1:5000', '$V1:53'), s.udp('$C2:5000', '$V1:53')]
    a.send()
    b.send()
    s.ipvsadm('-d -u $V1:53 -r $R2:53')
    a.send()
    s.connections()
    s.sysctl('expire_nodest_conn', 1)
    s.wait(1)
    s.connections()
    a.send()
    b.send()
    s.connections()
    s.list()
    s.stats()
  }),

  scenario(
    'removed: TCP packets of an ended connection, and a SYN, with expire_nodest_conn',
    (s) => {
      s.service('-t $V1:80 -s rr', ...TWO_NAT)
      const open = [1, 2, 3, 4].map((n) => opened(s, `$C${n}:40000`))
      s.ipvsadm('-d -t $V1:80 -r $R2:80')
      s.sysctl('expire_nodest_conn', 1)
      open[0].send('PA', { payload: 'middle' })
      open[2].send('S')
      open[1].send('PA', { payload: 'middle' })
      s.wait(1)
      s.connections()
      s.list()
    },
  ),

  scenario('removed and added again: connections and counters go on', (s) => {
    s.service('-t $V1:80 -s wlc', ...TWO)
    const open = [1, 2, 3, 4].map((n) => opened(s, `$C${n}:40000`))
    s.stats()
    s.ipvsadm('-d -t $V1:80 -r $R2')
    s.ipvsadm('-a -t $V1:80 -r $R2 -g -w 3')
    s.list()
    for (const c of open) c.send('PA', { payload: 'still here' })
    syns(s, '$C5:40000', '$C6:40000')
    s.list()
    s.stats()
  }),

  scenario('removed and added again with another method', (s) => {
    s.service('-t $V1:80 -s rr', ...TWO)
    const [a, b] = [opened(s, '$C1:40000'), opened(s, '$C2:40000')]
    s.ipvsadm('-d -t $V1:80 -r $R2')
    s.ipvsadm('-a -t $V1:80 -r $R2 -m')
    s.list()
    a.send('PA', { payload: 'as before' })
    b.send('PA', { payload: 'as before' })
    syns(s, '$C3:40000', '$C4:40000')
    s.connections()
    s.list()
  }),

  scenario('removed and added again with another port is another one', (s) => {
    s.service('-t $V1:80 -s rr', ...TWO_NAT)
    const c = s.tcp('$C1:40000', '$V1:80')
    c.open()
    s.ipvsadm('-d -t $V1:80 -r $R2:80')
    s.ipvsadm('-a -t $V1:80 -r $R2:8080 -m')
    c.send('PA', { payload: 'to whom' })
    syns(s, '$C2:40000', '$C3:40000')
    s.list()
    s.connections()
    s.stats()
  }),

  scenario('removed and forgotten: counters begin anew', (s) => {
    s.ipvsadm('--set 0 0 2')
    s.service('-u $V1:53 -s rr', ...TWO)
    for (const n of [1, 2, 3]) s.udp(`$C${n}:5000`, '$V1:53').send()
    s.stats()
    s.ipvsadm('-d -u $V1:53 -r $R2')
    s.wait(100)
    s.ipvsadm('-a -u $V1:53 -r $R2 -g')
    s.stats()
    s.ipvsadm('-d -u $V1:53 -r $R2')
    s.wait(250)
    s.ipvsadm('-a -u $V1:53 -r $R2 -g')
    s.stats()
  }),

  scenario('removed for 150 s: it comes back as it was; for 200 s: as a new one', (s) => {
    emptyTrash(s)
    s.ipvsadm('--set 0 0 2')
    s.service('-u $V1:53 -s rr', ...TWO)
    for (const n of [1, 2, 3]) s.udp(`$C${n}:5000`, '$V1:53').send()
    s.stats()
    for (const sec of [150, 200]) {
      s.ipvsadm('-d -u $V1:53 -r $R2')
      s.wait(sec)
      s.ipvsadm('-a -u $V1:53 -r $R2 -g')
      s.stats()
    }
  }),

  scenario('removed behind another one: forgotten with it, before its own time', (s) => {
    emptyTrash(s)
    s.ipvsadm('--set 0 0 2')
    s.service('-u $V1:53 -s rr', ...TWO, '-r $R3 -g')
    for (const n of [1, 2, 3, 4, 5, 6]) s.udp(`$C${n}:5000`, '$V1:53').send()
    s.stats()
    s.ipvsadm('-d -u $V1:53 -r $R2')
    s.wait(50)
    s.ipvsadm('-d -u $V1:53 -r $R3')
    s.wait(110)
    s.ipvsadm('-a -u $V1:53 -r $R2 -g')
    s.stats()
    s.wait(30)
    s.ipvsadm('-a -u $V1:53 -r $R3 -g')
    s.stats()
  }),

  scenario('removed, UDP: packets are dropped until it is back', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m', '-r $R2:53 -m')
    const u = s.udp('$C1:5000', '$V1:53')
    u.send()
    u.answer()
    s.ipvsadm('-d -u $V1:53 -r $R2:53')
    s.wait(3)
    u.send()
    s.connections()
    s.stats()
    s.ipvsadm('-a -u $V1:53 -r $R2:53 -m')
    u.send()
    u.answer()
    s.connections()
    s.stats()
  }),

  scenario('removed, IPv6: dropped, and back', (s) => {
    s.service('-t [$V1v6]:80 -s rr', '-r [$R1v6]:80 -m', '-r [$R2v6]:80 -m')
    const c = s.tcp('[$C1v6]:40000', '[$V1v6]:80')
    c.open()
    s.ipvsadm('-d -t [$V1v6]:80 -r [$R2v6]:80')
    c.send('PA', { payload: 'to whom' })
    s.ipvsadm('-a -t [$V1v6]:80 -r [$R2v6]:80 -m')
    c.send('PA', { payload: 'and now' })
    c.answer('PA', { payload: 'here' })
    s.list()
    s.connections()
  }),

  scenario('removed: all destinations, and no more connections', (s) => {
    s.service('-t $V1:80 -s wlc', ...TWO)
    opened(s, '$C1:40000')
    for (const n of [1, 2]) s.ipvsadm(`-d -t $V1:80 -r $R${n}`)
    s.ipvsadm('-d -t $V1:80 -r $R1')
    syns(s, '$C2:40000', '$C1:40000')
    s.connections()
    s.list()
    s.stats()
  }),
]

const SERVICES = [
  scenario('service deleted with live connections, and added again', (s) => {
    s.service('-t $V1:80 -s rr', ...TWO_NAT)
    const c = s.tcp('$C1:40000', '$V1:80')
    c.open()
    s.stats()
    s.ipvsadm('-D -t $V1:80')
    c.send('PA', { payload: 'to whom' })
    s.connections()
    s.service('-t $V1:80 -s rr', ...TWO_NAT)
    s.list()
    c.send('PA', { payload: 'and now' })
    c.answer('PA', { payload: 'here' })
    s.connections()
    s.stats()
  }),

  scenario('service deleted beside another: packets and answers of its connections', (s) => {
    s.service('-t $V2:80 -s rr', '-r $R3:80 -m')
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.open()
    const u = s.udp('$C1:5000', '$V1:53')
    u.send()
    for (const service of ['-t $V1:80', '-u $V1:53']) s.ipvsadm(`-D ${service}`)
    c.answer('PA', { payload: 'answer' })
    c.send('PA', { payload: 'to whom' })
    u.answer()
    u.send()
    s.tcp('$C2:40000', '$V1:80').send('S')
    s.connections()
    s.list()
    s.stats()
  }),

  scenario('service deleted, the last one: the host has its packets', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m')
    const u = s.udp('$C1:5000', '$V1:53')
    u.send()
    s.ipvsadm('-D -u $V1:53')
    u.answer()
    u.send()
    s.connections()
    s.sysctl('expire_nodest_conn', 1)
    u.send()
    s.wait(1)
    s.connections()
  }),

  scenario('all services cleared with live connections, and restored', (s) => {
    s.service('-t $V1:80 -s wrr', '-r $R1 -g -w 1', '-r $R2 -g -w 2')
    const [a, b] = [opened(s, '$C1:40000'), opened(s, '$C2:40000')]
    s.ipvsadm('-C')
    a.send('A')
    s.ipvsadm(
      '-R',
      [
        '-A -t $V1:80 -s wrr',
        '-a -t $V1:80 -r $R1:80 -g -w 1',
        '-a -t $V1:80 -r $R2:80 -g -w 2',
        '',
      ].join('\n'),
    )
    a.send('A')
    b.send('A')
    s.list()
    s.connections()
  }),
]

const EDITED = [
  scenario('edit of the method: connections keep theirs', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g')
    const a = opened(s, '$C1:40000')
    s.ipvsadm('-e -t $V1:80 -r $R1 -i')
    a.send('PA', { payload: 'direct' })
    const b = opened(s, '$C2:40000')
    s.ipvsadm('-e -t $V1:80 -r $R1 -m')
    b.send('PA', { payload: 'tunnel' })
    const c = s.tcp('$C3:40000', '$V1:80')
    c.open()
    s.ipvsadm('-e -t $V1:80 -r $R1 -g')
    c.send('PA', { payload: 'masquerade' })
    s.list()
    s.connections()
  }),

  scenario('edit from masquerading to direct routing: both kinds of connections go on', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -m')
    const a = s.tcp('$C1:40000', '$V1:80')
    a.open()
    s.ipvsadm('-e -t $V1:80 -r $R1 -g')
    a.send('PA', { payload: 'masquerade' })
    opened(s, '$C2:40000')
    s.wait(5)
    s.list()
    s.connections()
  }),

  scenario('edit from masquerading to another method: replies and errors of what was', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -m', '-r $R2 -m')
    const [a, b] = [s.tcp('$C1:40000', '$V1:80'), s.tcp('$C2:40000', '$V1:80')]
    a.open()
    b.open()
    s.ipvsadm('-e -t $V1:80 -r $R1 -i')
    s.ipvsadm('-d -t $V1:80 -r $R2')
    s.ipvsadm('-a -t $V1:80 -r $R2 -g')
    for (const flow of [a, b]) {
      flow.answer('PA', { payload: 'after the edit' })
      s.icmpError({
        from: 'server',
        flow,
        icmp: { type: 3, code: 1 },
        source: '$R30',
        quotedBytes: 28,
      })
      flow.answer('FA')
      flow.send('FA')
      flow.answer('A')
    }
    s.list()
    s.connections()
  }),

  scenario('edit of a mark service to one without persistence: replies of other ports', (s) => {
    s.mark('-d $V1 --set-mark 5')
    s.service('-f 5 -s rr -p 300', '-r $R1:80 -m')
    const [a, b] = [s.tcp('$C1:40000', '$V1:80'), s.tcp('$C1:40001', '$V1:443')]
    a.open()
    b.open()
    s.ipvsadm('-E -f 5 -s rr')
    for (const flow of [a, b]) {
      flow.answer('PA', { payload: 'after the edit' })
      flow.send('A')
    }
    s.list()
    s.connections()
  }),

  scenario('edit of the weight to 0: connections stay, a new SYN of one too', (s) => {
    s.service('-t $V1:80 -s rr', ...TWO)
    const [a, b] = [opened(s, '$C1:40000'), opened(s, '$C2:40000')]
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 0')
    a.send('PA', { payload: 'as before' })
    a.send('S')
    b.send('S')
    s.list()
    s.connections()
  }),

  scenario('expire_nodest_conn: a new SYN leaves a quiesced real server', (s) => {
    s.sysctl('expire_nodest_conn', 1)
    s.service('-t $V1:80 -s rr', ...TWO)
    const [a, b] = [opened(s, '$C1:40000'), opened(s, '$C2:40000')]
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 0')
    a.send('PA', { payload: 'as before' })
    a.send('S')
    b.send('S')
    s.wait(1)
    s.list()
    s.connections()
  }),

  scenario('thresholds: full, and room again below the lower one', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g', '-r $R2 -g -x 3 -y 2')
    s.ipvsadm('--set 2 2 0')
    const open = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => opened(s, `$C${n}:40000`))
    s.list()
    for (const c of open.slice(0, 3)) c.send('R')
    s.wait(13)
    syns(s, '$C9:40000', '$C10:40000', '$C11:40000', '$C12:40000')
    s.ipvsadm('-L -n --thresholds')
    s.list()
    s.connections()
  }),

  scenario('thresholds: room again below three quarters', (s) => {
    s.ipvsadm('--set 900 2 3')
    s.service('-u $V1:53 -s wlc', '-r $R1 -g -w 1', '-r $R2 -g -w 100 -x 4')
    for (const n of [1, 2, 3, 4, 5, 6]) s.udp(`$C${n}:5000`, '$V1:53').send()
    s.list()
    s.wait(2)
    for (const n of [1, 2, 3]) s.udp(`$C${n}:5000`, '$V1:53').send()
    s.wait(2)
    s.list()
    s.udp('$C7:5000', '$V1:53').send()
    s.wait(2)
    s.list()
    for (const n of [8, 9, 10, 11, 12]) s.udp(`$C${n}:5000`, '$V1:53').send()
    s.list()
    s.connections()
  }),

  scenario('thresholds: all are full', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g -x 1', '-r $R2 -g -x 1')
    const [a] = [opened(s, '$C1:40000'), opened(s, '$C2:40000')]
    syns(s, '$C3:40000')
    a.send('PA', { payload: 'as before' })
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -x 2')
    syns(s, '$C4:40000', '$C5:40000')
    s.ipvsadm('-e -t $V1:80 -r $R1 -g')
    syns(s, '$C6:40000', '$C7:40000')
    s.ipvsadm('-L -n --thresholds')
    s.stats()
  }),

  scenario('thresholds lowered to below what there is', (s) => {
    s.service('-t $V1:80 -s rr', ...TWO)
    syns(s, '$C1:40000', '$C2:40000', '$C3:40000', '$C4:40000')
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -x 1')
    syns(s, '$C5:40000', '$C6:40000', '$C7:40000')
    s.list()
    s.connections()
  }),

  scenario('thresholds raised, with a lower one, to above what there is', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g', '-r $R2 -g -x 2 -y 1')
    syns(s, '$C1:40000', '$C2:40000', '$C3:40000', '$C4:40000', '$C5:40000')
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -x 4 -y 3')
    syns(s, '$C6:40000', '$C7:40000', '$C8:40000', '$C9:40000')
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 1')
    syns(s, '$C10:40000', '$C11:40000')
    s.ipvsadm('-L -n --thresholds')
    s.connections()
  }),
]

/** A connection whose two ends have both finished, in TIME_WAIT. */
function ended(s: Builder, client: string) {
  const c = s.tcp(client, '$V1:80')
  c.open()
  c.close()
  return c
}

const REUSED = [
  ...[0, 1].map((mode) =>
    scenario(`conn_reuse_mode ${mode}: a SYN in TIME_WAIT`, (s) => {
      s.sysctl('conn_reuse_mode', mode)
      s.service('-t $V1:80 -s rr', ...TWO_NAT)
      const c = ended(s, '$C1:40000')
      s.connections()
      c.send('S')
      s.connections()
      c.answer('SA')
      c.send('A')
      s.list()
      s.connections()
    }),
  ),

  ...[0, 1].map((mode) =>
    scenario(`conn_reuse_mode ${mode}: a SYN after RST`, (s) => {
      s.sysctl('conn_reuse_mode', mode)
      s.service('-t $V1:80 -s rr', ...TWO)
      const c = opened(s, '$C1:40000')
      c.send('R')
      s.connections()
      c.send('S')
      c.send('A')
      s.list()
      s.wait(1)
      s.connections()
    }),
  ),

  ...[1, 2, 3].map((mode) =>
    scenario(`conn_reuse_mode ${mode}: a SYN in FIN_WAIT, seen from one side`, (s) => {
      s.sysctl('conn_reuse_mode', mode)
      s.service('-t $V1:80 -s rr', ...TWO)
      const c = opened(s, '$C1:40000')
      c.send('FA')
      s.connections()
      c.send('S')
      s.wait(1)
      s.connections()
      s.list()
    }),
  ),

  ...['wlc', 'lc'].map((scheduler) =>
    scenario(`reused: the connection that a SYN replaces still counts for ${scheduler}`, (s) => {
      s.service(`-t $V1:80 -s ${scheduler}`, ...TWO)
      const c = s.tcp('$C1:40000', '$V1:80')
      for (let life = 0; life < 3; life++) {
        c.send('S')
        c.send('A')
        c.send('R')
        s.list()
      }
      c.send('S')
      s.wait(1)
      s.connections()
      s.list()
    }),
  ),

  scenario('reused: the connection that a SYN replaces still counts for a threshold', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g -x 1')
    const c = opened(s, '$C1:40000')
    c.send('R')
    c.send('S')
    s.wait(1)
    s.connections()
    s.list()
    c.send('S')
    s.wait(1)
    s.connections()
    s.list()
  }),

  scenario('conn_reuse_mode 2: FIN_WAIT seen from both sides is not reused', (s) => {
    s.sysctl('conn_reuse_mode', 2)
    s.service('-t $V1:80 -s rr', ...TWO_NAT)
    const c = s.tcp('$C1:40000', '$V1:80')
    c.open()
    c.answer('FA')
    s.connections()
    c.send('S')
    s.connections()
    s.list()
  }),

  scenario('conn_reuse_mode 1: a live connection and one of a template are not reused', (s) => {
    s.sysctl('conn_reuse_mode', 1)
    s.service('-t $V1:80 -s rr', ...TWO)
    const live = opened(s, '$C1:40000')
    live.send('S')
    s.connections()
    s.ipvsadm('-E -t $V1:80 -s rr -p 60')
    const persistent = opened(s, '$C2:40000')
    persistent.send('R')
    persistent.send('S')
    s.wait(1)
    s.connections()
    s.list()
  }),
]

export const REMOVAL = [...REMOVED, ...SERVICES, ...EDITED, ...REUSED]
