/**
 * The load defences of a running director, with real connections (spec 3.11): drop_packet refuses
 * new ones only, drop_entry ends what is half open, the automatic modes follow the host's memory.
 * The network is drawn in support/lab.ts.
 */
import assert from 'node:assert/strict'
import { requireNamespaces } from '../support/namespace.js'
import { waitFor } from '../support/wait.js'
import { compiled } from './support/compiled.js'
import { Director } from './support/director.js'
import { destinationAddress, endpoint, Lab, virtualAddress } from './support/lab.js'
import { requests, tryRequests } from './support/web.js'

/** More pages than any host has. */
const ALL_PAGES = 2_000_000_000

describe('load defences', function () {
  this.timeout(60_000)
  let lab: Lab
  let director: Director
  const address = virtualAddress(4, 1)
  const url = `http://${endpoint(address)}/`

  before(async function () {
    requireNamespaces(this)
    lab = new Lab({ reals: 1 })
    await lab.startWebServers()
    director = await Director.start(lab.director, { workers: 2 })
    await director.addService({ method: 'nat', family: 4, address, weights: [1] })
  })

  after(async () => {
    await director?.stop()
    await lab?.close()
  })

  afterEach(function () {
    if (this.currentTest?.state === 'failed') console.log(director.lastWords)
  })

  const refused = async (): Promise<number> => Number((await director.status()).drops.load_dropped)

  it('drop_packet=3 with am_droprate=1 lets no new connection in', async () => {
    await requests(lab.client, { url, requests: 2 })
    const set = await director.uvs('sysctl', 'am_droprate=1', 'drop_packet=3')
    assert.equal(set, 'am_droprate = 1\ndrop_packet = 3\n')
    const { failures } = await tryRequests(lab.client, { url, requests: 1, limitMs: 300 })
    assert.equal(failures.length, 1)
    assert.ok((await refused()) >= 1)
    await director.uvs('sysctl', 'drop_packet=0')
    await requests(lab.client, { url, requests: 2 })
  })

  it('automatic modes act while less than amemthresh is free, and show it', async () => {
    const before = await refused()
    const words = [`amemthresh=${ALL_PAGES}`, 'drop_packet=1', 'secure_tcp=1']
    const set = await director.uvs('sysctl', ...words)
    assert.equal(set, `amemthresh = ${ALL_PAGES}\ndrop_packet = 2\nsecure_tcp = 2\n`)
    const { failures } = await tryRequests(lab.client, { url, requests: 1, limitMs: 300 })
    assert.equal(failures.length, 1)
    assert.ok((await refused()) > before)
    await director.uvs('sysctl', 'amemthresh=0')
    await waitFor('the modes to be idle again', async () => {
      const now = await director.uvs('sysctl', 'drop_packet', 'secure_tcp')
      return now === 'drop_packet = 1\nsecure_tcp = 1\n'
    })
    await requests(lab.client, { url, requests: 2 })
    await director.uvs('sysctl', 'amemthresh=1024', 'drop_packet=0', 'secure_tcp=0')
  })

  it('drop_entry=3 ends half-open associations long before their time', async () => {
    const virtual = virtualAddress(4, 2)
    const service = endpoint(virtual, 2905)
    const real = endpoint(destinationAddress('nat', 4, 1), 2905)
    await director.restore([
      `-A --sctp-service ${service} -s rr`,
      `-a --sctp-service ${service} -r ${real} -m`,
    ])
    // Two INITs that nobody answers: each stays for a minute (spec 3.6.2).
    const all = 64
    for (let i = 0; i < all; i++) {
      const words = [virtual, '2905', String(50_000 + i), '-1', '-1']
      await lab.client.expect([compiled('sctp-end'), 'client', ...words])
    }
    const waiting = async (): Promise<number> => {
      const rows = await director.uvs('conns', '--protocol', 'sctp', '--state', 'INIT', '--json')
      return rows.split('\n').length - 1
    }
    await waitFor('half-open associations', async () => (await waiting()) === all)
    await director.uvs('sysctl', 'drop_entry=3')
    await waitFor('a part of them to be gone', async () => (await waiting()) < all - 8, 30_000)
    await director.uvs('sysctl', 'drop_entry=0')
    assert.ok((await waiting()) > 0)
  })
})
