/**
 * IPsec through NAT as gateways use it: keys by UDP from port 500 to port 500, then ESP and AH,
 * which find the connection of their keys (spec 3.2). Raw sockets at both ends
 * (support/ipsec-end.cc), because a kernel need not have either protocol.
 */
import assert from 'node:assert/strict'
import { requireNamespaces } from '../support/namespace.js'
import { waitFor } from '../support/wait.js'
import { compiled } from './support/compiled.js'
import { Director } from './support/director.js'
import {
  destinationAddress,
  directorAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  virtualAddress,
} from './support/lab.js'

const PORT = 500
const ROUTED: Record<Family, string> = { 4: '198.18.9.0/24', 6: '2001:db8:0:9::/64' }
const ROUTED_ADDRESS: Record<Family, string> = { 4: '198.18.9.1', 6: '2001:db8:0:9::1' }

for (const io of ['af_packet', 'tun'] as const) {
  describe(`IPsec, ${io}`, function () {
    this.timeout(60_000)
    let lab: Lab
    let director: Director

    before(async function () {
      requireNamespaces(this)
      lab = new Lab({ reals: 2 })
      const program = compiled('ipsec-end')
      for (const [i, real] of lab.reals.entries()) {
        const own = FAMILIES.map((family) => destinationAddress('nat', family, i + 1))
        await real.spawn([program, 'server', ...own]).waitForOutput(/ready/)
      }
      if (io === 'tun') {
        for (const family of FAMILIES) {
          lab.router.route(`${ROUTED[family]} via ${directorAddress(family)}`)
        }
      }
      director = await Director.start(lab.director, { io, workers: 2 })
    })

    after(async () => {
      await director?.stop()
      await lab?.close()
    })

    afterEach(function () {
      if (this.currentTest?.state === 'failed') console.log(director.lastWords)
    })

    for (const family of FAMILIES) {
      // Over IPv6 AH is an extension header.
      const words = family === 4 ? ['keys', 'esp', 'ah', 'esp'] : ['keys', 'esp', 'esp']

      it(`follows its keys there and back over IPv${family}`, async () => {
        const address = io === 'tun' ? ROUTED_ADDRESS[family] : virtualAddress(family, 1)
        await lab.acceptVirtual('nat', address)
        const service = `-u ${endpoint(address, PORT)}`
        const destinations = lab.reals.map((_, i) => {
          const real = endpoint(destinationAddress('nat', family, i + 1), PORT)
          return `-a ${service} -r ${real} -m`
        })
        await director.restore([`-A ${service} -s rr`, ...destinations])
        const said = await lab.client.expect([compiled('ipsec-end'), 'client', address, ...words])
        assert.equal(said.trim(), words.join(' '))
        // All is one connection of one real server; counters show what the estimator last saw.
        await waitFor('everything to be counted', async () => {
          const list = await director.ipvsadm('-L', '-n', '--stats', '-u', endpoint(address, PORT))
          const counts = [...list.matchAll(/^ {2}-> \S+ +(\d+) +(\d+) +(\d+)/gm)]
          const rows = counts.map(([, ...numbers]) => numbers.join(' ')).sort()
          return rows.join() === `0 0 0,1 ${words.length} ${words.length}`
        })
      })
    }
  })
}
