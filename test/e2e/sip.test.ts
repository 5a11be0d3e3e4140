/**
 * `--pe sip` with sipp: the calls of one client spread over real servers, with and without
 * one-packet scheduling; masqueraded servers answer, and call clients of their own accord.
 */
import assert from 'node:assert/strict'
import { requireNamespaces } from '../support/namespace.js'
import { waitFor } from '../support/wait.js'
import { Director } from './support/director.js'
import {
  clientAddress,
  destinationAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  virtualAddress,
} from './support/lab.js'
import { makeCalls, SIP_PORT, takeCalls } from './support/sipp.js'
import { tally } from './support/tools.js'

const CALLS = 30
const REALS = [1, 2, 3]

describe('SIP persistence', function () {
  this.timeout(60_000)
  let lab: Lab
  let director: Director

  before(async function () {
    requireNamespaces(this)
    lab = new Lab()
    director = await Director.start(lab.director, { workers: 2 })
    for (const family of FAMILIES) {
      for (const i of REALS) {
        await takeCalls(lab.reals[i - 1], destinationAddress('nat', family, i), portOf(family))
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

  // Two programs on one host: `waitForUdp` asks for the port alone.
  function portOf(family: Family): number {
    return family === 4 ? SIP_PORT : SIP_PORT + 1
  }

  async function addService(family: Family, n: number, ...more: string[]): Promise<string> {
    const address = virtualAddress(family, n)
    const options = ['-p', '300', '--pe', 'sip', ...more]
    const plan = { method: 'nat', protocol: 'udp', port: portOf(family), family } as const
    await director.addService({ ...plan, address, options })
    return address
  }

  /** Destination by Call-ID, of the templates of a virtual address. */
  async function templates(virtual: string, port: number): Promise<Map<string, string>> {
    const text = await director.ipvsadm('-L', '-n', '-c', '--persistent-conn')
    const found = new Map<string, string>()
    for (const line of text.split('\n')) {
      const [, , , , to, destination, engine, id] = line.split(/ +/)
      if (engine !== 'sip' || to !== endpoint(virtual, port)) continue
      assert.ok(!found.has(id), `two templates for ${id}`)
      found.set(id, destination)
    }
    return found
  }

  const evenly = (family: Family) =>
    Object.fromEntries(
      REALS.map((i) => [endpoint(destinationAddress('nat', family, i), portOf(family)), CALLS / 3]),
    )

  for (const family of FAMILIES) {
    for (const onePacket of [true, false]) {
      const how = onePacket ? 'all from one port, one packet each' : 'each from its own port'
      it(`spreads the calls of one client, ${how}, IPv${family}`, async () => {
        const everybody = family === 4 ? '0.0.0.0' : '1'
        const more = onePacket ? ['-o', '-M', everybody] : []
        const to = await addService(family, onePacket ? 1 : 2, ...more)
        const toPort = portOf(family)
        const from = clientAddress(family)
        // A message at another server would be of no call there, and the call would fail.
        await makeCalls(lab.client, { from, to, toPort, calls: CALLS, portEach: !onePacket })
        const calls = await templates(to, toPort)
        assert.deepEqual(tally([...calls.values()]), evenly(family))
        const { drops } = await director.status()
        assert.equal(Number(drops.call_id_missing ?? 0), 0)
      })
    }

    it(`a real server calls a client, IPv${family}`, async () => {
      // Where nobody takes calls, for the caller wants the server's port.
      const port = SIP_PORT + 10
      const address = virtualAddress(family, 3)
      const real = destinationAddress('nat', family, 2)
      const service = endpoint(address, port)
      await director.restore([
        `-A -u ${service} -s rr -p 300 --pe sip -o`,
        `-a -u ${service} -r ${endpoint(real, port)} -m`,
      ])
      const to = clientAddress(family, 4)
      const phone = await takeCalls(lab.client, to, port)
      const calls = 5
      await makeCalls(lab.reals[1], { from: real, fromPort: port, to, toPort: port, calls })
      await phone.stop()
      const seen = await templates(address, port)
      assert.deepEqual(tally([...seen.values()]), { [endpoint(real, port)]: calls })
      // The client knows the service's address alone: what it answered (180, 200, 200) came there.
      // Counters show what the estimator last saw.
      await waitFor('its answers to be counted', async () => {
        const stats = await director.ipvsadm('-L', '-n', '-u', service, '--stats', '--exact')
        const [, inPackets] = /-> \S+ +\d+ +(\d+)/.exec(stats) ?? []
        return Number(inPackets) >= 3 * calls
      })
    })
  }
})
