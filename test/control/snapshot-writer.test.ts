/** Configuration -> block, read back field by field and through the schedulers' view. */
import assert from 'node:assert/strict'
import {
  DESTINATION_FLAG,
  LAYOUT_HASH,
  METHOD,
  NO_SLOT,
  RECORDS,
  SCHEDULER_ID,
  SNAPSHOT_MAGIC,
  SYSCTL_INDEX,
  TCP_STATE,
} from '../../src/dataplane/layout.js'
import type { Field, RecordName } from '../../src/dataplane/layout.js'
import { SnapshotView } from '../../src/dataplane/snapshot-view.js'
import { type HostFacts, writeSnapshot } from '../../src/dataplane/snapshot-writer.js'
import { BARE_HOST } from '../support/bare-host.js'
import { mappedBytes } from '../../src/control/model/address.js'
import type { Config } from '../../src/control/model/config.js'
import { markServiceId, SERVICE_FLAGS } from '../../src/control/model/service.js'
import { SYSCTL_NAMES } from '../../src/control/model/sysctls.js'
import {
  addDestination,
  addService,
  configOf,
  deleteDestination,
  ip,
  serviceId,
  serviceIn,
} from './fixtures.js'

const HOST: HostFacts = {
  ...BARE_HOST,
  localPortFirst: 5000,
  takenPorts: { first: 4000, last: 65535 },
  cookieSecret: Uint8Array.from({ length: 36 }, (_, i) => i + 1),
}

/** Reads one field of a block. */
function reader(block: Uint8Array) {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
  const number = (record: RecordName, offset: number, field: string): number => {
    const fields: Readonly<Record<string, Field>> = RECORDS[record].fields
    const [type, at] = fields[field]
    if (type === 'u8') return view.getUint8(offset + at)
    if (type === 'u16') return view.getUint16(offset + at, true)
    return type === 'i32' ? view.getInt32(offset + at, true) : view.getUint32(offset + at, true)
  }
  const header = (field: string) => number('snapshotHeader', 0, field)
  const slot = (record: 'service' | 'destination', index: number) =>
    header(`${record}Offset`) + index * RECORDS[record].bytes
  return {
    header,
    field: (record: RecordName, offset: number, field: string) => number(record, offset, field),
    word: (offset: number) => view.getUint32(offset, true),
    bytes: (offset: number, length: number) => block.slice(offset, offset + length),
    service: (index: number, field: string) => number('service', slot('service', index), field),
    destination: (index: number, field: string) =>
      number('destination', slot('destination', index), field),
    destinationAddress: (index: number) => block.slice(slot('destination', index)).subarray(0, 16),
  }
}

const A = serviceId()
const B = serviceId('2001:db8::1', 53, 'udp')
const MARK = markServiceId(9, 4)

function example(): Config {
  const persistent = { flags: SERVICE_FLAGS.PERSISTENT, persistentSec: 60, netmask: 0xffffff00 }
  return configOf([
    addService(A, { scheduler: 'wrr', ...persistent }),
    addService(B, { scheduler: 'sh', flags: SERVICE_FLAGS.ONE_PACKET }),
    addService(MARK),
    addDestination(A, '198.18.1.1', { weight: 5 }, 8080),
    addDestination(A, '198.18.1.2', { method: 'fullnat', upperThreshold: 9, lowerThreshold: 3 }),
    addDestination(A, '198.18.1.3', {
      method: 'tunnel',
      tunnel: { type: 'gue', port: 6080, checksum: 'remcsum' },
    }),
    deleteDestination(A, '198.18.1.1', 8080),
    { kind: 'setTimeouts', timeouts: { tcpSec: 77, tcpFinSec: 8, udpSec: 5 } },
    { kind: 'setSysctl', name: 'sloppy_tcp', value: '1' },
    { kind: 'setDefaultLocalAddresses', addresses: [ip('198.18.9.1'), ip('2001:db8::9')] },
    { kind: 'addLocalAddress', service: MARK, address: ip('198.18.9.7') },
  ])
}

