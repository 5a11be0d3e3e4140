/** The screens of `uvs status` and `uvs conns`, `uvs sysctl` and `uvs mark`. */
import assert from 'node:assert/strict'
import { runUvs } from '../../src/control/cli/uvs.js'
import { SYSCTL_NAMES } from '../../src/control/model/sysctls.js'
import { NUMERIC, startRig } from './daemon-rig.js'
import type { DaemonRig } from './daemon-rig.js'

describe('uvs screens', () => {
  let rig: DaemonRig
  beforeEach(async () => {
    rig = await startRig()
  })
  afterEach(() => rig.close())

  async function tryRun(words: string, input = '') {
    let [stdout, stderr] = ['', '']
    const status = await runUvs(words.split(' '), () => ({
      program: 'ipvsadm',
      client: rig.client,
      resolver: NUMERIC,
      out: (text) => (stdout += text),
      err: (text) => (stderr += text),
      readInput: () => Promise.resolve(input),
    }))
    return { status, stdout, stderr }
  }

  async function run(words: string, input = ''): Promise<string> {
    const { status, stdout, stderr } = await tryRun(words, input)
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' })
    return stdout
  }

  it('status: ports, workers, services, drops', async () => {
    await rig.ipvsadm('-A -t 198.18.0.1:80 -s rr')
    await rig.ipvsadm('-A -f 7 -6 -s lc')
    await rig.ipvsadm('-a -t 198.18.0.1:80 -r 198.18.1.1 -m')
    rig.port.loadBySlot.set(0, { active: 4, inactive: 5, persistent: 0 })
    rig.port.drops.set('table_full', 9n)
    rig.port.drops.set('tx_full', 0n)
    const text = await run('status')
    assert.match(text, /^uvs 0\.0\.0, pid \d+, up 0 s, fake on fake0\n2 services, 1 destinations/)
    assert.match(text, /4 active and 5 inactive connections\n/)
    assert.match(text, /\n {2}0 {3}running {2}1 {14}3 ms {7}0\n/)
    assert.match(text, /\n {2}tcp 198\.18\.0\.1:80 {2}rr {9}1 {13}4 {7}5 {9}0\n/)
    assert.match(text, /\n {2}fwmark 7 ipv6 /)
    assert.match(text, /\n {2}table_full {2}9 {8}connection table full\n$/)
    const json = JSON.parse(await run('status --json')) as Record<string, unknown>
    assert.deepEqual(json.drops, { table_full: '9' })
    assert.deepEqual(json.reasons, { table_full: 'connection table full' })
    assert.equal((json.serviceList as unknown[]).length, 2)
  })

  it('conns: one line per row, filters, JSON lines', async () => {
    const end = (address: string, port: number) => ({ address, port })
    const row = {
      protocol: 'tcp',
      state: 'ESTABLISHED',
      expiresSec: 899,
      client: end('2001:db8::5', 1000),
      virtual: end('2001:db8::1', 80),
      destination: end('198.18.1.1', 80),
      method: 'fullnat',
      flags: 0,
    } as const
    rig.port.rows = [
      { ...row, local: end('198.18.9.1', 5000) },
      { ...row, protocol: 'udp' },
    ]
    const lines = (await run('conns')).split('\n')
    assert.equal(lines.length, 4)
    assert.match(lines[1], /^tcp +ESTABLISHED +899s +\[2001:db8::5\]:1000 .* 198\.18\.9\.1:5000 /)
    assert.match(lines[2], / - +198\.18\.1\.1:80 +fullnat$/)
    assert.equal((await run('conns --protocol udp')).split('\n').length, 3)
    assert.equal((await run('conns --client [2001:db8::5]:1001')).split('\n').length, 2)
    const json = (await run('conns --json --state established')).trim().split('\n')
    assert.deepEqual(
      json.map((line) => (JSON.parse(line) as { protocol: string }).protocol),
      ['tcp', 'udp'],
    )
  })

  describe('sysctl', () => {
    interface Ran {
      readonly status: number
      readonly stdout: string
      readonly stderr: string
    }

    async function sysctl(...words: string[]): Promise<Ran> {
      const said = { stdout: '', stderr: '' }
      const status = await runUvs(['sysctl', ...words], () => ({
        program: 'ipvsadm',
        client: rig.client,
        resolver: NUMERIC,
        out: (text) => (said.stdout += text),
        err: (text) => (said.stderr += text),
        readInput: () => Promise.resolve(''),
      }))
      return { status, ...said }
    }

    it('shows every setting, or those named', async () => {
      const { status, stdout } = await sysctl()
      assert.equal(status, 0)
      const lines = stdout.trim().split('\n')
      assert.deepEqual(
        lines.map((line) => line.split(' =')[0]),
        [...SYSCTL_NAMES].sort(),
      )
      assert.ok(lines.includes('sync_threshold = 3 50'))
      const two = await sysctl('net.ipv4.vs.amemthresh', 'secure_tcp', 'amemthresh')
      assert.deepEqual(two, {
        status: 0,
        stdout: 'amemthresh = 1024\nsecure_tcp = 0\n',
        stderr: '',
      })
    })

    it('sets while the director runs, as the kernel would take it', async () => {
      const set = await sysctl('sloppy_sctp=1', 'sync_threshold=4 60', 'net/ipv4/vs/est_nice=-5')
      const stdout = 'sloppy_sctp = 1\nsync_threshold = 4 60\nest_nice = -5\n'
      assert.deepEqual(set, { status: 0, stdout, stderr: '' })
      const { sysctls } = rig.director.config
      assert.equal(sysctls.sloppy_sctp, 1)
      assert.deepEqual(sysctls.sync_threshold, [4, 60])
      const { stdout: json } = await sysctl('--json', 'sloppy_sctp', 'sync_threshold')
      assert.deepEqual(JSON.parse(json), { sloppy_sctp: 1, sync_threshold: [4, 60] })
    })

    it('sets what it can, and says what it cannot', async () => {
      const mixed = await sysctl('secure_tcp=4', 'sloppy_tcp=1', 'nonsense', 'other=1')
      assert.equal(mixed.status, 1)
      assert.equal(mixed.stdout, 'sloppy_tcp = 1\n')
      const lines = mixed.stderr.trim().split('\n')
      assert.equal(lines.length, 3)
      assert.match(lines[0], /^uvs: secure_tcp takes an integer from 0 to 3, not "4"$/)
      assert.match(lines[1], /^uvs: unknown setting "other"; known are: am_droprate, /)
      assert.match(lines[2], /^uvs: unknown setting "nonsense"; known are: am_droprate, /)
      assert.equal(rig.director.config.sysctls.secure_tcp, 0)
      assert.equal((await sysctl('--bad')).status, 2)
    })
  })

  it('mark: add, list, del by rule and by number, save and restore', async () => {
    await run('mark add -p tcp -d 198.18.0.200 --dport 21 -j MARK --set-mark 21')
    await run('mark add -6 -j RETURN')
    const text = '-A PREROUTING -4 -d 198.18.0.200/32 -p tcp -m tcp --dport 21 -j MARK'
    const listed = await run('mark list')
    assert.equal(
      listed,
      `   1  ${text} --set-xmark 0x15/0xffffffff\n   2  -A PREROUTING -6 -j RETURN\n`,
    )
    const json = JSON.parse(await run('mark list --json')) as unknown[]
    assert.deepEqual(json[1], {
      number: 2,
      family: 6,
      chain: 'PREROUTING',
      rule: '-A PREROUTING -6 -j RETURN',
    })
    const saved = await run('mark save')
    await run('mark del 1')
    await run('mark del -6 -j RETURN')
    assert.equal(await run('mark list'), '')
    await run('mark restore', saved)
    assert.equal(await run('mark list'), listed)
    await run('mark restore -6', '*mangle\nCOMMIT\n')
    assert.equal((await run('mark list')).split('\n').length, 2)
    await run('mark del --all')
    assert.equal(await run('mark list'), '')
  })

  it('mark: refusals change nothing and say what to do', async () => {
    await run('mark add --set-mark 1')
    const bad = '*mangle\n-A PREROUTING -j MARK --set-mark 2\n-A PREROUTING -j DROP\nCOMMIT\n'
    const { status, stderr } = await tryRun('mark restore', bad)
    assert.deepEqual(
      [status, stderr],
      [
        1,
        'uvs: nothing was restored: line 3: -j DROP is not supported: mark rules set marks ' +
          'and do nothing else\n',
      ],
    )
    assert.match(await run('mark list'), /0x1\/0xffffffff\n$/)
    for (const [words, code] of [
      ['mark', 2],
      ['mark flush', 2],
      ['mark add -p tcp', 2],
      ['mark add --set-mark x', 2],
      ['mark list 1', 2],
      ['mark list --socket', 2],
      ['mark restore -5', 2],
      ['mark del 0', 1],
      ['mark del 2', 1],
      ['mark del --set-mark 7', 1],
    ] as const) {
      const refused = await tryRun(words)
      assert.equal(refused.status, code, words)
      assert.match(refused.stderr, /^uvs: /, words)
    }
  })
})
