/**
 * `--io tun`: the host's routing brings packets to uvs and takes them on. NAT, FULLNAT and TUN,
 * with addresses the router sends to the director; DR needs Ethernet and says so.
 */
import assert from 'node:assert/strict'
import { requireNamespaces } from '../support/namespace.js'
import { Director } from './support/director.js'
import {
  directorAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  type Method,
  METHOD_WORDS,
} from './support/lab.js'
import { assertUnchanged, hostState } from './support/host-state.js'
import {
  curl,
  dns,
  iperf,
  isAlive,
  IPERF_PORT,
  startDns,
  startIperf,
  tally,
} from './support/tools.js'
import { countAnswers, requests } from './support/web.js'

const TUN_METHODS: readonly Method[] = ['nat', 'tun', 'fullnat']
const ROUTED: Record<Family, string> = { 4: '198.18.9.0/24', 6: '2001:db8:0:9::/64' }
const LOCAL = ['198.18.9.240-198.18.9.241', '2001:db8:0:9::f0-2001:db8:0:9::f1']

const address = (family: Family, n: number): string =>
  family === 4 ? `198.18.9.${n}` : `2001:db8:0:9::${n}`

for (const workers of [1, 2]) {
  describe(`tun, ${workers} worker${workers === 1 ? '' : 's'}`, function () {
    this.timeout(60_000)
    let lab: Lab
    let director: Director
    let untouched: string

    before(async function () {
      requireNamespaces(this)
      lab = new Lab()
      await lab.startWebServers()
      await Promise.all(lab.reals.map(startDns))
      await startIperf(lab.reals[0])
      for (const family of FAMILIES) {
        lab.router.route(`${ROUTED[family]} via ${directorAddress(family)}`)
      }
      untouched = hostState(lab.director, ['eth0'])
      director = await Director.start(lab.director, { io: 'tun', workers, localAddresses: LOCAL })
      for (const [index, method] of TUN_METHODS.entries()) {
        for (const family of FAMILIES) {
          const plan = { method, family, address: address(family, index + 1) }
          await lab.acceptVirtual(method, plan.address)
          await director.addService({ ...plan, scheduler: 'wrr', weights: [1, 2, 3] })
          await director.addService({ ...plan, port: 53, protocol: 'udp' })
          await director.addService({ ...plan, port: IPERF_PORT, weights: [1] })
        }
      }
    })

    after(async () => {
      await director?.stop()
      await lab?.close()
    })

    afterEach(function () {
      if (this.currentTest?.state === 'failed') console.log(director.lastWords)
    })

    for (const [index, method] of TUN_METHODS.entries()) {
      for (const family of FAMILIES) {
        const at = address(family, index + 1)
        it(`${METHOD_WORDS[method].title} over IPv${family}: HTTP, DNS, bulk`, async () => {
          const url = `http://${endpoint(at)}/`
          const busy = await requests(lab.client, { url, requests: 60, parallel: 12 })
          assert.deepEqual(countAnswers(busy), { r1: 10, r2: 20, r3: 30 })
          const answers = await dns(lab.client, { server: endpoint(at, 53), queries: 6 })
          assert.deepEqual(tally(answers), { r1: 2, r2: 2, r3: 2 })
          for (const reverse of [false, true]) {
            await iperf(lab.client, at, { megabytes: 16, reverse })
          }
        })
      }
    }

    it('the host keeps its own traffic', async () => {
      assert.equal(await curl(lab.director, 'http://198.18.0.21/'), 'r1')
      assert.ok(await isAlive(lab.client, directorAddress(4)))
    })

    it('leaves nothing behind', async () => {
      assert.equal(await director.stop(), 0)
      assertUnchanged(untouched, hostState(lab.director, ['eth0']))
    })
  })
}
