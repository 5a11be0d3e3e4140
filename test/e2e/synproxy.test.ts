/**
 * SYNPROXY in front of real servers while somebody floods it with spoofed SYNs: real clients
 * connect and transfer, with NAT and FULLNAT, IPv4 and IPv6, one and two workers, on a port and on
 * a TUN device, with default parameters and with every TCP option; the flood leaves no entry.
 */
import assert from 'node:assert/strict'
import type { ConnectionView } from '../../src/control/api/views.js'
import { requireNamespaces } from '../support/namespace.js'
import { waitFor } from '../support/wait.js'
import { Director } from './support/director.js'
import {
  directorAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  METHOD_WORDS,
  virtualAddress,
} from './support/lab.js'
import { floodSyns, isSpoofed } from './support/syn-flood.js'
import { curl, iperf, IPERF_PORT, startIperf, wrk } from './support/tools.js'
import { countAnswers, requests } from './support/web.js'

const PROXIED = ['nat', 'fullnat'] as const
const FLOOD = 10_000
const ROUTED: Record<Family, string> = { 4: '198.18.9.0/24', 6: '2001:db8:0:9::/64' }
const ROUTED_LOCAL = ['198.18.9.240-198.18.9.241', '2001:db8:0:9::f0-2001:db8:0:9::f1']
const ALL_OPTIONS = ['--set', 'synproxy_wscale=7', '--set', 'synproxy_timestamp=1']

const routedAddress = (family: Family, n: number): string =>
  family === 4 ? `198.18.9.${n}` : `2001:db8:0:9::${n}`

interface Variant {
  title: string
  io: 'af_packet' | 'tun'
  workers: number
  flags: readonly string[]
}

const VARIANTS: readonly Variant[] = [
  { title: 'af_packet, 1 worker', io: 'af_packet', workers: 1, flags: [] },
  { title: 'af_packet, 2 workers, all options', io: 'af_packet', workers: 2, flags: ALL_OPTIONS },
  { title: 'tun, 2 workers', io: 'tun', workers: 2, flags: [] },
]

for (const { title: variant, io, workers, flags } of VARIANTS) {
  describe(`SYNPROXY, ${variant}`, function () {
    this.timeout(60_000)
    let lab: Lab
    let director: Director

    const addressOf = (family: Family, n: number): string =>
      io === 'tun' ? routedAddress(family, n) : virtualAddress(family, n)

    before(async function () {
      requireNamespaces(this)
      lab = new Lab()
      await lab.startWebServers()
      await startIperf(lab.reals[0])
      for (const family of io === 'tun' ? FAMILIES : []) {
        lab.router.route(`${ROUTED[family]} via ${directorAddress(family)}`)
      }
      const local = io === 'tun' ? { localAddresses: ROUTED_LOCAL } : {}
      director = await Director.start(lab.director, { io, workers, flags, ...local })
      for (const [index, method] of PROXIED.entries()) {
        for (const family of FAMILIES) {
          const plan = { method, family, address: addressOf(family, index + 1) }
          const options = ['-j', 'enable']
          await director.addService({ ...plan, options, scheduler: 'rr' })
          await director.addService({ ...plan, options, port: IPERF_PORT, weights: [1] })
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

    for (const [index, method] of PROXIED.entries()) {
      for (const family of FAMILIES) {
        const title = `${METHOD_WORDS[method].title} over IPv${family}`
        const address = addressOf(family, index + 1)
        const url = `http://${endpoint(address)}/`

        it(`${title}: clients connect while a flood goes on`, async () => {
          const [before, lostBefore] = [await answered(), await lost()]
          const flood = floodSyns(lab.router, address, 80, FLOOD)
          const result = await requests(lab.client, { url, requests: 60, parallel: 6 })
          const size = 8 << 20
          const got = await curl(
            lab.client,
            `${url}bytes/${size}`,
            '-o',
            '/dev/null',
            '-w',
            '%{size_download}',
          )
          await flood
          assert.deepEqual(countAnswers(result), { r1: 20, r2: 20, r3: 20 })
          assert.equal(got, String(size))
          // A flood may be more than the rings hold while the worker is kept off its processor.
          const all = await waitFor('every SYN to be answered, or counted as lost', async () => {
            const now = await answered()
            return now - before + (await lost()) - lostBefore >= FLOOD + 61 && now
          })
          assert.ok(all - before < FLOOD + 61 + 100, `${all - before} SYNs`)
          const clients = await clientAddresses()
          assert.ok(clients.length > 0)
          assert.deepEqual(clients.filter(isSpoofed), [])
        })

        it(`${title}: bulk TCP in both directions`, async () => {
          await iperf(lab.client, address, {})
          await iperf(lab.client, address, { reverse: true })
        })

        it(`${title}: short connections, many after the other`, async () => {
          await wrk(lab.client, url, { seconds: 1, connections: 8, close: true })
        })
      }
    }

    async function clientAddresses(): Promise<string[]> {
      const lines = (await director.uvs('conns', '--json')).trim().split('\n')
      return lines.map((line) => (JSON.parse(line) as ConnectionView).client.address)
    }

    async function answered(): Promise<number> {
      return Number((await director.status()).drops.synproxy_answered ?? 0)
    }

    async function lost(): Promise<number> {
      return Number((await director.status()).drops.rx_overrun ?? 0)
    }
  })
}
