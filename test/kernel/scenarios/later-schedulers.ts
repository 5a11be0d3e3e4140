/**
 * fo, ovf and mh: which destination each connection gets while weights change under load. The
 * guest's kernel has no twos; its choices are in test/scheduler/.
 */
import { scenario } from '../language.js'
import { activeConnections, clients, halfOpen, questions } from './schedulers.js'

const THREE = ['-r $R1 -g -w 1', '-r $R2 -g -w 2', '-r $R3 -g -w 3']
const EQUAL = ['-r $R1 -g', '-r $R2 -g', '-r $R3 -g']

const FAIL_OVER = [
  scenario('fo: ties, weights changed under load, quiesced, removed and added', (s) => {
    s.service('-t $V1:80 -s fo', '-r $R1 -g -w 3', '-r $R2 -g -w 3', '-r $R3 -g -w 1')
    activeConnections(s, 1, 3)
    s.ipvsadm('-e -t $V1:80 -r $R3 -g -w 9')
    activeConnections(s, 4, 5)
    s.ipvsadm('-e -t $V1:80 -r $R3 -g -w 0')
    activeConnections(s, 6, 7)
    s.ipvsadm('-d -t $V1:80 -r $R2')
    activeConnections(s, 8, 9)
    s.ipvsadm('-a -t $V1:80 -r $R2 -g -w 3')
    activeConnections(s, 10, 11)
    for (const n of [1, 2]) s.ipvsadm(`-e -t $V1:80 -r $R${n} -g -w 0`)
    halfOpen(s, 12, 12)
    s.list()
    s.connections()
  }),

  scenario('fo: full at its upper threshold, and back below the lower one', (s) => {
    s.service('-t $V1:80 -s fo', '-r $R1 -m -w 5 -x 3 -y 2', '-r $R2 -m -w 4')
    const flows = clients(1, 5).map((n) => {
      const c = s.tcp(`$C${n}:40000`, '$V1:80')
      c.open()
      return c
    })
    for (const c of flows.slice(0, 2)) c.send('R')
    s.wait(13)
    activeConnections(s, 6, 9)
    s.list()
    s.connections()
  }),

  scenario('fo, UDP and IPv6', (s) => {
    s.service('-u $V1:53 -s fo', ...THREE)
    questions(s, 1, 4)
    s.service('-t [$V1v6]:80 -s fo', '-r [$R1v6]:80 -g', '-r [$R2v6]:80 -g -w 2')
    for (const n of clients(1, 3)) s.tcp(`[$C${n}v6]:40000`, '[$V1v6]:80').send('S')
    s.list()
  }),
]

const OVERFLOW = [
  scenario('ovf: fills up, overflows, nobody left, and room again', (s) => {
    s.service('-t $V1:80 -s ovf', '-r $R1 -g -w 2', '-r $R2 -g -w 3', '-r $R3 -g -w 1')
    const flows = activeConnections(s, 1, 10)
    for (const c of flows.slice(2, 5)) c.send('FA')
    s.list()
    activeConnections(s, 11, 14)
    s.list()
    s.connections()
  }),

  scenario('ovf: weights changed under load', (s) => {
    s.service('-t $V1:80 -s ovf', '-r $R1 -g -w 4', '-r $R2 -g -w 2')
    activeConnections(s, 1, 3)
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -w 2')
    activeConnections(s, 4, 6)
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 6')
    activeConnections(s, 7, 9)
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 0')
    activeConnections(s, 10, 11)
    s.ipvsadm('-a -t $V1:80 -r $R4 -g -w 1')
    activeConnections(s, 12, 15)
    s.list()
    s.connections()
  }),

  scenario('ovf: half-open connections, UDP, and a full one', (s) => {
    s.service('-t $V1:80 -s ovf', '-r $R1 -g -w 1', '-r $R2 -g -w 1 -x 2')
    halfOpen(s, 1, 6)
    s.service('-u $V1:53 -s ovf', ...THREE)
    questions(s, 1, 6)
    s.list()
    s.connections()
  }),
]

