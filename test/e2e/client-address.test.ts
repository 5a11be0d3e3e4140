/**
 * FULLNAT with real servers that want to know their client: nginx and HAProxy read the PROXY
 * protocol and log the right address, UDP servers read UOA and PROXY version 2, IPv6 clients reach
 * IPv4 servers, and bulk traffic survives loss while every sequence number is translated.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Host, requireNamespaces } from '../support/namespace.js'
import { waitFor } from '../support/wait.js'
import { compiled } from './support/compiled.js'
import { Director, type DirectorOptions } from './support/director.js'
import {
  clientAddress,
  directorAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  realAddress,
} from './support/lab.js'
import { programPath } from './support/paths.js'
import { curl, iperf, IPERF_PORT, startIperf } from './support/tools.js'
import type { UdpTask } from './support/udp-client.js'

const NGINX_PORT = 8080
const HAPROXY_PORT = 8081
const UOA_PORT = 9000
const PROXY_UDP_PORT = 9001

// Behind the director by the router's routing, so that both kinds of I/O see them.
const ROUTED: Record<Family, string> = { 4: '198.18.9.0/24', 6: '2001:db8:0:9::/64' }
const LOCAL = ['198.18.9.240-198.18.9.241', '2001:db8:0:9::f0-2001:db8:0:9::f1']
const VIRTUAL: Record<Family, string> = { 4: '198.18.9.1', 6: '2001:db8:0:9::1' }
/** IPv6 in front, IPv4 servers behind. */
const NAT64 = '2001:db8:0:9::64'

const RUNS: readonly DirectorOptions[] = [
  { io: 'af_packet', workers: 1 },
  { io: 'af_packet', workers: 2 },
  { io: 'tun', workers: 2 },
]

const FILE_BYTES = 4 << 20

/** The same text without what an IPv6 address may be written with. */
const bare = (text: string): string => text.replace(/[[\]]/g, '')

async function startNginx(real: Host, folder: string): Promise<string> {
  const log = join(folder, 'nginx.log')
  const config = join(folder, 'nginx.conf')
  const listen = [`0.0.0.0:${NGINX_PORT}`, `[::]:${NGINX_PORT}`]
  writeFileSync(
    config,
    `user root; worker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log stderr;
events {}
http {
  client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b; fastcgi_temp_path ${folder}/c;
  uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e;
  log_format told '$proxy_protocol_addr $proxy_protocol_port $request_uri';
  access_log ${log} told;
  server {
    ${listen.map((at) => `listen ${at} proxy_protocol;`).join(' ')}
    location = /file { root ${folder}; client_max_body_size 8m; }
    location / {
      default_type text/plain;
      return 200 '$proxy_protocol_addr via $proxy_protocol_server_addr';
    }
  }
}
`,
  )
  writeFileSync(join(folder, 'file'), randomBytes(FILE_BYTES))
  real.spawn(['nginx', '-c', config])
  await real.waitForTcp(NGINX_PORT)
  return log
}

async function startHaproxy(real: Host, folder: string): Promise<() => string> {
  const config = join(folder, 'haproxy.cfg')
  writeFileSync(
    config,
    `global
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "%ci %HU"
  timeout client 10s
  timeout server 10s
  timeout connect 1s
frontend f
  bind 0.0.0.0:${HAPROXY_PORT} accept-proxy
  bind :::${HAPROXY_PORT} v6only accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] via %[dst]"
`,
  )
  const program = real.spawn(['haproxy', '-db', '-f', config])
  await real.waitForTcp(HAPROXY_PORT)
  return () => program.stdout
}

async function udp(client: Host, task: UdpTask): Promise<string[]> {
  const command = [process.execPath, programPath('udp-client'), JSON.stringify(task)]
  return JSON.parse(await client.expect(command)) as string[]
}

/** Loses 2 of 100 TCP packets that arrive. */
async function lose(host: Host): Promise<void> {
  const rules = [
    'add table inet loss',
    'add chain inet loss in { type filter hook input priority 0; }',
    'add rule inet loss in meta l4proto tcp numgen random mod 100 < 2 counter drop',
  ]
  await host.expect(['nft', rules.join('; ')])
}

