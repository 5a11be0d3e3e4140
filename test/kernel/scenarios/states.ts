/** States and timers of connections, and who counts as active (spec sections 3.5 to 3.9). */
import { type Builder, scenario, type TcpFlow } from '../language.js'

/** Segments one after the other, `>FLAGS` from the client and `<FLAGS` from the real server. */
function walk(s: Builder, flow: TcpFlow, segments: string): void {
  for (const word of segments.split(' ')) {
    if (word.startsWith('>')) flow.send(word.slice(1))
    else flow.answer(word.slice(1))
    s.connections()
  }
}

/** The same walk without looking. */
function hurry(flow: TcpFlow, segments: string): void {
  for (const word of segments.split(' ')) {
    if (word.startsWith('>')) flow.send(word.slice(1))
    else flow.answer(word.slice(1))
  }
}

const OPEN = '>S <SA >A'

export const STATES = [
  scenario('NAT, the real server closes first', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    hurry(c, OPEN)
    walk(s, c, '<FA >A >FA <A')
    s.list()
    s.wait(110)
    s.connections()
    s.wait(30)
    s.connections()
    s.list()
  }),

  scenario('NAT, half a connection: data after the end of one direction', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    hurry(c, OPEN)
    walk(s, c, '>FA <A <PA >A')
    s.list()
    s.wait(50)
    s.connections()
    s.wait(22)
    s.connections()
    s.list()
  }),

  scenario('NAT, both close at once', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m', '-r $R2:80 -m')
    const [a, b] = [s.tcp('$C1:40000', '$V1:80'), s.tcp('$C2:40000', '$V1:80')]
    hurry(a, OPEN)
    hurry(b, OPEN)
    walk(s, a, '>FA <FA >A <A')
    walk(s, b, '<FA >FA <A >A')
    s.list()
  }),

  scenario('NAT, RST of the client in every state', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    for (const [i, before] of ['>S', '>S <SA', OPEN, `${OPEN} >FA`, `${OPEN} <FA`].entries()) {
      const c = s.tcp(`$C${i + 1}:40000`, '$V1:80')
      hurry(c, before)
      c.send('R')
    }
    const closed = s.tcp('$C9:40000', '$V1:80')
    hurry(closed, `${OPEN} >FA <FA >A >R`)
    s.connections()
    s.list()
    s.wait(6)
    s.connections()
    s.wait(10)
    s.connections()
    s.list()
  }),

  scenario('NAT, RST of the real server in every state', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    for (const [i, before] of ['>S', '>S <SA', OPEN, `${OPEN} >FA`, `${OPEN} <FA`].entries()) {
      const c = s.tcp(`$C${i + 1}:40000`, '$V1:80')
      hurry(c, before)
      c.answer('RA')
    }
    const closed = s.tcp('$C9:40000', '$V1:80')
    hurry(closed, `${OPEN} >FA <FA >A <R`)
    s.connections()
    s.list()
  }),

  scenario('NAT, half open: never answered, never acknowledged', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    const [a, b] = [s.tcp('$C1:40000', '$V1:80'), s.tcp('$C2:40000', '$V1:80')]
    a.send('S')
    hurry(b, '>S <SA')
    s.list()
    s.wait(40)
    a.send('S')
    s.connections()
    s.wait(32)
    s.connections()
    s.list()
    s.wait(42)
    s.connections()
    s.list()
  }),

  scenario('NAT, SYN and SYN+ACK where none belongs', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    hurry(c, OPEN)
    walk(s, c, '>S <SA <S >SA >A')
    const refused = s.tcp('$C2:40000', '$V1:80')
    hurry(refused, '>S <RA')
    walk(s, refused, '<SA <A')
    const waiting = s.tcp('$C3:40000', '$V1:80')
    hurry(waiting, `${OPEN} <FA`)
    walk(s, waiting, '<S <A <FA')
  }),

  scenario('NAT, segments without any flag', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.send('')
    hurry(c, OPEN)
    c.send('')
    s.connections()
    const d = s.tcp('$C2:40000', '$V1:80')
    hurry(d, OPEN)
    d.answer('')
    s.connections()
    d.send('A')
    s.connections()
  }),

  scenario('NAT, a closed connection and a new SYN of the same port', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m', '-r $R2:80 -m', '-r $R3:80 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    hurry(c, `${OPEN} >FA <FA >A`)
    walk(s, c, '>S')
    s.list()
    hurry(c, '<RA')
    walk(s, c, '>S')
    s.sysctl('conn_reuse_mode', 0)
    hurry(c, '<SA >A >FA <FA >A')
    walk(s, c, '>S <SA >A')
    s.list()
    s.wait(1)
    s.connections()
    s.stats()
  }),

  scenario('DR, every state that one direction shows', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g')
    const c = s.tcp('$C1:40000', '$V1:80')
    walk(s, c, '>S >A >PA >FA >A')
    s.list()
    c.send('S')
    s.connections()
    walk(s, c, '>A >S >R')
    s.list()
    s.wait(14)
    s.connections()
  }),

  scenario('DR, RST and FIN of the client in every state', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g')
    for (const [i, end] of ['>R', '>FA'].entries()) {
      for (const [j, before] of ['>S', '>S >A', '>S >A >FA', '>S >A >R', '>S >FA'].entries()) {
        const c = s.tcp(`$C${10 * i + j + 1}:40000`, '$V1:80')
        hurry(c, `${before} ${end}`)
      }
    }
    s.connections()
    s.list()
    s.wait(80)
    s.connections()
    s.list()
    s.wait(60)
    s.connections()
    s.list()
  }),

  scenario('DR, conn_reuse_mode 1 and 3: a SYN in FIN_WAIT', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g', '-r $R2 -g')
    for (const mode of [1, 3, 0]) {
      s.sysctl('conn_reuse_mode', mode)
      const c = s.tcp(`$C${mode + 1}:40000`, '$V1:80')
      hurry(c, '>S >A >FA')
      walk(s, c, '>S >A')
      s.list()
    }
    s.wait(1)
    s.connections()
  }),

  scenario('TUN, every state that one direction shows', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -i')
    s.service('-t [$V1v6]:80 -s rr', '-r [$R1v6]:80 -i')
    walk(s, s.tcp('$C1:40000', '$V1:80'), '>S >A >FA >A >S >R')
    walk(s, s.tcp('[$C1v6]:40000', '[$V1v6]:80'), '>S >A >FA >A >S >R')
    s.list()
  }),

  scenario('IPv6, NAT: states of both directions', (s) => {
    s.service('-t [$V1v6]:80 -s rr', '-r [$R1v6]:80 -m')
    walk(s, s.tcp('[$C1v6]:40000', '[$V1v6]:80'), '>S <SA >A <FA >A >FA <A')
    walk(s, s.tcp('[$C2v6]:40000', '[$V1v6]:80'), '>S <RA')
    s.list()
    s.wait(14)
    s.connections()
  }),

  scenario('established: kept by any packet, gone after a quarter of an hour', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    s.service('-t $V2:80 -s rr', '-r $R2 -g')
    const [nat, direct] = [s.tcp('$C1:40000', '$V1:80'), s.tcp('$C2:40000', '$V2:80')]
    hurry(nat, OPEN)
    hurry(direct, '>S >A')
    s.wait(600)
    nat.answer('A')
    s.connections()
    s.wait(420)
    s.connections()
    s.list()
  }),

  scenario('first packets that are no SYN, sloppy_tcp 0 and 1', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    s.service('-t $V2:80 -s rr', '-r $R2 -g')
    for (const sloppy of [0, 1]) {
      s.sysctl('sloppy_tcp', sloppy)
      for (const [i, flags] of ['SA', 'A', 'FA', 'PA', 'R', 'RA', ''].entries()) {
        for (const virtual of ['$V1:80', '$V2:80']) {
          s.tcp(`$C${i + 1}:${40000 + sloppy}`, virtual).send(flags)
        }
      }
      s.connections()
    }
    s.list()
    s.wait(14)
    s.connections()
    s.stats()
  }),

  scenario('secure_tcp 3, NAT: another table', (s) => {
    s.sysctl('secure_tcp', 3)
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    walk(s, s.tcp('$C1:40000', '$V1:80'), '>S <SA >A <A >FA <FA >A')
    walk(s, s.tcp('$C2:40000', '$V1:80'), '>S >A >FA')
    walk(s, s.tcp('$C3:40000', '$V1:80'), '>S <SA >S <SA >R')
    s.list()
  }),

  scenario('secure_tcp 3, DR: SYN leads to SYNACK', (s) => {
    s.sysctl('secure_tcp', 3)
    s.service('-t $V1:80 -s rr', '-r $R1 -g')
    walk(s, s.tcp('$C1:40000', '$V1:80'), '>S >A >FA >S >R')
    walk(s, s.tcp('$C2:40000', '$V1:80'), '>S >FA')
    const left = s.tcp('$C3:40000', '$V1:80')
    left.send('S')
    s.list()
    s.wait(110)
    s.connections()
    s.wait(30)
    s.connections()
  }),

  scenario('secure_tcp by itself: memory is not low, so nothing changes', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g')
    for (const mode of [1, 2]) {
      s.sysctl('secure_tcp', mode)
      s.wait(2)
      walk(s, s.tcp(`$C${mode}:40000`, '$V1:80'), '>S >A')
    }
    s.sysctl('secure_tcp', 4)
    s.sysctl('secure_tcp', 3)
    walk(s, s.tcp('$C3:40000', '$V1:80'), '>S')
    s.sysctl('secure_tcp', 0)
    walk(s, s.tcp('$C4:40000', '$V1:80'), '>S')
  }),

  scenario('--set reaches connections at their next packet', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m')
    const [c, d] = [s.tcp('$C1:40000', '$V1:80'), s.tcp('$C2:40000', '$V1:80')]
    const u = s.udp('$C1:5000', '$V1:53')
    hurry(c, OPEN)
    hurry(d, `${OPEN} <FA`)
    u.send()
    s.ipvsadm('--set 30 10 20')
    s.connections()
    c.answer('A')
    d.send('A')
    u.answer()
    s.connections()
    s.wait(14)
    s.connections()
    s.wait(11)
    s.connections()
    s.wait(12)
    s.connections()
    s.list()
  }),

  scenario('UDP timers: NAT, DR and TUN, either side keeps them running', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m')
    s.service('-u $V2:53 -s rr', '-r $R2 -g')
    s.service('-u [$V1v6]:53 -s rr', '-r [$R3v6]:53 -i')
    const flows = [
      s.udp('$C1:5000', '$V1:53'),
      s.udp('$C1:5000', '$V2:53'),
      s.udp('[$C1v6]:5000', '[$V1v6]:53'),
    ]
    for (const flow of flows) flow.send()
    s.wait(250)
    flows[0].answer()
    flows[1].send()
    s.connections()
    s.wait(100)
    s.connections()
    s.list()
    s.wait(250)
    s.connections()
    s.list()
  }),

  scenario('one-packet scheduling leaves no connection behind', (s) => {
    s.service('-u $V1:53 -s rr -o', '-r $R1 -g', '-r $R2 -g')
    s.list()
    const u = s.udp('$C1:5000', '$V1:53')
    for (let i = 0; i < 4; i++) u.send(`question ${i}`)
    s.connections()
    s.list()
    s.stats()
  }),

  scenario('active and inactive after each step, and the upper threshold with them', (s) => {
    s.service('-t $V1:80 -s lc', '-r $R1:80 -m -x 2', '-r $R2:80 -m')
    const flows = [1, 2, 3, 4].map((i) => s.tcp(`$C${i}:40000`, '$V1:80'))
    for (const flow of flows) {
      flow.send('S')
      s.list()
    }
    hurry(flows[0], '<SA >A >FA')
    s.list()
    hurry(flows[1], '<RA')
    s.list()
    s.ipvsadm('-L -n --thresholds')
    s.wait(14)
    s.list()
    s.tcp('$C5:40000', '$V1:80').send('S')
    s.tcp('$C6:40000', '$V1:80').send('S')
    s.list()
  }),
]
