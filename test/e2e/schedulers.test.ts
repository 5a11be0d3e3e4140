/**
 * fo, ovf, mh and twos on a running director: real clients, two workers, weights that change under
 * them, and what ipvsadm shows. The exact choices are in test/scheduler/ and test/kernel/.
 */
import assert from 'node:assert/strict'
import { parseAddress, foldAddress } from '../../src/control/model/address.js'
import { buildMaglevTable, FIRST_KEY, maglevHash } from '../../src/scheduler/maglev.js'
import { requireNamespaces } from '../support/namespace.js'
import { Director } from './support/director.js'
import {
  clientAddress,
  destinationAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  virtualAddress,
  WEB_PORT,
} from './support/lab.js'
import { countAnswers, HeldConnections, requests, tryRequests } from './support/web.js'

const SERVERS = [1, 2, 3]

const fold = (text: string): number => {
  const address = parseAddress(text)
  assert.ok(address, text)
  return foldAddress(address)
}

describe('later schedulers', function () {
  this.timeout(60_000)
  let lab: Lab
  let director: Director
  let count = 0

  before(async function () {
    requireNamespaces(this)
    lab = new Lab()
    await lab.startWebServers()
    director = await Director.start(lab.director, { workers: 2 })
  })

  after(async () => {
    await director?.stop()
    await lab?.close()
  })

  afterEach(function () {
    if (this.currentTest?.state === 'failed') console.log(director.lastWords)
  })

  /** A new NAT service; `weigh` gives real server `i` another weight. */
  async function newService(
    family: Family,
    scheduler: string,
    weights: readonly number[],
    options: readonly string[] = [],
  ) {
    count++
    const address = virtualAddress(family, count)
    await director.addService({ method: 'nat', family, address, scheduler, weights, options })
    const service = endpoint(address)
    const weigh = (i: number, weight: number): Promise<string> => {
      const real = endpoint(destinationAddress('nat', family, i))
      return director.ipvsadm('-e', '-t', service, '-r', real, '-m', '-w', String(weight))
    }
    return { service, url: `http://${service}/`, weigh }
  }

  /** Who should serve the client's address `k`, by the table for equal weights. */
  function ownerOf(family: Family, k: number): string {
    const keys = SERVERS.map((i) => fold(destinationAddress('nat', family, i)) + WEB_PORT)
    const owners = buildMaglevTable({
      keys: Int32Array.from(keys),
      lastWeights: new Int32Array(keys.length).fill(1),
    })
    return `r${1 + owners[maglevHash(fold(clientAddress(family, k)), FIRST_KEY) % owners.length]}`
  }

  for (const family of FAMILIES) {
    it(`fo: the highest weight alone, until it is quiesced, IPv${family}`, async () => {
      const { url, weigh } = await newService(family, 'fo', [1, 3, 2])
      const task = { url, requests: 6 }
      assert.deepEqual(countAnswers(await requests(lab.client, task)), { r2: 6 })
      await weigh(2, 0)
      assert.deepEqual(countAnswers(await requests(lab.client, task)), { r3: 6 })
      await weigh(2, 3)
      assert.deepEqual(countAnswers(await requests(lab.client, task)), { r2: 6 })
    })

    it(`ovf: one more than the weight, then the next, then nobody, IPv${family}`, async () => {
      const { url } = await newService(family, 'ovf', [2, 1, 0])
      const [held, first] = await HeldConnections.open(lab.client, { url, requests: 5 })
      assert.deepEqual(first.answers, ['r1', 'r1', 'r1', 'r2', 'r2'])
      const { failures } = await tryRequests(lab.client, { url, requests: 1 })
      assert.match(failures.join(), /ECONNREFUSED/)
      await held.close()
    })

    it(`mh: a client's server is the table's, and comes back to it, IPv${family}`, async () => {
      const clients = SERVERS.map((k) => clientAddress(family, k))
      const { url, weigh } = await newService(family, 'mh', [1, 1, 1], ['-b', 'mh-fallback'])
      const task = { url, requests: 6, from: clients }
      const expected = [...SERVERS, ...SERVERS].map((k) => ownerOf(family, k))
      assert.deepEqual((await requests(lab.client, task)).answers, expected)
      const down = Number(expected[0].slice(1))
      await weigh(down, 0)
      const without = (await requests(lab.client, task)).answers
      without.forEach((answer, i) => {
        if (expected[i] === expected[0]) assert.notEqual(answer, expected[i])
        else assert.equal(answer, expected[i], 'the other clients stay')
      })
      await weigh(down, 1)
      assert.deepEqual((await requests(lab.client, task)).answers, expected)
    })

    it(`mh-port: the port of a client counts, IPv${family}`, async () => {
      const { url } = await newService(family, 'mh', [1, 1, 1], ['-b', 'mh-port'])
      const answers = countAnswers(await requests(lab.client, { url, requests: 60, parallel: 6 }))
      assert.deepEqual(Object.keys(answers), ['r1', 'r2', 'r3'])
    })

    it(`twos: everybody has a part, IPv${family}`, async () => {
      const { url } = await newService(family, 'twos', [1, 1, 1])
      const answers = countAnswers(await requests(lab.client, { url, requests: 90, parallel: 9 }))
      assert.deepEqual(Object.keys(answers), ['r1', 'r2', 'r3'])
    })
  }

  it('ipvsadm lists and saves the flags of mh, in its own order', async () => {
    const { service } = await newService(4, 'mh', [1, 1, 1], ['-b', 'mh-port,mh-fallback'])
    const listed = await director.ipvsadm('-L', '-n', '-t', service)
    assert.match(listed, new RegExp(`^TCP +${service} mh \\(mh-fallback,mh-port\\)$`, 'm'))
    const saved = await director.ipvsadm('-S', '-n')
    assert.ok(saved.includes(`-A -t ${service} -s mh -b mh-fallback,mh-port\n`), saved)
  })
})