for (const options of RUNS) {
  describe(`client addresses, ${options.io}, workers: ${options.workers}`, function () {
    this.timeout(90_000)
    let lab: Lab
    let director: Director
    let settings: string
    let nginxLog: string
    let haproxyLog: () => string
    let requests = 0

    before(async function () {
      requireNamespaces(this)
      lab = new Lab({ reals: 1 })
      const [real] = lab.reals
      for (const family of FAMILIES) {
        lab.router.route(`${ROUTED[family]} via ${directorAddress(family)}`)
      }
      settings = mkdtempSync(join(tmpdir(), 'uvs-client-address-'))
      const config = join(settings, 'uvs.yaml')
      writeFileSync(config, 'fullnat: { uoa-trail: 3 }\n')
      const flags = ['--config', config]
      director = await Director.start(lab.director, { ...options, localAddresses: LOCAL, flags })
      const folder = join(director.folder, 'servers')
      mkdirSync(folder)
      nginxLog = await startNginx(real, folder)
      haproxyLog = await startHaproxy(real, folder)
      await startIperf(real)
      await real.spawn([compiled('uoa-server'), String(UOA_PORT)]).waitForOutput(/ready/)
      const server = [process.execPath, programPath('proxy-udp-server'), String(PROXY_UDP_PORT)]
      await real.spawn(server).waitForOutput(/ready/)
      await director.restore([
        ...services(VIRTUAL[4], realAddress(4, 1)),
        ...services(VIRTUAL[6], realAddress(6, 1)),
        ...services(NAT64, realAddress(4, 1)),
      ])
    })

    after(async () => {
      await director?.stop()
      await lab?.close()
      rmSync(settings, { recursive: true, force: true })
    })

    afterEach(function () {
      if (this.currentTest?.state === 'failed') console.log(director.lastWords)
    })

    const ways: [string, Family, string][] = [
      ['IPv4', 4, VIRTUAL[4]],
      ['IPv6', 6, VIRTUAL[6]],
      ['IPv6 to IPv4', 6, NAT64],
    ]
    for (const [title, family, address] of ways) {
      it(`nginx and HAProxy log the client over ${title}`, async () => {
        for (const k of [1, 2, 9]) {
          const from = clientAddress(family, k)
          const path = `/request-${++requests}`
          for (const port of [NGINX_PORT, HAPROXY_PORT]) {
            const url = `http://${endpoint(address, port)}${path}`
            const told = await curl(lab.client, url, '--interface', from)
            assert.equal(bare(told), `${from} via ${address}`)
          }
          await waitFor('nginx to log it', () => {
            const line = readFileSync(nginxLog, 'utf8')
              .split('\n')
              .find((l) => l.endsWith(path))
            return line?.startsWith(`${from} `)
          })
          await waitFor('HAProxy to log it', () => haproxyLog().includes(`${from} `))
        }
      })

      it(`a UDP server reads PROXY version 2 over ${title}`, async () => {
        const from = clientAddress(family, 3)
        const task = { server: endpoint(address, PROXY_UDP_PORT), from, port: 41_000 }
        const answers = await udp(lab.client, { ...task, count: 3, bytes: 30 })
        assert.match(answers[0], family === 4 ? /^198\.18\.2\.3:41000 via / : /^20010db8/)
        // Only the first has the header.
        assert.deepEqual(
          answers.slice(1),
          [1, 2].map(() => `${answers[0]}, 30 bytes`),
        )
      })

      it(`bulk traffic arrives over ${title}`, async () => {
        for (const reverse of [false, true]) {
          await iperf(lab.client, address, { reverse })
        }
      })
    }

    for (const [title, family, address] of ways.filter(([, , at]) => at !== VIRTUAL[6])) {
      it(`a UDP server reads UOA over ${title}`, async () => {
        const from = clientAddress(family, 4)
        const task = { server: endpoint(address, UOA_PORT), from, port: 42_000 }
        const answers = await udp(lab.client, { ...task, count: 5, bytes: 40 })
        const client = endpoint(from, 42_000)
        const told = [`${client} opp`, `${client} opp`, `${client} opp`]
        assert.deepEqual(answers, [...told, `${client} known`, `${client} known`])
        // Too long for the option: said ahead, in a datagram of its own.
        const mtu = family === 4 ? 1472 : 1452
        const long = await udp(lab.client, { ...task, port: 42_001, count: 1, bytes: mtu })
        assert.deepEqual(long, [`${endpoint(from, 42_001)} known`])
      })
    }

    it('bulk traffic survives loss on both sides', async () => {
      await lose(lab.client)
      await lose(lab.reals[0])
      for (const [, , address] of ways) {
        const file = `http://${endpoint(address, NGINX_PORT)}/file`
        const options = ['--max-time', '60', '-o', '/dev/null', '-w', '%{size_download}']
        assert.equal(await curl(lab.client, file, ...options), String(FILE_BYTES))
        // What iperf3 has counted when it ends is less than it sent, where packets get lost.
        await iperf(lab.client, address, { seconds: 1 })
      }
      for (const host of [lab.client, lab.reals[0]]) {
        assert.match(await host.expect(['nft', 'list', 'table', 'inet', 'loss']), /packets [1-9]/)
      }
    })

    it('lists and saves what each service asks for', async () => {
      const at = endpoint(VIRTUAL[4], NGINX_PORT)
      assert.match(await director.ipvsadm('-Ln', '-t', at), /:8080 rr ppv2\n/)
      assert.match(await director.ipvsadm('-Sn'), /-A -t \S+:8080 -s rr --proxy-protocol v2\n/)
    })
  })
}

/** Services at `address` whose only destination is `real`. */
function services(address: string, real: string): string[] {
  const one = (kind: string, port: number, more: string) => {
    const at = `${kind} ${endpoint(address, port)}`
    return [`-A ${at} -s rr${more}`, `-a ${at} -r ${endpoint(real, port)} -b`]
  }
  return [
    ...one('-t', NGINX_PORT, ' --proxy-protocol v2'),
    ...one('-t', HAPROXY_PORT, ' --proxy-protocol v1'),
    ...one('-t', IPERF_PORT, ''),
    ...one('-u', UOA_PORT, ''),
    ...one('-u', PROXY_UDP_PORT, ' --proxy-protocol v2'),
  ]
}
