/**
 * What does not fit one packet, with real programs and kernels on both ends: datagrams of 8 and of
 * 60 kB through every method, IPv4 and IPv6, one and two workers, af_packet and tun; pings of 4 kB
 * to addresses that only uvs answers for; bulk TCP over a path that becomes smaller.
 */
import assert from 'node:assert/strict'
import { requireNamespaces } from '../support/namespace.js'
import { Director, type ServicePlan } from './support/director.js'
import {
  destinationAddress,
  directorAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  type Method,
  METHOD_WORDS,
  METHODS,
  virtualAddress,
} from './support/lab.js'
import type { DatagramTask } from './support/datagrams.js'
import { programPath } from './support/paths.js'
import { iperf, IPERF_PORT, startIperf, tally } from './support/tools.js'

const ECHO_PORT = 7777
const PROGRAM = programPath('datagrams')

/** Starts the server of datagrams.ts on every real server. */
async function startEcho(lab: Lab): Promise<void> {
  for (const real of lab.reals) {
    real.spawn([process.execPath, PROGRAM, 'serve', real.name, String(ECHO_PORT)])
  }
  for (const real of lab.reals) await real.waitForUdp(ECHO_PORT)
}

/** Who answered, in order. */
async function ask(lab: Lab, task: DatagramTask): Promise<string[]> {
  const command = [process.execPath, PROGRAM, 'ask', JSON.stringify(task)]
  return JSON.parse(await lab.client.expect(command)) as string[]
}

async function ping(lab: Lab, address: string, bytes: number): Promise<string> {
  const family = address.includes(':') ? '-6' : '-4'
  const size = ['-c', '1', '-W', '2', '-s', String(bytes)]
  return lab.client.expect(['busybox', 'ping', family, ...size, address])
}

for (const workers of [1, 2]) {
  describe(`fragments, ${workers} worker${workers === 1 ? '' : 's'}`, function () {
    this.timeout(60_000)
    let lab: Lab
    let director: Director

    before(async function () {
      requireNamespaces(this)
      lab = new Lab()
      await startIperf(lab.reals[0])
      director = await Director.start(lab.director, { workers })
      const plans: ServicePlan[] = []
      for (const [n, method] of METHODS.entries()) {
        for (const family of FAMILIES) {
          const plan = { method, family, address: virtualAddress(family, n + 1) }
          await lab.acceptVirtual(method, plan.address)
          plans.push({ ...plan, port: ECHO_PORT, protocol: 'udp' })
          plans.push({ ...plan, port: IPERF_PORT, weights: [1] })
        }
      }
      await startEcho(lab)
      await director.addServices(plans)
    })

    after(async () => {
      await director?.stop()
      await lab?.close()
    })

    afterEach(function () {
      if (this.currentTest?.state === 'failed') console.log(director.lastWords)
    })

    for (const [index, method] of METHODS.entries()) {
      for (const family of FAMILIES) {
        const address = virtualAddress(family, index + 1)
        it(`${METHOD_WORDS[method].title} over IPv${family}: long datagrams`, async () => {
          const server = endpoint(address, ECHO_PORT)
          for (const bytes of [8000, 60_000]) {
            const names = await ask(lab, { server, bytes, count: 6 })
            assert.deepEqual(tally(names), { r1: 2, r2: 2, r3: 2 })
          }
        })
      }
    }

    it('pings to announced addresses are answered, long ones too', async () => {
      for (const family of FAMILIES) {
        // NAT's and FULLNAT's: nobody else has them.
        for (const n of [1, 4]) {
          for (const bytes of [56, 4000]) {
            assert.match(await ping(lab, virtualAddress(family, n), bytes), / 1 packets received/)
          }
        }
      }
      const { drops } = await director.status()
      assert.equal(drops.echo_answered, '8')
    })

    it('a real server and a client talk past the service in fragments', async () => {
      for (const family of FAMILIES) {
        const address = destinationAddress('nat', family, 1)
        const server = endpoint(address, ECHO_PORT)
        assert.deepEqual(await ask(lab, { server, bytes: 8000, count: 2 }), ['r1', 'r1'])
        assert.match(await ping(lab, address, 4000), / 1 packets received/)
      }
    })

    it('bulk TCP follows a path that becomes smaller', async () => {
      for (const [n, method] of METHODS.entries()) {
        for (const family of FAMILIES) {
          const to = destinationAddress(method, family, 1)
          const route = [`${to}/${family === 4 ? 32 : 128}`, 'dev', 'eth0', 'mtu', '1400']
          const version = `-${family}`
          lab.director.ip(version, 'route', 'add', ...route)
          await iperf(lab.client, virtualAddress(family, n + 1), { megabytes: 24 })
          lab.director.ip(version, 'route', 'delete', ...route)
        }
      }
    })
  })
}

describe('fragments, tun', function () {
  this.timeout(60_000)
  let lab: Lab
  let director: Director
  const methods: readonly Method[] = ['nat', 'tun', 'fullnat']
  const address = (family: Family, n: number): string =>
    family === 4 ? `198.18.9.${n}` : `2001:db8:0:9::${n}`

  before(async function () {
    requireNamespaces(this)
    lab = new Lab()
    for (const family of FAMILIES) {
      const network = family === 4 ? '198.18.9.0/24' : '2001:db8:0:9::/64'
      lab.router.route(`${network} via ${directorAddress(family)}`)
    }
    // A rule on connection state: with it the host puts fragments together before it routes them.
    const rule = 'add table inet t; add chain inet t c { type filter hook prerouting priority 0; }'
    await lab.director.expect(['nft', `${rule}; add rule inet t c ct state invalid accept`])
    const localAddresses = ['198.18.9.240-198.18.9.241', '2001:db8:0:9::f0-2001:db8:0:9::f1']
    director = await Director.start(lab.director, { io: 'tun', workers: 2, localAddresses })
    const plans: ServicePlan[] = []
    for (const [n, method] of methods.entries()) {
      for (const family of FAMILIES) {
        await lab.acceptVirtual(method, address(family, n + 1))
        const plan = { method, family, address: address(family, n + 1) }
        plans.push({ ...plan, port: ECHO_PORT, protocol: 'udp' })
      }
    }
    await startEcho(lab)
    await director.addServices(plans)
  })

  after(async () => {
    await director?.stop()
    await lab?.close()
  })

  for (const [n, method] of methods.entries()) {
    for (const family of FAMILIES) {
      it(`${METHOD_WORDS[method].title} over IPv${family}: long datagrams`, async () => {
        const server = endpoint(address(family, n + 1), ECHO_PORT)
        const names = await ask(lab, { server, bytes: 8000, count: 6 })
        assert.deepEqual(tally(names), { r1: 2, r2: 2, r3: 2 })
      })
    }
  }
})
