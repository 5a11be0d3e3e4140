/** The synchronisation daemon as configuration: defaults, limits and refusals of spec 8.1, 8.2. */
import assert from 'node:assert/strict'
import { parseAddress } from '../../src/control/model/address.js'
import { apply } from '../../src/control/model/apply.js'
import type { Command } from '../../src/control/model/commands.js'
import { emptyConfig } from '../../src/control/model/config.js'
import type { Config } from '../../src/control/model/config.js'
import { PLAIN_TUNNEL } from '../../src/control/model/destination.js'
import type { DaemonOptions } from '../../src/control/model/sync-daemon.js'

const EMPTY = emptyConfig({ services: 4, destinations: 4, localAddresses: 4 })
const PLAIN: DaemonOptions = {
  role: 'master',
  interface: 'eth0',
  syncId: 0,
  maxLength: 0,
  group: undefined,
  port: 0,
  ttl: 0,
}

const start = (options: Partial<DaemonOptions>, mtu: number | undefined = 1500) =>
  ({ kind: 'startDaemon', daemon: { ...PLAIN, ...options }, mtu }) as const

function after(config: Config, command: Command): Config {
  const result = apply(config, command)
  assert.ok(result.ok, result.ok ? '' : result.error.message)
  return result.value
}

function refusal(config: Config, command: Command): string {
  const result = apply(config, command)
  assert.ok(!result.ok)
  return result.error.code
}

describe('synchronisation daemon (spec 8.1, 8.2)', () => {
  it('has the defaults of the kernel', () => {
    const { daemons } = after(EMPTY, start({}))
    const group = parseAddress('224.0.0.81')
    assert.deepEqual(daemons, [{ ...PLAIN, group, maxLength: 1472, port: 8848, ttl: 1 }])
  })

  const group6 = parseAddress('ff05::1')
  for (const [options, mtu, wanted] of [
    [{ role: 'master' }, 9000, 1472],
    [{ role: 'master', group: group6 }, 1500, 1452],
    [{ role: 'backup' }, 9000, 8972],
    [{ role: 'backup' }, 1000, 1472],
    [{ role: 'backup' }, 65536, 65507],
    [{ role: 'backup', group: group6 }, 65536, 65487],
    [{ role: 'master', maxLength: 1 }, 1500, 1],
    [{ role: 'backup', maxLength: 1 }, 1500, 1024],
    [{ role: 'master', maxLength: 65535 }, 1500, 65507],
  ] as const) {
    it(`sends ${wanted} bytes at most: ${JSON.stringify(options)}, MTU ${mtu}`, () => {
      assert.equal(after(EMPTY, start(options, mtu)).daemons[0].maxLength, wanted)
    })
  }

  it('lists the master first and runs one of each', () => {
    const both = after(after(EMPTY, start({ role: 'backup' })), start({ role: 'master' }))
    assert.deepEqual(
      both.daemons.map(({ role }) => role),
      ['master', 'backup'],
    )
    assert.equal(refusal(both, start({ role: 'backup' })), 'DAEMON_RUNNING')
    const one = after(both, { kind: 'stopDaemon', role: 'master' })
    assert.equal(refusal(one, { kind: 'stopDaemon', role: 'master' }), 'DAEMON_NOT_RUNNING')
  })

  it("refuses in the kernel's order: group, families, interface, running", () => {
    const unicast = { group: parseAddress('198.18.0.1') }
    const running = after(EMPTY, start({}))
    const none = { kind: 'startDaemon', daemon: { ...PLAIN, ...unicast } } as const
    assert.equal(refusal(running, none), 'GROUP_NOT_MULTICAST')
    assert.equal(refusal(running, { ...none, daemon: PLAIN }), 'INTERFACE_UNKNOWN')
    assert.equal(refusal(mixed(EMPTY), { ...none, daemon: PLAIN }), 'DAEMON_MIXED_FAMILIES')
  })

  it('keeps mixed families out while it runs', () => {
    const result = apply(after(withService(EMPTY), start({})), addMixed)
    assert.ok(!result.ok && result.error.code === 'DAEMON_MIXED_FAMILIES')
  })
})

const service = {
  protocol: 'tcp',
  address: parseAddress('198.18.0.1')!,
  port: 80,
  fwmark: 0,
} as const
const addMixed: Command = {
  kind: 'addDestination',
  service,
  destination: { address: parseAddress('2001:db8::1')!, port: 80 },
  options: {
    method: 'tunnel',
    weight: 1,
    upperThreshold: 0,
    lowerThreshold: 0,
    tunnel: PLAIN_TUNNEL,
  },
}

function withService(config: Config): Config {
  const netmask = 0xffffffff
  const options = { scheduler: 'rr', flags: 0, persistentSec: 0, netmask, engine: '' }
  return after(config, { kind: 'addService', service, options })
}

function mixed(config: Config): Config {
  return after(withService(config), addMixed)
}
