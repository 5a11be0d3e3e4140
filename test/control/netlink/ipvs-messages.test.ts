/**
 * IPVS messages byte for byte. The requests are what Debian's ipvsadm 1.31 with libnl 3.7 wrote to
 * its socket for the command in the title (without the two headers); the answers are put together
 * by hand from spec 9.1.
 */
import assert from 'node:assert/strict'
import { ipvsFamily, COMMAND, commandOf } from '../../../src/control/netlink/ipvs-attributes.js'
import * as ipvs from '../../../src/control/netlink/ipvs-messages.js'
import type {
  WireDaemon,
  WireDestination,
  WireDestinationOptions,
  WireService,
  WireServiceId,
  WireServiceOptions,
} from '../../../src/control/netlink/ipvs-types.js'
import { ONE_TO_TEN, address, bytes, refusedWith, sameBytes, valueOf } from './wire-samples.js'

const TCP: WireServiceId = {
  family: 4,
  protocol: 6,
  address: address('198.18.0.1'),
  port: 80,
  fwmark: 0,
}
const MARK: WireServiceId = { ...TCP, address: address('0.0.0.0'), port: 0, fwmark: 7 }
const DNS6: WireServiceId = {
  family: 6,
  protocol: 17,
  address: address('2001:db8::1'),
  port: 53,
  fwmark: 0,
}
/** What ipvsadm fills in where only the service's id counts. */
const UNUSED: WireServiceOptions = {
  scheduler: '',
  flags: 0,
  flagsMask: 0xffffffff,
  timeoutSec: 0,
  netmask: 0xffffffff,
  engine: '',
}
const PLAIN: WireDestinationOptions = {
  method: 3,
  weight: 1,
  upperThreshold: 0,
  lowerThreshold: 0,
  tunnelType: 0,
  tunnelPort: 0,
  tunnelFlags: 0,
}

const ID_TCP = '0600 0100 0200 0000 0600 0200 0600 0000 1400 0300 c6120001 000000000000000000000000'
const PORT_80 = '0600 0400 0050 0000'
const UNUSED_OPTIONS =
  '0500 0600 00 000000 0c00 0700 00000000 ffffffff 0800 0800 00000000 0800 0900 ffffffff'

/** The containers of a message. */
const open = (stream: Uint8Array): ipvs.CommandAttributes => valueOf(ipvs.unpackCommand(stream))

describe('netlink: requests for a service', () => {
  const cases: [string, WireServiceId, WireServiceOptions, Uint8Array][] = [
    [
      '-A -t 198.18.0.1:80 -s wlc',
      TCP,
      { ...UNUSED, scheduler: 'wlc' },
      bytes(
        '5400 0180',
        ID_TCP,
        PORT_80,
        '0800 0600 776c6300 0c00 0700 00000000 ffffffff 0800 0800 00000000 0800 0900 ffffffff',
      ),
    ],
    [
      '-A -u [2001:db8::1]:53 -s sh -p 300 -M 64 -b sh-port',
      DNS6,
      { ...UNUSED, scheduler: 'sh', flags: 0x11, timeoutSec: 300, netmask: 64 },
      bytes(
        '5400 0180 0600 0100 0a00 0000 0600 0200 1100 0000',
        '1400 0300 20010db8000000000000000000000001 0600 0400 0035 0000',
        '0700 0600 736800 00 0c00 0700 11000000 ffffffff 0800 0800 2c010000 0800 0900 40000000',
      ),
    ],
    [
      '-A -f 7 -s rr -p',
      MARK,
      { ...UNUSED, scheduler: 'rr', flags: 1, timeoutSec: 360 },
      bytes(
        '3800 0180 0600 0100 0200 0000 0800 0500 07000000',
        '0700 0600 727200 00 0c00 0700 01000000 ffffffff 0800 0800 68010000 0800 0900 ffffffff',
      ),
    ],
    [
      '-A -u 198.18.0.1:5060 -s rr -p 60 --pe sip',
      { ...TCP, protocol: 17, port: 5060 },
      { ...UNUSED, scheduler: 'rr', flags: 1, timeoutSec: 60, engine: 'sip' },
      bytes(
        '5c00 0180 0600 0100 0200 0000 0600 0200 1100 0000',
        '1400 0300 c6120001 000000000000000000000000 0600 0400 13c4 0000',
        '0700 0600 727200 00 0800 0b00 73697000',
        '0c00 0700 01000000 ffffffff 0800 0800 3c000000 0800 0900 ffffffff',
      ),
    ],
    [
      '-D -t 198.18.0.1:80, -Z -t 198.18.0.1:80',
      TCP,
      UNUSED,
      bytes('5400 0180', ID_TCP, PORT_80, UNUSED_OPTIONS),
    ],
    [
      '-L -t 198.18.0.1:80',
      TCP,
      { ...UNUSED, netmask: 0 },
      bytes('5400 0180', ID_TCP, PORT_80, UNUSED_OPTIONS.replace(/ffffffff$/, '00000000')),
    ],
  ]
  for (const [title, id, options, expected] of cases) {
    it(title, () => {
      sameBytes(ipvs.packServiceRequest(id, options), expected)
      const { service } = open(expected)
      assert.deepEqual(valueOf(ipvs.unpackService(service)), { ...id, ...options })
      assert.deepEqual(valueOf(ipvs.unpackServiceId(service)), id)
    })
  }

  it('may name it only', () => {
    const request = bytes('3000 0180', ID_TCP, PORT_80)
    sameBytes(ipvs.packServiceRequest(TCP), request)
    refusedWith(ipvs.unpackService(open(ipvs.packServiceRequest(TCP)).service), 'EINVAL')
  })
})

