/**
 * Services by firewall mark: the kernel's packets get their marks from nftables, uvs' from its own
 * rules. Which service a mark leads to, templates of marks, and what falls through to addresses.
 */
import { TAKEN_MARK } from '../addresses.js'
import { type Builder, scenario } from '../language.js'

const THREE = ['-r $R1 -g', '-r $R2 -g', '-r $R3 -g']

function markService(s: Builder, service: string, ...destinations: readonly string[]): void {
  s.ipvsadm(`-A ${service}`)
  const name = / -6\b/.test(service)
    ? service.replace(/ -6.*/, ' -6')
    : service.replace(/ -s.*/, '')
  for (const destination of destinations) s.ipvsadm(`-a ${name} ${destination}`)
}

function syns(s: Builder, ...flows: readonly (readonly [client: string, virtual: string])[]): void {
  for (const [client, virtual] of flows) s.tcp(client, virtual).send('S')
}

/** A connection of each protocol that a mark can be given, to one address. */
function everyProtocol(s: Builder, client: string): void {
  const c = s.tcp(`${client}:40000`, '$V1:80')
  c.open()
  c.send('PA', { payload: 'hello' })
  const u = s.udp(`${client}:5000`, '$V1:53')
  u.send()
  u.answer()
  const a = s.sctp(`${client}:6000`, '$V1:132')
  a.send('INIT')
  a.answer('INIT-ACK')
  a.send('COOKIE-ECHO')
  a.answer('COOKIE-ACK')
}

