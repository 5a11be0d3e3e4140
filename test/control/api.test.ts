/** The control socket: who may use it, what is refused, and the command line over it. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { controlClient } from '../../src/control/api/client.js'
import { decodeCommand, encodeCommand } from '../../src/control/api/schema.js'
import { startApi } from '../../src/control/api/server.js'
import { runUvs } from '../../src/control/cli/uvs.js'
import { ControlError } from '../../src/control/model/errors.js'
import { memoryLog, NO_TRAFFIC } from '../support/fake-dataplane.js'
import { waitFor } from '../support/wait.js'
import { NUMERIC, startRig } from './daemon-rig.js'
import type { DaemonRig } from './daemon-rig.js'
import { addDestination, addService, ip, serviceId, serviceIn } from './fixtures.js'

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

function send(
  at: { socketPath: string } | { host: string; port: number },
  method: string,
  path: string,
  body = '',
  headers: OutgoingHttpHeaders = { 'content-type': 'application/json' },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...at, method, path, headers, agent: false }, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: text }),
      )
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

describe('control socket', () => {
  let rig: DaemonRig
  beforeEach(async () => {
    rig = await startRig()
  })
  afterEach(() => rig.close())

  it('belongs to its owner alone, in a directory others may enter', () => {
    assert.equal(statSync(rig.socket).mode & 0o777, 0o600)
    assert.equal(statSync(dirname(rig.socket)).mode & 0o777, 0o755)
  })

  it('of a live daemon is not taken over', async () => {
    await assert.rejects(startApi({ path: rig.socket }, new Map(), memoryLog()), (error) => {
      assert.ok(error instanceof ControlError)
      assert.equal(error.code, 'SOCKET_IN_USE')
      return true
    })
    assert.deepEqual(await rig.client.services(), [])
  })

  it('has one route per command', async () => {
    const { kind, ...body } = encodeCommand(addService(serviceId())) as { kind: string }
    const at = { socketPath: rig.socket }
    const first = await send(at, 'POST', `/v1/${kind}`, JSON.stringify(body))
    assert.equal(first.status, 200)
    const again = await send(at, 'POST', `/v1/${kind}`, JSON.stringify(body))
    assert.equal(again.status, 409)
    assert.match(again.body, /"code":"SERVICE_EXISTS","errno":"EEXIST"/)
  })

  for (const [what, method, path, body, status] of [
    ['unknown path', 'GET', '/v1/nothing', '', 404],
    ['unknown method', 'DELETE', '/v1/services', '', 404],
    ['broken JSON', 'POST', '/v1/batch', '{', 400],
    ['no list', 'POST', '/v1/batch', '{}', 400],
    ['null', 'POST', '/v1/batch', 'null', 400],
    ['missing fields', 'POST', '/v1/addService', '{}', 400],
    [
      'bad address',
      'POST',
      '/v1/deleteService',
      JSON.stringify({ service: { protocol: 'tcp', address: 'x', port: 1, fwmark: 0 } }),
      400,
    ],
    [
      'bad port',
      'POST',
      '/v1/deleteService',
      JSON.stringify({
        service: { protocol: 'tcp', address: '198.18.0.1', port: 65536, fwmark: 0 },
      }),
      400,
    ],
    ['reap from outside', 'POST', '/v1/reap', '{}', 404],
    ['unknown filter', 'GET', '/v1/connections?x=1', '', 400],
    [
      'unknown service',
      'GET',
      '/v1/services?protocol=tcp&address=198.18.0.1&port=1&fwmark=0',
      '',
      404,
    ],
  ] as const) {
    it(`refuses ${what} and goes on`, async () => {
      const answer = await send({ socketPath: rig.socket }, method, path, body)
      assert.equal(answer.status, status)
      assert.ok(
        (JSON.parse(answer.body) as { error: { message: string } }).error.message.length > 5,
      )
      assert.deepEqual(await rig.client.services(), [])
    })
  }

  it('a command that cannot be understood does not spoil the batch', async () => {
    const commands = [encodeCommand(addService(serviceId())), { kind: 'reap' }, 5]
    const answer = await send(
      { socketPath: rig.socket },
      'POST',
      '/v1/batch',
      JSON.stringify({ commands }),
    )
    const { outcomes } = JSON.parse(answer.body) as { outcomes: { ok: boolean }[] }
    assert.deepEqual(
      outcomes.map((o) => o.ok),
      [true, false, false],
    )
  })

  it('serves metrics that do not go back when counters are zeroed', async () => {
    await rig.ipvsadm('-A -t 198.18.0.1:80')
    await rig.ipvsadm('-a -t 198.18.0.1:80 -r 198.18.1.1 -m')
    const { slot } = serviceIn(rig.director.config, serviceId())
    rig.port.serviceTraffic.set(slot, { ...NO_TRAFFIC, connections: 12n })
    rig.port.drops.set('no_service', 3n)
    await rig.clock.advance(2000)
    await rig.ipvsadm('-Z')
    const { body } = await send({ socketPath: rig.socket }, 'GET', '/metrics')
    const labels = 'protocol="tcp",address="198.18.0.1",port="80",fwmark="",family="ipv4"'
    assert.ok(body.includes(`uvs_service_connections_total{${labels}} 12\n`))
    assert.match(body, /uvs_packets_not_forwarded_total\{reason="no_service"\} 3\n/)
    assert.match(body, /destination_address="198.18.1.1",destination_port="80"\} 1\n/)
  })

  it('streams connections and templates through the filter', async () => {
    const end = (address: string, port: number) => ({ address, port })
    const row = {
      protocol: 'tcp',
      state: 'ESTABLISHED',
      expiresSec: 899,
      client: end('198.18.2.1', 1000),
      virtual: end('198.18.0.1', 80),
      destination: end('198.18.1.1', 80),
      method: 'masquerade',
      flags: 0,
    } as const
    rig.port.rows = Array.from({ length: 1200 }, (_, i) => ({
      ...row,
      client: end('198.18.2.1', i),
    }))
    rig.port.templateRows = [{ ...row, state: 'NONE', client: end('198.18.2.1', 0) }]
    const sizes: number[] = []
    await rig.client.connections({}, (rows) => void sizes.push(rows.length))
    assert.equal(
      sizes.reduce((a, b) => a + b),
      1201,
    )
    const found: boolean[] = []
    await rig.client.connections({ client: '198.18.2.1:0', virtual: '198.18.0.1' }, (rows) => {
      found.push(...rows.map((r) => r.template))
    })
    assert.deepEqual(found, [false, true])
    const list = await rig.ipvsadm('-Lcn')
    assert.equal(list.stdout.split('\n').length, 2 + 1201 + 1)
  })

  it('a reader that leaves ends its list', async () => {
    const end = { address: '198.18.2.1', port: 1 }
    const row = {
      protocol: 'tcp',
      state: 'NONE',
      expiresSec: 1,
      method: 'local',
      flags: 0,
    } as const
    const batch = Array.from({ length: 512 }, () => {
      return { ...row, client: end, virtual: end, destination: end }
    })
    const BATCHES = 2000
    let given = 0
    let ended: unknown
    rig.port.connections = async (_filter, onBatch) => {
      try {
        for (; given < BATCHES; given++) {
          await onBatch(batch)
          await new Promise(setImmediate)
        }
        ended = 'the end of the list'
      } catch (error) {
        ended = String(error)
        throw error
      }
    }
    const outgoing = request({ socketPath: rig.socket, path: '/v1/connections', agent: false })
    outgoing.on('response', (answer) => answer.once('data', () => answer.destroy()))
    outgoing.on('error', () => undefined).end()
    const how = await waitFor('the list to end', () => ended)
    assert.equal(how, 'Error: the reader has gone')
    assert.ok(given > 0 && given < BATCHES)
    assert.deepEqual(await rig.client.services(), [])
    assert.ok(!rig.log.lines.some((line) => line.includes('the API failed')))
  })

  it('over TCP, pages of other sites cannot send changes', async () => {
    const route = new Map([
      [
        'POST /v1/flush',
        ({ response }: { response: { end(): unknown } }) => {
          response.end()
          return Promise.resolve()
        },
      ],
    ])
    const server = await startApi({ host: '127.0.0.1', port: 0 }, route, memoryLog())
    const at = { host: '127.0.0.1', port: server.port! }
    try {
      const json = { 'content-type': 'application/json' }
      const post = async (headers: OutgoingHttpHeaders) =>
        (await send(at, 'POST', '/v1/flush', '{}', headers)).status
      assert.equal(await post(json), 200)
      assert.equal(await post({ 'content-type': 'text/plain' }), 403)
      assert.equal(await post({ ...json, origin: 'http://elsewhere.example' }), 403)
      assert.equal(await post({ ...json, origin: `http://127.0.0.1:${at.port}` }), 200)
    } finally {
      await server.close()
    }
  })
})

describe('a place for the socket', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'uvs-test-'))
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  it('the leftover of a dead daemon is replaced', async () => {
    const path = join(directory, 'uvs.sock')
    const script = `require('node:net').createServer().listen(process.argv[1], () =>
      process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', script, path])
    assert.ok(statSync(path).isSocket())
    const server = await startApi({ path }, new Map(), memoryLog())
    assert.equal((await send({ socketPath: path }, 'GET', '/v1/x')).status, 404)
    await server.close()
  })

  it('something that is no socket is left alone', async () => {
    const path = join(directory, 'file')
    writeFileSync(path, 'precious')
    await assert.rejects(startApi({ path }, new Map(), memoryLog()), /is not a socket/)
    assert.equal(statSync(path).size, 8)
  })

  it('a directory in between is created', async () => {
    mkdirSync(join(directory, 'a'))
    const path = join(directory, 'a', 'b', 'uvs.sock')
    const server = await startApi({ path }, new Map(), memoryLog())
    await server.close()
  })
})

describe('without a daemon', () => {
  const absent = '/nonexistent/uvs.sock'
  const client = controlClient(absent)

  async function run(words: string) {
    let [stdout, stderr] = ['', '']
    const status = await runUvs(words.split(' '), () => ({
      program: 'ipvsadm',
      client,
      resolver: NUMERIC,
      out: (text) => (stdout += text),
      err: (text) => (stderr += text),
      readInput: () => Promise.resolve(''),
    }))
    return { status, stdout, stderr }
  }

  for (const [words, status] of [
    ['ipvsadm -Ln', 1],
    ['ipvsadm -Lcn', 1],
    ['ipvsadm -Sn', 1],
    ['ipvsadm -A -t 198.18.0.1:80', 255],
    ['ipvsadm -C', 255],
    ['status', 1],
    ['conns', 1],
  ] as const) {
    it(`uvs ${words}: one clear line, exit ${status}`, async () => {
      const result = await run(words)
      assert.equal(result.status, status)
      assert.equal(result.stdout, '')
      assert.equal(result.stderr.split('\n').length, 2)
      assert.ok(result.stderr.includes(absent) && result.stderr.includes('uvs run'))
    })
  }

  it('wrong usage of our own commands is exit 2', async () => {
    for (const words of ['nope', 'status --nope', 'conns --client', 'help nope']) {
      const { status, stderr } = await run(words)
      assert.equal(status, 2, words)
      assert.equal(stderr.split('\n').length, 2, words)
    }
  })

  it('help needs no daemon', async () => {
    for (const words of ['help', 'help run', 'help ipvsadm', 'ipvsadm --help', 'ipvsadm -v']) {
      assert.equal((await run(words)).status, 0, words)
    }
  })
})

describe('wire form of commands', () => {
  it('decode(encode(x)) = x', () => {
    fc.assert(
      fc.property(fc.nat(65535), fc.nat(255), fc.boolean(), (port, last, v6) => {
        const id = serviceId(v6 ? `2001:db8::${last.toString(16)}` : `198.18.0.${last}`, port)
        const commands = [
          addService(id, { persistentSec: port }),
          addDestination(id, '198.18.1.1', { weight: last }),
          { kind: 'zero' as const },
          { kind: 'setDefaultLocalAddresses' as const, addresses: [ip('198.18.9.1')] },
        ]
        for (const command of commands) {
          const json: unknown = JSON.parse(JSON.stringify(encodeCommand(command)))
          assert.deepEqual(decodeCommand(json), { ok: true, value: command })
        }
      }),
    )
  })
})