describe('netlink: requests for a destination', () => {
  const HEAD = `5400 0180 ${ID_TCP} ${PORT_80} ${UNUSED_OPTIONS}`
  const ADDRESS = '0600 0b00 0200 0000 1400 0100 c6120101 000000000000000000000000'
  const cases: [string, number, Partial<WireDestinationOptions>, string][] = [
    [
      '-a -t 198.18.0.1:80 -r 198.18.1.1:8080 -m -w 5 -x 100 -y 50',
      8080,
      { method: 0, weight: 5, upperThreshold: 100, lowerThreshold: 50 },
      '0600 0200 1f90 0000 0800 0300 00000000 0800 0400 05000000 0500 0d00 00 000000' +
        '0600 0e00 0000 0000 0600 0f00 0000 0000 0800 0500 64000000 0800 0600 32000000',
    ],
    [
      '-a -t 198.18.0.1:80 -r 198.18.1.1 -i --tun-type gue --tun-port 6080 --tun-csum',
      80,
      { method: 2, tunnelType: 1, tunnelPort: 6080, tunnelFlags: 1 },
      '0600 0200 0050 0000 0800 0300 02000000 0800 0400 01000000 0500 0d00 01 000000' +
        '0600 0e00 17c0 0000 0600 0f00 0100 0000 0800 0500 00000000 0800 0600 00000000',
    ],
    [
      '-d -t 198.18.0.1:80 -r 198.18.1.1:8080',
      8080,
      {},
      '0600 0200 1f90 0000 0800 0300 03000000 0800 0400 01000000 0500 0d00 00 000000' +
        '0600 0e00 0000 0000 0600 0f00 0000 0000 0800 0500 00000000 0800 0600 00000000',
    ],
  ]
  for (const [title, port, chosen, tail] of cases) {
    it(title, () => {
      const id = { address: address('198.18.1.1'), port }
      const options = { ...PLAIN, ...chosen }
      const expected = bytes(HEAD, '6000 0280', ADDRESS, tail)
      sameBytes(ipvs.packDestinationRequest(TCP, id, options, UNUSED), expected)
      const { service, destination } = open(expected)
      assert.deepEqual(valueOf(ipvs.unpackServiceId(service)), TCP)
      assert.deepEqual(valueOf(ipvs.unpackDestination(destination, 4)), { ...id, ...options })
      assert.deepEqual(valueOf(ipvs.unpackDestinationId(destination, 6)), id)
    })
  }

  it('may name both only', () => {
    const id = { address: address('2001:db8::2'), port: 80 }
    const request = ipvs.packDestinationRequest(MARK, id)
    sameBytes(
      request,
      bytes(
        '1400 0180 0600 0100 0200 0000 0800 0500 07000000',
        '2800 0280 0600 0b00 0a00 0000',
        '1400 0100 20010db8000000000000000000000002 0600 0200 0050 0000',
      ),
    )
    const { destination } = open(request)
    assert.deepEqual(valueOf(ipvs.unpackDestinationId(destination, 4)), id)
    refusedWith(ipvs.unpackDestination(destination, 4), 'EINVAL')
  })
})

