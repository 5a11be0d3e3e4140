/** Settings without effect are told, and the list of them is true. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { Director } from '../../src/control/director.js'
import { idleSentences } from '../../src/control/model/carried.js'
import { emptyConfig } from '../../src/control/model/config.js'
import {
  defaultSysctls,
  idleSettings,
  setSysctl,
  SYSCTL_NAMES,
} from '../../src/control/model/sysctls.js'
import type { SysctlName } from '../../src/control/model/sysctls.js'
import { FakeClock, FakeDataplane, memoryLog } from '../support/fake-dataplane.js'
import { CAPACITY, configOf } from './fixtures.js'

const DEFAULTS = defaultSysctls()
/** Neither a default nor a value with a meaning of its own. */
const OTHER: Partial<Record<SysctlName, string>> = {
  conn_reuse_mode: '2',
  est_cpulist: '0-3',
  pmtu_disc: '0',
  run_estimation: '0',
  secure_tcp: '3',
  snat_reroute: '0',
  sync_ports: '2',
  sync_threshold: '4 60',
  sync_version: '0',
  synproxy_init_mss: '1400',
}

function warned(name: SysctlName): boolean {
  const set = setSysctl(DEFAULTS, name, OTHER[name] ?? '2')
  assert.ok(set.ok, name)
  const idle = idleSettings(DEFAULTS, set.value, DEFAULTS)
  assert.ok(idle.length === 0 || (idle.length === 1 && idle[0] === name))
  return idle.length === 1
}

/** All of the product's code that could read a setting, but for the tables that list them. */
function readers(): string {
  const listing = ['layout.gen.h', 'layout.ts', 'sysctls.ts', 'core_rig.h']
  return ['src', 'native']
    .flatMap((top) =>
      readdirSync(top, { recursive: true, encoding: 'utf8' }).map((path) => `${top}/${path}`),
    )
    .filter((path) => /\.(ts|cc|h)$/.test(path) && !path.includes('/build/'))
    .filter((path) => !listing.some((name) => path.endsWith(`/${name}`)))
    .map((path) => readFileSync(path, 'utf8'))
    .join('\n')
}

describe('settings without effect', () => {
  it('are exactly those that no code reads', () => {
    const code = readers()
    const camel = (name: string) => name.replace(/(?:^|_)(.)/g, (_, c: string) => c.toUpperCase())
    for (const name of SYSCTL_NAMES) {
      const uses = [`sysctl('${name}')`, `sysctls.${name}`, `kSysctl${camel(name)}`]
      const read = uses.some((use) =>
        new RegExp(`${use.replace(/[()]/g, '\\$&')}(?!\\w)`).test(code),
      )
      assert.equal(warned(name), !read, name)
    }
  })

  it('are each named in docs/compat.md', () => {
    const text = readFileSync('docs/compat.md', 'utf8')
    for (const name of SYSCTL_NAMES.filter(warned)) assert.ok(text.includes(`\`${name}\``), name)
  })

  it('are told once when set, not at their default, not by other changes', async () => {
    const log = memoryLog()
    const config = configOf([{ kind: 'setSysctl', name: 'conntrack', value: '1' }])
    const clock = new FakeClock()
    const director = new Director({ port: new FakeDataplane(), config, clock, log, version: '1' })
    director.start()
    const warnings = () => log.lines.splice(0).filter((line) => line.startsWith('warn'))
    const set = (name: SysctlName, value: string) =>
      director.execute([{ kind: 'setSysctl', name, value }])
    assert.deepEqual(warnings(), ['warn conntrack=1 is accepted but has no effect yet'])
    await set('sync_retries', '1')
    assert.deepEqual(warnings(), ['warn sync_retries=1 is accepted but has no effect yet'])
    await set('expire_nodest_conn', '1')
    await set('conntrack', '0')
    assert.deepEqual(warnings(), [])
    await set('sync_threshold', '4 60')
    assert.deepEqual(warnings(), ['warn sync_threshold=4 60 is accepted but has no effect yet'])
    await director.stop()
  })

  it('have a default of the host where the kernel computes one', () => {
    const host = defaultSysctls(4711)
    assert.equal(host.sync_qlen_max, 4711)
    assert.deepEqual(idleSettings(host, host, host), [])
    const zero = setSysctl(host, 'sync_qlen_max', '0')
    assert.ok(zero.ok)
    assert.deepEqual(idleSettings(host, zero.value, host), ['sync_qlen_max'])
    const config = emptyConfig(CAPACITY, host)
    assert.deepEqual(idleSentences(undefined, config, []), [])
  })

  it('say nothing when everything is at its default', () => {
    assert.deepEqual(idleSettings(DEFAULTS, emptyConfig(CAPACITY).sysctls, DEFAULTS), [])
  })
})

