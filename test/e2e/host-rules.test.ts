/**
 * Rules and settings in a real kernel, without a director: which packets go into the TUN device,
 * and that everything is as before at the end, also after a kill.
 *
 *   eth0 198.18.0.254/24 on "director" --- eth0 198.18.0.1/24 on "router"
 *        2001:db8::fe/64                        2001:db8::1/64      default route
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RunIp } from '../../src/control/host/command.js'
import { cleanRules, livingDevice } from '../../src/control/host/leftovers.js'
import { ROUTED_LOCAL_PORTS } from '../../src/control/host/quiet.js'
import {
  batchText,
  FAMILIES,
  NO_RULES,
  wantedRules,
  type WantedRules,
} from '../../src/control/host/tun-rules.js'
import type { Config } from '../../src/control/model/config.js'
import { addDestination, addService, configOf, ip, serviceId } from '../control/fixtures.js'
import { requireNamespaces, TestNetwork, type Host } from '../support/namespace.js'
import { hostState } from './support/host-state.js'

const OWN = new Set(['198.18.0.254', '2001:db8::fe', '127.0.0.1', '::1'])

function services(four: string, six: string): Config {
  const [one, two] = [serviceId(four, 80), serviceId(six, 80)]
  const three = serviceId(four, 443)
  return configOf([
    ...[addService(one), addService(two), addService(three)],
    addDestination(one, '198.18.0.21', {}, 8080),
    addDestination(two, '2001:db8::21', {}, 8080),
    addDestination(three, '198.18.0.22', { method: 'fullnat' }, 443),
    { kind: 'addLocalAddress', service: three, address: ip('198.18.9.240') },
  ])
}

describe('routing rules in the kernel', () => {
  let net: TestNetwork
  let director: Host
  let run: RunIp
  let untouched: ReturnType<typeof hostState>
  let rules: WantedRules = NO_RULES

  before(function () {
    requireNamespaces(this)
    net = new TestNetwork()
    director = net.host('director')
    const router = net.host('router')
    net.cable(
      { host: director, device: 'eth0', addresses: ['198.18.0.254/24', '2001:db8::fe/64'] },
      { host: router, device: 'eth0', addresses: ['198.18.0.1/24', '2001:db8::1/64'] },
    )
    director.ip('link', 'set', 'lo', 'up')
    director.route('default via 198.18.0.1')
    director.route('default via 2001:db8::1')
    for (const name of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding']) {
      director.sysctl(name, 1)
    }
    run = (args, input) => director.expect(['ip', ...args], input === undefined ? {} : { input })
    untouched = hostState(director, ['eth0'])
    director.ip('tuntap', 'add', 'mode', 'tun', 'uvs0')
    director.ip('link', 'set', 'uvs0', 'up')
  })

  after(() => net?.close())

  async function change(config: Config | undefined): Promise<void> {
    const options = {
      io: 'tun' as const,
      tunName: 'uvs0',
      own: OWN,
      heldAddresses: [],
      localPorts: ROUTED_LOCAL_PORTS,
      ftpDataFirst: 1024,
      tunnels: ['inner0'],
    }
    const wanted = config === undefined ? NO_RULES : wantedRules(config, options)
    for (const family of FAMILIES) {
      const text = batchText(rules[family], wanted[family], 'uvs0')
      if (text !== '') await run([`-${family}`, '-batch', '-'], text)
    }
    rules = wanted
  }

  /** The device by which a packet leaves that came in by `iif`; `local`: it is the host's. */
  async function way(from: string, to: string, ports: string, iif = 'eth0'): Promise<string> {
    const words = `route get ${to} from ${from} iif ${iif} ipproto tcp ${ports}`
    const text = await director.expect(['ip', ...words.split(' ')])
    return text.startsWith('local ') ? 'local' : (/ dev (\S+)/.exec(text)?.[1] ?? text)
  }

  const CLIENTS = { 4: '198.18.2.1', 6: '2001:db8:0:2::1' } as const

  it('take requests and replies, and nothing else', async () => {
    await change(services('198.18.9.1', '2001:db8:9::1'))
    assert.equal(await way(CLIENTS[4], '198.18.9.1', 'sport 1 dport 80'), 'uvs0')
    assert.equal(await way(CLIENTS[6], '2001:db8:9::1', 'sport 1 dport 80'), 'uvs0')
    assert.equal(await way(CLIENTS[4], '198.18.9.1', 'sport 1 dport 81'), 'eth0')
    assert.equal(await way('198.18.0.21', CLIENTS[4], 'sport 8080 dport 9'), 'uvs0')
    assert.equal(await way('2001:db8::21', CLIENTS[6], 'sport 8080 dport 9'), 'uvs0')
    assert.equal(await way('198.18.0.21', CLIENTS[4], 'sport 22 dport 9'), 'eth0')
    assert.equal(await way('198.18.0.21', '198.18.0.254', 'sport 8080 dport 9'), 'local')
    assert.equal(await way('198.18.0.22', '198.18.9.240', 'sport 443 dport 5000'), 'uvs0')
    assert.equal(await way('198.18.0.22', '198.18.9.240', 'sport 443 dport 4999'), 'eth0')
  })

  it('with ignore_tunneled leave what the host took out of a tunnel to the host', async () => {
    director.ip('tuntap', 'add', 'mode', 'tun', 'inner0')
    director.ip('link', 'set', 'inner0', 'up')
    const config = services('198.18.9.1', '2001:db8:9::1')
    const ignoring = { ...config, sysctls: { ...config.sysctls, ignore_tunneled: 1 } }
    for (const [now, expected] of [
      [config, 'uvs0'],
      [ignoring, 'eth0'],
      [config, 'uvs0'],
    ] as const) {
      await change(now)
      const ports = 'sport 1 dport 80'
      assert.equal(await way(CLIENTS[4], '198.18.9.1', ports, 'inner0'), expected)
      assert.equal(await way(CLIENTS[6], '2001:db8:9::1', ports, 'inner0'), expected)
      assert.equal(await way(CLIENTS[4], '198.18.9.1', ports), 'uvs0')
    }
    director.ip('link', 'del', 'inner0')
  })

  it('leave what comes out of the TUN device alone', async () => {
    director.sysctl('net.ipv4.conf.uvs0.accept_local', 1)
    assert.equal(await way('198.18.9.1', CLIENTS[4], 'sport 80 dport 9', 'uvs0'), 'eth0')
    assert.equal(await way(CLIENTS[4], '198.18.9.1', 'sport 9 dport 80', 'uvs0'), 'eth0')
    assert.equal(await way(CLIENTS[4], '198.18.0.254', 'sport 9 dport 80', 'uvs0'), 'local')
  })

  it("take requests for the host's own address, and no other of its traffic", async () => {
    await change(services('198.18.0.254', '2001:db8::fe'))
    assert.equal(await way(CLIENTS[4], '198.18.0.254', 'sport 1 dport 80'), 'uvs0')
    assert.equal(await way(CLIENTS[6], '2001:db8::fe', 'sport 1 dport 80'), 'uvs0')
    assert.equal(await way(CLIENTS[4], '198.18.0.254', 'sport 1 dport 22'), 'local')
    assert.equal(await way(CLIENTS[6], '2001:db8::fe', 'sport 1 dport 22'), 'local')
    assert.equal(await way('198.18.0.21', '198.18.0.254', 'sport 8080 dport 9'), 'local')
    assert.equal(await way('198.18.0.254', CLIENTS[4], 'sport 80 dport 9', 'uvs0'), 'eth0')
    assert.equal(await way(CLIENTS[4], '198.18.0.254', 'sport 1 dport 80', 'uvs0'), 'local')
  })

  it('tell that a director lives, by its route', async () => {
    assert.equal(await livingDevice(run), 'uvs0')
  })

  it('go without a trace', async () => {
    await change(undefined)
    director.ip('link', 'del', 'uvs0')
    assert.equal(await livingDevice(run), undefined)
    assert.deepEqual(hostState(director, ['eth0']), untouched)
  })

  it('of a killed director go at the next start', async () => {
    for (const config of [
      services('198.18.9.1', '2001:db8:9::1'),
      services('198.18.0.254', '2001:db8::fe'),
    ]) {
      director.ip('tuntap', 'add', 'mode', 'tun', 'uvs0')
      director.ip('link', 'set', 'uvs0', 'up')
      await change(config)
      director.ip('link', 'del', 'uvs0')
      for (const family of FAMILIES) await cleanRules(family, run)
      rules = NO_RULES
      assert.deepEqual(hostState(director, ['eth0']), untouched)
    }
  })

  it('settings come back, also by another process after a kill', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'uvs-test-'))
    const module = new URL('../../src/control/host/settings.js', import.meta.url).href
    const file = JSON.stringify(join(folder, 'settings.json'))
    const script = (body: string): string[] => {
      const text = `import { SavedSettings, enableForwarding } from '${module}'
        const settings = await SavedSettings.open(${file})
        ${body}`
      return ['node', '--input-type=module', '-e', text]
    }
    const names = ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding']
    for (const name of names) director.sysctl(name, 0)
    const before = hostState(director, ['eth0'])
    const killed = 'for (const f of [4, 6]) await enableForwarding(f, settings)'
    await director.run(script(`${killed}; process.kill(process.pid, 'SIGKILL')`))
    assert.deepEqual(
      names.map((name) => director.exec(['sysctl', '-n', name]).trim()),
      ['1', '1'],
    )
    assert.match(readFileSync(join(folder, 'settings.json'), 'utf8'), /ip_forward/)
    await director.expect(script('await settings.restore()'))
    assert.deepEqual(hostState(director, ['eth0']), before)
    assert.deepEqual(readdirSync(folder), [])
    rmSync(folder, { recursive: true })
  })
})
