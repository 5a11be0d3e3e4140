/** SCTP life cycles; the load defences where what they do is certain (spec 3.6.2, 3.9, 3.11). */
import type { Scenario } from '../language.js'
import { type Builder, scenario, type SctpFlow } from '../language.js'

/** Packets one after the other, `>CHUNKS` from the client and `<CHUNKS` from the real server. */
function walk(s: Builder, flow: SctpFlow, packets: string, look = true): void {
  for (const word of packets.split(' ')) {
    if (word.startsWith('>')) flow.send(word.slice(1))
    else flow.answer(word.slice(1))
    if (look) s.connections()
  }
}

const OPEN = '>INIT <INIT-ACK >COOKIE-ECHO <COOKIE-ACK'
const CLOSE = '>SHUTDOWN <SHUTDOWN-ACK >SHUTDOWN-COMPLETE'

/** Family of a scenario: its addresses as ipvsadm writes them. */
const FAMILIES = [
  { title: 'IPv4', v: '$V1', r1: '$R1', r2: '$R2', c: '$C' },
  { title: 'IPv6', v: '[$V1v6]', r1: '[$R1v6]', r2: '[$R2v6]', c: 'v6' },
] as const

type FamilyWords = (typeof FAMILIES)[number]

const client = ({ c }: FamilyWords, n: number, port = 40000): string =>
  c === 'v6' ? `[$C${n}v6]:${port}` : `$C${n}:${port}`

function lives(f: FamilyWords): Scenario[] {
  const virtual = `${f.v}:2905`
  return [
    scenario(`SCTP, NAT, ${f.title}: a life with both shutdowns`, (s) => {
      s.service(`--sctp-service ${virtual} -s rr`, `-r ${f.r1}:2906 -m`, `-r ${f.r2}:2905 -m`)
      const [a, b] = [s.sctp(client(f, 1), virtual), s.sctp(client(f, 2), virtual)]
      walk(s, a, `${OPEN} >DATA <SACK+DATA >SACK`)
      walk(s, b, `${OPEN} <DATA >SACK`, false)
      s.list()
      walk(s, a, CLOSE)
      walk(s, b, '<SHUTDOWN >SHUTDOWN-ACK <SHUTDOWN-COMPLETE')
      s.list()
      s.wait(50)
      s.connections()
      s.wait(22)
      s.connections()
      s.stats()
    }),

    scenario(`SCTP, DR, ${f.title}: only the client is seen`, (s) => {
      s.service(`--sctp-service ${virtual} -s rr`, `-r ${f.r1}:2905 -g`)
      const flow = s.sctp(client(f, 1), virtual)
      walk(s, flow, '>INIT >COOKIE-ECHO >DATA >HEARTBEAT >SACK >SHUTDOWN-ACK >SHUTDOWN-COMPLETE')
      walk(s, s.sctp(client(f, 2), virtual), '>INIT >COOKIE-ECHO >SHUTDOWN >SHUTDOWN-COMPLETE')
      s.list()
    }),

    scenario(`SCTP, tunnel, ${f.title}`, (s) => {
      s.service(`--sctp-service ${virtual} -s rr`, `-r ${f.r1}:2905 -i`)
      walk(s, s.sctp(client(f, 1), virtual), '>INIT >COOKIE-ECHO >DATA >ABORT')
    }),

    scenario(`SCTP, ${f.title}: no INIT, sloppy_sctp`, (s) => {
      s.service(`--sctp-service ${virtual} -s rr`, `-r ${f.r1}:2905 -m`)
      const early = s.sctp(client(f, 1), virtual)
      early.send('DATA')
      early.send('ABORT')
      s.connections()
      s.sysctl('sloppy_sctp', 1)
      for (const [i, chunk] of [
        'DATA',
        'INIT-ACK',
        'COOKIE-ECHO',
        'COOKIE-ACK',
        'SHUTDOWN',
        'SHUTDOWN-ACK',
        'SHUTDOWN-COMPLETE',
        'ERROR',
        '200',
        'COOKIE-ECHO+ABORT',
        'ABORT',
      ].entries()) {
        s.sctp(client(f, i + 2), virtual).send(chunk)
      }
      s.connections()
      s.list()
    }),

    scenario(`SCTP, ${f.title}: no destination`, (s) => {
      s.service(`--sctp-service ${virtual} -s rr`)
      s.sctp(client(f, 1), virtual).send('INIT')
      s.connections()
    }),
  ]
}

