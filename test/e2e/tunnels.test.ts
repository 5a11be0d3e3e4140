/**
 * Tunnels with real programs: GRE and GUE with every checksum option, IPv4 and IPv6 in either,
 * taken apart at the real server by support/tunnel-end.cc; and a router on the way whose path is
 * narrower than the director's route says.
 *
 *   client --- router --- director eth1 198.18.6.254 --- narrow --- r1 198.18.7.11
 *                                          198.18.6.1  (MTU 1400 here)  198.18.7.1
 */
import assert from 'node:assert/strict'
import type { Host } from '../support/namespace.js'
import { requireNamespaces } from '../support/namespace.js'
import { Capture } from './support/capture.js'
import { Director } from './support/director.js'
import {
  DEVICE,
  directorAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  realAddress,
  routerAddress,
  virtualAddress,
} from './support/lab.js'
import { curl, iperf, IPERF_PORT, startIperf } from './support/tools.js'
import { GUE_PORT } from './support/tunnel-end.js'

interface Kind {
  readonly title: string
  readonly options: string
  /** What the outer header carries, as tcpdump selects it. */
  readonly protocol: number
  /** Bytes between outer header and packet. */
  readonly middle: number
}

const GUE = `--tun-type gue --tun-port ${GUE_PORT}`
const KINDS: readonly Kind[] = [
  { title: 'IPIP', options: '--tun-type ipip', protocol: 4, middle: 0 },
  { title: 'GRE', options: '--tun-type gre --tun-nocsum', protocol: 47, middle: 4 },
  { title: 'GRE, checksum', options: '--tun-type gre --tun-csum', protocol: 47, middle: 8 },
  { title: 'GUE', options: `${GUE} --tun-nocsum`, protocol: 17, middle: 12 },
  { title: 'GUE, checksum', options: `${GUE} --tun-csum`, protocol: 17, middle: 12 },
  { title: 'GUE, remote checksum', options: `${GUE} --tun-remcsum`, protocol: 17, middle: 12 },
]
const GUE_AND_GRE = KINDS.filter(({ title }) => title !== 'IPIP')
const IP_HEADER: Record<Family, number> = { 4: 20, 6: 40 }
const IP: Record<Family, string> = { 4: 'ip', 6: 'ip6' }

async function addTunnel(
  director: Director,
  address: string,
  real: string,
  kind: Kind,
): Promise<void> {
  for (const port of [80, IPERF_PORT]) {
    const service = endpoint(address, port)
    await director.ipvsadm('-A', '-t', service, '-s', 'rr')
    const to = ['-t', service, '-r', endpoint(real, port), '-i', ...kind.options.split(' ')]
    await director.ipvsadm('-a', ...to)
  }
}

/** The largest packet the client sends to an address, as it has learned by now. */
function pathMtu(lab: Lab, address: string): number {
  return Number(/ mtu (\d+)/.exec(lab.client.ip('route', 'get', address))?.[1])
}

describe('tunnels of every type', function () {
  this.timeout(60_000)
  let lab: Lab
  let director: Director
  let count = 0

  before(async function () {
    requireNamespaces(this)
    lab = new Lab({ reals: 1 })
    await lab.startWebServers()
    await startIperf(lab.reals[0])
    director = await Director.start(lab.director)
  })

  after(async () => {
    await director?.stop()
    await lab?.close()
  })

  afterEach(function () {
    if (this.currentTest?.state === 'failed') console.log(director.lastWords)
  })

  for (const kind of GUE_AND_GRE) {
    for (const inner of FAMILIES) {
      for (const outer of FAMILIES) {
        it(`${kind.title}: IPv${inner} in IPv${outer}, HTTP and bulk`, async () => {
          count++
          const address = virtualAddress(inner, count)
          await lab.acceptVirtual('tun', address)
          await addTunnel(director, address, realAddress(outer, 1), kind)
          const from = `src host ${directorAddress(outer)}`
          const filter = `${from} and ${IP[outer]} proto ${kind.protocol}`
          const capture = await Capture.start(lab.reals[0], DEVICE, filter, routerAddress(4))
          assert.equal(await curl(lab.client, `http://${endpoint(address)}/`), 'r1')
          assert.ok((await capture.stop()).length > 0, 'nothing came through such a tunnel')
          await iperf(lab.client, address, { megabytes: 16 })
          await iperf(lab.client, address, { megabytes: 16, reverse: true })
          // A sender that leaves its checksum to the receiver has 8 bytes less (spec 5.6).
          const least = 1500 - IP_HEADER[outer] - kind.middle
          const learned = pathMtu(lab, address)
          assert.ok(learned === least || learned === least - 8, `${learned} of ${least}`)
        })
      }
    }
  }
})

describe('a path that is narrower than its route', function () {
  this.timeout(60_000)
  let lab: Lab
  let director: Director
  let count = 0

  before(async function () {
    requireNamespaces(this)
    lab = new Lab({ reals: 1 })
    addNarrowPath(lab)
    await lab.startWebServers()
    await startIperf(lab.reals[0])
  })

  after(async () => {
    await lab?.close()
  })

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.log(director.lastWords)
    await director?.stop()
  })

  for (const kind of KINDS) {
    // The error must find the worker that has the connection.
    for (const workers of kind.middle === 0 || kind.middle === 8 ? [1, 2] : [2]) {
      it(`${kind.title}: bulk with DF arrives, ${workers} workers`, async () => {
        director = await Director.start(lab.director, { workers, flags: ['--iface', 'eth1'] })
        count++
        const address = virtualAddress(4, count)
        await lab.acceptVirtual('tun', address)
        await addTunnel(director, address, NARROW.real, kind)
        await iperf(lab.client, address, { megabytes: 16 })
        const most = NARROW.mtu - IP_HEADER[4] - kind.middle
        const learned = pathMtu(lab, address)
        assert.ok(learned === most || learned === most - 8, `${learned} of ${most}`)
      })
    }
  }
})

const NARROW = { real: '198.18.7.11', mtu: 1400 }

/** The router between director and r1, as drawn on top. */
function addNarrowPath(lab: Lab): void {
  const [real] = lab.reals
  const narrow: Host = lab.net.host('narrow')
  narrow.sysctl('net.ipv4.ip_forward', 1)
  lab.net.cable(
    { host: lab.director, device: 'eth1', addresses: ['198.18.6.254/24'] },
    { host: narrow, device: 'eth0', addresses: ['198.18.6.1/24'] },
  )
  lab.net.cable(
    { host: narrow, device: 'eth1', addresses: ['198.18.7.1/24'], mtu: NARROW.mtu },
    { host: real, device: 'eth1', addresses: [`${NARROW.real}/24`], mtu: NARROW.mtu },
  )
  lab.director.route(`198.18.7.0/24 via 198.18.6.1`)
}
