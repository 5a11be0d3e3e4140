/** /proc/net/ip_vs* and the settings, byte for byte (spec 9.5). */
import assert from 'node:assert/strict'
import type { ConnectionRow } from '../../../src/control/dataplane-port.js'
import { fileAt } from '../../../src/control/ipvs-server/files.js'
import { SYSCTL_NAMES } from '../../../src/control/model/sysctls.js'
import { markServiceId } from '../../../src/control/model/service.js'
import { NO_TRAFFIC } from '../../support/fake-dataplane.js'
import { addDestination, addService, serviceId, serviceIn } from '../fixtures.js'
import { rig } from './rig.js'
import type { Rig } from './rig.js'

async function read({ director, port }: Rig, path: string): Promise<string> {
  let text = ''
  const file = fileAt(path, director, () => port.counters().total())
  assert.ok(file, path)
  await file((part) => {
    text += part
    return Promise.resolve()
  })
  return text
}

describe('/proc files', () => {
  it('ip_vs: every kind of line', async () => {
    const on = rig()
    const web = serviceId('198.18.0.1', 80)
    const six = serviceId('2001:db8::1', 443)
    await on.has([
      addService(web, { scheduler: 'rr' }),
      addDestination(web, '198.18.1.1', { weight: 3 }),
      addDestination(web, '2001:db8::5', { method: 'tunnel', weight: 65535 }),
      addService(serviceId('198.18.0.1', 53, 'udp'), { flags: 4 }),
      addService(six, { flags: 1, persistentSec: 300 }),
      addDestination(six, '2001:db8::6', { method: 'direct' }, 443),
      addService(markServiceId(16, 4), { flags: 5, persistentSec: 60, netmask: 0xffffff00 }),
    ])
    const [, destination] = serviceIn(on.director.config, web).destinations
    on.port.loadBySlot.set(destination.slot, { active: 12, inactive: 3456, persistent: 0 })
    const long = '2001:0db8:0000:0000:0000:0000:0000:000'
    const lines = (await read(on, '/proc/net/ip_vs')).split('\n')
    assert.deepEqual(lines.slice(0, 3), [
      'IP Virtual Server version 1.2.1 (size=4096)',
      'Prot LocalAddress:Port Scheduler Flags',
      '  -> RemoteAddress:Port Forward Weight ActiveConn InActConn',
    ])
    assert.deepEqual(
      new Set(lines.slice(3)),
      new Set([
        'TCP  C6120001:0050 rr  ',
        `  -> [${long}5]:0050      Tunnel  65535  0          0         `,
        '  -> C6120101:0050      Masq    3      12         3456      ',
        'UDP  C6120001:0035 wlc ops  ',
        `TCP  [${long}1]:01BB wlc persistent 300000 80000000`,
        `  -> [${long}6]:01BB      Route   1      0          0         `,
        'FWM  00000010 wlc ops persistent 60000 FFFFFF00',
        '',
      ]),
    )
    assert.equal(lines.at(-2), 'FWM  00000010 wlc ops persistent 60000 FFFFFF00')
  })

  const row: ConnectionRow = {
    protocol: 'tcp',
    state: 'ESTABLISHED',
    expiresSec: 899,
    client: { address: '198.18.2.1', port: 40000 },
    virtual: { address: '198.18.0.1', port: 80 },
    destination: { address: '2001:db8::5', port: 80 },
    method: 'tunnel',
    flags: 0x100,
  }

  it('ip_vs_conn: connections, then templates', async () => {
    const on = rig()
    on.port.rows = [row, { ...row, state: 'TIME_WAIT', expiresSec: 1234567, flags: 0x120 }]
    const mark = { address: '0.0.0.7', port: 0 }
    const template = { ...row, protocol: 'ip' as const, state: 'NONE', virtual: mark }
    on.port.templateRows = [{ ...template, engine: 'sip', engineData: 'id' }]
    const v6 = '2001:0db8:0000:0000:0000:0000:0000:0005'
    assert.equal(
      await read(on, '/proc/net/ip_vs_conn'),
      'Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n' +
        `TCP C6120201 9C40 C6120001 0050 ${v6} 0050 ESTABLISHED     899\n` +
        `TCP C6120201 9C40 C6120001 0050 ${v6} 0050 TIME_WAIT   1234567\n` +
        `IP  C6120201 9C40 00000007 0000 ${v6} 0050 NONE            899 sip id\n`,
    )
    assert.equal(
      await read(on, '/proc/net/ip_vs_conn_sync'),
      'Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n' +
        `TCP C6120201 9C40 C6120001 0050 ${v6} 0050 ESTABLISHED LOCAL      899\n` +
        `TCP C6120201 9C40 C6120001 0050 ${v6} 0050 TIME_WAIT   SYNC   1234567\n` +
        `IP  C6120201 9C40 00000007 0000 ${v6} 0050 NONE        LOCAL      899\n`,
    )
  })

  it('ip_vs_stats: totals of the last run, and live counts per processor', async () => {
    const on = rig()
    on.port.totalTraffic = { ...NO_TRAFFIC, connections: 0xabcn, inBytes: 4000n }
    await on.clock.advance(2000)
    await on.director.execute([{ kind: 'zero' }])
    on.port.totalTraffic = { ...on.port.totalTraffic, connections: 0xabdn }
    assert.equal(
      await read(on, '/proc/net/ip_vs_stats'),
      '   Total Incoming Outgoing         Incoming         Outgoing\n' +
        '   Conns  Packets  Packets            Bytes            Bytes\n' +
        '       0        0        0                0                0\n' +
        '\n' +
        ' Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n' +
        '       0        0        0                0                0\n',
    )
    assert.equal(
      await read(on, '/proc/net/ip_vs_stats_percpu'),
      '       Total Incoming Outgoing         Incoming         Outgoing\n' +
        'CPU    Conns  Packets  Packets            Bytes            Bytes\n' +
        '  0      ABD        0        0              FA0                0\n' +
        '  ~        0        0        0                0                0\n' +
        '\n' +
        '     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n' +
        '           0        0        0                0                0\n',
    )
  })

  it('ip_vs_app and the settings', async () => {
    const on = rig()
    assert.equal(await read(on, '/proc/net/ip_vs_app'), 'prot port    usecnt name\n')
    await on.director.execute([{ kind: 'setSysctl', name: 'drop_entry', value: '3' }])
    assert.equal(await read(on, '/proc/sys/net/ipv4/vs/drop_entry'), '3\n')
    assert.equal(await read(on, '/proc/sys/net/ipv4/vs/sync_threshold'), '3\t50\n')
    assert.equal(await read(on, '/proc/sys/net/ipv4/vs/est_cpulist'), '\n')
    for (const name of SYSCTL_NAMES.filter((one) => one !== 'est_cpulist')) {
      assert.match(await read(on, `/proc/sys/net/ipv4/vs/${name}`), /^-?\d+(\t\d+)?\n$/)
    }
  })

  it('knows no other path', () => {
    const { director } = rig()
    for (const path of ['', '/proc/net/ip_vs_x', '/proc/sys/net/ipv4/vs/', '/etc/passwd']) {
      assert.equal(
        fileAt(path, director, () => NO_TRAFFIC),
        undefined,
      )
    }
  })
})