const MAGLEV = [
  scenario('mh: thirty real servers and sixty clients', (s) => {
    const servers = clients(1, 30).map((n) => `-r $R${n} -g -w ${1 + (n % 4)}`)
    s.service('-t $V1:80 -s mh', ...servers)
    halfOpen(s, 1, 60)
    s.list()
    s.connections()
  }),

  scenario('mh: weights changed under load, to 0 and back', (s) => {
    s.service('-t $V1:80 -s mh', ...THREE)
    activeConnections(s, 1, 6)
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -w 5')
    activeConnections(s, 7, 12)
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -w 0')
    activeConnections(s, 13, 24)
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -w 5')
    activeConnections(s, 25, 30)
    s.list()
    s.connections()
  }),

  scenario('mh: removed, added with weight 0, its first weight, revived', (s) => {
    s.service('-t $V1:80 -s mh', ...EQUAL)
    halfOpen(s, 1, 6)
    s.ipvsadm('-d -t $V1:80 -r $R3')
    halfOpen(s, 7, 12)
    s.ipvsadm('-a -t $V1:80 -r $R4 -g -w 0')
    halfOpen(s, 13, 18)
    s.ipvsadm('-e -t $V1:80 -r $R4 -g -w 2')
    halfOpen(s, 19, 26)
    s.ipvsadm('-a -t $V1:80 -r $R3 -g -w 0')
    halfOpen(s, 27, 34)
    s.list()
    s.connections()
  }),

  scenario('mh: weights with and without a common divisor, far apart', (s) => {
    const weights = [
      [100, 200, 1000],
      [1, 300, 7],
      [65535, 1, 4096],
      [2147483647, 1, 2],
    ]
    for (const [i, of] of weights.entries()) {
      const servers = of.map((weight, n) => `-r $R${n + 1} -g -w ${weight}`)
      s.service(`-t $V${i + 1}:80 -s mh`, ...servers)
      halfOpen(s, 1, 12, `$V${i + 1}:80`)
    }
    s.list()
  }),

  scenario('mh-port: the client and its port choose, TCP and UDP', (s) => {
    s.service('-t $V1:80 -s mh -b mh-port', ...THREE)
    s.service('-u $V1:53 -s mh -b mh-port', ...THREE)
    for (const port of [1, 1024, 1025, 12345, 40000, 50000, 65535]) {
      s.tcp(`$C1:${port}`, '$V1:80').send('S')
      s.udp(`$C1:${port}`, '$V1:53').send()
    }
    s.list()
    s.connections()
  }),

  scenario('mh-fallback: quiesced and full real servers are passed over', (s) => {
    s.service('-t $V1:80 -s mh -b mh-fallback', ...EQUAL, '-r $R4 -g -x 1')
    halfOpen(s, 1, 8)
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 0')
    halfOpen(s, 9, 20)
    for (const n of [1, 3]) s.ipvsadm(`-e -t $V1:80 -r $R${n} -g -w 0`)
    halfOpen(s, 21, 24)
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 1')
    halfOpen(s, 25, 28)
    s.list()
    s.connections()
  }),

  scenario('mh-fallback,mh-port: weights changed under load', (s) => {
    s.service('-t $V1:80 -s mh -b mh-fallback,mh-port', ...THREE)
    for (const [i, words] of [
      '-e -t $V1:80 -r $R3 -g -w 0',
      '-e -t $V1:80 -r $R1 -g -w 7',
      '-e -t $V1:80 -r $R3 -g -w 2',
      '-d -t $V1:80 -r $R2',
    ].entries()) {
      for (const port of [1000, 2000, 3000, 4000, 5000, 6000]) {
        s.tcp(`$C${i + 1}:${port}`, '$V1:80').send('S')
      }
      s.ipvsadm(words)
    }
    halfOpen(s, 5, 12)
    s.list()
    s.connections()
  }),

  scenario('mh, IPv6: addresses, ports and the flags', (s) => {
    const servers = ['-r [$R1v6]:80 -m', '-r [$R2v6]:8080 -m -w 2', '-r [$R2v6]:80 -m -w 3']
    s.service('-t [$V1v6]:80 -s mh', ...servers)
    s.service('-t [$V2v6]:80 -s mh -b mh-port,mh-fallback', ...servers)
    for (const n of clients(1, 10)) {
      s.tcp(`[$C${n}v6]:40000`, '[$V1v6]:80').send('S')
      s.tcp(`[$C${n}v6]:${n * 100}`, '[$V2v6]:80').send('S')
    }
    s.ipvsadm('-e -t [$V2v6]:80 -r [$R2v6]:80 -m -w 0')
    for (const n of clients(11, 20)) s.tcp(`[$C${n}v6]:${n * 100}`, '[$V2v6]:80').send('S')
    s.list()
    s.connections()
  }),

  scenario('-E: another scheduler becomes mh, its flags come and go', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1 -g', '-r $R2 -g -w 0', '-r $R3 -g')
    halfOpen(s, 1, 2)
    for (const words of ['mh', 'mh -b mh-fallback', 'mh -b mh-port', 'mh', 'sh']) {
      s.ipvsadm(`-E -t $V1:80 -s ${words}`)
      const first = (s.steps.length % 200) + 3
      halfOpen(s, first, first + 5)
      s.list()
    }
    s.connections()
  }),

  scenario('mh: persistence, and one packet each', (s) => {
    s.service('-t $V1:80 -s mh -p 60 -M 255.255.255.0', ...EQUAL)
    halfOpen(s, 1, 3)
    s.service('-u $V1:53 -s mh -o -b mh-port', ...EQUAL)
    for (const n of clients(1, 3)) questions(s, n, n)
    s.connections()
    s.list()
    s.stats()
  }),
]

export const LATER_SCHEDULERS = [...FAIL_OVER, ...OVERFLOW, ...MAGLEV]