describe('settings', () => {
  it('go by their whole name as well', () => {
    for (const name of ['sloppy_tcp', 'net.ipv4.vs.sloppy_tcp', 'net/ipv4/vs/sloppy_tcp']) {
      const set = setSysctl(DEFAULTS, name, '1')
      assert.equal(set.ok && set.value.sloppy_tcp, 1, name)
    }
    const range = setSysctl(DEFAULTS, 'net.ipv4.vs.sync_threshold', '4 60')
    assert.ok(range.ok)
    assert.deepEqual(range.value.sync_threshold, [4, 60])
    const unknown = setSysctl(DEFAULTS, 'net.ipv4.vs.nope', '1')
    assert.match(unknown.ok ? '' : unknown.error.message, /^unknown setting "nope"; known are: /)
  })

  it('are written as the kernel reads them: as in C, and words behind do not matter', () => {
    const value = (text: string) => {
      const set = setSysctl(DEFAULTS, 'conn_reuse_mode', text)
      return set.ok ? set.value.conn_reuse_mode : undefined
    }
    const taken = { '0x11': 17, '0X1f': 31, '017': 15, ' 3\n': 3, '5 and more': 5, '-0x1': -1 }
    for (const [text, wanted] of Object.entries(taken)) assert.equal(value(text), wanted, text)
    for (const text of ['', '+3', '08', '5x', '0x', '1.5', '1e3', '- 1', '--1', 'one']) {
      assert.equal(value(text), undefined, text)
    }
  })

  it('take any power of two for sync_ports, as ip_vs_ctl.c proc_do_sync_ports', () => {
    for (const value of ['1', '64', '128', '1073741824']) {
      const set = setSysctl(DEFAULTS, 'sync_ports', value)
      assert.equal(set.ok && set.value.sync_ports, Number(value))
    }
    for (const value of ['0', '-1', '3', '96', '2147483648']) {
      assert.ok(!setSysctl(DEFAULTS, 'sync_ports', value).ok, value)
    }
  })

  it('of the automatic defences are idle until memory is looked at', () => {
    for (const name of ['secure_tcp', 'drop_entry', 'drop_packet'] as const) {
      for (const [value, wanted] of [
        ['0', 0],
        ['1', 1],
        ['2', 1],
        ['3', 3],
      ] as const) {
        const set = setSysctl(DEFAULTS, name, value)
        assert.equal(set.ok && set.value[name], wanted)
      }
      for (const value of ['4', '-1', '', 'x']) {
        const set = setSysctl(DEFAULTS, name, value)
        assert.equal(set.ok ? '' : set.error.code, 'SYSCTL_VALUE')
      }
    }
  })

  it('of the estimator take what the kernel takes', () => {
    for (const [name, good, bad] of [
      ['est_cpulist', ['', '0', '0-3,8', ' 1,2 '], ['a', '1-', ',1', '1;2']],
      ['est_nice', ['-20', '0', '19'], ['-21', '20', '']],
    ] as const) {
      for (const value of good) assert.ok(setSysctl(DEFAULTS, name, value).ok, value)
      for (const value of bad) assert.ok(!setSysctl(DEFAULTS, name, value).ok, value)
    }
  })

  it('have the defaults of spec 11', () => {
    const kernels = Object.entries(DEFAULTS).filter(([name]) => !name.startsWith('synproxy_'))
    assert.deepEqual(Object.fromEntries(kernels), {
      am_droprate: 10,
      amemthresh: 1024,
      backup_only: 0,
      cache_bypass: 0,
      conn_reuse_mode: 1,
      conntrack: 0,
      debug_level: 0,
      drop_entry: 0,
      drop_packet: 0,
      est_cpulist: '',
      est_nice: 0,
      expire_nodest_conn: 0,
      expire_quiescent_template: 0,
      ignore_tunneled: 0,
      lblc_expiration: 86400,
      lblcr_expiration: 86400,
      nat_icmp_send: 0,
      pmtu_disc: 1,
      run_estimation: 1,
      schedule_icmp: 0,
      secure_tcp: 0,
      sloppy_sctp: 0,
      sloppy_tcp: 0,
      snat_reroute: 1,
      sync_persist_mode: 0,
      sync_ports: 1,
      sync_qlen_max: 0,
      sync_refresh_period: 0,
      sync_retries: 0,
      sync_sock_size: 0,
      sync_threshold: [3, 50],
      sync_version: 1,
    })
  })
})
