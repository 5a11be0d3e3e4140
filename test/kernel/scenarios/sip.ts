/**
 * The SIP persistence engine: what is taken for a Call-ID, which messages are one call, what
 * happens without one, and connections that real servers begin.
 */
import { type Builder, scenario } from '../language.js'

const SERVICE = '-u $V1:5060 -s rr -p 60 --pe sip'
const MASQUERADED = ['-r $R1:5060 -m', '-r $R2:5060 -m', '-r $R3:5060 -m']
const DIRECT = ['-r $R1 -g', '-r $R2 -g', '-r $R3 -g']

/** A message with these lines after the first. */
function message(...headers: readonly string[]): string {
  return ['OPTIONS sip:b@example.org SIP/2.0', ...headers, 'CSeq: 1 OPTIONS', '', ''].join('\r\n')
}
const of = (id: string): string => message('Via: SIP/2.0/UDP pc', `Call-ID: ${id}`)

/** Connections and templates with engine and Call-ID. */
function calls(s: Builder): void {
  s.ipvsadm('-L -n -c --persistent-conn')
}

/** One message from each end, `address:port` and Call-ID. */
function send(s: Builder, virtual: string, ...messages: readonly [client: string, id: string][]) {
  for (const [client, id] of messages) s.udp(client, virtual).send(of(id))
}

/** A message that a real server sends of its own accord. */
function speak(s: Builder, server: number, client: string, payload: string, port = 5060): void {
  s.fromServer(server, {
    ip: { source: `$R${server}`, destination: client, dontFragment: true },
    udp: { source: port, destination: 5060 },
    payload,
  })
}

const CALLS = [
  scenario('SIP: calls of one client spread, messages of a call stay', (s) => {
    s.service(SERVICE, ...MASQUERADED)
    send(s, '$V1:5060', ['$C1:5060', 'a@pc'], ['$C1:5061', 'b@pc'], ['$C1:5062', 'c@pc'])
    send(s, '$V1:5060', ['$C1:5063', 'b@pc'], ['$C1:5064', 'a@pc'], ['$C2:5060', 'a@pc'])
    calls(s)
    s.connections()
    s.list()
    s.ipvsadm('-L -n --persistent-conn')
    s.ipvsadm('-S -n')
    s.stats()
  }),

  scenario('SIP: one connection keeps its server whatever it says', (s) => {
    s.service(SERVICE, ...MASQUERADED)
    const u = s.udp('$C1:5060', '$V1:5060')
    u.send(of('a'))
    u.send(of('b'))
    u.send('no SIP at all')
    u.answer(of('a'))
    calls(s)
  }),

  scenario('SIP: one packet each, one call over all clients', (s) => {
    s.service(`${SERVICE} -o -M 0.0.0.0`, ...MASQUERADED)
    send(s, '$V1:5060', ['$C1:5060', 'a'], ['$C1:5060', 'b'], ['$C1:5060', 'a'], ['$C2:5060', 'b'])
    s.udp('$C3:5060', '$V1:5060').send('nothing')
    send(s, '$V1:5060', ['$C3:5060', 'a'], ['$C9:5060', 'c'])
    calls(s)
    s.list()
    s.ipvsadm('-L -n --persistent-conn')
    s.stats()
  }),

  scenario('SIP: a netmask makes one client of many', (s) => {
    s.service(`${SERVICE} -M 255.255.255.252`, ...DIRECT)
    send(s, '$V1:5060', ['$C4:5060', 'a'], ['$C5:5060', 'a'], ['$C7:5060', 'b'], ['$C8:5060', 'a'])
    send(s, '$V1:5060', ['$C6:5060', 'b'], ['$C9:5060', 'a'])
    calls(s)
  }),

  scenario('SIP: IPv6, prefix of 64 bits', (s) => {
    const servers = [1, 2, 3].map((n) => `-r [$R${n}v6]:5060 -m`)
    s.service('-u [$V1v6]:5060 -s rr -p 60 -M 64 --pe sip', ...servers)
    const v = '[$V1v6]:5060'
    send(s, v, ['[$C1v6]:5060', 'a'], ['[$C2v6]:5060', 'a'], ['[$C2v6]:5061', 'b'])
    s.udp('[$C1v6]:5061', v).send('nothing')
    const u = s.udp('[$C1v6]:5062', v)
    u.send(of('b'))
    u.answer(of('b'))
    calls(s)
    s.list()
  }),

  scenario('SIP: port 0, a call over all ports', (s) => {
    s.service('-u $V1:0 -s rr -p 60 --pe sip', '-r $R1:0 -m', '-r $R2:0 -m')
    for (const port of [5060, 5070, 5080]) {
      send(s, `$V1:${port}`, ['$C1:5060', 'a'], ['$C1:5061', 'b'])
    }
    calls(s)
  }),

  scenario('SIP: templates end, and their calls begin again', (s) => {
    s.ipvsadm('--set 0 0 3')
    s.service('-u $V1:5060 -s rr -p 8 --pe sip', ...DIRECT)
    send(s, '$V1:5060', ['$C1:5060', 'a'], ['$C1:5061', 'b'])
    s.wait(12)
    calls(s)
    s.list()
    send(s, '$V1:5060', ['$C1:5062', 'b'], ['$C1:5063', 'a'])
    calls(s)
  }),

  scenario('SIP: quiesced and removed servers', (s) => {
    s.service(SERVICE, ...DIRECT)
    send(s, '$V1:5060', ['$C1:5060', 'a'], ['$C1:5061', 'b'], ['$C1:5062', 'c'])
    s.ipvsadm('-e -u $V1:5060 -r $R2 -g -w 0')
    send(s, '$V1:5060', ['$C1:5063', 'a'], ['$C1:5064', 'b'], ['$C1:5065', 'c'], ['$C1:5066', 'd'])
    calls(s)
    s.sysctl('expire_quiescent_template', 1)
    send(s, '$V1:5060', ['$C1:5067', 'a'], ['$C1:5068', 'b'], ['$C1:5069', 'c'])
    calls(s)
    s.ipvsadm('-d -u $V1:5060 -r $R1')
    send(s, '$V1:5060', ['$C1:5070', 'a'], ['$C1:5071', 'b'], ['$C1:5072', 'c'])
    calls(s)
    s.list()
  }),

  scenario('SIP: the engine comes and goes by -E', (s) => {
    s.service('-u $V1:5060 -s rr -p 60', ...DIRECT)
    send(s, '$V1:5060', ['$C1:5060', 'a'], ['$C1:5061', 'b'])
    s.ipvsadm(`-E ${SERVICE}`)
    send(s, '$V1:5060', ['$C1:5062', 'a'], ['$C1:5063', 'b'], ['$C1:5064', 'a'])
    calls(s)
    s.list()
    s.ipvsadm('-E -u $V1:5060 -s rr -p 60')
    s.udp('$C1:5065', '$V1:5060').send('nothing')
    calls(s)
    s.list()
  }),
]

