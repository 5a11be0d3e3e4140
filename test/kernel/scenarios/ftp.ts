/**
 * FTP through NAT: what the helper reads, expects and edits. The kernel's is the module ip_vs_ftp.
 * A reply ends with words enough that the client's acknowledgements lie behind the edited text.
 */
import { type Builder, scenario, type TcpFlow } from '../language.js'

const AFTER = '. Whatever comes next is long enough.\r\n'

/** A control connection to the only real server, established. */
function control(s: Builder, six = false, options = ''): TcpFlow {
  const [virtual, real, client] = six ? ['[$V1v6]', '[$R1v6]', '[$C1v6]'] : ['$V1', '$R1', '$C1']
  s.service(`-t ${virtual}:21 -s rr${options}`, `-r ${real}:21 -m`)
  const c = s.tcp(`${client}:40000`, `${virtual}:21`)
  c.open()
  return c
}

const say = (flow: TcpFlow, payload: string): void => flow.send('PA', { payload })
const reply = (flow: TcpFlow, payload: string): void => flow.answer('PA', { payload })

/** The client opens a passive data connection, gets something, and both end it. */
function fetch(s: Builder, client: string, virtual: string): void {
  const data = s.tcp(client, virtual)
  data.send('S')
  s.connections()
  data.answer('SA')
  data.send('A')
  s.connections()
  data.answer('PA', { payload: 'the file' })
  data.answer('FA')
  data.send('FA')
  data.answer('A')
  s.connections()
}

