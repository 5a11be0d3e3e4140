/**
 * A masquerade destination on the director itself (spec 5.5.7): the request enters the host's stack
 * by the TUN device, and a rule brings the reply back to uvs, which gives it the virtual address.
 */
import assert from 'node:assert/strict'
import { requireNamespaces } from '../support/namespace.js'
import { Director } from './support/director.js'
import { hostState } from './support/host-state.js'
import {
  DEVICE,
  directorAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  virtualAddress,
} from './support/lab.js'
import { programPath } from './support/paths.js'
import { curl } from './support/tools.js'

const PORT = 8080

const namesOf = (family: Family): { service: string; destination: string } => ({
  service: endpoint(virtualAddress(family, 1), 80),
  destination: endpoint(directorAddress(family), PORT),
})

describe('local node', function () {
  this.timeout(60_000)
  let lab: Lab
  let director: Director
  let untouched: ReturnType<typeof hostState>

  before(async function () {
    requireNamespaces(this)
    lab = new Lab({ reals: 1 })
    lab.director.ip('link', 'set', 'lo', 'up')
    lab.director.spawn([process.execPath, programPath('real-server'), 'self', String(PORT)])
    await lab.director.waitForTcp(PORT)
    untouched = hostState(lab.director, [DEVICE])
    director = await Director.start(lab.director, { workers: 2 })
  })

  after(async () => {
    await director?.stop()
    await lab?.close()
  })

  afterEach(function () {
    if (this.currentTest?.state === 'failed') console.log(director.log)
  })

  async function addLocalNode(family: Family): Promise<void> {
    const { service, destination } = namesOf(family)
    await director.restore([`-A -t ${service} -s rr`, `-a -t ${service} -r ${destination} -m`])
  }

  for (const family of FAMILIES) {
    it(`answers clients of its own address, before and after, IPv${family}`, async () => {
      const own = `http://${endpoint(directorAddress(family), PORT)}/`
      assert.equal(await curl(lab.client, own), 'self')
      await addLocalNode(family)
      assert.equal(await curl(lab.client, own), 'self')
      assert.equal(await curl(lab.director, own), 'self')
    })

    it(`answers clients of the virtual address, IPv${family}`, async () => {
      const { service, destination } = namesOf(family)
      assert.equal(await curl(lab.client, `http://${service}/`), 'self')
      const [line] = await director.destinations('-t', service)
      assert.deepEqual([line.destination, line.active + line.inactive], [destination, 1])
    })
  }

  it('leaves nothing behind', async () => {
    assert.equal(await director.stop(), 0)
    assert.deepEqual(hostState(lab.director, [DEVICE]), untouched)
  })
})