/** Line ends, folding, names and values; each message from a port of its own. */
const FORMS: readonly (readonly [name: string, payloads: readonly string[]])[] = [
  [
    'names and spaces',
    [
      'call-id: lower',
      'CALL-ID:UPPER',
      'Call-ID :   spaces',
      'i: compact',
      'I:capital',
      'id: none',
      'i2: none\r\nCall-ID: late',
      'Call-IDs: none\r\nCall-ID: late',
      'XCall-ID: none',
      'Call-ID; none',
    ].map((header) => message('Via: SIP/2.0/UDP pc', header)),
  ],
  [
    'values',
    [
      'a-.!%*_+`~()<>:\\"/[]?{}',
      'a,b',
      'a@b@c',
      'two words',
      'behind ',
      "it's",
      'a;b',
      '',
      '@host',
      'user@',
    ].map(of),
  ],
  [
    'folding and tabs',
    [
      'Call-ID:\r\n folded',
      'Call-ID:\r\n\t folded',
      'Call-ID\r\n : folded',
      'Call-ID:\r\n \r\n twice',
      'Call-ID\r\n  x: none',
      'Call-ID\r\n :\r\n both',
      'Call-ID:\ttab',
      'Subject: x\r\n Call-ID: continued\r\ni: real',
      'Call-ID: @bad\r\nCall-ID: good',
      'Call-ID: @\r\nCall-ID: @\r\nCall-ID: third',
      'Call-ID: first\r\nCall-ID: second',
    ].map((header) => message(header)),
  ],
  [
    'lines',
    [
      'Call-ID: first-line\r\n',
      '\r\nCall-ID: second-line\r\n',
      'X\nCall-ID: lf\n',
      'X\rCall-ID: cr\r',
      'X\n\nCall-ID: behind-empty\n',
      'X\r\n\r\nCall-ID: body\r\n',
      'X\r\nCall-ID: no-end',
      'X\r\nCall-ID: half\r',
      '',
      'SIP/2.0 200 OK\r\nVia: x\r\ni:answer\r\n\r\n',
    ],
  ],
]

const HEADERS = FORMS.map(([name, payloads]) =>
  scenario(`SIP: what is a Call-ID, ${name}`, (s) => {
    s.service(SERVICE, ...DIRECT)
    payloads.forEach((payload, i) => s.udp(`$C1:${6000 + i}`, '$V1:5060').send(payload))
    calls(s)
    s.stats()
  }),
)

// ipvsadm ends with SIGSEGV on a line of /proc/net/ip_vs_conn as long as these make it, so they are
// not listed, and gone when the scenario ends.
const LONG = scenario('SIP: Call-IDs of up to 255 bytes', (s) => {
  s.service('-u $V1:5060 -s rr -o -p 3 --pe sip', ...DIRECT)
  const ids = ['x'.repeat(254), 'x'.repeat(255), 'x'.repeat(256), `l@${'r'.repeat(253)}`]
  for (const round of [0, 1]) {
    ids.forEach((id, i) => send(s, '$V1:5060', [`$C1:${6000 + 10 * round + i}`, id]))
  }
  s.ipvsadm('-L -n --persistent-conn')
  s.stats()
  s.wait(5)
  s.ipvsadm('-L -n --persistent-conn')
})

