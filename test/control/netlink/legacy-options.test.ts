/** The IPVS socket options byte for byte: layouts and lengths by hand from spec 9.3. */
import assert from 'node:assert/strict'
import * as answers from '../../../src/control/netlink/legacy-answers.js'
import {
  GET_OPTION,
  SET_OPTION,
  packGet,
  packSet,
  unpackGet,
  unpackSet,
} from '../../../src/control/netlink/legacy-options.js'
import type { GetRequest, SetRequest } from '../../../src/control/netlink/legacy-options.js'
import { ONE_TO_TEN, address, bytes, refusedWith, sameBytes, valueOf } from './wire-samples.js'

const SERVICE = {
  family: 4,
  protocol: 17,
  address: address('198.18.0.1'),
  port: 53,
  fwmark: 7,
  scheduler: 'wlc',
  flags: 1,
  flagsMask: 0xffffffff,
  timeoutSec: 300,
  netmask: 0xffffff00,
  engine: '',
} as const
const ID = {
  family: 4,
  protocol: 17,
  address: address('198.18.0.1'),
  port: 53,
  fwmark: 7,
} as const
const DESTINATION = {
  address: address('198.18.1.1'),
  port: 8080,
  method: 2,
  weight: -1,
  upperThreshold: 100,
  lowerThreshold: 50,
  tunnelType: 0,
  tunnelPort: 0,
  tunnelFlags: 0,
}
const DAEMON = {
  state: 2,
  interface: 'lo',
  syncId: 5,
  maxLength: 0,
  group: undefined,
  port: 0,
  ttl: 0,
}
const TIMEOUTS = { tcpSec: 900, tcpFinSec: 120, udpSec: 300 }

const ID_HEX = '1100 0000 c6120001 0035 0000 07000000'
const SERVICE_HEX = `${ID_HEX} 776c6300${'00'.repeat(12)} 01000000 2c010000 ffffff00`
const DESTINATION_HEX = 'c6120101 1f90 0000 02000000 ffffffff 64000000 32000000'
const DAEMON_HEX = `02000000 6c6f${'00'.repeat(14)} 05000000`
const TIMEOUTS_HEX = '84030000 78000000 2c010000'
const STATS_HEX =
  '01000000 02000000 03000000 00000000 0400000000000000 0500000000000000' +
  '06000000 07000000 08000000 09000000 0a000000 00000000'

