/**
 * The FTP recipe with firewall marks: the ports 21, 20 and a passive range under one mark, with
 * persistence, so that control and data connections of a client meet one real server (vsftpd).
 * Direct routing, active and passive; masquerading, passive.
 */
import assert from 'node:assert/strict'
import { requireNamespaces } from '../support/namespace.js'
import { Director } from './support/director.js'
import {
  fetchName,
  FTP_MODES,
  type FtpMode,
  FtpServers,
  PASSIVE_PORTS,
} from './support/ftp-recipe.js'
import {
  clientAddress,
  destinationAddress,
  FAMILIES,
  type Family,
  Lab,
  type Method,
  METHOD_WORDS,
  virtualAddress,
} from './support/lab.js'
import { UVS } from './support/paths.js'

const CLIENTS = [1, 2, 3]

/** As the recipe has it: one mark rule for each of the ports. */
function recipe(address: string, mark: number): string {
  const flag = address.includes(':') ? 128 : 32
  const passive = `${PASSIVE_PORTS.first}:${PASSIVE_PORTS.last}`
  const lines = ['21', '20', passive].map(
    (port) =>
      `-A PREROUTING -d ${address}/${flag} -p tcp -m tcp --dport ${port} ` +
      `-j MARK --set-xmark 0x${mark.toString(16)}/0xffffffff`,
  )
  return `*mangle\n:PREROUTING ACCEPT [0:0]\n${lines.join('\n')}\nCOMMIT\n`
}

describe('FTP under one mark', function () {
  this.timeout(60_000)
  let lab: Lab
  let servers: FtpServers
  let director: Director

  before(async function () {
    requireNamespaces(this)
    lab = new Lab()
    servers = new FtpServers()
    for (const real of lab.reals) await servers.start(real)
    director = await Director.start(lab.director, { workers: 2 })
  })

  after(async () => {
    await director?.stop()
    await lab?.close()
    servers?.remove()
  })

  afterEach(function () {
    if (this.currentTest?.state === 'failed') console.log(director.lastWords)
  })

  async function serve(method: Method, family: Family, address: string): Promise<void> {
    const service = `-f 21${family === 6 ? ' -6' : ''}`
    const destinations = [3, 2, 1].map(
      (i) =>
        `-a ${service} -r ${destinationAddress(method, family, i)} ${METHOD_WORDS[method].option}`,
    )
    await director.ipvsadm('-C')
    await director.restore([`-A ${service} -s rr -p 300`, ...destinations])
    const options = { env: director.environment(), input: recipe(address, 21) }
    await director.host.expect([UVS, 'mark', 'restore'], options)
  }

  /** Every client in every mode: one server for each, and all of them in turn. */
  async function transfers(
    family: Family,
    address: string,
    modes: readonly FtpMode[],
  ): Promise<void> {
    const byClient: string[] = []
    for (const k of CLIENTS) {
      const names = new Set<string>()
      for (const mode of [...modes, ...modes]) {
        names.add(await fetchName(lab.client, address, mode, clientAddress(family, k)))
      }
      assert.equal(names.size, 1, `client ${k}: ${[...names].join()}`)
      byClient.push(...names)
    }
    assert.deepEqual(byClient.sort(), ['r1', 'r2', 'r3'])
  }

  for (const family of FAMILIES) {
    const modes = (Object.keys(FTP_MODES) as FtpMode[]).filter(
      // RFC 2428: PORT and PASV know IPv4 only.
      (mode) => family === 4 || mode.startsWith('E'),
    )

    it(`active and passive by direct routing, IPv${family}`, async () => {
      const address = virtualAddress(family, 1)
      await lab.acceptVirtual('dr', address)
      await serve('dr', family, address)
      await transfers(family, address, modes)
    })

    it(`extended passive by masquerading, IPv${family}`, async () => {
      const address = virtualAddress(family, 2)
      await serve('nat', family, address)
      await transfers(family, address, ['EPSV'])
    })
  }
})