describe('netlink: requests for daemons and timeouts', () => {
  const LO: WireDaemon = {
    state: 1,
    interface: 'lo',
    syncId: 5,
    maxLength: 0,
    group: undefined,
    port: 0,
    ttl: 0,
  }
  const cases: [string, WireDaemon, string][] = [
    [
      '--start-daemon master --mcast-interface lo --syncid 5',
      LO,
      '1c00 0380 0800 0100 01000000 0700 0200 6c6f00 00 0800 0300 05000000',
    ],
    [
      '--start-daemon backup ... --sync-maxlen 1400 --mcast-group 224.0.1.2 --mcast-port 8850',
      { ...LO, state: 2, maxLength: 1400, group: address('224.0.1.2'), port: 8850, ttl: 3 },
      '3c00 0380 0800 0100 02000000 0700 0200 6c6f00 00 0800 0300 05000000 0600 0400 7805 0000' +
        '0600 0700 9222 0000 0500 0800 03 000000 0800 0500 e0000102',
    ],
    [
      '--start-daemon master --mcast-interface lo --mcast-group ff02::5',
      { ...LO, syncId: 0, group: address('ff02::5') },
      '3000 0380 0800 0100 01000000 0700 0200 6c6f00 00 0800 0300 00000000' +
        '1400 0600 ff020000000000000000000000000005',
    ],
  ]
  for (const [title, daemon, hex] of cases) {
    it(title, () => {
      sameBytes(ipvs.packDaemonRequest(daemon), bytes(hex))
      const container = open(bytes(hex)).daemon
      assert.deepEqual(valueOf(ipvs.unpackDaemon(container)), daemon)
      assert.equal(valueOf(ipvs.unpackDaemonStop(container)), daemon.state)
    })
  }

  it('--stop-daemon master', () => {
    const hex = '1c00 0380 0800 0100 01000000 0500 0200 00 000000 0800 0300 00000000'
    sameBytes(ipvs.packDaemonRequest({ ...LO, interface: '', syncId: 0 }), bytes(hex))
    assert.equal(valueOf(ipvs.unpackDaemonStop(open(bytes(hex)).daemon)), 1)
  })

  it('--set 900 120 300', () => {
    const expected = bytes('0800 0400 84030000 0800 0500 78000000 0800 0600 2c010000')
    const timeouts = { tcpSec: 900, tcpFinSec: 120, udpSec: 300 }
    sameBytes(ipvs.packTimeouts(timeouts), expected)
    assert.deepEqual(open(expected).timeouts, timeouts)
    const some = bytes('0800 0500 78000000')
    assert.deepEqual(open(some).timeouts, { tcpSec: 0, tcpFinSec: 120, udpSec: 0 })
  })
})

const STATS_HEX = [
  '0800 0100 01000000 0800 0200 02000000 0800 0300 03000000',
  '0c00 0400 0400000000000000 0c00 0500 0500000000000000',
  '0800 0600 06000000 0800 0700 07000000 0800 0800 08000000 0800 0900 09000000 0800 0a00 0a000000',
].join('')
const STATS64_HEX = Array.from({ length: 10 }, (_, i) => {
  const number = (i + 1).toString(16).padStart(2, '0')
  return `0c00 ${number}00 ${number}00000000000000`
}).join('')

