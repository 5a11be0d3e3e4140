/**
 * Services by firewall mark with real clients: marks come from `uvs mark` rules, and the recipes
 * that LVS users know from iptables work: several addresses and ports under one mark, http and
 * https of one client on one real server, an address service behind a mark that has none.
 */
import assert from 'node:assert/strict'
import { requireNamespaces } from '../support/namespace.js'
import { Director } from './support/director.js'
import {
  clientAddress,
  destinationAddress,
  directorAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  type Method,
  METHOD_WORDS,
  virtualAddress,
} from './support/lab.js'
import { assertUnchanged, hostState } from './support/host-state.js'
import { programPath, UVS } from './support/paths.js'
import { curl, isAlive, tally } from './support/tools.js'
import { requests } from './support/web.js'

const SECOND_PORT = 443
/** Of a server on the director itself. */
const OWN_PORT = 8081

const ROUTED: Record<Family, string> = { 4: '198.18.9.0/24', 6: '2001:db8:0:9::/64' }
const routed = (family: Family, n: number): string =>
  family === 4 ? `198.18.9.${n}` : `2001:db8:0:9::${n}`

/** The lines that make a mark service with r1, r2 and r3 behind it. */
function markService(
  mark: number,
  family: Family,
  method: Method,
  options = '-s rr',
  port?: number,
): string[] {
  const service = `-f ${mark}${family === 6 ? ' -6' : ''}`
  const destinations = [3, 2, 1].map((i) => {
    const address = destinationAddress(method, family, i)
    const real = port === undefined ? address : endpoint(address, port)
    return `-a ${service} -r ${real} ${METHOD_WORDS[method].option}`
  })
  return [`-A ${service} ${options}`, ...destinations]
}

const host = (address: string): string => (address.includes(':') ? `[${address}]` : address)

describe('mark services', function () {
  this.timeout(60_000)
  let lab: Lab
  let director: Director
  let untouched: string

  before(async function () {
    requireNamespaces(this)
    lab = new Lab()
    await lab.startWebServers([80, SECOND_PORT])
    const server = [process.execPath, programPath('real-server'), 'director', String(OWN_PORT)]
    lab.director.spawn(server)
    await lab.director.waitForTcp(OWN_PORT)
    untouched = hostState(lab.director, ['eth0'])
    director = await Director.start(lab.director, { workers: 2 })
  })

  after(async () => {
    await director?.stop()
    await lab?.close()
  })

  afterEach(function () {
    if (this.currentTest?.state === 'failed') console.log(director.lastWords)
  })

  const answers = async (url: string, count: number, from?: string[]) =>
    (await requests(lab.client, { url, requests: count, ...(from && { from }) })).answers

  for (const family of FAMILIES) {
    const mark = 10 + family

    it(`takes several addresses under one mark, NAT, IPv${family}`, async () => {
      const addresses = [1, 2].map((n) => virtualAddress(family, n))
      await director.restore(markService(mark, family, 'nat'))
      await director.uvs(
        ...['mark', 'add', '-p', 'tcp', '-d', addresses.join()],
        ...['--dport', '80', '-j', 'MARK', '--set-mark', String(mark)],
      )
      const all = []
      for (const address of [...addresses, ...addresses, ...addresses]) {
        all.push(...(await answers(`http://${endpoint(address)}/`, 1)))
      }
      assert.deepEqual(tally(all), { r1: 2, r2: 2, r3: 2 })
    })

    it(`keeps a client's http and https on one real server, DR, IPv${family}`, async () => {
      const address = virtualAddress(family, 3)
      await lab.acceptVirtual('dr', address)
      await director.restore(markService(mark + 20, family, 'dr', '-s rr -p 300'))
      await director.uvs(
        ...['mark', 'add', '-d', address, '-p', 'tcp', '-m', 'multiport'],
        ...['--dports', `80,${SECOND_PORT}`, '--set-mark', String(mark + 20)],
      )
      const seen = new Set<string>()
      for (const k of [1, 2, 3]) {
        const from = [clientAddress(family, k)]
        const [first] = await answers(`http://${endpoint(address)}/`, 1, from)
        const rest = [
          ...(await answers(`http://${endpoint(address, SECOND_PORT)}/`, 3, from)),
          ...(await answers(`http://${endpoint(address)}/`, 3, from)),
        ]
        assert.deepEqual(tally(rest), { [first]: 6 })
        seen.add(first)
      }
      assert.equal(seen.size, 3)
      // The template of a mark shows the mark where others show the virtual address (spec 4.1).
      const templates = await director.ipvsadm('-L', '-n', '-c')
      assert.match(templates, /^IP .* ASSURED/m)
    })

    it(`follows changes of the rules at run time, IPv${family}`, async () => {
      const address = virtualAddress(family, 4)
      await director.addService({ method: 'nat', family, address, weights: [0, 0, 1] })
      const url = `http://${endpoint(address)}/`
      assert.deepEqual(tally(await answers(url, 2)), { r3: 2 })
      const rule = ['-d', address, '-p', 'tcp', '--dport', '80', '--set-mark']
      await director.uvs('mark', 'add', ...rule, '99')
      // A mark without a service: the address service as before (spec 1.2).
      assert.deepEqual(tally(await answers(url, 2)), { r3: 2 })
      await director.uvs('mark', 'add', ...rule, String(mark))
      assert.deepEqual(tally(await answers(url, 6)), { r1: 2, r2: 2, r3: 2 })
      await director.uvs('mark', 'del', ...rule, String(mark))
      assert.deepEqual(tally(await answers(url, 2)), { r3: 2 })
    })

    it(`takes a rule without a destination for every address, IPv${family}`, async () => {
      const address = routed(family, 1)
      lab.router.route(`${ROUTED[family]} via ${directorAddress(family)}`)
      await director.uvs(
        ...['mark', 'add', `-${family}`, '-i', 'eth0', '-p', 'tcp', '-s', clientAddress(family)],
        ...['!', '--dport', '1:8079', '--set-mark', String(mark + 40)],
      )
      await director.restore(markService(mark + 40, family, 'nat', '-s rr', 80))
      const url = `http://${host(address)}:8080/`
      assert.deepEqual(tally(await answers(url, 3, [clientAddress(family)])), {
        r1: 1,
        r2: 1,
        r3: 1,
      })
      // From another client the same ports reach uvs too, end in no service, and go to the host.
      const own = `http://${endpoint(directorAddress(family), OWN_PORT)}/`
      assert.deepEqual(await answers(own, 2, [clientAddress(family, 2)]), ['director', 'director'])
      const real = host(destinationAddress('nat', family, 1))
      assert.equal(await curl(lab.director, `http://${real}/`), 'r1')
      assert.ok(await isAlive(lab.client, directorAddress(family)))
    })
  }

  it('lists, saves and restores its rules', async () => {
    const saved = await director.uvs('mark', 'save')
    const before = await director.uvs('mark', 'list')
    assert.match(before, /^ {3}1 {2}-A PREROUTING -4 -d 198\.18\.0\.101\/32 -p tcp /)
    await director.uvs('mark', 'del', '--all')
    assert.equal(await director.uvs('mark', 'list', '--json'), '[]\n')
    const env = director.environment()
    await director.host.expect([UVS, 'mark', 'restore'], {
      env,
      input: saved,
    })
    assert.equal(await director.uvs('mark', 'save'), saved)
  })

  it('leaves nothing behind', async () => {
    assert.equal(await director.stop(), 0)
    assertUnchanged(untouched, hostState(lab.director, ['eth0']))
  })
})