describe('netlink: options that are set', () => {
  const cases: [number, SetRequest, string, number][] = [
    [1154, { option: 'addService', service: SERVICE }, SERVICE_HEX, 44],
    [1155, { option: 'setService', service: SERVICE }, SERVICE_HEX, 44],
    [1156, { option: 'deleteService', service: SERVICE }, SERVICE_HEX, 44],
    [1157, { option: 'flush' }, '', 0],
    ...(
      [
        [1159, 'addDestination'],
        [1160, 'deleteDestination'],
        [1161, 'setDestination'],
      ] as const
    ).map(([number, option]): [number, SetRequest, string, number] => [
      number,
      { option, service: SERVICE, destination: DESTINATION },
      SERVICE_HEX + DESTINATION_HEX,
      68,
    ]),
    [1162, { option: 'setTimeouts', timeouts: TIMEOUTS }, TIMEOUTS_HEX, 12],
    [1163, { option: 'startDaemon', daemon: DAEMON }, DAEMON_HEX, 24],
    [1164, { option: 'stopDaemon', daemon: DAEMON }, DAEMON_HEX, 24],
    [1167, { option: 'zero', service: SERVICE }, SERVICE_HEX, 44],
    [1167, { option: 'zero', service: undefined }, '00'.repeat(44), 44],
  ]
  for (const [number, request, hex, length] of cases) {
    it(`${number} ${request.option}: ${length} bytes, neither more nor less`, () => {
      assert.equal(SET_OPTION[request.option], number)
      assert.equal(bytes(hex).length, length)
      sameBytes(packSet(request), bytes(hex))
      assert.deepEqual(valueOf(unpackSet(number, bytes(hex))), request)
      refusedWith(unpackSet(number, bytes(hex, '00')), 'EINVAL')
      if (length > 0) refusedWith(unpackSet(number, bytes(hex).subarray(1)), 'EINVAL')
    })
  }

  it('do nothing but refuse where the number has no meaning', () => {
    for (const number of [0, 1151, 1152, 1153, 1158, 1165, 1166, 1168]) {
      refusedWith(unpackSet(number, bytes('')), 'EINVAL')
      refusedWith(unpackSet(number, bytes(SERVICE_HEX)), 'EINVAL')
    }
  })

  it('want a scheduler and an interface that end in NUL', () => {
    const open = bytes(SERVICE_HEX)
    open.fill(0x61, 16, 32)
    refusedWith(unpackSet(SET_OPTION.addService, open), 'EINVAL')
    refusedWith(unpackSet(SET_OPTION.setService, open), 'EINVAL')
    assert.ok(unpackSet(SET_OPTION.deleteService, open).ok)
    const daemon = bytes(DAEMON_HEX)
    daemon.fill(0x61, 4, 20)
    refusedWith(unpackSet(SET_OPTION.startDaemon, daemon), 'EINVAL')
    daemon.fill(0, 4, 20)
    refusedWith(unpackSet(SET_OPTION.startDaemon, daemon), 'EINVAL')
    assert.ok(unpackSet(SET_OPTION.stopDaemon, daemon).ok)
  })

  it('want one of three protocols, beside a mark too, but not to zero everything', () => {
    for (const option of ['addService', 'deleteService', 'addDestination', 'zero'] as const) {
      const length = option === 'addDestination' ? 68 : 44
      const argument = new Uint8Array(length)
      argument.set(bytes(SERVICE_HEX))
      for (const protocol of [0, 1, 50]) {
        argument[0] = protocol
        refusedWith(unpackSet(SET_OPTION[option], argument), 'EFAULT')
      }
      argument[0] = 132
      assert.ok(unpackSet(SET_OPTION[option], argument).ok)
    }
    const odd = new Uint8Array(44)
    odd[0] = 50
    const everything = { option: 'zero', service: undefined }
    assert.deepEqual(valueOf(unpackSet(SET_OPTION.zero, odd)), everything)
  })

  it('keep of conn_flags the method', () => {
    const argument = bytes(SERVICE_HEX, DESTINATION_HEX)
    argument.set(bytes('83010000'), 52)
    const request = valueOf(unpackSet(SET_OPTION.addDestination, argument))
    assert.ok('destination' in request)
    assert.equal(request.destination.method, 3)
  })
})

describe('netlink: options that are got', () => {
  const cases: [number, GetRequest, string, number][] = [
    [1152, { option: 'version' }, '', 64],
    [1153, { option: 'info' }, '', 12],
    [1154, { option: 'services', room: 2 }, '02000000', 8 + 2 * 104],
    [1155, { option: 'service', service: ID }, ID_HEX, 104],
    [1156, { option: 'destinations', service: ID, room: 3 }, `${ID_HEX} 03000000`, 24 + 3 * 96],
    [1158, { option: 'timeouts' }, '', 12],
    [1159, { option: 'daemons' }, '', 48],
  ]
  for (const [number, request, hex, length] of cases) {
    it(`${number} ${request.option}: ${length} bytes at least`, () => {
      assert.equal(GET_OPTION[request.option], number)
      const buffer = new Uint8Array(length)
      buffer.set(bytes(hex))
      sameBytes(packGet(request), buffer)
      assert.deepEqual(valueOf(unpackGet(number, buffer)), request)
      refusedWith(unpackGet(number, buffer.subarray(0, length - 1)), 'EINVAL')
      const longer = unpackGet(number, new Uint8Array([...buffer, 0]))
      if ('room' in request) refusedWith(longer, 'EINVAL')
      else assert.deepEqual(valueOf(longer), request)
    })
  }

  it('refuse numbers without meaning', () => {
    for (const number of [0, 1151, 1157, 1160, 1167]) {
      refusedWith(unpackGet(number, new Uint8Array(256)), 'EINVAL')
    }
  })
})

