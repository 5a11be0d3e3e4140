/**
 * The four forwarding methods with real TCP and UDP peers, default offloads, IPv4 and IPv6, one and
 * two workers: HTTP (curl, wrk), bulk TCP (iperf3, both directions), DNS over UDP (dnsmasq), and
 * weights to the last connection. The network is drawn in support/lab.ts.
 */
import assert from 'node:assert/strict'
import { requireNamespaces } from '../support/namespace.js'
import { waitFor } from '../support/wait.js'
import { Director, type ServicePlan } from './support/director.js'
import {
  endpoint,
  FAMILIES,
  type Family,
  isLocalAddress,
  Lab,
  type Method,
  METHODS,
  METHOD_WORDS,
  virtualAddress,
} from './support/lab.js'
import { curl, dns, iperf, IPERF_PORT, startDns, startIperf, tally, wrk } from './support/tools.js'
import { countAnswers, requests } from './support/web.js'

const TIME_LIMIT_MS = 60_000

for (const workers of [1, 2]) {
  describe(`four methods, ${workers} worker${workers === 1 ? '' : 's'}`, function () {
    this.timeout(TIME_LIMIT_MS)
    let lab: Lab
    let director: Director

    before(async function () {
      requireNamespaces(this)
      lab = new Lab()
      await lab.startWebServers()
      await Promise.all(lab.reals.map(startDns))
      await startIperf(lab.reals[0])
      director = await Director.start(lab.director, { workers })
      for (const [n, method] of METHODS.entries()) {
        for (const family of FAMILIES) {
          await lab.acceptVirtual(method, virtualAddress(family, n + 1))
        }
      }
      await director.addServices(
        METHODS.flatMap((method, n) =>
          FAMILIES.flatMap((family) => plansFor(method, family, n + 1)),
        ),
      )
    })

    after(async () => {
      await director?.stop()
      await lab?.close()
    })

    afterEach(function () {
      if (this.currentTest?.state === 'failed') console.log(director.lastWords)
    })

    /** Weighted HTTP, DNS, and bulk to one real server. */
    function plansFor(method: Method, family: Family, n: number): ServicePlan[] {
      const plan = { method, family, address: virtualAddress(family, n) }
      return [
        { ...plan, scheduler: 'wrr', weights: [3, 1, 2] },
        { ...plan, port: 53, protocol: 'udp' },
        { ...plan, port: IPERF_PORT, weights: [1] },
      ]
    }

    for (const [index, method] of METHODS.entries()) {
      for (const family of FAMILIES) {
        const address = virtualAddress(family, index + 1)
        const url = `http://${endpoint(address)}/`
        const title = `${METHOD_WORDS[method].title} over IPv${family}`

        it(`${title}: weights are exact, one at a time and many at once`, async () => {
          const calm = await requests(lab.client, { url, requests: 12 })
          // wrr 3:1:2, worked out by hand from the rule (spec 2.3). Where in the cycle it starts is
          // decided by the commands that made the service.
          const cycle = 'r1 r1 r3 r1 r2 r3'
          const seen = calm.answers.join(' ')
          assert.ok(`${cycle} ${cycle} ${cycle}`.includes(seen), seen)
          const busy = await requests(lab.client, { url, requests: 300, parallel: 30 })
          assert.deepEqual(countAnswers(busy), { r1: 150, r2: 50, r3: 100 })
        })

        it(`${title}: curl fetches megabytes`, async () => {
          const size = 8 << 20
          const got = await curl(lab.client, `${url}bytes/${size}`, '-o', '/dev/null', '-w', SIZE)
          assert.equal(got, String(size))
        })

        it(`${title}: wrk's requests are all answered`, async () => {
          await wrk(lab.client, url, { seconds: 1, connections: 16, close: true })
        })

        it(`${title}: bulk TCP in both directions`, async () => {
          await iperf(lab.client, address, {})
          await iperf(lab.client, address, { reverse: true })
        })

        it(`${title}: DNS over UDP`, async () => {
          const server = endpoint(address, 53)
          const answers = await dns(lab.client, { server, queries: 9 })
          assert.deepEqual(tally(answers), { r1: 3, r2: 3, r3: 3 })
        })
      }
    }

    it('real servers see the client, or a local address with FULLNAT', async () => {
      for (const [index, method] of METHODS.entries()) {
        const url = `http://${endpoint(virtualAddress(4, index + 1))}/peer`
        const peer = (await curl(lab.client, url)).split(' ')[1]
        if (method === 'fullnat') assert.ok(isLocalAddress(peer), peer)
        else assert.equal(peer, '198.18.2.1')
      }
    })

    it('the workers share the connections', async () => {
      const shares = await waitFor('statistics of the workers', async () => {
        const text = await director.uvs('status', '--json')
        const status = JSON.parse(text) as { workers: { state: string; restarts: number }[] }
        return status.workers.length === workers && status.workers
      })
      assert.deepEqual(
        shares.map(({ state, restarts }) => ({ state, restarts })),
        Array.from({ length: workers }, () => ({ state: 'RUNNING', restarts: 0 })),
      )
    })
  })
}

const SIZE = '%{size_download}'