export const SCTP: readonly Scenario[] = [
  ...FAMILIES.flatMap(lives),

  scenario('SCTP, NAT: ABORT of either side in every state', (s) => {
    s.service('--sctp-service $V1:2905 -s rr', '-r $R1:2905 -m')
    const before = [
      '>INIT',
      '>INIT <INIT-ACK',
      '>INIT <INIT-ACK >COOKIE-ECHO',
      OPEN,
      `${OPEN} >SHUTDOWN`,
      `${OPEN} <SHUTDOWN`,
      `${OPEN} >SHUTDOWN <SHUTDOWN-ACK`,
    ]
    for (const [i, packets] of before.entries()) {
      const [a, b] = [
        s.sctp(`$C${i + 1}:40000`, '$V1:2905'),
        s.sctp(`$C${i + 20}:40000`, '$V1:2905'),
      ]
      walk(s, a, `${packets} >ABORT`, false)
      walk(s, b, `${packets} <ABORT`, false)
    }
    s.connections()
    s.list()
    s.wait(8)
    s.connections()
  }),

  scenario('SCTP, NAT: chunks where none belongs', (s) => {
    s.service('--sctp-service $V1:2905 -s rr', '-r $R1:2905 -m')
    walk(s, s.sctp('$C1:40000', '$V1:2905'), '>INIT >INIT >DATA <DATA <INIT >INIT-ACK <COOKIE-ACK')
    walk(s, s.sctp('$C2:40000', '$V1:2905'), '>INIT <INIT >INIT-ACK <COOKIE-ECHO >COOKIE-ACK')
    walk(s, s.sctp('$C3:40000', '$V1:2905'), '>INIT <ERROR >INIT <INIT-ACK >ERROR')
    walk(s, s.sctp('$C4:40000', '$V1:2905'), `${OPEN} >COOKIE-ECHO+ABORT`)
    walk(s, s.sctp('$C5:40000', '$V1:2905'), `${OPEN} <COOKIE-ACK+DATA >COOKIE-ECHO+DATA+ABORT`)
  }),

  scenario('SCTP: reuse of a closed association', (s) => {
    for (const mode of [1, 0]) {
      s.sysctl('conn_reuse_mode', mode)
      const virtual = `$V${mode + 1}:2905`
      s.service(`--sctp-service ${virtual} -s rr`, '-r $R1:2905 -g', '-r $R2:2905 -g')
      const flow = s.sctp('$C1:40000', virtual)
      walk(s, flow, '>INIT >COOKIE-ECHO >INIT >SHUTDOWN >SHUTDOWN-COMPLETE >DATA >INIT')
      s.list()
      s.wait(10)
    }
  }),

  scenario('SCTP: reuse where the destination is quiesced', (s) => {
    s.sysctl('expire_nodest_conn', 1)
    s.service('--sctp-service $V1:2905 -s rr', '-r $R1:2905 -m', '-r $R2:2905 -m')
    const flow = s.sctp('$C1:40000', '$V1:2905')
    walk(s, flow, OPEN, false)
    s.ipvsadm('-e --sctp-service $V1:2905 -r $R1:2905 -m -w 0')
    s.ipvsadm('-e --sctp-service $V1:2905 -r $R2:2905 -m -w 0')
    walk(s, flow, '>DATA')
    s.ipvsadm('-e --sctp-service $V1:2905 -r $R1:2905 -m -w 1')
    walk(s, flow, '>DATA >INIT')
    s.list()
  }),

  scenario('SCTP: persistence, and the template that an association assures', (s) => {
    s.service('--sctp-service $V1:2905 -s rr -p 60', '-r $R1:2905 -m', '-r $R2:2905 -m')
    const [a, b] = [s.sctp('$C1:40000', '$V1:2905'), s.sctp('$C1:40001', '$V1:2905')]
    walk(s, a, OPEN)
    walk(s, b, '>INIT')
    s.list()
  }),

  scenario('SCTP, NAT: the checksum where the port stays and where it does not', (s) => {
    for (const [n, port] of [2905, 2906].entries()) {
      s.service(`--sctp-service $V${n + 1}:2905 -s rr`, `-r $R1:${port} -m`)
      s.fromClient({
        ip: { source: '$C1', destination: `$V${n + 1}`, identification: 700 + n },
        sctp: { source: 40000, destination: 2905, checksum: 0x1234, chunks: [{ type: 1 }] },
      })
    }
  }),

  scenario('SCTP, NAT: ICMP errors about it, both ways', (s) => {
    s.service('--sctp-service $V1:2905 -s rr', '-r $R1:2906 -m')
    const flow = s.sctp('$C1:40000', '$V1:2905')
    walk(s, flow, OPEN, false)
    const icmp = { type: 3, code: 2 }
    s.icmpError({ from: 'server', flow, icmp, source: '$R1', quotedBytes: 28 })
    s.icmpError({ from: 'client', flow, icmp, source: '$C1', quotedBytes: 28 })
    s.connections()
    s.stats()
  }),

  scenario('load defences: drop_packet=3 takes one of so many new connections', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m', '-r $R2:80 -m')
    s.tcp('$C1:39999', '$V1:80').open()
    s.sysctl('am_droprate', 3)
    s.sysctl('drop_packet', 3)
    for (let i = 0; i < 10; i++) s.tcp(`$C1:${40000 + i}`, '$V1:80').send('S')
    s.udp('$C1:39999', '$V1:80').send()
    s.connections()
    s.sysctl('am_droprate', 1)
    s.wait(3)
    for (let i = 10; i < 15; i++) s.tcp(`$C1:${40000 + i}`, '$V1:80').send('S')
    s.sysctl('drop_packet', 0)
    s.tcp('$C1:40100', '$V1:80').send('S')
    s.list()
  }),

  // A template is drawn about every 32 seconds, so that none lives ten minutes.
  scenario(
    'load defences: drop_entry=3, what nothing assured goes, what is established and busy stays',
    (s) => {
      s.service('-t $V1:80 -s rr -p 3000', '-r $R1:80 -m')
      s.service('--sctp-service $V1:2905 -s rr -p 3000', '-r $R1:2905 -m')
      const opened = s.tcp('$C1:40000', '$V1:80')
      opened.open()
      for (let i = 0; i < 9; i++) opened.send('PA', { payload: 'x' })
      walk(s, s.sctp('$C1:40000', '$V1:2905'), '>INIT <INIT-ACK', false)
      for (let i = 2; i < 6; i++) s.tcp(`$C${i}:40000`, '$V1:80').send('S')
      s.list()
      s.wait(80)
      opened.send('A')
      s.connections()
      s.sysctl('drop_entry', 3)
      s.wait(600)
      s.connections()
      s.list()
    },
  ),

  scenario('load defences: automatic modes are idle while memory is there', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -g')
    for (const name of ['drop_entry', 'drop_packet', 'secure_tcp']) {
      s.sysctl(name, 1)
      s.sysctl(name, 2)
    }
    s.tcp('$C1:40000', '$V1:80').send('S')
    s.connections()
  }),

  scenario('load defences: automatic modes act while memory is short of amemthresh', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -g', '-r $R2:80 -g')
    s.sysctl('amemthresh', 2_000_000_000)
    s.sysctl('secure_tcp', 1)
    s.sysctl('drop_packet', 1)
    s.wait(2)
    // The threshold over what is missing to it: 1, so every new connection goes.
    s.tcp('$C1:40000', '$V1:80').send('S')
    s.sysctl('drop_packet', 0)
    s.tcp('$C1:40001', '$V1:80').send('S')
    s.connections()
    s.sysctl('amemthresh', 0)
    s.wait(2)
    s.tcp('$C1:40002', '$V1:80').send('S')
    s.connections()
  }),

  scenario('load defences: secure_tcp=3, walks of a NAT connection', (s) => {
    s.sysctl('secure_tcp', 3)
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    const flow = s.tcp('$C1:40000', '$V1:80')
    for (const word of '>S >A <SA >A >FA <A >R >S <SA <A >FA <FA >A >S'.split(' ')) {
      if (word.startsWith('>')) flow.send(word.slice(1))
      else flow.answer(word.slice(1))
      s.connections()
    }
    s.list()
  }),
]
