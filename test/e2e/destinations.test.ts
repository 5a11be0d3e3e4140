/**
 * Destinations and connections over time: quiesced, removed and added again with live connections;
 * no destination; unknown connections; the connection table, its listing and its expiry.
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
  Lab,
  METHODS,
  METHOD_WORDS,
  virtualAddress,
} from './support/lab.js'
import { dns, startDns, tally } from './support/tools.js'
import { HeldConnections, requests, tryRequests } from './support/web.js'

const CLIENT_GATEWAY = '198.18.2.254'

describe('destinations and connections', function () {
  this.timeout(60_000)
  let lab: Lab
  let director: Director
  let count = 0

  before(async function () {
    requireNamespaces(this)
    lab = new Lab()
    await lab.startWebServers()
    await Promise.all(lab.reals.map(startDns))
    director = await Director.start(lab.director, { workers: 2 })
  })

  after(async () => {
    await director?.stop()
    await lab?.close()
  })

  afterEach(function () {
    if (this.currentTest?.state === 'failed') console.log(director.lastWords)
  })

  /** A new NAT service with three destinations; its options and URL. */
  async function newService(family: Family): Promise<{ service: string; url: string }> {
    count++
    const address = virtualAddress(family, count)
    await director.addService({ method: 'nat', family, address })
    return { service: endpoint(address), url: `http://${endpoint(address)}/` }
  }

  const real = (family: Family, i: number): string => endpoint(destinationAddress('nat', family, i))

  for (const family of FAMILIES) {
    it(`a quiesced destination keeps its connections, IPv${family}`, async () => {
      const { service, url } = await newService(family)
      const [held, first] = await HeldConnections.open(lab.client, { url, requests: 6 })
      assert.deepEqual(tally(first.answers), { r1: 2, r2: 2, r3: 2 })
      await director.ipvsadm('-e', '-t', service, '-r', real(family, 2), '-m', '-w', '0')
      const again = await held.again()
      assert.deepEqual(again.failures, [])
      assert.deepEqual(again.answers, first.answers)
      const fresh = await requests(lab.client, { url, requests: 6 })
      assert.deepEqual(tally(fresh.answers), { r1: 3, r3: 3 })
      await held.close()
    })

    it(`an edit to direct routing leaves masqueraded connections alone, IPv${family}`, async () => {
      const { service, url } = await newService(family)
      const [held, first] = await HeldConnections.open(lab.client, { url, requests: 3 })
      assert.deepEqual(first.answers, ['r1', 'r2', 'r3'])
      await director.ipvsadm('-e', '-t', service, '-r', real(family, 2), '-g', '-w', '0')
      const again = await held.again()
      assert.deepEqual(again.failures, [])
      assert.deepEqual(again.answers, first.answers)
      await held.close()
    })

    it(`connections outlive a mark that shares their servers, IPv${family}`, async () => {
      const { service, url } = await newService(family)
      const [held, first] = await HeldConnections.open(lab.client, { url, requests: 12 })
      const mark = ['-f', String(70 + family), ...(family === 6 ? ['-6'] : [])]
      await director.ipvsadm('-A', ...mark, '-s', 'rr')
      for (const i of [1, 2, 3]) await director.ipvsadm('-a', ...mark, '-r', real(family, i), '-m')
      const again = await held.again()
      assert.deepEqual(again.failures, [])
      assert.deepEqual(again.answers, first.answers)
      const fresh = await requests(lab.client, { url, requests: 6 })
      assert.deepEqual(tally(fresh.answers), { r1: 2, r2: 2, r3: 2 })
      await director.ipvsadm('-D', ...mark)
      assert.deepEqual((await held.again()).failures, [])
      await held.close()
      await director.ipvsadm('-D', '-t', service)
    })

    it(`FULLNAT connections outlive their local address, IPv${family}`, async () => {
      count++
      const address = virtualAddress(family, count)
      const service = endpoint(address)
      const url = `http://${service}/`
      await director.addService({ method: 'fullnat', family, address })
      const [held, first] = await HeldConnections.open(lab.client, { url, requests: 3 })
      assert.deepEqual(first.answers, ['r1', 'r2', 'r3'])
      // An address of its own takes the place of the director's.
      const own = family === 4 ? '198.18.0.249' : '2001:db8::f9'
      await director.ipvsadm('-P', '-t', service, '-z', own)
      lab.reals.forEach((real) => real.forgetNeighbours())
      const again = await held.again()
      assert.deepEqual(again.failures, [])
      assert.deepEqual(again.answers, first.answers)
      const fresh = await requests(lab.client, { url, requests: 3 })
      assert.deepEqual(tally(fresh.answers), { r1: 1, r2: 1, r3: 1 })
      await held.close()
    })

    it(`connections of a removed destination stop until it is back, IPv${family}`, async () => {
      const { service, url } = await newService(family)
      const task = { url, requests: 3, limitMs: 1000 }
      const [held, first] = await HeldConnections.open(lab.client, task)
      assert.deepEqual(first.answers, ['r1', 'r2', 'r3'])
      await director.ipvsadm('-d', '-t', service, '-r', real(family, 3))
      const fresh = await requests(lab.client, { url, requests: 4 })
      assert.deepEqual(tally(fresh.answers), { r1: 2, r2: 2 })
      await director.ipvsadm('-a', '-t', service, '-r', real(family, 3), '-m', '-w', '1')
      const again = await held.again()
      assert.deepEqual(again.failures, [])
      assert.deepEqual(again.answers, first.answers)
      await director.ipvsadm('-d', '-t', service, '-r', real(family, 3))
      const gone = await held.again()
      // Silence, not a reset: the director drops (spec 3.10, expire_nodest_conn = 0).
      assert.equal(gone.failures.length, 1, JSON.stringify(gone))
      assert.match(gone.failures[0], /no answer within/)
      await held.close()
    })

    it(`no destination: refused at once, TCP and UDP, IPv${family}`, async () => {
      count++
      const address = virtualAddress(family, count)
      await director.restore([
        `-A -t ${endpoint(address)} -s rr`,
        `-A -u ${endpoint(address, 53)} -s rr`,
      ])
      const url = `http://${endpoint(address)}/`
      const about = `icmp or icmp6 or (tcp and host ${address})`
      const capture = await Capture.start(lab.client, DEVICE, about, CLIENT_GATEWAY)
      const { failures } = await tryRequests(lab.client, { url, requests: 1 })
      assert.match(failures.join(), /ECONNREFUSED/)
      // Spec 5.4: TCP clients too get the ICMP error, never a RST.
      const seen = (await capture.stop()).join('\n')
      assert.match(seen, family === 4 ? /tcp port 80 unreachable/ : /unreachable port/)
      assert.doesNotMatch(seen, /Flags \[R/)
      const asked = dns(lab.client, { server: endpoint(address, 53), queries: 1 })
      await assert.rejects(asked, /ECONNREFUSED/)
    })
  }

  describe('with expire_nodest_conn', () => {
    before(async () => {
      await director.stop()
      const flags = ['--set', 'expire_nodest_conn=1']
      director = await Director.start(lab.director, { workers: 2, flags })
    })

    for (const family of FAMILIES) {
      it(`a removed destination's connection is reset, IPv${family}`, async () => {
        const { service, url } = await newService(family)
        const [held, first] = await HeldConnections.open(lab.client, { url, requests: 3 })
        assert.deepEqual(first.answers, ['r1', 'r2', 'r3'])
        await director.ipvsadm('-d', '-t', service, '-r', real(family, 2))
        const after = await held.again()
        assert.equal(after.failures.length, 1, JSON.stringify(after))
        assert.match(after.failures[0], /ECONNRESET|hang up/)
        await held.close()
      })
    }
  })

  describe('the table', () => {
    it('lists every connection with its state, and forgets it in time', async () => {
      await director.stop()
      director = await Director.start(lab.director, { workers: 2 })
      await director.ipvsadm('--set', '900', '2', '6')
      assert.equal(
        (await director.ipvsadm('-L', '--timeout')).trim(),
        'Timeout (tcp tcpfin udp): 900 2 6',
      )
      const services: string[] = []
      for (const [index, method] of METHODS.entries()) {
        const address = virtualAddress(4, 80 + index)
        await lab.acceptVirtual(method, address)
        await director.addService({ method, family: 4, address })
        await director.addService({ method, family: 4, address, port: 53, protocol: 'udp' })
        services.push(address)
      }
      const held: HeldConnections[] = []
      for (const address of services) {
        const task = { url: `http://${endpoint(address)}/`, requests: 4 }
        held.push((await HeldConnections.open(lab.client, task))[0])
      }
      // Last and at once: these are the first to expire.
      await Promise.all(
        services.map((address) => dns(lab.client, { server: endpoint(address, 53), queries: 2 })),
      )
      const rows = await connectionRows(director)
      for (const [index, address] of services.entries()) {
        const { title } = METHOD_WORDS[METHODS[index]]
        const mine = rows.filter((row) => row.virtual === endpoint(address))
        assert.deepEqual(tally(mine.map(({ state }) => state)), { ESTABLISHED: 4 }, title)
        const lines = await director.destinations('-t', endpoint(address))
        assert.equal(
          lines.reduce((sum, { active }) => sum + active, 0),
          4,
          title,
        )
        const datagrams = rows.filter((row) => row.virtual === endpoint(address, 53))
        assert.deepEqual(tally(datagrams.map(({ state }) => state)), { UDP: 2 }, title)
      }
      for (const connections of held) await connections.close()
      await waitFor(
        'DR, TUN and UDP entries to expire',
        async () => {
          const left = await connectionRows(director)
          return left.every(({ state }) => state === 'TIME_WAIT' || state === 'CLOSE')
        },
        20_000,
      )
      for (const address of services) {
        const lines = await director.destinations('-t', endpoint(address))
        assert.equal(
          lines.reduce((sum, { active }) => sum + active, 0),
          0,
        )
      }
    })
  })

  it('a connection the director does not know is reset', async () => {
    const address = virtualAddress(4, 90)
    const plan = { method: 'nat', family: 4, address } as const
    await director.addService(plan)
    const url = `http://${endpoint(address)}/`
    const [held] = await HeldConnections.open(lab.client, { url, requests: 2 })
    await director.kill()
    director = await Director.start(lab.director)
    await director.addService(plan)
    const after = await held.again()
    assert.equal(after.failures.length, 2)
    for (const failure of after.failures) assert.match(failure, /ECONNRESET|hang up/)
    await held.close()
  })
})

interface ConnectionLine {
  protocol: string
  state: string
  client: string
  virtual: string
  destination: string
}

/** The rows of `ipvsadm -L -n -c`. */
async function connectionRows(director: Director): Promise<ConnectionLine[]> {
  const text = await director.ipvsadm('-L', '-n', '-c')
  const lines = text.matchAll(/^(TCP|UDP) +\d+:\d\d +(\S+) +(\S+) +(\S+) +(\S+)/gm)
  return [...lines].map(([, protocol, state, client, virtual, destination]) => ({
    protocol,
    state,
    client,
    virtual,
    destination,
  }))
}