for (const workers of [1, 2]) {
  describe(`mark services through tun, ${workers} worker${workers === 1 ? '' : 's'}`, function () {
    this.timeout(60_000)
    let lab: Lab
    let director: Director
    let untouched: string

    before(async function () {
      requireNamespaces(this)
      lab = new Lab()
      await lab.startWebServers([80, SECOND_PORT])
      for (const family of FAMILIES) {
        lab.router.route(`${ROUTED[family]} via ${directorAddress(family)}`)
      }
      untouched = hostState(lab.director, ['eth0'])
      const localAddresses = ['198.18.9.240', '2001:db8:0:9::f0']
      director = await Director.start(lab.director, { io: 'tun', workers, localAddresses })
    })

    after(async () => {
      await director?.stop()
      await lab?.close()
    })

    afterEach(function () {
      if (this.currentTest?.state === 'failed') console.log(director.lastWords)
    })

    for (const family of FAMILIES) {
      it(`takes a network and two ports under one mark, IPv${family}`, async () => {
        await director.restore(markService(family, family, 'nat', '-s rr -p 60'))
        await director.uvs(
          ...['mark', 'add', '-d', ROUTED[family], '-p', 'tcp'],
          ...['--dport', `80,${SECOND_PORT}`, '--set-mark', String(family)],
        )
        const seen: string[] = []
        for (const n of [1, 2, 3]) {
          for (const port of [80, SECOND_PORT]) {
            const url = `http://${endpoint(routed(family, n), port)}/`
            const from = [clientAddress(family, n)]
            seen.push(...(await requests(lab.client, { url, requests: 2, from })).answers)
          }
        }
        assert.deepEqual(tally(seen), { r1: 4, r2: 4, r3: 4 })
        assert.equal(new Set(seen.slice(0, 4)).size, 1, seen.join())
      })

      it(`takes every address, and not what the host sends itself, IPv${family}`, async () => {
        await director.uvs('mark', 'del', '--all')
        await director.uvs(
          ...['mark', 'add', `-${family}`, '-p', 'tcp', '--dport', '80'],
          ...['--set-mark', String(family)],
        )
        const url = `http://${endpoint(routed(family, 7))}/`
        assert.equal((await requests(lab.client, { url, requests: 1 })).answers.length, 1)
        const real = host(destinationAddress('nat', family, 2))
        assert.equal(await curl(lab.director, `http://${real}/`), 'r2')
      })
    }

    it('leaves nothing behind', async () => {
      assert.equal(await director.stop(), 0)
      assertUnchanged(untouched, hostState(lab.director, ['eth0']))
    })
  })
}
