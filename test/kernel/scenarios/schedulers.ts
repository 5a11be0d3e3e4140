/**
 * Every scheduler: which destination each connection gets while weights change, destinations come
 * and go, and connections move between active and inactive.
 */
import { type Builder, scenario } from '../language.js'

/** Connections of clients FROM to TO that stay active; direct routing needs no answers. */
export function activeConnections(s: Builder, from: number, to: number, virtual = '$V1:80') {
  return clients(from, to).map((n) => {
    const c = s.tcp(`$C${n}:40000`, virtual)
    c.send('S')
    c.send('A')
    return c
  })
}

/** Connections that stay inactive: nothing comes after the SYN. */
export function halfOpen(s: Builder, from: number, to: number, virtual = '$V1:80'): void {
  for (const n of clients(from, to)) s.tcp(`$C${n}:40000`, virtual).send('S')
}

/** UDP connections, which never count as active. */
export function questions(s: Builder, from: number, to: number, virtual = '$V1:53'): void {
  for (const n of clients(from, to)) s.udp(`$C${n}:5000`, virtual).send()
}

export function clients(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

const THREE = ['-r $R1 -g -w 1', '-r $R2 -g -w 2', '-r $R3 -g -w 3']
const EQUAL = ['-r $R1 -g', '-r $R2 -g', '-r $R3 -g']

const ROUND_ROBIN = [
  scenario('rr: quiesced, back, one added and one removed on the way', (s) => {
    s.service('-t $V1:80 -s rr', ...EQUAL)
    halfOpen(s, 1, 2)
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 0')
    halfOpen(s, 3, 5)
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 7')
    s.ipvsadm('-a -t $V1:80 -r $R4 -g')
    halfOpen(s, 6, 10)
    s.ipvsadm('-d -t $V1:80 -r $R3')
    halfOpen(s, 11, 14)
    s.list()
  }),

  scenario('rr: the destination whose turn it was is removed', (s) => {
    s.service('-t $V1:80 -s rr', ...EQUAL, '-r $R4 -g')
    halfOpen(s, 1, 2)
    s.ipvsadm('-d -t $V1:80 -r $R3')
    halfOpen(s, 3, 4)
    s.ipvsadm('-d -t $V1:80 -r $R1')
    s.ipvsadm('-a -t $V1:80 -r $R1 -g')
    halfOpen(s, 5, 8)
    s.connections()
  }),

  scenario('rr: all quiesced, and one of them back', (s) => {
    s.service('-t $V1:80 -s rr', ...EQUAL)
    halfOpen(s, 1, 1)
    for (const n of [1, 2, 3]) s.ipvsadm(`-e -t $V1:80 -r $R${n} -g -w 0`)
    halfOpen(s, 2, 2)
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -w 1')
    halfOpen(s, 3, 4)
    s.list()
    s.stats()
  }),

  scenario('rr, UDP: several clients and a quiesced real server', (s) => {
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m', '-r $R2:5353 -m', '-r $R3:53 -m -w 0')
    questions(s, 1, 3)
    s.ipvsadm('-e -u $V1:53 -r $R3:53 -m -w 1')
    questions(s, 1, 6)
    s.list()
    s.connections()
  }),

  scenario('rr, UDP: one packet each', (s) => {
    s.service('-u $V1:53 -s rr -o', '-r $R1 -g', '-r $R2 -g')
    for (let i = 0; i < 5; i++) questions(s, 1, 1)
    s.connections()
    s.list()
    s.stats()
  }),

  scenario('rr, IPv6: one removed on the way', (s) => {
    s.service('-t [$V1v6]:80 -s rr', '-r [$R1v6]:80 -g', '-r [$R2v6]:80 -g', '-r [$R3v6]:80 -g')
    for (const n of clients(1, 5)) s.tcp(`[$C${n}v6]:40000`, '[$V1v6]:80').send('S')
    s.ipvsadm('-d -t [$V1v6]:80 -r [$R2v6]:80')
    for (const n of clients(6, 8)) s.tcp(`[$C${n}v6]:40000`, '[$V1v6]:80').send('S')
    s.list()
  }),

  scenario('wrr: weights 6, 4, 2 over a whole round', (s) => {
    s.service('-t $V1:80 -s wrr', '-r $R1 -g -w 6', '-r $R2 -g -w 4', '-r $R3 -g -w 2')
    halfOpen(s, 1, 9)
    s.list()
    s.connections()
  }),

  scenario('wrr: weights changed within a round', (s) => {
    s.service('-t $V1:80 -s wrr', '-r $R1 -g -w 4', '-r $R2 -g -w 6')
    halfOpen(s, 1, 2)
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -w 3')
    halfOpen(s, 3, 6)
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 100')
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -w 50')
    halfOpen(s, 7, 11)
    s.list()
    s.connections()
  }),

  scenario('wrr: an edit to what it was, within a round', (s) => {
    s.service('-t $V1:80 -s wrr', ...THREE)
    halfOpen(s, 1, 2)
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -w 1')
    halfOpen(s, 3, 5)
    s.ipvsadm('-e -t $V1:80 -r $R3 -g -w 3')
    halfOpen(s, 6, 12)
    s.list()
    s.connections()
  }),

  scenario('wrr: added, quiesced, removed within a round', (s) => {
    s.service('-t $V1:80 -s wrr', ...THREE)
    halfOpen(s, 1, 2)
    s.ipvsadm('-a -t $V1:80 -r $R4 -g -w 2')
    halfOpen(s, 3, 6)
    s.ipvsadm('-e -t $V1:80 -r $R3 -g -w 0')
    halfOpen(s, 7, 10)
    s.ipvsadm('-d -t $V1:80 -r $R2')
    halfOpen(s, 11, 14)
    s.list()
    s.connections()
  }),

  scenario('wrr: all quiesced, and back', (s) => {
    s.service('-t $V1:80 -s wrr', '-r $R1 -g -w 2', '-r $R2 -g -w 2')
    halfOpen(s, 1, 1)
    for (const n of [1, 2]) s.ipvsadm(`-e -t $V1:80 -r $R${n} -g -w 0`)
    halfOpen(s, 2, 2)
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 1')
    halfOpen(s, 3, 4)
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -w 65535')
    halfOpen(s, 5, 7)
    s.list()
    s.connections()
  }),
]

const LEAST_CONNECTION = [
  scenario('lc: active and inactive connections', (s) => {
    s.service('-t $V1:80 -s lc', ...EQUAL)
    const [a, b] = activeConnections(s, 1, 4)
    a.send('FA')
    b.send('FA')
    s.list()
    halfOpen(s, 5, 9)
    s.list()
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 0')
    activeConnections(s, 10, 12)
    s.list()
    s.connections()
  }),

  scenario('lc, UDP: inactive connections alone', (s) => {
    s.service('-u $V1:53 -s lc', ...EQUAL)
    questions(s, 1, 4)
    s.ipvsadm('-a -u $V1:53 -r $R4 -g')
    questions(s, 5, 8)
    s.list()
  }),

  scenario('wlc: active and inactive, unequal weights', (s) => {
    s.service('-t $V1:80 -s wlc', ...THREE)
    const open = activeConnections(s, 1, 6)
    for (const c of open.slice(2)) c.send('FA')
    s.list()
    activeConnections(s, 7, 11)
    s.list()
    s.connections()
  }),

  scenario('wlc: one comes in under load, one is quiesced and comes back', (s) => {
    s.service('-t $V1:80 -s wlc', '-r $R1 -g -w 3', '-r $R2 -g -w 3')
    activeConnections(s, 1, 4)
    s.ipvsadm('-a -t $V1:80 -r $R3 -g -w 1')
    halfOpen(s, 5, 7)
    s.ipvsadm('-e -t $V1:80 -r $R3 -g -w 0')
    halfOpen(s, 8, 9)
    s.ipvsadm('-e -t $V1:80 -r $R3 -g -w 10')
    halfOpen(s, 10, 12)
    s.ipvsadm('-d -t $V1:80 -r $R1')
    s.ipvsadm('-a -t $V1:80 -r $R1 -g -w 5')
    halfOpen(s, 13, 16)
    s.list()
    s.connections()
  }),

  scenario('wlc: how much an active connection weighs', (s) => {
    s.service('-t $V1:80 -s wlc', '-r $R1 -g -w 1', '-r $R2 -g -w 256')
    const [c] = activeConnections(s, 1, 1)
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 0')
    halfOpen(s, 2, 2)
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 256')
    c.send('A')
    halfOpen(s, 3, 5)
    s.list()
    s.connections()
  }),

  scenario('wlc: the greatest weights there are', (s) => {
    const greatest = 2 ** 31 - 1
    s.service('-t $V1:80 -s wlc', `-r $R1 -g -w ${greatest}`, '-r $R2 -g -w 1')
    activeConnections(s, 1, 2)
    s.ipvsadm(`-e -t $V1:80 -r $R2 -g -w ${greatest}`)
    activeConnections(s, 3, 5)
    s.list()
  }),

  scenario('wlc, UDP: unequal weights', (s) => {
    s.service('-u $V1:53 -s wlc', ...THREE)
    questions(s, 1, 8)
    s.ipvsadm('-e -u $V1:53 -r $R3 -g -w 1')
    questions(s, 9, 12)
    s.list()
  }),

  scenario('sed: the expected delay, active connections only', (s) => {
    s.service('-t $V1:80 -s sed', ...THREE)
    const open = activeConnections(s, 1, 6)
    s.list()
    for (const c of open.slice(0, 3)) c.send('FA')
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -w 4')
    activeConnections(s, 7, 10)
    s.ipvsadm('-e -t $V1:80 -r $R3 -g -w 0')
    activeConnections(s, 11, 13)
    s.list()
    s.connections()
  }),

  scenario('sed, UDP: no active connection anywhere', (s) => {
    s.service('-u $V1:53 -s sed', ...THREE)
    questions(s, 1, 3)
    s.ipvsadm('-e -u $V1:53 -r $R2 -g -w 3')
    questions(s, 4, 5)
    s.list()
  }),

  scenario('nq: the idle one first', (s) => {
    s.service('-t $V1:80 -s nq', ...THREE)
    const open = activeConnections(s, 1, 6)
    s.list()
    open[0].send('FA')
    halfOpen(s, 7, 8)
    s.ipvsadm('-a -t $V1:80 -r $R4 -g -w 1')
    activeConnections(s, 9, 11)
    s.ipvsadm('-e -t $V1:80 -r $R4 -g -w 0')
    open[5].send('R')
    activeConnections(s, 12, 13)
    s.list()
    s.connections()
  }),

  scenario('nq, UDP: equal and quiesced', (s) => {
    s.service('-u $V1:53 -s nq', ...EQUAL)
    questions(s, 1, 3)
    s.ipvsadm('-e -u $V1:53 -r $R3 -g -w 0')
    questions(s, 4, 5)
    s.list()
  }),
]

const BY_ADDRESS = [
  scenario('lblc: an address keeps its real server until that is overloaded', (s) => {
    const servers = ['-r $R1 -g -w 2', '-r $R2 -g -w 2', '-r $R3 -g -w 1']
    s.service('-t $V1:80 -s lblc', ...servers)
    s.service('-t $V2:80 -s lblc', ...servers)
    activeConnections(s, 1, 2)
    activeConnections(s, 1, 1, '$V2:80')
    s.list()
    activeConnections(s, 3, 6)
    activeConnections(s, 2, 3, '$V2:80')
    s.list()
    s.connections()
  }),

  scenario('lblc: the cached real server is quiesced, comes back, is removed', (s) => {
    s.service('-t $V1:80 -s lblc', ...EQUAL)
    halfOpen(s, 1, 3)
    s.ipvsadm('-e -t $V1:80 -r $R3 -g -w 0')
    halfOpen(s, 4, 5)
    s.ipvsadm('-e -t $V1:80 -r $R3 -g -w 1')
    halfOpen(s, 6, 7)
    s.ipvsadm('-d -t $V1:80 -r $R2')
    halfOpen(s, 8, 10)
    s.ipvsadm('-a -t $V1:80 -r $R2 -g')
    halfOpen(s, 11, 12)
    s.list()
    s.connections()
  }),

  scenario('lblc: above its upper threshold the cached real server is used still', (s) => {
    s.service('-t $V1:80 -s lblc', '-r $R1 -g -w 5', '-r $R2 -g -w 5 -x 2')
    activeConnections(s, 1, 4)
    s.list()
    s.connections()
  }),

  scenario('lblc, UDP: addresses of several services', (s) => {
    for (const n of [1, 2, 3]) s.service(`-u $V${n}:53 -s lblc`, ...THREE)
    for (const n of [1, 2, 3]) questions(s, 1, 3, `$V${n}:53`)
    s.list()
  }),

  scenario('lblcr: the set of an address grows under load', (s) => {
    s.service('-t $V1:80 -s lblcr', '-r $R1 -g -w 1', '-r $R2 -g -w 2', '-r $R3 -g -w 3')
    activeConnections(s, 1, 10)
    s.list()
    s.connections()
  }),

  scenario('lblcr: the set shrinks after lblcr_expiration', (s) => {
    s.sysctl('lblcr_expiration', 2)
    s.service('-t $V1:80 -s lblcr', '-r $R1 -g -w 2', '-r $R2 -g -w 2')
    const open = activeConnections(s, 1, 6)
    for (const c of open) c.send('FA')
    s.wait(4)
    activeConnections(s, 7, 8)
    s.wait(4)
    activeConnections(s, 9, 12)
    s.list()
    s.connections()
  }),

  scenario('lblcr: members quiesced, removed and added again', (s) => {
    s.service('-t $V1:80 -s lblcr', '-r $R1 -g', '-r $R2 -g', '-r $R3 -g')
    activeConnections(s, 1, 4)
    s.ipvsadm('-e -t $V1:80 -r $R3 -g -w 0')
    activeConnections(s, 5, 6)
    s.ipvsadm('-d -t $V1:80 -r $R2')
    activeConnections(s, 7, 8)
    s.ipvsadm('-a -t $V1:80 -r $R2 -g')
    s.ipvsadm('-e -t $V1:80 -r $R3 -g -w 5')
    activeConnections(s, 9, 12)
    s.list()
    s.connections()
  }),

  scenario('dh: the virtual address chooses, whoever asks', (s) => {
    for (const n of [1, 2, 3, 4]) s.service(`-t $V${n}:80 -s dh`, ...EQUAL, '-r $R4 -g')
    for (const n of [1, 2, 3, 4]) halfOpen(s, 1, 2, `$V${n}:80`)
    s.list()
  }),

  scenario('dh: a real server is quiesced, comes back, others are added and removed', (s) => {
    for (const n of [1, 2, 3]) s.service(`-t $V${n}:80 -s dh`, ...EQUAL)
    const edit = (words: string) => {
      for (const n of [1, 2, 3]) s.ipvsadm(words.replace('$V', `$V${n}`))
      for (const n of [1, 2, 3]) {
        s.tcp(`$C${(s.steps.length % 200) + 1}:40000`, `$V${n}:80`).send('S')
      }
    }
    edit('-e -t $V:80 -r $R2 -g -w 0')
    edit('-e -t $V:80 -r $R2 -g -w 4')
    edit('-a -t $V:80 -r $R4 -g')
    edit('-d -t $V:80 -r $R1')
    s.list()
  }),

  scenario('sh: weights changed, quiesced and removed', (s) => {
    s.service('-t $V1:80 -s sh', ...THREE)
    halfOpen(s, 1, 6)
    s.ipvsadm('-e -t $V1:80 -r $R1 -g -w 5')
    halfOpen(s, 7, 12)
    s.ipvsadm('-d -t $V1:80 -r $R3')
    halfOpen(s, 13, 17)
    s.ipvsadm('-a -t $V1:80 -r $R4 -g -w 9')
    halfOpen(s, 18, 23)
    s.list()
    s.connections()
  }),

  scenario('sh-fallback: quiesced and full real servers are passed over', (s) => {
    s.service('-t $V1:80 -s sh -b sh-fallback', ...EQUAL, '-r $R4 -g -x 1')
    halfOpen(s, 1, 8)
    s.ipvsadm('-e -t $V1:80 -r $R2 -g -w 0')
    halfOpen(s, 9, 16)
    s.list()
    s.connections()
  }),

  scenario('sh-port: the client and its port choose, UDP too', (s) => {
    s.service('-t $V1:80 -s sh -b sh-port', ...THREE)
    s.service('-u $V1:53 -s sh -b sh-port', ...THREE)
    for (const port of [1024, 1025, 40000, 65535, 1]) {
      s.tcp(`$C1:${port}`, '$V1:80').send('S')
      s.udp(`$C1:${port}`, '$V1:53').send()
    }
    s.list()
    s.connections()
  }),

  scenario('sh and dh, IPv6', (s) => {
    const servers = ['-r [$R1v6]:80 -g', '-r [$R2v6]:80 -g -w 2', '-r [$R3v6]:80 -g -w 3']
    s.service('-t [$V1v6]:80 -s sh -b sh-port', ...servers)
    s.service('-t [$V2v6]:80 -s dh', ...servers)
    s.service('-t [$V3v6]:80 -s dh', ...servers)
    for (const n of clients(1, 6)) s.tcp(`[$C${n}v6]:${40000 + n}`, '[$V1v6]:80').send('S')
    for (const n of [2, 3]) s.tcp('[$C1v6]:40000', `[$V${n}v6]:80`).send('S')
    s.list()
  }),
]

const CHANGED = [
  scenario('-E: another scheduler with live connections', (s) => {
    s.service('-t $V1:80 -s rr', ...THREE)
    const open = activeConnections(s, 1, 4)
    for (const [i, scheduler] of ['wlc', 'sh', 'wrr', 'nq', 'lblcr', 'rr'].entries()) {
      s.ipvsadm(`-E -t $V1:80 -s ${scheduler}`)
      activeConnections(s, 5 + 2 * i, 6 + 2 * i)
    }
    open[0].send('PA', { payload: 'still here' })
    s.list()
    s.connections()
  }),

  scenario('-E: the same scheduler again goes on with its round', (s) => {
    s.service('-t $V1:80 -s wrr', ...THREE)
    s.service('-t $V2:80 -s rr', ...EQUAL)
    halfOpen(s, 1, 2)
    halfOpen(s, 1, 2, '$V2:80')
    s.ipvsadm('-E -t $V1:80 -s wrr')
    s.ipvsadm('-E -t $V2:80 -s rr')
    halfOpen(s, 3, 6)
    halfOpen(s, 3, 6, '$V2:80')
    s.connections()
  }),

  scenario('-E: flags of sh come and go', (s) => {
    s.service('-t $V1:80 -s sh', '-r $R1 -g', '-r $R2 -g -w 0', '-r $R3 -g')
    halfOpen(s, 1, 4)
    s.ipvsadm('-E -t $V1:80 -s sh -b sh-fallback')
    s.list()
    halfOpen(s, 5, 8)
    s.ipvsadm('-E -t $V1:80 -s sh')
    s.list()
    halfOpen(s, 9, 12)
    s.connections()
  }),
]

export const SCHEDULERS = [...ROUND_ROBIN, ...LEAST_CONNECTION, ...BY_ADDRESS, ...CHANGED]