const WITHOUT = [
  scenario('SIP: messages without Call-ID are dropped', (s) => {
    s.service(SERVICE, ...MASQUERADED)
    const u = s.udp('$C1:5060', '$V1:5060')
    u.send('keep-alive')
    u.send('')
    u.send(of('a'))
    u.send('keep-alive')
    calls(s)
    s.stats()
  }),

  scenario('SIP: also where there is no real server', (s) => {
    s.service(SERVICE)
    s.udp('$C1:5060', '$V1:5060').send('keep-alive')
    s.udp('$C1:5061', '$V1:5060').send(of('a'))
    calls(s)
  }),

  scenario('SIP: TCP has none', (s) => {
    s.service('-t $V1:5060 -s rr -p 60 --pe sip', ...MASQUERADED)
    s.tcp('$C1:5060', '$V1:5060').send('S')
    s.tcp('$C1:5061', '$V1:5060').send('S', { payload: of('a') })
    calls(s)
    s.list()
  }),
]

const SERVERS = [
  scenario('SIP: a masqueraded server answers', (s) => {
    s.service(SERVICE, ...MASQUERADED)
    for (const [port, id] of [
      [5060, 'a'],
      [5061, 'b'],
    ] as const) {
      const u = s.udp(`$C1:${port}`, '$V1:5060')
      u.send(of(id))
      u.answer(of(id))
    }
    calls(s)
    s.stats()
  }),

  scenario('SIP: a server answers one packet', (s) => {
    s.service(`${SERVICE} -o`, ...MASQUERADED)
    const u = s.udp('$C1:5060', '$V1:5060')
    u.send(of('a'))
    u.answer(of('a'))
    u.answer('nothing')
    calls(s)
    s.stats()
  }),

  scenario('SIP: a server calls, the client answers', (s) => {
    s.service(SERVICE, ...MASQUERADED)
    speak(s, 2, '$C1', of('a'))
    calls(s)
    const u = s.udp('$C1:5060', '$V1:5060')
    u.send(of('a'))
    u.answer(of('a'))
    send(s, '$V1:5060', ['$C1:5061', 'a'], ['$C1:5062', 'b'])
    calls(s)
    s.list()
    s.stats()
  }),

  scenario('SIP: servers call, one packet each', (s) => {
    s.service(`${SERVICE} -o -M 0.0.0.0`, ...MASQUERADED)
    speak(s, 3, '$C1', of('a'))
    speak(s, 1, '$C2', of('b'))
    send(s, '$V1:5060', ['$C1:5060', 'a'], ['$C9:5060', 'b'], ['$C1:5060', 'c'])
    calls(s)
    s.list()
    s.stats()
  }),

  scenario('SIP: another server takes a call over', (s) => {
    s.service(SERVICE, ...MASQUERADED)
    send(s, '$V1:5060', ['$C1:5061', 'a'])
    speak(s, 3, '$C1', of('a'))
    calls(s)
    send(s, '$V1:5060', ['$C1:5062', 'a'])
    calls(s)
  }),

  scenario('SIP: another server calls a client that has a connection', (s) => {
    s.service(SERVICE, ...MASQUERADED)
    const u = s.udp('$C1:5060', '$V1:5060')
    u.send(of('a'))
    speak(s, 2, '$C1', of('b'))
    u.send(of('b'))
    speak(s, 1, '$C1', of('a'))
    u.send(of('a'))
    calls(s)
  }),

  scenario('SIP: what servers send and is no call', (s) => {
    s.service(SERVICE, ...MASQUERADED)
    speak(s, 1, '$C1', 'keep-alive')
    speak(s, 1, '$C1', of('a'), 5070)
    speak(s, 7, '$C1', of('a'))
    s.sysctl('nat_icmp_send', 1)
    speak(s, 1, '$C1', of('b'))
    calls(s)
  }),

  scenario('SIP: a server of a service without the engine calls', (s) => {
    s.service(SERVICE, '-r $R1:5060 -m')
    s.service('-u $V2:5060 -s rr -p 60', '-r $R2:5060 -m')
    speak(s, 1, '$C1', of('a'))
    speak(s, 2, '$C1', of('b'))
    calls(s)
  }),

  scenario('SIP: servers that are not masqueraded call nobody', (s) => {
    s.service(SERVICE, '-r $R1 -g', '-r $R2 -i')
    speak(s, 1, '$C1', of('a'))
    calls(s)
  }),
]

export const SIP = [...CALLS, ...HEADERS, LONG, ...WITHOUT, ...SERVERS]
