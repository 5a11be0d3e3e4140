/**
 * FTP behind NAT with a real server and a real client: active and passive, both families, both
 * directions of a transfer, several transfers of one control connection, with packets and with TUN.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { requireNamespaces } from '../support/namespace.js'
import { waitFor } from '../support/wait.js'
import { Director } from './support/director.js'
import { download, FTP_WAYS, FtpFolder, startFtp, upload, type FtpWay } from './support/ftp.js'
import {
  directorAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  virtualAddress,
} from './support/lab.js'
import { curl } from './support/tools.js'

const MEGABYTE = 2 ** 20
const ROUTED: Record<Family, string> = { 4: '198.18.9.0/24', 6: '2001:db8:0:9::/64' }
const ROUTED_ADDRESS: Record<Family, string> = { 4: '198.18.9.1', 6: '2001:db8:0:9::1' }

const RUNS = [
  { io: 'af_packet', workers: 1 },
  { io: 'af_packet', workers: 2 },
  { io: 'tun', workers: 2 },
] as const

/** The old commands know IPv4 only; with IPv6 curl would use the new ones for both. */
const waysOf = (family: Family): FtpWay[] =>
  (Object.keys(FTP_WAYS) as FtpWay[]).filter((way) => family === 4 || way.startsWith('E'))

for (const { io, workers } of RUNS) {
  describe(`FTP through NAT: ${io}, ${workers} worker${workers === 1 ? '' : 's'}`, function () {
    this.timeout(60_000)
    let lab: Lab
    let director: Director
    const folders: FtpFolder[] = []
    const addressOf = (family: Family): string =>
      io === 'tun' ? ROUTED_ADDRESS[family] : virtualAddress(family, 1)

    before(async function () {
      requireNamespaces(this)
      lab = new Lab({ reals: 2 })
      await lab.startWebServers()
      for (const [i, real] of lab.reals.entries()) {
        const folder = new FtpFolder(real.name)
        folders.push(folder)
        await startFtp(real, folder, 30_000 + 1000 * i)
      }
      if (io === 'tun') {
        for (const family of FAMILIES) {
          lab.router.route(`${ROUTED[family]} via ${directorAddress(family)}`)
        }
      }
      director = await Director.start(lab.director, { io, workers })
      for (const family of FAMILIES) {
        const plan = { method: 'nat', family, address: addressOf(family), weights: [1, 1] } as const
        await director.addService({ ...plan, port: 21 })
        await director.addService(plan)
      }
    })

    after(async () => {
      await director?.stop()
      await lab?.close()
      for (const folder of folders) folder.remove()
    })

    afterEach(function () {
      if (this.currentTest?.state === 'failed') console.log(director.lastWords)
    })

    for (const family of FAMILIES) {
      for (const way of waysOf(family)) {
        const server = endpoint(addressOf(family), 21)

        it(`${way} over IPv${family}: every server, several files of one connection`, async () => {
          const answers = await Promise.all(
            Array.from({ length: 8 }, () => download(lab.client, server, way, { times: 4 })),
          )
          // All files of a control connection come from its own server.
          assert.deepEqual(answers.sort(), [
            ...Array.from({ length: 4 }, () => 'r1'.repeat(4)),
            ...Array.from({ length: 4 }, () => 'r2'.repeat(4)),
          ])
        })

        it(`${way} over IPv${family}: a large file there and back`, async () => {
          const to = `${way}-${family}`
          const from = join(folders[0].path, `large-${to}`)
          const content = Buffer.alloc(4 * MEGABYTE, to)
          writeFileSync(from, content)
          await upload(lab.client, server, way, { from, to })
          const kept = folders.map(({ path }) => join(path, 'root', 'pub', to))
          const arrived = kept.find((path) => {
            try {
              return readFileSync(path).equals(content)
            } catch {
              return false
            }
          })
          assert.ok(arrived !== undefined, 'the upload arrived on neither server')
          for (const path of kept) writeFileSync(path, content)
          assert.ok((await download(lab.client, server, way, { file: to })) === content.toString())
        })
      }
    }

    it('shows data connections, which are no new ones for the statistics', async () => {
      const server = endpoint(addressOf(4), 21)
      const connections = async (): Promise<number> => {
        const text = await director.ipvsadm('-L', '-n', '--stats', '--exact', '-t', server)
        return Number(/^TCP +\S+ +(\d+)/m.exec(text)?.[1])
      }
      // A service made anew counts from zero: the old one's counters are seconds behind.
      await director.ipvsadm('-D', '-t', server)
      const plan = { method: 'nat', family: 4, address: addressOf(4), weights: [1, 1] } as const
      await director.addService({ ...plan, port: 21 })
      await download(lab.client, server, 'PASV', { times: 3 })
      await waitFor('connections to be counted', async () => (await connections()) > 0)
      assert.equal(await connections(), 1, 'the control connection alone')
      const rows = (await director.ipvsadm('-L', '-n', '-c')).split('\n')
      const data = rows.filter((row) => / 198\.18\.0\.2[12]:3[01]\d\d\d *$/.test(row))
      assert.ok(data.length >= 3, rows.join('\n'))
      assert.ok(data.some((row) => row.includes(`${addressOf(4)}:3`)))
    })

    if (io === 'tun') {
      it('takes data from the first port that the host calls unprivileged', async () => {
        const rules = (): string[] =>
          [...lab.director.ip('rule', 'show').matchAll(/ dport (\d+)-65534 /g)].map(
            ([, first]) => first,
          )
        assert.deepEqual(rules(), ['1024'])
        lab.director.sysctl('net.ipv4.ip_unprivileged_port_start', 900)
        await director.addService({ method: 'nat', family: 4, address: addressOf(4), port: 81 })
        await waitFor('the rules to follow', () => rules()[0] === '900')
      })
    }

    it('leaves other ports of the address to others', async () => {
      assert.match(await curl(lab.client, `http://${endpoint(addressOf(4))}/`), /^r[12]$/)
      const at = endpoint(addressOf(4), 8080)
      await assert.rejects(curl(lab.client, `http://${at}/`), /refused|Failed to connect|reset/i)
    })
  })
}
