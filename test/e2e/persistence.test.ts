/**
 * Persistent services with real clients: a client stays with its real server, also over several
 * workers, also while it is quiesced; a netmask makes one client of many; templates are listed.
 */
import assert from 'node:assert/strict'
import { requireNamespaces } from '../support/namespace.js'
import { Director } from './support/director.js'
import {
  clientAddress,
  destinationAddress,
  endpoint,
  FAMILIES,
  Lab,
  virtualAddress,
} from './support/lab.js'
import { tally } from './support/tools.js'
import { requests, type WebResult } from './support/web.js'

const CLIENTS = [1, 2, 3, 4, 5, 6]
const ROUNDS = 10

describe('persistence', function () {
  this.timeout(30_000)
  let lab: Lab
  let director: Director

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

  /** The answers by client, of a task whose clients took turns. */
  function byClient({ answers }: WebResult, clients: number): string[][] {
    return Array.from({ length: clients }, (_, k) => answers.filter((_, i) => i % clients === k))
  }

  for (const family of FAMILIES) {
    const from = CLIENTS.map((k) => clientAddress(family, k))

    it(`keeps each of six clients on one real server, IPv${family}`, async () => {
      const address = virtualAddress(family, 1)
      await director.addService({ method: 'nat', family, address, options: ['-p', '300'] })
      const url = `http://${endpoint(address)}/`
      const first = await requests(lab.client, { url, requests: CLIENTS.length, from })
      assert.deepEqual(first.answers, ['r1', 'r2', 'r3', 'r1', 'r2', 'r3'])
      const task = { url, requests: CLIENTS.length * ROUNDS, from, parallel: 12 }
      const later = byClient(await requests(lab.client, task), CLIENTS.length)
      later.forEach((answers, k) => {
        assert.deepEqual(tally(answers), { [first.answers[k]]: ROUNDS })
      })
    })

    it(`shows templates and counts them, IPv${family}`, async () => {
      const service = endpoint(virtualAddress(family, 1))
      const table = await director.ipvsadm('-L', '-n', '-t', service, '--persistent-conn')
      const persistent = [...table.matchAll(/^ {2}-> \S+ +\d+ +(\d+) /gm)].map(([, n]) => Number(n))
      assert.deepEqual(persistent, [2, 2, 2], table)
      const connections = await director.ipvsadm('-L', '-n', '-c')
      for (const client of from) {
        const template = connections
          .split('\n')
          .filter((line) => /ASSURED/.test(line) && line.includes(`${endpoint(client, 0)} `))
        assert.equal(template.length, 1, connections)
      }
    })

    it(`a quiesced real server keeps its clients and gets no others, IPv${family}`, async () => {
      const address = virtualAddress(family, 1)
      const service = endpoint(address)
      const real = endpoint(destinationAddress('nat', family, 1))
      await director.ipvsadm('-e', '-t', service, '-r', real, '-m', '-w', '0')
      const url = `http://${service}/`
      const old = await requests(lab.client, {
        url,
        requests: 12,
        from: [clientAddress(family, 1)],
      })
      assert.deepEqual(tally(old.answers), { r1: 12 })
      const fresh = [7, 8, 9].map((k) => clientAddress(family, k))
      const others = await requests(lab.client, { url, requests: 6, from: fresh })
      assert.equal(tally(others.answers).r1, undefined)
    })

    it(`one template for a whole network, IPv${family}`, async () => {
      const address = virtualAddress(family, 2)
      const mask = family === 4 ? '255.255.255.0' : '64'
      const options = ['-p', '300', '-M', mask]
      await director.addService({ method: 'dr', family, address, options })
      await lab.acceptVirtual('dr', address)
      const url = `http://${endpoint(address)}/`
      const { answers } = await requests(lab.client, { url, requests: 30, parallel: 6, from })
      assert.equal(Object.keys(tally(answers)).length, 1, answers.join())
    })
  }
})