describe('snapshot writer', () => {
  const config = example()
  const block = writeSnapshot(config, 42, HOST)
  const read = reader(block)

  it('has a header that describes the block', () => {
    assert.equal(read.header('magic'), SNAPSHOT_MAGIC)
    assert.equal(read.header('layoutHash'), LAYOUT_HASH)
    assert.equal(read.header('generation'), 42)
    assert.equal(read.header('bytes'), block.byteLength)
    assert.ok(block.buffer instanceof SharedArrayBuffer)
    assert.deepEqual([read.header('serviceCount'), read.header('destinationCount')], [3, 3])
    assert.deepEqual([read.header('localPortFirst'), read.header('localPortLast')], [5000, 65535])
    assert.deepEqual([read.header('takenPortFirst'), read.header('takenPortLast')], [4000, 65535])
    assert.equal(read.header('unprivilegedStart'), 1024)
    const ephemeral = [read.header('ephemeralPortFirst'), read.header('ephemeralPortLast')]
    assert.deepEqual(ephemeral, [32768, 60999])
  })

  it('writes services by slot', () => {
    const slot = serviceIn(config, A).slot
    assert.equal(read.service(slot, 'schedulerId'), SCHEDULER_ID.wrr)
    assert.equal(read.service(slot, 'protocol'), 6)
    assert.equal(read.service(slot, 'flags'), SERVICE_FLAGS.PERSISTENT | SERVICE_FLAGS.HASHED)
    assert.equal(read.service(slot, 'netmask'), 0xffffff00)
    assert.equal(read.service(slot, 'orderCount'), 2)
    assert.equal(read.service(slot, 'used'), 1)
    assert.equal(read.service(slot, 'incarnation'), serviceIn(config, A).incarnation)
    assert.equal(read.service(slot, 'changes'), serviceIn(config, A).changes)
    const six = serviceIn(config, B).slot
    assert.deepEqual([read.service(six, 'family'), read.service(six, 'protocol')], [6, 17])
    const mark = serviceIn(config, MARK).slot
    assert.deepEqual([read.service(mark, 'fwmark'), read.service(mark, 'protocol')], [9, 0])
  })

  it('writes what SYNPROXY goes by, and which of its services have nobody to go to', () => {
    const setting = (name: string, value: string) => ({ kind: 'setSysctl', name, value }) as const
    const proxied = configOf([
      addService(A, { flags: SERVICE_FLAGS.SYNPROXY }),
      addDestination(A, '198.18.1.1', { method: 'masquerade', weight: 0 }),
      addService(MARK, { flags: SERVICE_FLAGS.SYNPROXY }),
      addDestination(MARK, '198.18.1.1', { method: 'masquerade', weight: 0 }),
      addDestination(MARK, '198.18.1.2', { method: 'fullnat', weight: 1 }),
      setting('synproxy_wscale', '7'),
      setting('synproxy_conn_reuse_fin_wait', '1'),
      setting('synproxy_conn_reuse_time_wait', '0'),
      setting('synproxy_defer', '-1'),
    ])
    const written = reader(writeSnapshot(proxied, 1, HOST))
    const at = written.header('synproxyOffset')
    assert.deepEqual(written.bytes(at, 36), HOST.cookieSecret)
    const field = (name: string) => written.field('synproxy', at, name)
    assert.deepEqual(
      ['initMss', 'dupAck', 'maxAckSaved', 'ttl', 'synRetry', 'sack', 'timestamps'].map(field),
      [1452, 10, 3, 63, 3, 1, 0],
    )
    assert.deepEqual([field('windowScale'), field('defer')], [7, 1])
    assert.equal(field('reuseStates'), (1 << TCP_STATE.CLOSE) | (1 << TCP_STATE.FIN_WAIT))
    const flags = [A, MARK].map((id) => written.service(serviceIn(proxied, id).slot, 'flags'))
    assert.deepEqual(flags, [0x1008002, 0x8002])
    const off = configOf([setting('synproxy_conn_reuse', '0')])
    const none = reader(writeSnapshot(off, 1, HOST))
    assert.equal(none.field('synproxy', none.header('synproxyOffset'), 'reuseStates'), 0)
  })

  it('writes each setting of SYNPROXY to its own field', () => {
    const synproxyOf = (name?: string, value = '') => {
      const set = name === undefined ? [] : [{ kind: 'setSysctl', name, value } as const]
      const written = reader(writeSnapshot(configOf(set), 1, HOST))
      const at = written.header('synproxyOffset')
      const names = Object.keys(RECORDS.synproxy.fields).filter((field) => field !== 'secret')
      return Object.fromEntries(names.map((field) => [field, written.field('synproxy', at, field)]))
    }
    const usual = synproxyOf()
    const bits = (...states: (keyof typeof TCP_STATE)[]) =>
      states.reduce((sum, state) => sum | (1 << TCP_STATE[state]), 0)
    assert.equal(usual.reuseStates, bits('CLOSE', 'TIME_WAIT'))
    for (const [name, value, field, wanted] of [
      ['init_mss', '1400', 'initMss', 1400],
      ['ack_storm_thresh', '65535', 'dupAck', 65535],
      ['ack_skb_store_thresh', '7', 'maxAckSaved', 7],
      ['wscale', '14', 'windowScale', 14],
      ['sack', '0', 'sack', 0],
      ['timestamp', '256', 'timestamps', 1],
      ['synack_ttl', '255', 'ttl', 255],
      ['defer', '-256', 'defer', 1],
      ['syn_retry', '255', 'synRetry', 255],
      ['close_client_window', '2', 'closeClientWindow', 1],
      ['conn_reuse', '0', 'reuseStates', 0],
      ['conn_reuse_close', '0', 'reuseStates', bits('TIME_WAIT')],
      ['conn_reuse_time_wait', '0', 'reuseStates', bits('CLOSE')],
      ['conn_reuse_fin_wait', '1', 'reuseStates', bits('CLOSE', 'TIME_WAIT', 'FIN_WAIT')],
      ['conn_reuse_close_wait', '1', 'reuseStates', bits('CLOSE', 'TIME_WAIT', 'CLOSE_WAIT')],
      ['conn_reuse_last_ack', '1', 'reuseStates', bits('CLOSE', 'TIME_WAIT', 'LAST_ACK')],
    ] as const) {
      assert.deepEqual(synproxyOf(`synproxy_${name}`, value), { ...usual, [field]: wanted }, name)
    }
    const names = SYSCTL_NAMES.filter((name) => name.startsWith('synproxy_'))
    assert.equal(names.length, 16, 'each is in the table above')
  })

  it('lists destinations in list order, newest first', () => {
    const first = read.service(serviceIn(config, A).slot, 'orderFirst')
    const order = [0, 1].map((i) => read.word(read.header('orderOffset') + 4 * (first + i)))
    assert.deepEqual(
      order,
      serviceIn(config, A).destinations.map((d) => d.slot),
    )
  })

  it('writes destinations, those in the trash without AVAILABLE', () => {
    const [tunnel, fullnat] = serviceIn(config, A).destinations.map((d) => d.slot)
    const [gone] = config.trash.map((entry) => entry.destination.slot)
    assert.equal(read.destination(tunnel, 'method'), METHOD.TUNNEL)
    assert.deepEqual(
      ['tunnelType', 'tunnelFlags', 'tunnelPort'].map((f) => read.destination(tunnel, f)),
      [1, 2, 6080],
    )
    assert.equal(read.destination(fullnat, 'method'), METHOD.FULLNAT)
    assert.deepEqual(
      ['upperThreshold', 'lowerThreshold', 'flags'].map((f) => read.destination(fullnat, f)),
      [9, 3, DESTINATION_FLAG.AVAILABLE],
    )
    assert.deepEqual(
      ['flags', 'used', 'weight', 'port', 'serviceSlot'].map((f) => read.destination(gone, f)),
      [0, 1, 5, 8080, serviceIn(config, A).slot],
    )
    const identity = ['incarnation', 'inserted', 'hashed'] as const
    const gue = serviceIn(config, A).destinations[0]
    assert.deepEqual(
      identity.map((f) => read.destination(tunnel, f)),
      identity.map((f) => gue[f]),
    )
    assert.deepEqual(read.destinationAddress(gone), mappedBytes(ip('198.18.1.1')))
    const orphaned = configOf([{ kind: 'deleteService', service: A }], config)
    const after = reader(writeSnapshot(orphaned, 43, HOST))
    assert.equal(after.destination(gone, 'serviceSlot'), NO_SLOT)
    assert.equal(after.service(serviceIn(config, A).slot, 'used'), 0)
    // Its connections may be there.
    assert.equal(after.header('removedAddressCount'), 1)
    const at = after.header('removedAddressOffset')
    assert.deepEqual(after.bytes(at, 16), mappedBytes(A.address))
  })

  it('gives each service its own local addresses or the default of its family', () => {
    const local = (id: typeof A) => {
      const { slot } = serviceIn(config, id)
      const count = read.service(slot, 'localCount')
      assert.equal(count, 1)
      const at = read.header('localAddressOffset') + 16 * read.service(slot, 'localFirst')
      return read.bytes(at, 16)
    }
    assert.deepEqual(local(A), mappedBytes(ip('198.18.9.1')))
    assert.deepEqual(local(B), mappedBytes(ip('2001:db8::9')))
    assert.deepEqual(local(MARK), mappedBytes(ip('198.18.9.7')))
  })

  it('stores a shared list once', () => {
    const many = configOf(
      [1, 2, 3, 4].map((port) => addService(serviceId('198.18.0.1', port))),
      configOf([{ kind: 'setDefaultLocalAddresses', addresses: [ip('198.18.9.1')] }]),
    )
    assert.equal(reader(writeSnapshot(many, 1, HOST)).header('localAddressCount'), 1)
  })

  it('lists local addresses of connections from before behind those of services', () => {
    const config = configOf(
      [addService(serviceId('198.18.0.1', 80))],
      configOf([{ kind: 'setDefaultLocalAddresses', addresses: [ip('198.18.9.1')] }]),
    )
    const localAddresses = [ip('198.18.9.1'), ip('198.18.9.2')]
    const host = { ...HOST, held: { ...HOST.held, localAddresses } }
    const block = writeSnapshot(config, 1, host)
    assert.equal(reader(block).header('localAddressCount'), 2)
    const at = reader(block).header('localAddressOffset')
    const list = [block.slice(at, at + 16), block.slice(at + 16, at + 32)]
    assert.deepEqual(list, localAddresses.map(mappedBytes))
  })

  it('writes timeouts and sysctls', () => {
    const { fields } = RECORDS.snapshotHeader
    const tcp = (state: keyof typeof TCP_STATE) =>
      read.word(fields.tcpTimeoutSec[1] + 4 * TCP_STATE[state])
    assert.deepEqual([tcp('ESTABLISHED'), tcp('FIN_WAIT'), tcp('SYN_RECV')], [77, 8, 60])
    // FULLNAT's own (spec 12.8), which --set does not change.
    const fullnat = Object.entries(TCP_STATE).map(([state, number]) => [
      state,
      read.word(fields.fullnatTcpTimeoutSec[1] + 4 * number),
    ])
    assert.deepEqual(Object.fromEntries(fullnat), {
      NONE: 2,
      ESTABLISHED: 90,
      SYN_SENT: 3,
      SYN_RECV: 30,
      FIN_WAIT: 7,
      TIME_WAIT: 7,
      CLOSE: 3,
      CLOSE_WAIT: 7,
      LAST_ACK: 7,
      LISTEN: 120,
      SYNACK: 30,
    })
    assert.equal(read.header('udpTimeoutSec'), 5)
    assert.equal(read.word(fields.sysctls[1] + 4 * SYSCTL_INDEX.sloppy_tcp), 1)
    assert.equal(read.word(fields.sysctls[1] + 4 * SYSCTL_INDEX.conn_reuse_mode), 1)
  })

  it('is what the schedulers can read, also when empty', () => {
    assert.ok(new SnapshotView(block, undefined))
    assert.ok(new SnapshotView(writeSnapshot(configOf([]), 1, HOST), undefined))
  })
})
