/**
 * The host stays quiet about virtual addresses, whether they are configured on it or on nobody: no
 * RST, no second copy, no redirect; its own services and its own traffic keep working; ARP and
 * neighbour discovery are answered for announced addresses only.
 */
import assert from 'node:assert/strict'
import { type Host, requireNamespaces } from '../support/namespace.js'
import { waitFor } from '../support/wait.js'
import { Capture } from './support/capture.js'
import { Director } from './support/director.js'
import {
  destinationAddress,
  DEVICE,
  directorAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  type Method,
  METHODS,
  METHOD_WORDS,
  routerAddress,
  virtualAddress,
} from './support/lab.js'
import { programPath } from './support/paths.js'
import { curl, isAlive, sendDatagram } from './support/tools.js'
import { countAnswers, requests } from './support/web.js'

const REQUESTS = 12
const OTHER_PORT = 8080

// Configured on the director (the classic recipe), on nobody in the LAN, and on nobody outside it,
// where the router sends it to the director and the host would forward it back.
const PLACES = ['configured', 'announced', 'routed'] as const
type Place = (typeof PLACES)[number]

describe('quiet host', function () {
  this.timeout(60_000)
  let lab: Lab
  let director: Director

  before(async function () {
    requireNamespaces(this)
    lab = new Lab()
    await lab.startWebServers()
    for (const family of FAMILIES) {
      // Three questions at this pace decide whether somebody has an address.
      lab.router.sysctl(`net.ipv${family}.neigh.br0.retrans_time_ms`, 100)
      lab.router.route(`${ROUTED[family]} via ${directorAddress(family)}`)
    }
    director = await Director.start(lab.director)
  })

  after(async () => {
    await director?.stop()
    await lab?.close()
  })

  afterEach(function () {
    if (this.currentTest?.state === 'failed') console.log(director.lastWords)
  })

  let count = 0

  /** A new virtual address of the wanted kind. */
  function newAddress(place: Place, family: Family): string {
    count++
    const address =
      place === 'routed' ? outsideAddress(family, count) : virtualAddress(family, count)
    if (place === 'configured') {
      lab.director.address(`${address}/${family === 4 ? 32 : 128}`, DEVICE)
    }
    return address
  }

  for (const family of FAMILIES) {
    for (const place of PLACES) {
      for (const method of METHODS) {
        const title = `${METHOD_WORDS[method].title} over IPv${family}, address ${place}`
        it(`${title}: one answer per request and nothing from the host`, async () => {
          const address = newAddress(place, family)
          await lab.acceptVirtual(method, address)
          await director.addService({ method, family, address })
          await watch(method, address)
        })
      }
    }
  }

  /** Sends requests and judges every packet about the address that left the director. */
  async function watch(method: Method, address: string): Promise<void> {
    // On the other end of the director's cable: what uvs sends bypasses the taps of its own end.
    const mine = `ether src ${macOf(lab.director, DEVICE)}`
    const wire = await Capture.start(lab.router, 'director', mine, directorAddress(4))
    const client = await Capture.start(lab.client, DEVICE, `tcp and host ${address}`, GATEWAY)
    const url = `http://${endpoint(address)}/`
    const result = await requests(lab.client, { url, requests: REQUESTS })
    assert.deepEqual(countAnswers(result), { r1: 4, r2: 4, r3: 4 })
    const [sent, seen] = [await wire.stop(), await client.stop()]
    assert.deepEqual(
      sent.filter((line) => /redirect/.test(line)),
      [],
    )
    const flags = (lines: string[], pattern: RegExp): string[] =>
      lines.filter((l) => pattern.test(l))
    assert.deepEqual(flags(seen, /Flags \[R/), [], 'a RST reached the client')
    assert.deepEqual(flags(sent, /Flags \[R/), [], 'a RST was sent')
    assert.equal(flags(seen, /Flags \[S\.\]/).length, REQUESTS, seen.join('\n'))
    const out = flags(sent, /Flags \[S\]/)
    const plain = out.filter((line) => new RegExp(`> ${escape(address)}\\.80: Flags`).test(line))
    // NAT and FULLNAT change the destination; DR keeps it; a tunnel has it inside.
    const expected = method === 'dr' || method === 'tun' ? REQUESTS : 0
    assert.equal(plain.length, expected, out.join('\n'))
  }

  for (const family of FAMILIES) {
    it(`the host's own services keep working, IPv${family}`, async () => {
      const host = lab.director
      const address = newAddress('configured', family)
      await director.addService({ method: 'nat', family, address })
      const ports = ['80', String(OTHER_PORT)]
      const web = host.spawn([process.execPath, programPath('real-server'), 'host', ...ports])
      try {
        for (const port of ports) await host.waitForTcp(Number(port))
        const at = (where: string, port?: number): Promise<string> =>
          curl(lab.client, `http://${endpoint(where, port)}/`)
        assert.equal(await at(address, OTHER_PORT), 'host', 'same address, other port')
        assert.equal(await at(directorAddress(family)), 'host', 'other address, same port')
        assert.match(await at(address), /^r\d$/, 'the service')
      } finally {
        await web.stop()
      }
    })

    it(`the host still reaches real servers and the world, IPv${family}`, async () => {
      const real = destinationAddress('nat', family, 1)
      assert.equal(await curl(lab.director, `http://${endpoint(real)}/`), 'r1')
      assert.ok(await isAlive(lab.director, routerAddress(family)))
    })

    it(`only announced addresses are answered for, IPv${family}`, async () => {
      count++
      const address = virtualAddress(family, count)
      const nobody = virtualAddress(family, 99)
      await director.addService({ method: 'nat', family, address })
      assert.equal(await neighbour(lab.router, address), macOf(lab.director, DEVICE))
      assert.equal(await neighbour(lab.router, nobody), undefined)
      await director.ipvsadm('-D', '-t', endpoint(address))
      lab.router.forgetNeighbours()
      assert.equal(await neighbour(lab.router, address), undefined, 'after the service has gone')
    })
  }

  it('--announce off answers for nobody', async () => {
    await director.stop()
    director = await Director.start(lab.director, { flags: ['--announce', 'off'] })
    const address = virtualAddress(4, 98)
    await director.addService({ method: 'nat', family: 4, address })
    assert.equal(await neighbour(lab.router, address), undefined)
  })
})

const ROUTED: Record<Family, string> = { 4: '198.18.9.0/24', 6: '2001:db8:0:9::/64' }
const GATEWAY = '198.18.2.254'

const outsideAddress = (family: Family, n: number): string =>
  family === 4 ? `198.18.9.${n}` : `2001:db8:0:9::${n}`

const escape = (text: string): string => text.replace(/[.]/g, '\\.')

function macOf(host: Host, device: string): string {
  return host.exec(['cat', `/sys/class/net/${device}/address`]).trim()
}

/** Who a host finds behind an address: a MAC, or undefined when nobody answers. */
async function neighbour(host: Host, address: string): Promise<string | undefined> {
  await sendDatagram(host, address, 1)
  const found = await waitFor(`the neighbour ${address} to be decided`, () => {
    const line = host.ip('neigh', 'show', 'to', address)
    const mac = /lladdr ([0-9a-f:]+)/.exec(line)?.[1]
    if (mac !== undefined) return { mac }
    return line.includes('FAILED') || line.trim() === '' ? { mac: undefined } : undefined
  })
  return found.mac
}
