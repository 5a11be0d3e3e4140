/** `uvs run`: flags, the configuration file, reload, start and stop order. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { controlClient } from '../../src/control/api/client.js'
import { parseLocalRanges } from '../../src/control/config/local-ranges.js'
import { parseNative } from '../../src/control/config/native-format.js'
import { reconcile } from '../../src/control/config/reconcile.js'
import type { DataplaneOptions } from '../../src/control/dataplane-port.js'
import { startIpvsServer } from '../../src/control/ipvs-server/server.js'
import { startParts } from '../../src/control/lifecycle.js'
import { createLog } from '../../src/control/log.js'
import { runDaemon } from '../../src/control/main.js'
import type { Host } from '../../src/control/main.js'
import { emptyConfig } from '../../src/control/model/config.js'
import type { Config } from '../../src/control/model/config.js'
import { ControlError } from '../../src/control/model/errors.js'
import { defaultSysctls } from '../../src/control/model/sysctls.js'
import type { Probe } from '../../src/control/offload/kernel-dataplane.js'
import { mergeSettings, parseRunFlags } from '../../src/control/run-options.js'
import { FakeClock, FakeDataplane } from '../support/fake-dataplane.js'
import { CAPACITY, configOf } from './fixtures.js'

const FILE = `
io: af_packet
interfaces: [fake0, fake1]
workers: 3
lip: 198.18.9.1-198.18.9.2
ftp-ports: [21, 2121]
sysctls: { expire_nodest_conn: 1, sync_threshold: "3 60" }
timeouts: { tcp: 100, udp: 7 }
services:
  - tcp: 198.18.0.1:80
    scheduler: rr
    persistent: 300
    netmask: 255.255.255.0
    local-addresses: [198.18.9.9]
    destinations:
      - { address: 198.18.1.1:8080, method: nat, weight: 3 }
      - { address: 198.18.1.2, method: dr }
      - { address: 198.18.1.3, method: tunnel, tunnel: { type: gue, port: 6080, checksum: csum } }
  - fwmark: 5
    family: ipv6
    scheduler: sh
    flags: [port]
  - udp: "[2001:db8::1]:53"
    one-packet: true
`

function parsed(text: string) {
  const result = parseNative(text, 'uvs.yaml')
  if (!result.ok) throw result.error
  return result.value
}

describe('configuration file', () => {
  it('means what it says', () => {
    const { settings, services } = parsed(FILE)
    assert.deepEqual(settings, {
      io: 'af_packet',
      interfaces: ['fake0', 'fake1'],
      workers: 3,
      lip: '198.18.9.1-198.18.9.2',
      ftpPorts: [21, 2121],
      sysctls: { expire_nodest_conn: '1', sync_threshold: '3 60' },
      timeouts: { tcpSec: 100, tcpFinSec: 0, udpSec: 7 },
    })
    const config = configOf(reconcile(emptyConfig(CAPACITY), [], services))
    const inOrder = [...config.services.values()].sort((a, b) => a.incarnation - b.incarnation)
    const [first, second, third] = inOrder
    assert.equal(first.netmask, 0xffffff00)
    assert.deepEqual(
      first.destinations.map((d) => [d.address.text, d.port, d.method, d.weight, d.tunnel.type]),
      [
        ['198.18.1.3', 80, 'tunnel', 1, 'gue'],
        ['198.18.1.2', 80, 'direct', 1, 'ipip'],
        ['198.18.1.1', 8080, 'masquerade', 3, 'ipip'],
      ],
    )
    assert.deepEqual([second.id.fwmark, second.id.address.family, second.flags], [5, 6, 0x12])
    assert.deepEqual([third.id.protocol, third.flags], ['udp', 0x6])
  })

  it('turns SYNPROXY on', () => {
    const { services } = parsed('services:\n  - tcp: 198.18.0.2:80\n    synproxy: true')
    assert.equal(services[0].options.flags, 0x8000)
  })

  it('gives a service its persistence engine', () => {
    const text = 'services:\n  - udp: 198.18.0.1:5060\n    persistent: 60\n    pe: sip'
    const { services } = parsed(text)
    assert.equal(services[0].options.engine, 'sip')
    const config = configOf(reconcile(emptyConfig(CAPACITY), [], services))
    assert.deepEqual(reconcile(config, services, services), [])
    const without = parsed(text.replace('pe: sip', '')).services
    const edits = reconcile(config, services, without)
    assert.deepEqual(
      edits.map(({ kind }) => kind),
      ['editService'],
    )
    const [edited] = [...configOf(edits, config).services.values()]
    assert.equal(edited.engine, '')
  })

  for (const [text, message] of [
    ['a: 1', 'uvs.yaml:1: a is not known here; known are: io'],
    ['services:\n  - tcp: 198.18.0.1', 'uvs.yaml:2: services[1] needs a port, or persistent'],
    ['services:\n  - tcp: 198.18.0.1:80\n    udp: 198.18.0.1:80', 'exactly one of'],
    [
      'services:\n  - tcp: 198.18.0.1:80\n    scheduler: rr\n    weight: 1',
      'uvs.yaml:4: services[1].weight',
    ],
    ['services:\n  - tcp: x:80', 'uvs.yaml:2: services[1].tcp must be ADDRESS:PORT'],
    ['services:\n  - tcp: 198.18.0.1:80\n    one-packet: true', 'only for udp and fwmark'],
    ['services:\n  - udp: 198.18.0.1:80\n    synproxy: true', 'only for tcp and fwmark'],
    [
      'services:\n  - tcp: 198.18.0.1:80\n    destinations:\n      - weight: 1',
      'uvs.yaml:4: services[1].destinations[1] needs an address',
    ],
    ['services: [{ udp: 198.18.0.1:5060, pe: rtp }]', 'services[1].pe must be one of sip'],
    ['services: [{ fwmark: 5, family: ip6 }]', 'services[1].family must be one of ipv4, ipv6'],
    ['mh-index: 18', 'uvs.yaml:1: mh-index must be an integer from 8 to 17'],
    ['\nio: xdp', 'uvs.yaml:2: io must be one of af_packet, tun'],
    ['\noffload: x', 'uvs.yaml:2: offload must be one of off, kernel, auto'],
    ['\nforeign: adopt', 'uvs.yaml:2: foreign must be one of leave, remove'],
    ['\nlip: x', 'uvs.yaml:2: lip is wrong: "x" is not an address'],
    ['workers: 99', 'uvs.yaml:1: workers must be an integer from 1 to 16'],
    ['io: [', 'uvs.yaml:'],
    ['- 1', 'the file must be a mapping'],
    ['services: 5', 'services must be a list'],
    ['services: [5]', 'services[1] must be a mapping'],
  ]) {
    it(`says where it is wrong: ${JSON.stringify(text)}`, () => {
      const result = parseNative(text, 'uvs.yaml')
      assert.ok(!result.ok)
      assert.ok(result.error.message.includes(message), result.error.message)
      assert.equal(result.error.message.split('\n').length, 1)
    })
  }

  it('an empty file is fine', () => {
    assert.deepEqual(parsed('# nothing\n'), { settings: { sysctls: {} }, services: [], marks: [] })
  })
})

describe('reconcile', () => {
  const services = parsed(FILE).services
  const config = configOf(reconcile(emptyConfig(CAPACITY), [], services))

  it('does nothing when nothing differs', () => {
    assert.deepEqual(reconcile(config, services, services), [])
  })

  it('removes what left the file and leaves alone what was added by hand', () => {
    const byHand = parsed(
      'services: [{ tcp: "198.18.0.7:80" }, ' +
        '{ tcp: "198.18.0.1:80", destinations: [{ address: 198.18.1.7 }] }]',
    ).services
    const mixed = configOf(
      [
        ...reconcile(config, [], byHand.slice(0, 1)),
        {
          kind: 'addDestination',
          service: byHand[1].id,
          destination: byHand[1].destinations[0].id,
          options: byHand[1].destinations[0].options,
        },
      ],
      config,
    )
    const after = parsed('services: [{ tcp: "198.18.0.1:80", scheduler: rr }]').services
    const kinds = reconcile(mixed, services, after).map((c) => c.kind)
    assert.deepEqual(kinds, [
      'deleteService',
      'deleteService',
      'editService',
      'deleteLocalAddress',
      'deleteDestination',
      'deleteDestination',
      'deleteDestination',
    ])
    const result = configOf(reconcile(mixed, services, after), mixed)
    assert.deepEqual([...result.services.keys()].sort(), ['tcp 198.18.0.1:80', 'tcp 198.18.0.7:80'])
    assert.equal(result.services.get('tcp 198.18.0.1:80')?.destinations.length, 1)
  })

  it('changes flags and methods that exclude each other together', () => {
    const services = (flags: string, method: string) =>
      parsed(`services:
  - { fwmark: 5, ${flags}, destinations: [{ address: 198.18.1.1:80, method: ${method} }] }`)
        .services
    const sets = [
      services('one-packet: false', 'fullnat'),
      services('one-packet: true', 'direct'),
      services('synproxy: true', 'nat'),
    ]
    for (const [from, to] of [...sets, ...sets.toReversed()].map((set, i, all) => [
      set,
      all[(i + 1) % all.length],
    ])) {
      const old = configOf(reconcile(emptyConfig(CAPACITY), [], from))
      assert.deepEqual(reconcile(configOf(reconcile(old, from, to), old), to, to), [])
    }
  })
})

describe('flags', () => {
  const parse = (...argv: string[]) => parseRunFlags(argv, '/s')

  it('override the file', () => {
    const flags = parse('--iface', 'a,b', '--iface', 'c', '--workers', '2', '--announce', 'off')
    const settings = mergeSettings(flags, parsed(FILE).settings, 8)
    assert.deepEqual(settings.interfaces, ['a', 'b', 'c'])
    assert.deepEqual([settings.workers, settings.announce, settings.io], [2, false, 'af_packet'])
    assert.equal(settings.localAddresses.length, 2)
    assert.equal(mergeSettings(parse('--io', 'tun'), { sysctls: {} }, 1).workers, 1)
    const file = parsed('mh-index: 14').settings
    assert.equal(mergeSettings(parse(), { sysctls: {} }, 1).maglevIndex, 12)
    assert.equal(mergeSettings(parse(), file, 1).maglevIndex, 14)
    assert.equal(mergeSettings(parse('--mh-index', '16'), file, 1).maglevIndex, 16)
  })

  for (const argv of [
    ['--nope'],
    ['extra'],
    ['--workers', '0'],
    ['--workers', '17'],
    ['--workers', 'x'],
    ['--mh-index', '7'],
    ['--mh-index', '18'],
    ['--io', 'xdp'],
    ['--set', 'novalue'],
    ['--http', '8080'],
    ['--announce', 'maybe'],
    ['--log-format', 'xml'],
    ['--config'],
  ]) {
    it(`${argv.join(' ')} is wrong usage`, () => {
      assert.throws(
        () => parse(...argv),
        (error: Error) => error.message.split('\n').length === 1,
      )
    })
  }

  it('--ftp-ports takes at most eight ports; none turns the helper off', () => {
    const portsOf = (...argv: string[]) =>
      mergeSettings(parse(...argv), { sysctls: {} }, 1).ftpPorts
    assert.deepEqual(portsOf(), [21])
    assert.deepEqual(portsOf('--ftp-ports', '21,2121'), [21, 2121])
    assert.deepEqual(portsOf('--ftp-ports', ''), [])
    for (const bad of ['0', '65536', 'x', '21,', '1,2,3,4,5,6,7,8,9']) {
      assert.throws(() => portsOf('--ftp-ports', bad), /--ftp-ports takes at most 8 ports/)
    }
  })

  it('--lip takes addresses and ranges', () => {
    const range = parseLocalRanges('198.18.9.1-198.18.9.3, 2001:db8::1')
    assert.ok(range.ok && range.value.length === 4)
    for (const bad of ['', 'x', '198.18.9.3-198.18.9.1', '198.18.0.0-198.19.0.0', 'a-b-c']) {
      assert.equal(parseLocalRanges(bad).ok, false, bad)
    }
  })
})

describe('start and stop order', () => {
  it('stops in reverse, also after a failed start', async () => {
    const events: string[] = []
    const part = (name: string, fails = false) => ({
      name,
      start: () => {
        events.push(`+${name}`)
        if (fails) return Promise.reject(new Error('no'))
        return Promise.resolve(() => Promise.resolve(void events.push(`-${name}`)))
      },
    })
    const stop = await startParts([part('a'), part('b')], () => undefined)
    await stop()
    assert.deepEqual(events.splice(0), ['+a', '+b', '-b', '-a'])
    await assert.rejects(startParts([part('a'), part('b', true), part('c')], () => undefined))
    assert.deepEqual(events, ['+a', '+b', '-a'])
  })
})

describe('log', () => {
  it('is one line per event in both forms', () => {
    const lines: string[] = []
    createLog(
      'json',
      (l) => lines.push(l),
      () => 0,
    ).warn('two\nlines', { n: 1 })
    createLog(
      'text',
      (l) => lines.push(l),
      () => 0,
    ).info('two\nlines', { n: 1 })
    assert.deepEqual(JSON.parse(lines[0]), {
      time: '1970-01-01T00:00:00.000Z',
      level: 'warn',
      message: 'two\nlines',
      n: 1,
    })
    assert.equal(lines[1], '1970-01-01T00:00:00.000Z info  two lines n=1')
  })
})

interface World extends Host {
  readonly port: FakeDataplane
  readonly started: DataplaneOptions[]
  stderr: string
  kernel: Probe
  reload(): void
  stop(): void
  readonly ready: Promise<void>
}

function world(socket: string): World {
  const port = new FakeDataplane()
  const started: DataplaneOptions[] = []
  const nothing = (): void => undefined
  let stop = nothing
  let reload = nothing
  let ready = nothing
  const self: World = {
    port,
    started,
    stderr: '',
    kernel: { ok: false, problem: new ControlError('IPVS_ABSENT', 'no IPVS') },
    capacity: CAPACITY,
    sysctlDefaults: defaultSysctls(4711),
    clock: new FakeClock(),
    defaultSocket: socket,
    version: '0.0.0',
    stderrIsTerminal: false,
    probeKernel: () => self.kernel,
    startDataplane: (options) => {
      started.push(options)
      return Promise.resolve(port)
    },
    startIpvsServer,
    err: (text) => (self.stderr += text),
    notify: (state) => {
      if (state === 'READY=1') ready()
    },
    untilStopped: (onReload) => {
      reload = onReload
      return new Promise((resolve) => {
        stop = () => resolve('SIGTERM')
      })
    },
    reload: () => reload(),
    stop: () => stop(),
    ready: new Promise((resolve) => {
      ready = resolve
    }),
  }
  return self
}

describe('uvs run', () => {
  let directory: string
  const path = (name: string) => join(directory, name)
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'uvs-test-'))
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  it('starts with file, rules and flags; reloads; stops in order', async () => {
    writeFileSync(path('uvs.yaml'), FILE)
    writeFileSync(
      path('rules'),
      '# saved\n-A -t 198.18.0.5:80 -s rr\n-a -t 198.18.0.5:80 -r 198.18.1.5:80 -m -w 1\n',
    )
    const host = world(path('s'))
    const argv = ['--config', path('uvs.yaml'), '--rules', path('rules'), '--set', 'drop_entry=3']
    const done = runDaemon(argv, host)
    await host.ready
    const { config, interfaces, workers } = host.started[0]
    assert.deepEqual([interfaces, workers], [['fake0', 'fake1'], 3])
    assert.equal(config.sysctls.drop_entry, 3)
    assert.equal(config.sysctls.expire_nodest_conn, 1)
    assert.deepEqual(config.timeouts, { tcpSec: 100, tcpFinSec: 120, udpSec: 7 })
    assert.equal(config.defaultLocalAddresses.length, 2)
    assert.ok(host.stderr.split('\n').includes('uvs ready'))
    const client = controlClient(path('s'))
    assert.equal((await client.services()).length, 4)

    const published = host.port.published.length
    writeFileSync(path('uvs.yaml'), 'services: [')
    host.reload()
    assert.match(host.stderr, /reload refused, nothing changed: .*uvs\.yaml:1/)
    assert.equal(host.port.published.length, published)

    writeFileSync(path('uvs.yaml'), 'interfaces: [fake0]\nservices: [{ udp: "198.18.0.1:53" }]')
    host.reload()
    const keys = async () => (await client.services()).map((s) => `${s.protocol} ${s.address}`)
    assert.deepEqual((await keys()).sort(), ['tcp 198.18.0.5', 'udp 198.18.0.1'])

    host.stop()
    assert.equal(await done, 0)
    assert.equal(host.port.stopped, true)
    await assert.rejects(client.services())
  })

  it('takes settings by their whole names, of the file and of the command line', async () => {
    const text = 'sysctls: { net.ipv4.vs.drop_entry: 3, net/ipv4/vs/sloppy_tcp: 1 }\n'
    writeFileSync(path('uvs.yaml'), text)
    const host = world(path('s'))
    const set = ['--set', 'net.ipv4.vs.am_droprate=5', '--set', 'net.ipv4.vs.drop_entry=1']
    const done = runDaemon(['--io', 'tun', '--config', path('uvs.yaml'), ...set], host)
    await host.ready
    const { sysctls } = host.started[0].config
    assert.deepEqual([sysctls.drop_entry, sysctls.sloppy_tcp, sysctls.am_droprate], [1, 1, 5])
    assert.equal(sysctls.sync_qlen_max, 4711)
    host.stop()
    assert.equal(await done, 0)
  })

  for (const [what, check] of [
    ['the data plane would refuse', () => undefined],
    [
      'the data plane refuses when asked',
      (config: Config) => {
        const all = [...config.services.values()].flatMap(({ destinations }) => destinations)
        if (all.some(({ address }) => address.text === '198.18.1.7')) throw new Error('no memory')
      },
    ],
  ] as const) {
    it(`a reload that ${what} changes nothing`, async () => {
      const file = FILE.replace('method: dr', 'method: nat')
      writeFileSync(path('uvs.yaml'), file)
      const host = world(path('s'))
      const done = runDaemon(['--config', path('uvs.yaml'), '--io', 'tun'], host)
      await host.ready
      const client = controlClient(path('s'))
      const state = async () => ({ services: await client.services(), info: await client.info() })
      const before = await state()

      const asked = file
        .replace('timeouts: { tcp: 100', 'timeouts: { tcp: 50')
        .replace(
          'address: 198.18.1.1:8080, method: nat, weight: 3',
          'address: 198.18.1.7, method: nat',
        )
      // One destination of many is at fault; timeouts and the others would be fine.
      const bad = asked.replace('198.18.1.2, method: nat', '198.18.1.2, method: dr')
      const text = what.includes('would') ? bad : asked
      writeFileSync(path('uvs.yaml'), text)
      host.port.check = check
      host.reload()
      assert.deepEqual(await state(), before)
      assert.equal(host.port.published.length, 0)
      assert.match(host.stderr, /reload refused, nothing changed: .*(direct routing|no memory)/)

      host.port.check = () => undefined
      writeFileSync(path('uvs.yaml'), asked)
      host.reload()
      assert.equal((await state()).info.timeouts.tcpSec, 50)
      assert.equal(host.port.published.length, 1)
      host.stop()
      assert.equal(await done, 0)
    })
  }

  it('rules that are not forwarded end the start before the data plane is touched', async () => {
    writeFileSync(path('rules'), '-A -t 198.18.0.5:80\n-a -t 198.18.0.5:80 -r 198.18.1.5:80 -g\n')
    const host = world(path('s'))
    assert.equal(await runDaemon(['--io', 'tun', '--rules', path('rules')], host), 1)
    assert.match(host.stderr, /^uvs: direct routing to 198\.18\.1\.5 needs a link layer/)
    assert.equal(host.started.length, 0)
  })

  it('refuses a socket that is taken, before the data plane is touched', async () => {
    const first = world(path('s'))
    const done = runDaemon(['--io', 'tun'], first)
    await first.ready
    const second = world(path('s'))
    assert.equal(await runDaemon(['--io', 'tun'], second), 1)
    assert.equal(second.started.length, 0)
    assert.match(second.stderr, /^uvs: another uvs already answers on .*\n$/)
    first.stop()
    assert.equal(await done, 0)
  })

  for (const [what, argv, status, text] of [
    ['wrong usage', ['--nope'], 2, /^uvs: Unknown option '--nope'/],
    ['no interface', [], 2, /--iface/],
    ['unknown sysctl', ['--io', 'tun', '--set', 'x=1'], 1, /unknown setting "x"/],
    ['missing file', ['--config', '/nonexistent'], 1, /cannot read \/nonexistent/],
    ['bad lip', ['--io', 'tun', '--lip', 'x'], 1, /"x" is not an address/],
  ] as const) {
    it(`${what}: one line, exit ${status}`, async () => {
      const host = world(path('s'))
      assert.equal(await runDaemon(argv, host), status)
      assert.match(host.stderr, text)
      assert.equal(host.stderr.split('\n').length, 2)
      assert.equal(host.started.length, 0)
    })
  }

  it('bad rules name the line', async () => {
    writeFileSync(path('rules'), '-A -t 198.18.0.5:80\n-A -t 198.18.0.6:80 -w 1\n')
    const host = world(path('s'))
    assert.equal(await runDaemon(['--io', 'tun', '--rules', path('rules')], host), 1)
    assert.match(host.stderr, /rules:2: Illegal 'weight' option/)
  })

  it('a data plane that cannot start leaves nothing behind', async () => {
    const host: Host = {
      ...world(path('s')),
      startDataplane: () => Promise.reject(new Error('needs CAP_NET_ADMIN')),
    }
    let stderr = ''
    const status = await runDaemon(['--io', 'tun'], { ...host, err: (text) => (stderr += text) })
    assert.deepEqual([status, stderr], [1, 'uvs: needs CAP_NET_ADMIN\n'])
  })
})
