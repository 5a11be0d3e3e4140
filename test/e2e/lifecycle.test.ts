/**
 * Beginnings and ends: a worker that dies while traffic runs, a director that is killed and started
 * again, an orderly stop, and everything that stops a director from starting. What must hold at the
 * end: the host is as it was.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requireNamespaces } from '../support/namespace.js'
import { Director } from './support/director.js'
import { assertUnchanged, hostState } from './support/host-state.js'
import { DEVICE, endpoint, FAMILIES, Lab, METHODS, virtualAddress } from './support/lab.js'
import { UVS } from './support/paths.js'
import { Bulk, IPERF_PORT, startIperf } from './support/tools.js'
import { HeldConnections, requests } from './support/web.js'

/** An orderly end takes well below a second; a hang takes for ever. */
const STOP_LIMIT_MS = 8_000
const SPARE = 'spare0'

describe('lifecycle', function () {
  this.timeout(60_000)
  let lab: Lab
  let folder: string
  let untouched: string
  let director: Director | undefined

  before(async function () {
    requireNamespaces(this)
    lab = new Lab()
    folder = mkdtempSync(join(tmpdir(), 'uvs-test-'))
    await lab.startWebServers()
    await startIperf(lab.reals[0])
    // The classic recipe: this virtual address is the host's own, and must survive.
    for (const family of FAMILIES) {
      lab.director.address(`${virtualAddress(family, 1)}/${family === 4 ? 32 : 128}`, DEVICE)
    }
    for (const family of FAMILIES) {
      for (const [n] of METHODS.entries()) {
        await lab.acceptVirtual(METHODS[n], virtualAddress(family, n + 1))
      }
    }
    untouched = hostState(lab.director, [DEVICE])
  })

  after(async () => {
    await director?.stop()
    await lab?.close()
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  })

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.log(director?.lastWords)
    await director?.stop()
    director = undefined
  })

  /** A director with a service for every method, two workers. */
  async function start(): Promise<Director> {
    const started = await Director.start(lab.director, { workers: 2, folder })
    director = started
    const plans = METHODS.flatMap((method, n) =>
      FAMILIES.flatMap((family) => {
        const plan = { method, family, address: virtualAddress(family, n + 1) }
        return [plan, { ...plan, port: IPERF_PORT, weights: [1] }]
      }),
    )
    await started.addServices(plans)
    return started
  }

  const urlOf = (n: number): string => `http://${endpoint(virtualAddress(4, n))}/`

  it('traffic goes on while each worker dies and is replaced', async () => {
    const running = await start()
    const held: HeldConnections[] = []
    for (const n of [1, 2, 3, 4]) {
      const task = { url: urlOf(n), requests: 6 }
      held.push((await HeldConnections.open(lab.client, task))[0])
    }
    for (const n of [1, 4]) {
      const bulk = new Bulk(lab.client, virtualAddress(4, n))
      for (const worker of [0, 1]) {
        await bulk.flows()
        await running.killWorker(worker)
      }
      await bulk.flows()
      await bulk.stop()
    }
    for (const connections of held) {
      const again = await connections.again()
      assert.deepEqual(again.failures, [])
      await connections.close()
    }
    const fresh = await requests(lab.client, { url: urlOf(1), requests: 6 })
    assert.equal(fresh.answers.length, 6)
  })

  it('SIGTERM: ends with 0 and leaves the host as it was', async () => {
    assert.equal(await (await start()).stop(), 0)
    assertUnchanged(untouched, hostState(lab.director, [DEVICE]))
    assert.deepEqual(readdirSync(folder), [])
  })

  it('SIGINT does the same, in the middle of traffic', async () => {
    const running = await start()
    const [held] = await HeldConnections.open(lab.client, { url: urlOf(4), requests: 4 })
    running.program.signal('SIGINT')
    assert.equal(await running.program.ended(), 0)
    await held.close()
    assertUnchanged(untouched, hostState(lab.director, [DEVICE]))
  })

  it('after kill -9 the next start works, and its end leaves nothing of either', async () => {
    await (await start()).kill()
    const second = await start()
    for (const n of [1, 2, 3, 4]) {
      const { answers } = await requests(lab.client, { url: urlOf(n), requests: 3 })
      assert.deepEqual(answers, ['r1', 'r2', 'r3'], METHODS[n - 1])
    }
    assert.equal(await second.stop(), 0)
    assertUnchanged(untouched, hostState(lab.director, [DEVICE]))
    assert.deepEqual(readdirSync(folder), [])
  })

  it('a second director on the same socket is refused, and the first goes on', async () => {
    const first = await start()
    const second = Director.spawn(lab.director, { folder })
    assert.equal(await second.program.ended(), 1)
    assertOneLine(second.log, /uvs\.sock.*(in use|runs|running|another)/)
    const { answers } = await requests(lab.client, { url: urlOf(1), requests: 3 })
    assert.equal(answers.length, 3)
    assert.equal(await first.stop(), 0)
  })

  /** The quiet filter of the director that runs. */
  const filters = (): string =>
    lab.director.exec(['tc', 'filter', 'show', 'dev', DEVICE, 'ingress'])

  for (const [what, flags] of [
    ['with the same TUN device', []],
    ['with a TUN device of its own', ['--tun', 'other0']],
  ] as const) {
    it(`a second director on the interface, ${what}: refused, the first goes on`, async () => {
      const first = await start()
      const filter = filters()
      assert.match(filter, / uvs /)
      const socket = ['--socket', join(folder, 'second.sock')]
      const second = await lab.director.run([UVS, 'run', '--iface', DEVICE, ...socket, ...flags])
      assert.equal(second.status, 1, second.stderr)
      assertOneLine(second.stderr, /another director runs/)
      assert.equal(filters(), filter)
      for (const n of [1, 2, 3, 4]) {
        const { answers } = await requests(lab.client, { url: urlOf(n), requests: 3 })
        assert.deepEqual(answers, ['r1', 'r2', 'r3'], METHODS[n - 1])
      }
      assert.equal(await first.stop(), 0)
      assertUnchanged(untouched, hostState(lab.director, [DEVICE]))
    })
  }

  it('SIGTERM after somebody else removed the clsact qdisc: ends, nothing left', async () => {
    const running = await start()
    lab.director.exec(['tc', 'qdisc', 'del', 'dev', DEVICE, 'clsact'])
    running.program.signal('SIGTERM')
    assert.equal(await running.program.ended(STOP_LIMIT_MS), 0)
    assert.doesNotMatch(running.log, /did not stop cleanly/)
    assertUnchanged(untouched, hostState(lab.director, [DEVICE]))
    assert.deepEqual(readdirSync(folder), [])
  })

  /** A director on one more interface, which a test can spare. */
  async function startWithSpare(): Promise<Director> {
    lab.director.ip('link', 'add', SPARE, 'type', 'veth', 'peer', 'name', `${SPARE}-peer`)
    lab.director.ip('link', 'set', SPARE, 'up')
    const flags = ['--iface', SPARE]
    director = await Director.start(lab.director, { workers: 2, folder, flags })
    return director
  }

  it('SIGTERM right after an interface was deleted: ends, nothing left', async () => {
    const running = await startWithSpare()
    lab.director.ip('link', 'del', SPARE)
    running.program.signal('SIGTERM')
    // 1 if the director has noticed before the signal came.
    assert.ok([0, 1].includes(await running.program.ended(STOP_LIMIT_MS)))
    assert.doesNotMatch(running.log, /did not stop cleanly/)
    assertUnchanged(untouched, hostState(lab.director, [DEVICE]))
    assert.deepEqual(readdirSync(folder), [])
  })

  const LOSSES: Readonly<Record<string, readonly string[][]>> = {
    deleted: [['del', SPARE]],
    'deleted and made again': [
      ['del', SPARE],
      ['add', SPARE, 'type', 'veth', 'peer', 'name', `${SPARE}-peer`],
    ],
  }
  for (const [what, changes] of Object.entries(LOSSES)) {
    it(`an interface is ${what}: one clear error, exit 1, nothing left`, async () => {
      const running = await startWithSpare()
      for (const words of changes) lab.director.ip('link', ...words)
      assert.equal(await running.program.ended(STOP_LIMIT_MS), 1)
      const errors = running.log.split('\n').filter((line) => / error /.test(line))
      assert.equal(errors.length, 1, running.log)
      assert.match(errors[0], /interface spare0 is gone/)
      if (changes.length > 1) lab.director.ip('link', 'del', SPARE)
      assertUnchanged(untouched, hostState(lab.director, [DEVICE]))
      assert.deepEqual(readdirSync(folder), [])
    })
  }

  const REFUSALS: readonly { name: string; flags: string[]; status: number; says: RegExp }[] = [
    { name: 'an unknown flag', flags: ['--nonsense'], status: 2, says: /--nonsense/ },
    { name: 'no interface', flags: [], status: 2, says: /--iface/ },
    {
      name: 'workers 0',
      flags: ['--iface', DEVICE, '--workers', '0'],
      status: 2,
      says: /--workers/,
    },
    { name: 'an unknown io', flags: ['--io', 'dpdk'], status: 2, says: /--io.*af_packet or tun/ },
    { name: 'a missing interface', flags: ['--iface', 'none7'], status: 1, says: /none7/ },
    {
      name: 'a bad local address',
      flags: ['--iface', DEVICE, '--lip', '198.18.0.300'],
      status: 1,
      says: /198\.18\.0\.300/,
    },
    {
      name: 'an unknown setting',
      flags: ['--iface', DEVICE, '--set', 'no_such_thing=1'],
      status: 1,
      says: /no_such_thing/,
    },
    {
      name: 'a missing rules file',
      flags: ['--iface', DEVICE, '--rules', '/nonexistent/rules'],
      status: 1,
      says: /nonexistent\/rules/,
    },
  ]
  for (const { name, flags, status, says } of REFUSALS) {
    it(`${name}: one clear line, exit ${status}, nothing changed`, async () => {
      const socket = ['--socket', join(folder, 'refused.sock')]
      const result = await lab.director.run([UVS, 'run', ...socket, ...flags])
      assert.equal(result.status, status, result.stderr)
      assertOneLine(result.stderr, says)
      assertUnchanged(untouched, hostState(lab.director, [DEVICE]))
      assert.deepEqual(readdirSync(folder), [])
    })
  }

  it('rules with an unknown scheduler: refused as a whole', async () => {
    const rules = join(folder, 'rules')
    const service = endpoint(virtualAddress(4, 1))
    writeFileSync(rules, `-A -t ${service} -s rr\n-A -t 198.18.0.150:80 -s nonsense\n`)
    const flags = ['--iface', DEVICE, '--socket', join(folder, 'refused.sock'), '--rules', rules]
    const result = await lab.director.run([UVS, 'run', ...flags])
    rmSync(rules)
    assert.equal(result.status, 1, result.stderr)
    assertOneLine(result.stderr, /[Ss]cheduler/)
    assertUnchanged(untouched, hostState(lab.director, [DEVICE]))
  })

  const WITHOUT_RIGHTS: Readonly<Record<string, string[]>> = {
    'no capabilities': ['setpriv', '--bounding-set=-all', '--inh-caps=-all'],
    'a user namespace of its own': ['unshare', '--user', '--map-root-user'],
  }
  for (const [name, wrapper] of Object.entries(WITHOUT_RIGHTS)) {
    it(`${name}: says which right is missing, exit 1`, async () => {
      const flags = ['--iface', DEVICE, '--socket', join(folder, 'refused.sock')]
      const result = await lab.director.run([...wrapper, UVS, 'run', ...flags])
      assert.equal(result.status, 1, result.stderr)
      assertOneLine(result.stderr, /CAP_NET_(ADMIN|RAW)|CAP_BPF|CAP_SYS_ADMIN/)
      assertUnchanged(untouched, hostState(lab.director, [DEVICE]))
    })
  }

  it('ipvsadm without a director: one clear line', async () => {
    const env = { ...process.env, UVS_SOCKET: join(folder, 'nobody.sock') }
    const result = await lab.director.run([UVS, 'ipvsadm', '-L', '-n'], { env })
    assert.notEqual(result.status, 0)
    assertOneLine(result.stderr, /nobody\.sock|uvs run/)
  })

  it('refused commands change nothing', async () => {
    const running = await start()
    const table = await running.ipvsadm('-S', '-n')
    const service = endpoint(virtualAddress(4, 1))
    const wrong: [string[], RegExp][] = [
      [['-A', '-t', service, '-s', 'rr'], /Service already exists/],
      [
        ['-A', '-t', '198.18.0.150:80', '-s', 'nonsense'],
        /Scheduler or persistence engine not found/,
      ],
      [['-d', '-t', service, '-r', '198.18.0.77:80'], /No such destination/],
      [['-a', '-t', '198.18.0.150:80', '-r', '198.18.0.11'], /Service not defined/],
      [['-D', '-t', '198.18.0.150:80'], /No such service/],
    ]
    for (const [command, says] of wrong) {
      const { status, stderr } = await running.tryIpvsadm(...command)
      assert.notEqual(status, 0, command.join(' '))
      assertOneLine(stderr, says)
    }
    assert.equal(await running.ipvsadm('-S', '-n'), table)
    assert.equal(await running.stop(), 0)
  })
})

function assertOneLine(text: string, says: RegExp): void {
  assert.match(text, says)
  assert.equal(text.trimEnd().split('\n').length, 1, text)
}
