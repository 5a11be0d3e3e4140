/**
 * The way of a packet through a changing network: neighbours not yet known or moved, routes that
 * change, a path that is too small, a packet that has travelled too far, a director with two arms.
 */
import assert from 'node:assert/strict'
import { requireNamespaces } from '../support/namespace.js'
import { waitFor } from '../support/wait.js'
import { Capture } from './support/capture.js'
import { Director } from './support/director.js'
import {
  destinationAddress,
  DEVICE,
  endpoint,
  FAMILIES,
  type Family,
  isClientAddress,
  Lab,
  masqueradedAddress,
  type Method,
  METHODS,
  METHOD_WORDS,
  realAddress,
  virtualAddress,
} from './support/lab.js'
import { curl, iperf, IPERF_PORT, sendDatagram, startIperf } from './support/tools.js'
import { requests, tryRequests } from './support/web.js'

/** A first SYN is sent again after a second; below that nothing was lost on the way. */
const NOTHING_LOST_US = 900_000
const CLIENT_GATEWAY = '198.18.2.254'
const IP_HEADER: Record<Family, number> = { 4: 20, 6: 40 }

describe('paths', function () {
  this.timeout(60_000)
  let lab: Lab
  let director: Director
  let count = 0

  before(async function () {
    requireNamespaces(this)
    lab = new Lab()
    await lab.startWebServers()
    await startIperf(lab.reals[0])
    addSecondArm(lab)
    director = await Director.start(lab.director, { flags: ['--iface', 'eth1'] })
  })

  after(async () => {
    await director?.stop()
    await lab?.close()
  })

  afterEach(function () {
    if (this.currentTest?.state === 'failed') console.log(director.lastWords)
  })

  /** A new service whose only destination is r1. */
  async function newService(method: Method, family: Family, port = 80): Promise<string> {
    count++
    const address = virtualAddress(family, count)
    await lab.acceptVirtual(method, address)
    await director.addService({ method, family, address, port, weights: [1] })
    return address
  }

  const urlOf = (address: string): string => `http://${endpoint(address)}/`

  for (const family of FAMILIES) {
    for (const method of METHODS) {
      const title = `${METHOD_WORDS[method].title} over IPv${family}`

      it(`${title}: packets wait for an unknown neighbour`, async () => {
        const address = await newService(method, family)
        lab.director.forgetNeighbours()
        const { latenciesUs } = await requests(lab.client, { url: urlOf(address), requests: 1 })
        assert.ok(latenciesUs[0] < NOTHING_LOST_US, `${latenciesUs[0]} us`)
      })

      it(`${title}: a packet that has travelled too far is answered`, async () => {
        const address = await newService(method, family)
        // One hop to the router, one to the director: there it is used up.
        const name = family === 4 ? 'net.ipv4.ip_default_ttl' : `net.ipv6.conf.${DEVICE}.hop_limit`
        const filter = family === 4 ? 'icmp[0] == 11' : 'icmp6 and ip6[40] == 3'
        const capture = await Capture.start(lab.client, DEVICE, filter, CLIENT_GATEWAY)
        lab.client.sysctl(name, 2)
        try {
          const task = { url: urlOf(address), requests: 1, limitMs: 300 }
          const { failures } = await tryRequests(lab.client, task)
          assert.equal(failures.length, 1)
        } finally {
          lab.client.sysctl(name, 64)
        }
        const errors = await capture.stop()
        assert.ok(errors.length > 0, 'no time exceeded')
        for (const line of errors) assert.match(line, /time exceeded/)
      })
    }

    it(`a real server with a new MAC is followed, IPv${family}`, async () => {
      const address = await newService('nat', family)
      const url = urlOf(address)
      await requests(lab.client, { url, requests: 1 })
      const [real] = lab.reals
      // Real network cards announce a change of address; here it must be asked for.
      real.sysctl(`net.ipv4.conf.${DEVICE}.arp_notify`, 1)
      real.sysctl(`net.ipv6.conf.${DEVICE}.ndisc_notify`, 1)
      lab.director.sysctl(`net.ipv4.neigh.${DEVICE}.locktime`, 0)
      real.ip('link', 'set', DEVICE, 'address', `02:00:00:00:0${family}:01`)
      real.forgetNeighbours()
      await waitFor('the director to know the new MAC', async () => {
        await sendDatagram(lab.director, masqueradedAddress(family, 1), 1)
        const line = lab.director.ip('neigh', 'show', 'to', masqueradedAddress(family, 1))
        return line.includes(`02:00:00:00:0${family}:01`)
      })
      await waitFor('a request to be answered', async () => {
        const { failures } = await tryRequests(lab.client, { url, requests: 1, limitMs: 500 })
        return failures.length === 0
      })
    })

    it(`a route that changes is followed, IPv${family}`, async () => {
      const prefix = family === 4 ? '198.18.3.1/32' : '2001:db8:0:3::1/128'
      const [destination] = prefix.split('/')
      for (const real of lab.reals.slice(0, 2)) real.address(prefix, 'lo')
      lab.director.route(`${prefix} via ${realAddress(family, 1)}`)
      count++
      const address = virtualAddress(family, count)
      const service = endpoint(address)
      await director.ipvsadm('-A', '-t', service, '-s', 'rr')
      await director.ipvsadm('-a', '-t', service, '-r', endpoint(destination), '-b')
      assert.equal(await curl(lab.client, urlOf(address)), 'r1')
      const words = [prefix, 'via', realAddress(family, 2)]
      lab.director.ip(...(family === 6 ? ['-6'] : []), 'route', 'replace', ...words)
      await waitFor('the other real server to answer', async () => {
        const result = await tryRequests(lab.client, { url: urlOf(address), requests: 1 })
        return result.answers[0] === 'r2'
      })
    })

    it(`a tunnel's smaller path is told to the client, IPv${family}`, async () => {
      const address = await newService('tun', family)
      await addIperf('tun', family, address)
      await iperf(lab.client, address, { megabytes: 16 })
      assert.equal(pathMtu(lab, address), 1500 - IP_HEADER[family])
    })

    it(`the route's smaller path is told to the client, IPv${family}`, async () => {
      const mtu = 1400
      const real = masqueradedAddress(family, 1)
      lab.director.route(`${real} dev ${DEVICE} mtu ${mtu}`)
      const address = await newService('nat', family)
      await addIperf('nat', family, address)
      await iperf(lab.client, address, { megabytes: 16 })
      assert.equal(pathMtu(lab, address), mtu)
      lab.director.ip(...(family === 6 ? ['-6'] : []), 'route', 'del', real, 'dev', DEVICE)
    })

    it(`a tunnel of the other family, IPv${family} inside`, async () => {
      count++
      const address = virtualAddress(family, count)
      const other: Family = family === 4 ? 6 : 4
      await lab.acceptVirtual('tun', address)
      for (const port of [80, IPERF_PORT]) {
        const service = endpoint(address, port)
        const real = endpoint(realAddress(other, 1), port)
        await director.ipvsadm('-A', '-t', service, '-s', 'rr')
        await director.ipvsadm('-a', '-t', service, '-r', real, '-i')
      }
      assert.equal(await curl(lab.client, urlOf(address)), 'r1')
      await iperf(lab.client, address, { megabytes: 16 })
      assert.equal(pathMtu(lab, address), 1500 - IP_HEADER[other])
    })

    it(`two arms: real servers on a network of their own, IPv${family}`, async () => {
      count++
      const address = virtualAddress(family, count)
      const real = SECOND_ARM[family].real
      for (const port of [80, IPERF_PORT]) {
        const service = endpoint(address, port)
        await director.ipvsadm('-A', '-t', service, '-s', 'rr')
        await director.ipvsadm('-a', '-t', service, '-r', endpoint(real, port), '-m')
      }
      const [name, peer] = (await curl(lab.client, `${urlOf(address)}peer`)).split(' ')
      assert.equal(name, 'r1')
      assert.ok(isClientAddress(peer), peer)
      for (const reverse of [false, true]) {
        await iperf(lab.client, address, { megabytes: 16, reverse })
      }
    })
  }

  async function addIperf(method: Method, family: Family, address: string): Promise<void> {
    const service = endpoint(address, IPERF_PORT)
    const real = endpoint(destinationAddress(method, family, 1), IPERF_PORT)
    await director.ipvsadm('-A', '-t', service, '-s', 'rr')
    await director.ipvsadm('-a', '-t', service, '-r', real, METHOD_WORDS[method].option)
  }
})

/** The largest packet the client sends to an address, as it has learned by now. */
function pathMtu(lab: Lab, address: string): number {
  return Number(/ mtu (\d+)/.exec(lab.client.ip('route', 'get', address))?.[1])
}

const SECOND_ARM: Record<Family, { director: string; real: string; bits: number }> = {
  4: { director: '198.18.5.254', real: '198.18.5.11', bits: 24 },
  6: { director: '2001:db8:0:5::fe', real: '2001:db8:0:5::11', bits: 64 },
}

/** A cable from the director straight to r1, which answers from there through the director. */
function addSecondArm(lab: Lab): void {
  const [real] = lab.reals
  const ends = (who: 'director' | 'real'): string[] =>
    FAMILIES.map((family) => `${SECOND_ARM[family][who]}/${SECOND_ARM[family].bits}`)
  lab.net.cable(
    { host: lab.director, device: 'eth1', addresses: ends('director') },
    { host: real, device: 'eth1', addresses: ends('real') },
  )
  for (const family of FAMILIES) {
    const { director, real: own } = SECOND_ARM[family]
    real.route(`default via ${director} table 101`)
    real.ip(...(family === 6 ? ['-6'] : []), 'rule', 'add', 'from', own, 'lookup', '101')
  }
}