describe('netlink: answers', () => {
  it('show a service', () => {
    const shown: WireService = {
      ...TCP,
      scheduler: 'wlc',
      flags: 3,
      flagsMask: 0xffffffff,
      timeoutSec: 300,
      netmask: 0xffffff00,
      engine: '',
      stats: ONE_TO_TEN,
    }
    const expected = bytes(
      '2c01 0100',
      ID_TCP,
      PORT_80,
      '0800 0600 776c6300 0c00 0700 03000000 ffffffff 0800 0800 2c010000 0800 0900 ffffff00',
      '5c00 0a00',
      STATS_HEX,
      '7c00 0c00',
      STATS64_HEX,
    )
    sameBytes(ipvs.packServiceReply(shown), expected)
    assert.deepEqual(valueOf(ipvs.unpackServiceReply(open(expected).service)), shown)
    // Of a kernel without STATS64, and of one without any.
    const old = bytes('b000 0100', Buffer.from(expected.subarray(4, 176)).toString('hex'))
    assert.deepEqual(valueOf(ipvs.unpackServiceReply(open(old).service)), shown)
    const bare = open(bytes('5400 0100', Buffer.from(expected.subarray(4, 84)).toString('hex')))
    const none = valueOf(ipvs.unpackServiceReply(bare.service)).stats
    assert.ok(Object.values(none).every((counter) => counter === 0n))
  })

  it('show a mark service with its engine', () => {
    const shown = { ...MARK, ...UNUSED, scheduler: 'rr', engine: 'sip', stats: ONE_TO_TEN }
    const start = '0600 0100 0200 0000 0800 0500 07000000 0700 0600 727200 00 0800 0b00 73697000'
    const reply = ipvs.packServiceReply(shown)
    sameBytes(reply.subarray(4, 36), bytes(start))
    assert.deepEqual(valueOf(ipvs.unpackServiceReply(open(reply).service)), shown)
  })

  it('show a destination', () => {
    const shown: WireDestination = {
      ...PLAIN,
      address: address('198.18.1.1'),
      port: 8080,
      method: 2,
      weight: -1,
      tunnelType: 1,
      tunnelPort: 6080,
      tunnelFlags: 2,
      upperThreshold: 100,
      lowerThreshold: 50,
      active: 1,
      inactive: 2,
      persistent: 3,
      stats: ONE_TO_TEN,
    }
    const expected = bytes(
      '5001 0200',
      '1400 0100 c6120101 000000000000000000000000 0600 0200 1f90 0000',
      '0800 0300 02000000 0800 0400 ffffffff',
      '0500 0d00 01 000000 0600 0e00 17c0 0000 0600 0f00 0200 0000',
      '0800 0500 64000000 0800 0600 32000000',
      '0800 0700 01000000 0800 0800 02000000 0800 0900 03000000 0600 0b00 0200 0000',
      '5c00 0a00',
      STATS_HEX,
      '7c00 0c00',
      STATS64_HEX,
    )
    sameBytes(ipvs.packDestinationReply(shown), expected)
    const { destination } = open(expected)
    assert.deepEqual(valueOf(ipvs.unpackDestinationReply(destination, 4)), shown)
  })

  it('cut counters to 32 bits in STATS only', () => {
    const stats = { ...ONE_TO_TEN, connections: 0x1_0000_0002n, outByteRate: 0xf_ffff_ffffn }
    const shown = { ...TCP, ...UNUSED, stats }
    const reply = ipvs.packServiceReply(shown)
    const hex = Buffer.from(reply).toString('hex')
    assert.ok(hex.includes('5c000a00' + '0800010002000000'))
    assert.ok(hex.includes('08000a00ffffffff' + '7c000c00' + '0c0001000200000001000000'))
    assert.deepEqual(valueOf(ipvs.unpackServiceReply(open(reply).service)), shown)
  })

  it('show a daemon', () => {
    const shown: WireDaemon = {
      state: 1,
      interface: 'lo',
      syncId: 5,
      maxLength: 1472,
      group: address('224.0.0.81'),
      port: 8848,
      ttl: 1,
    }
    const start =
      '0800 0100 01000000 0700 0200 6c6f00 00 0800 0300 05000000' +
      '0600 0400 c005 0000 0600 0700 9022 0000 0500 0800 01 000000'
    const expected = bytes('3c00 0300', start, '0800 0500 e0000051')
    sameBytes(ipvs.packDaemonReply(shown), expected)
    assert.deepEqual(valueOf(ipvs.unpackDaemonReply(open(expected).daemon)), shown)
    const six = { ...shown, group: address('ff02::51') }
    const expected6 = bytes('4800 0300', start, '1400 0600 ff020000000000000000000000000051')
    sameBytes(ipvs.packDaemonReply(six), expected6)
    assert.deepEqual(valueOf(ipvs.unpackDaemonReply(open(expected6).daemon)), six)
  })

  it('show the version', () => {
    const info = { version: 0x010201, tableSize: 4096 }
    const expected = bytes('0800 0100 01020100 0800 0200 00100000')
    sameBytes(ipvs.packInfo(info), expected)
    assert.deepEqual(valueOf(ipvs.unpackInfo(expected)), info)
    refusedWith(ipvs.unpackInfo(expected.subarray(0, 8)), 'EINVAL')
  })
})