export const MARKS = [
  scenario('marks: addresses, ports and protocols under one mark take turns', (s) => {
    markService(s, '-f 21 -s rr', ...THREE)
    s.mark('-d $V1 -p tcp --dport 80 --set-mark 21')
    s.mark('-d $V2 --set-mark 21')
    syns(s, ['$C1:40000', '$V1:80'], ['$C1:40001', '$V2:80'], ['$C1:40002', '$V2:7000'])
    s.udp('$C1:5000', '$V2:53').send()
    syns(s, ['$C1:40003', '$V1:80'])
    s.list()
    s.stats()
  }),

  scenario('marks: NAT keeps the port of the packet unless the destination names one', (s) => {
    markService(s, '-f 22 -s rr', '-r $R1 -m', '-r $R2:8080 -m')
    s.mark('-d $V1 -p tcp -m multiport --dports 80,443 --set-mark 22')
    for (const [client, port] of [
      ['$C1:40000', 80],
      ['$C1:40001', 443],
      ['$C1:40002', 443],
      ['$C1:40003', 80],
    ] as const) {
      const c = s.tcp(client, `$V1:${port}`)
      c.open()
      c.send('PA', { payload: 'hello' })
      c.answer('A')
      c.close()
    }
    s.connections()
    s.stats()
  }),

  scenario('marks: http and https of one client meet one real server', (s) => {
    markService(s, '-f 23 -s rr -p 60', ...THREE)
    s.mark('-d $V1 -p tcp -m multiport --dports 80,443 --set-mark 23')
    syns(s, ['$C1:40000', '$V1:80'], ['$C1:40001', '$V1:443'], ['$C2:40000', '$V1:443'])
    syns(s, ['$C2:40001', '$V1:80'], ['$C3:40000', '$V1:80'], ['$C1:40002', '$V1:443'])
    s.connections()
    s.list()
    s.ipvsadm('-L -n --persistent-conn')
  }),

  scenario('marks: FTP by direct routing, control, active and passive data', (s) => {
    markService(s, '-f 24 -s rr -p 300', ...THREE)
    for (const port of ['21', '20', '10000:20000']) {
      s.mark(`-d $V1 -p tcp --dport ${port} --set-mark 24`)
    }
    for (const client of ['$C1', '$C2']) {
      const control = s.tcp(`${client}:40000`, '$V1:21')
      control.send('S')
      control.send('A')
      // The real server has opened the data connection from port 20; this is the client's answer.
      s.tcp(`${client}:41000`, '$V1:20').send('SA')
      s.tcp(`${client}:42000`, '$V1:15000').send('S')
      s.tcp(`${client}:43000`, '$V1:9999').send('S')
    }
    s.connections()
    s.list()
  }),

  scenario('marks: a template for a network of clients', (s) => {
    markService(s, '-f 25 -s rr -p 60 -M 255.255.255.240', ...THREE)
    s.mark('-d $V1 -p tcp --set-mark 25')
    syns(s, ['$C1:40000', '$V1:80'], ['$C14:40000', '$V1:81'], ['$C16:40000', '$V1:80'])
    syns(s, ['$C31:40000', '$V1:82'], ['$C32:40000', '$V1:80'])
    s.connections()
    s.list()
  }),

  scenario('marks: masquerading with persistence keeps the port of the packet', (s) => {
    markService(s, '-f 26 -s rr -p 60', '-r $R1:8080 -m', '-r $R2:8080 -m')
    s.mark('-d $V1 -p tcp --set-mark 26')
    const c = s.tcp('$C1:40000', '$V1:80')
    c.open()
    c.close()
    s.connections()
  }),

  scenario('marks: one mark, a service in each family', (s) => {
    markService(s, '-f 27 -s rr', ...THREE)
    markService(s, '-f 27 -6 -s rr', '-r $R1v6 -g', '-r $R2v6 -g')
    s.mark('-d $V1 -p tcp --dport 80 --set-mark 27')
    s.mark('-d $V1v6 -p tcp --dport 80 --set-mark 27')
    syns(s, ['$C1:40000', '$V1:80'], ['[$C1v6]:40000', '[$V1v6]:80'])
    syns(s, ['$C1:40001', '$V1:80'], ['[$C1v6]:40001', '[$V1v6]:80'])
    syns(s, ['[$C1v6]:40002', '[$V1v6]:80'])
    s.list()
    s.stats()
  }),

  scenario('marks: persistence in IPv6, a prefix of clients', (s) => {
    markService(s, '-f 28 -6 -s rr -p 60 -M 124', '-r $R1v6 -g', '-r $R2v6 -g', '-r $R3v6 -g')
    s.mark('-d $V1v6 -p tcp -m multiport --dports 80,443 --set-mark 28')
    syns(s, ['[$C1v6]:40000', '[$V1v6]:80'], ['[$C2v6]:40000', '[$V1v6]:443'])
    syns(s, ['[$C16v6]:40000', '[$V1v6]:443'], ['[$C17v6]:40000', '[$V1v6]:80'])
    s.connections()
    s.list()
  }),

  scenario('marks: a mark without a service leads to the address', (s) => {
    s.service('-t $V1:80 -s rr', ...THREE)
    s.mark('-d $V1 -p tcp --set-mark 29')
    syns(s, ['$C1:40000', '$V1:80'], ['$C1:40001', '$V1:80'], ['$C1:40002', '$V1:81'])
    s.connections()
    markService(s, '-f 29 -s rr', '-r $R4 -g')
    syns(s, ['$C1:40003', '$V1:80'], ['$C1:40000', '$V1:80'])
    s.ipvsadm('-D -f 29')
    syns(s, ['$C1:40004', '$V1:80'])
    s.list()
  }),

  scenario('marks: the last rule that matches wins, and bits are set one by one', (s) => {
    markService(s, '-f 5 -s rr', '-r $R1 -g')
    markService(s, '-f 6 -s rr', '-r $R2 -g')
    s.mark('-d $V1 -p tcp --set-mark 6')
    s.mark('-d $V1 -p tcp --dport 80 --set-mark 5')
    s.mark('-d $V2 -p tcp --or-mark 4')
    s.mark('! -s $C2 -d $V2 -p tcp --dport 80:90 --set-mark 1/3')
    s.mark('-d $V2 -p tcp ! --sport 40000:40001 --set-xmark 2/2')
    syns(s, ['$C1:40000', '$V1:80'], ['$C1:40001', '$V1:81'], ['$C1:40000', '$V2:80'])
    syns(s, ['$C2:40002', '$V2:80'], ['$C2:40001', '$V2:80'], ['$C1:40001', '$V2:99'])
    s.list()
    s.stats()
  }),

  scenario('marks: quiescing and removing a destination of a mark service', (s) => {
    markService(s, '-f 30 -s rr -p 60', ...THREE)
    s.mark('-d $V1 -p tcp --set-mark 30')
    syns(s, ['$C1:40000', '$V1:80'], ['$C2:40000', '$V1:80'], ['$C3:40000', '$V1:80'])
    s.ipvsadm('-e -f 30 -r $R1 -g -w 0')
    syns(s, ['$C3:40001', '$V1:81'], ['$C4:40000', '$V1:80'], ['$C5:40000', '$V1:80'])
    s.ipvsadm('-d -f 30 -r $R2')
    syns(s, ['$C2:40001', '$V1:443'], ['$C2:40000', '$V1:80'], ['$C6:40000', '$V1:80'])
    s.connections()
    s.list()
  }),

  scenario('marks: TCP, UDP and SCTP take turns under one mark', (s) => {
    markService(s, '-f 31 -s rr', '-r $R1 -m', '-r $R2 -m', '-r $R3 -m')
    s.mark('-d $V1 --set-mark 31')
    everyProtocol(s, '$C1')
    everyProtocol(s, '$C2')
    s.connections()
    s.list()
    s.stats()
  }),

  scenario('marks: TCP, UDP and SCTP of one client meet one real server', (s) => {
    markService(s, '-f 32 -s rr -p 60', '-r $R1 -m', '-r $R2 -m', '-r $R3 -m')
    s.mark('-d $V1 --set-mark 32')
    for (const client of ['$C1', '$C2', '$C3', '$C4']) everyProtocol(s, client)
    s.connections()
    s.list()
    s.ipvsadm('-L -n --persistent-conn')
    s.stats()
  }),

  scenario('marks: what no destination takes goes where it is addressed to, cache_bypass', (s) => {
    s.sysctl('cache_bypass', 1)
    markService(s, `-f ${TAKEN_MARK} -s rr`)
    for (const address of ['$C200', '$V1']) s.mark(`-d ${address} --set-mark ${TAKEN_MARK}`)
    const c = s.tcp('$C1:40000', '$C200:80')
    for (const flags of ['S', 'A', 'PA', 'FA']) c.send(flags)
    s.udp('$C1:5000', '$C200:53').send()
    s.sctp('$C1:6000', '$C200:132').send('INIT')
    // The director's own address is not bypassed.
    s.tcp('$C1:40002', '$V1:80').send('S')
    s.connections()
    s.list()
    s.stats()
    s.sysctl('cache_bypass', 0)
    c.send('A')
    s.connections()
  }),
]