export const FTP = [
  scenario('FTP, PASV: the reply, the data connection, what follows', (s) => {
    const c = control(s)
    say(c, 'PASV\r\n')
    reply(c, `227 Entering Passive Mode (198,18,1,1,19,137)${AFTER}`)
    s.connections()
    s.list()
    fetch(s, '$C1:41000', '$V1:5001')
    say(c, 'NOOP\r\n')
    reply(c, '200 Fine.\r\n')
    say(c, 'PASV\r\n')
    reply(c, `227 Entering Passive Mode (198,18,1,1,19,138)${AFTER}`)
    fetch(s, '$C1:41001', '$V1:5002')
    c.close()
    s.connections()
    s.stats()
  }),

  scenario('FTP, EPSV over IPv4 and IPv6', (s) => {
    const c = control(s)
    say(c, 'EPSV\r\n')
    reply(c, '229 Entering Extended Passive Mode (|||5001|)\r\n')
    fetch(s, '$C1:41000', '$V1:5001')
    const six = control(s, true)
    say(six, 'EPSV 2\r\n')
    reply(six, '229 Entering Extended Passive Mode (|||5002|)\r\n')
    fetch(s, '[$C1v6]:41000', '[$V1v6]:5002')
    s.stats()
  }),

  scenario('FTP, PORT and EPRT: the server calls', (s) => {
    const c = control(s)
    say(c, 'PORT 198,19,250,7,19,137\r\n')
    s.connections()
    reply(c, '200 Fine.\r\n')
    const call = { source: '198.18.1.1', destination: '198.19.250.7', dontFragment: true }
    const ports = { source: 20, destination: 5001 }
    s.fromServer(1, {
      ip: { ...call, identification: 900 },
      tcp: { ...ports, flags: 'S', sequence: 7000 },
    })
    s.connections()
    s.fromClient({
      ip: { source: '198.19.250.7', destination: '$V1', identification: 901 },
      tcp: { source: 5001, destination: 20, flags: 'SA', sequence: 8000, acknowledgment: 7001 },
    })
    s.connections()
    s.fromServer(1, {
      ip: { ...call, identification: 902 },
      tcp: { ...ports, flags: 'A', sequence: 7001, acknowledgment: 8001 },
    })
    s.connections()
    const six = control(s, true)
    say(six, 'EPRT |2|2001:db8:c:ff::7|5003|\r\n')
    s.connections()
    s.list()
    s.stats()
  }),

  scenario('FTP: commands that are none', (s) => {
    const c = control(s)
    const commands = [
      'PAS',
      'V\r\n',
      'PASV\n',
      'EPSV ALL\r\n',
      'EPSV 2\r\n',
      'PORT 198,19,250,7,19\r\n',
      'PORT 198,19,250,256,19,137\r\n',
      'PORT 198,19,250,7,19,137',
      'EPRT |2|2001:db8::1|5001|\r\n',
      'EPRT |1|198.19.250.7|65536|\r\n',
      'NOOP\r\nPORT 198,19,250,7,19,137\r\n',
    ]
    for (const command of commands) say(c, command)
    reply(c, `227 Entering Passive Mode (198,18,1,1,19,137)${AFTER}`)
    reply(c, '229 Entering Extended Passive Mode (|||5001|)\r\n')
    s.connections()
  }),

  scenario('FTP: replies that are none, and the one that is', (s) => {
    const c = control(s)
    say(c, 'noop\r\npasv\r\n')
    reply(c, '200 Fine.\r\n')
    reply(c, `227-Entering Passive Mode (198,18,1,1,19,137)${AFTER}`)
    reply(c, `227 Entering Passive Mode (198,18,1,256,19,137)${AFTER}`)
    reply(c, '229 Entering Extended Passive Mode (|||5001|)\r\n')
    s.connections()
    reply(c, `227 Entering Passive Mode 198,18,1,1,19,137${AFTER}`)
    s.connections()
    say(c, 'EPSV\r\n')
    say(c, 'PORT 198,19,250,7,19,137\r\n')
    reply(c, '229 Entering Extended Passive Mode (|||5001|)\r\n')
    s.connections()
  }),

  scenario('FTP: who listens in vain, and the control connection that waits for it', (s) => {
    const c = control(s)
    say(c, 'EPSV\r\n')
    reply(c, '229 Entering Extended Passive Mode (|||5001|)\r\n')
    c.send('R')
    s.connections()
    s.wait(40)
    s.connections()
    s.wait(100)
    s.connections()
    s.wait(80)
    s.connections()
    s.list()
  }),

  scenario('FTP: a persistent service, its template, two data connections', (s) => {
    const c = control(s, false, ' -p 60')
    s.connections()
    say(c, 'EPSV\r\n')
    reply(c, '229 Entering Extended Passive Mode (|||5001|)\r\n')
    fetch(s, '$C1:41000', '$V1:5001')
    say(c, 'EPSV\r\n')
    reply(c, '229 Entering Extended Passive Mode (|||5001|)\r\n')
    s.connections()
    c.close()
    s.list()
  }),

  scenario('FTP: a wrong checksum ends at a connection with a helper', (s) => {
    const c = control(s)
    c.send('PA', { payload: 'EPSV\r\n', tcp: { checksum: 0x1234 } })
    reply(c, '229 Entering Extended Passive Mode (|||5001|)\r\n')
    c.answer('PA', { payload: '200 Fine.\r\n', tcp: { checksum: 0x1234 } })
    s.connections()
  }),

  scenario('FTP: a client that acknowledges before the server has answered', (s) => {
    s.service('-t $V1:21 -s rr', '-r $R1:21 -m')
    const c = s.tcp('$C1:40000', '$V1:21')
    c.send('S')
    c.send('A')
    c.answer('SA')
    c.send('A')
    s.connections()
    s.stats()
  }),

  scenario('FTP by direct routing, persistent: what a client answers an active server', (s) => {
    s.service('-t $V1:21 -s rr -p 300', '-r $R1:21 -g', '-r $R2:21 -g')
    for (const client of ['$C1', '$C2']) {
      s.tcp(`${client}:40000`, '$V1:21').send('S')
      const data = s.tcp(`${client}:41000`, '$V1:20')
      data.send('SA')
      data.send('A')
      s.tcp(`${client}:42000`, '$V1:15000').send('S')
    }
    s.tcp('$C3:41000', '$V1:20').send('A')
    s.connections()
    s.list()
  }),
]