describe('netlink: refusals', () => {
  const service = (...hex: string[]) => bytes(...hex)

  it('of a service that is missing, incomplete or malformed', () => {
    refusedWith(ipvs.unpackServiceId(undefined), 'EINVAL')
    refusedWith(ipvs.unpackServiceId(bytes('')), 'EINVAL')
    refusedWith(ipvs.unpackServiceId(service(ID_TCP)), 'EINVAL')
    refusedWith(ipvs.unpackServiceId(service(PORT_80, '0600 0100 0200 0000')), 'EINVAL')
    refusedWith(ipvs.unpackServiceId(service('0800 0500 07000000')), 'EINVAL')
    // The family one byte short: the policy's ERANGE is EINVAL inside a container.
    refusedWith(ipvs.unpackServiceId(service('0500 0100 02 000000 0800 0500 07000000')), 'EINVAL')
    const name = (hex: string) =>
      service(
        '0600 0100 0200 0000 0800 0500 07000000',
        hex,
        '0c00 0700 00000000 ffffffff 0800 0800 00000000 0800 0900 ffffffff',
      )
    refusedWith(ipvs.unpackService(name(`1400 0600 ${'61'.repeat(16)}`)), 'EINVAL')
    refusedWith(ipvs.unpackService(name(`1500 0600 ${'61'.repeat(16)} 00 000000`)), 'EINVAL')
    const fits = valueOf(ipvs.unpackService(name(`1400 0600 ${'61'.repeat(15)} 00`)))
    assert.equal(fits.scheduler, 'a'.repeat(15))
    assert.equal(valueOf(ipvs.unpackService(name('0500 0600 00 000000'))).scheduler, '')
  })

  it('of a family that is not an internet family', () => {
    for (const family of ['0000', '0100', '0b00', 'ffff']) {
      const id = `0600 0100 ${family} 0000 0800 0500 07000000`
      refusedWith(ipvs.unpackServiceId(service(id)), 'EAFNOSUPPORT')
      // The family is looked at before the options.
      refusedWith(ipvs.unpackService(service(id)), 'EAFNOSUPPORT')
    }
    refusedWith(ipvs.unpackServiceId(service('0600 0100 ffff 0000')), 'EINVAL')
  })

  it('none where a mark stands beside an address: the address does not count', () => {
    const both = service(ID_TCP, PORT_80, '0800 0500 07000000')
    assert.deepEqual(valueOf(ipvs.unpackServiceId(both)), MARK)
    const zero = service(ID_TCP, PORT_80, '0800 0500 00000000')
    assert.deepEqual(valueOf(ipvs.unpackServiceId(zero)), { ...MARK, fwmark: 0 })
  })

  it('none of short binary values: missing bytes are zero', () => {
    const id = service('0600 0100 0a00 0000 0600 0200 1100 0000 0600 0300 2001 0000', PORT_80)
    assert.equal(valueOf(ipvs.unpackServiceId(id)).address.text, '2001::')
    const flags = '0500 0700 02 000000 0800 0800 00000000 0800 0900 ffffffff'
    const full = service(ID_TCP, PORT_80, '0500 0600 00 000000', flags)
    assert.deepEqual(valueOf(ipvs.unpackService(full)), {
      ...TCP,
      ...UNUSED,
      flags: 2,
      flagsMask: 0,
    })
  })

  it('of a destination', () => {
    refusedWith(ipvs.unpackDestinationId(undefined, 4), 'EINVAL')
    const at = '1400 0100 c6120101 000000000000000000000000'
    refusedWith(ipvs.unpackDestinationId(bytes(at), 4), 'EINVAL')
    const id = `${at} 0600 0200 1f90 0000`
    const options = '0800 0300 0b000000 0800 0400 05000000 0800 0500 64000000 0800 0600 32000000'
    refusedWith(ipvs.unpackDestination(bytes(id), 4), 'EINVAL')
    refusedWith(ipvs.unpackDestinationId(bytes(id, '0600 0b00 0500 0000'), 4), 'EAFNOSUPPORT')
    // What is missing is seen before the family.
    refusedWith(ipvs.unpackDestination(bytes(id, '0600 0b00 0500 0000'), 4), 'EINVAL')
    refusedWith(
      ipvs.unpackDestination(bytes(id, options, '0600 0b00 0500 0000'), 4),
      'EAFNOSUPPORT',
    )
    for (const family of ['', '0600 0b00 0000 0000', '0600 0b00 0200 0000']) {
      const read = valueOf(ipvs.unpackDestination(bytes(id, options, family), 4))
      assert.equal(read.address.text, '198.18.1.1')
      assert.equal(read.method, 3)
      assert.equal(read.tunnelType, 0)
    }
    const six = valueOf(ipvs.unpackDestinationId(bytes(id, '0600 0b00 0000 0000'), 6))
    assert.equal(six.address.text, 'c612:101::')
  })

  it('of a daemon', () => {
    refusedWith(ipvs.unpackDaemon(undefined), 'EINVAL')
    refusedWith(ipvs.unpackDaemonStop(bytes('0700 0200 6c6f00 00')), 'EINVAL')
    const state = '0800 0100 01000000'
    const rest = '0700 0200 6c6f00 00 0800 0300 05000000'
    refusedWith(ipvs.unpackDaemon(bytes(state, '0700 0200 6c6f00 00')), 'EINVAL')
    refusedWith(ipvs.unpackDaemon(bytes(state, rest, '0800 0500 c6120001')), 'EINVAL')
    const unicast6 = '1400 0600 20010db8000000000000000000000001'
    refusedWith(ipvs.unpackDaemon(bytes(state, rest, unicast6)), 'EINVAL')
    refusedWith(ipvs.unpackDaemon(bytes(state, rest, '0800 0600 ff020000')), 'EINVAL')
    // The IPv4 group wins, also over one that would be refused.
    const both = valueOf(ipvs.unpackDaemon(bytes(state, rest, unicast6, '0800 0500 e0000051')))
    assert.equal(both.group?.text, '224.0.0.81')
  })

  it('of a command whose attributes are malformed', () => {
    refusedWith(ipvs.unpackCommand(bytes('0600 0400 0100 0000')), 'ERANGE')
    refusedWith(ipvs.unpackCommand(bytes('0600 0100 0100 0000')), 'ERANGE')
    const empty = open(bytes('0400 0180'))
    assert.equal(empty.service?.length, 0)
    refusedWith(ipvs.unpackServiceId(empty.service), 'EINVAL')
    assert.equal(open(bytes('0800 0180 0600 0100')).service?.length, 4)
    assert.equal(open(bytes('0c00 0180 0600 0100')).service, undefined)
  })
})

describe('netlink: the family', () => {
  it('offers each command in the forms of spec 9.1', () => {
    assert.equal(commandOf(COMMAND.getService, true), 'getService')
    assert.equal(commandOf(COMMAND.getService, false), 'getService')
    assert.equal(commandOf(COMMAND.getDestination, true), 'getDestination')
    assert.equal(commandOf(COMMAND.getDestination, false), undefined)
    assert.equal(commandOf(COMMAND.getDaemon, false), undefined)
    assert.equal(commandOf(COMMAND.flush, true), undefined)
    for (const number of [0, COMMAND.setInfo, 18, 255]) {
      assert.equal(commandOf(number, false), undefined)
    }
    const { operations, maxAttribute } = ipvsFamily(0x1b)
    assert.equal(maxAttribute, 6)
    const numbers = operations.map(({ id }) => id)
    assert.deepEqual(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17])
    const flags = new Map(operations.map(({ id, flags: bits }) => [id, bits]))
    assert.equal(flags.get(COMMAND.getService), 0xf)
    assert.equal(flags.get(COMMAND.getDestination), 0xd)
    assert.equal(flags.get(COMMAND.newService), 0xb)
  })
})