describe('netlink: answers to options', () => {
  it('give the version as text', () => {
    const info = { version: 0x010201, tableSize: 4096 }
    const text = new TextEncoder().encode('IP Virtual Server version 1.2.1 (size=4096)\0')
    sameBytes(answers.packVersion(info), text)
    assert.deepEqual(valueOf(answers.unpackVersion(text)), info)
    refusedWith(answers.unpackVersion(text.subarray(1)), 'EINVAL')
  })

  it('give the numbers', () => {
    const info = { version: 0x010201, tableSize: 4096, services: 3 }
    sameBytes(answers.packLegacyInfo(info), bytes('01020100 00100000 03000000'))
    assert.deepEqual(valueOf(answers.unpackLegacyInfo(answers.packLegacyInfo(info))), info)
    sameBytes(answers.packLegacyTimeouts(TIMEOUTS), bytes(TIMEOUTS_HEX))
    assert.deepEqual(valueOf(answers.unpackLegacyTimeouts(bytes(TIMEOUTS_HEX))), TIMEOUTS)
  })

  it('give services, as many as have room', () => {
    const entry = { service: { ...SERVICE, stats: ONE_TO_TEN }, destinations: 2 }
    const hex = `${SERVICE_HEX} 02000000 ${STATS_HEX}`
    sameBytes(answers.packServiceEntry(entry), bytes(hex))
    assert.deepEqual(valueOf(answers.unpackServiceEntry(bytes(hex))), entry)
    const list = bytes('02000000 00000000', hex, hex)
    sameBytes(answers.packServices(2, [entry, entry, entry]), list)
    assert.deepEqual(valueOf(answers.unpackServices(list)), [entry, entry])
    const fewer = answers.packServices(2, [entry])
    sameBytes(fewer, bytes('02000000 00000000', hex))
    refusedWith(answers.unpackServices(list.subarray(1)), 'EINVAL')
    refusedWith(answers.unpackServices(list.subarray(0, 4)), 'EINVAL')
  })

  it('give IPv4 destinations, with the flags beside the method', () => {
    const counts = { active: 1, inactive: 2, persistent: 3, stats: ONE_TO_TEN }
    const entry = { ...DESTINATION, ...counts }
    const hex = [
      DESTINATION_HEX.replace('02000000', '82010000'),
      '01000000 02000000 03000000 00000000',
      STATS_HEX,
    ].join('')
    const head = `${ID_HEX} 02000000 00000000`
    const six = { ...entry, address: address('2001:db8::1') }
    sameBytes(answers.packDestinations(ID, 2, [six, entry]), bytes(head, hex))
    assert.deepEqual(valueOf(answers.unpackDestinations(bytes(head, hex))), [entry])
    const nat = answers.packDestinations(ID, 2, [{ ...entry, method: 0 }])
    sameBytes(nat.subarray(32, 36), bytes('00010000'))
  })

  it('give the master first and the backup second', () => {
    const none = '00'.repeat(24)
    sameBytes(answers.packDaemons([]), bytes(none, none))
    sameBytes(answers.packDaemons([DAEMON]), bytes(none, DAEMON_HEX))
    const master = { ...DAEMON, state: 1 }
    const both = bytes(DAEMON_HEX.replace('02', '01'), DAEMON_HEX)
    sameBytes(answers.packDaemons([DAEMON, master]), both)
    assert.deepEqual(valueOf(answers.unpackDaemons(both)), [master, DAEMON])
    assert.deepEqual(valueOf(answers.unpackDaemons(bytes(none, DAEMON_HEX))), [DAEMON])
    refusedWith(answers.unpackDaemons(bytes(DAEMON_HEX)), 'EINVAL')
  })
})
