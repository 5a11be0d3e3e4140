/** The packet builder and decoder against bytes known from elsewhere, and against each other. */
import assert from 'node:assert/strict'
import { buildFrame, buildPacket, type Frame, type IpPacket } from './packet-builder.js'
import { decodeFrame, decodePacket } from './packet-decoder.js'
import { SeededRandom } from './seeded-random.js'
import { addressToBytes, addressToText, internetChecksum, PROTOCOL } from './wire.js'

const ethernet = { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' }
const v4 = { source: '198.18.0.1', destination: '198.18.0.200' }
const v6 = { source: '2001:db8::1', destination: '2001:db8::200' }

const hex = (text: string): Uint8Array =>
  Uint8Array.from(Buffer.from(text.replace(/\s/g, ''), 'hex'))

describe('wire', () => {
  it('sums the example of RFC 1071 section 3', () => {
    // 0001 f203 f4f5 f6f7 sums to ddf2 (ones' complement), so the checksum is 220d.
    assert.equal(internetChecksum(hex('0001f203f4f5f6f7')), 0x220d)
  })

  it('reads and prints addresses in canonical form', () => {
    for (const [text, canonical] of [
      ['198.18.255.1', '198.18.255.1'],
      ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
      ['::', '::'],
      ['2001:db8::', '2001:db8::'],
      ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
      ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
      ['::ffff:198.18.0.1', '::ffff:c612:1'],
    ] as const) {
      assert.equal(addressToText(addressToBytes(text)), canonical)
    }
    assert.throws(() => addressToBytes('198.18.0'), /not an IP address/)
  })
})

describe('seeded random', () => {
  it('gives the published SplitMix64 sequence, as test/native/check_test.cc does', () => {
    const random = new SeededRandom(1234567)
    assert.equal(random.next(), 6457827717110365317n)
    assert.equal(random.next(), 3203168211198807973n)
    assert.equal(random.next(), 9817491932198370423n)
  })

  it('stays in its bounds and keeps every element when it shuffles', () => {
    const random = new SeededRandom(2)
    const seen = new Set(Array.from({ length: 200 }, () => random.between(3, 7)))
    assert.deepEqual([...seen].sort(), [3, 4, 5, 6, 7])
    assert.deepEqual(random.shuffle([1, 2, 3, 4, 5]).sort(), [1, 2, 3, 4, 5])
    assert.throws(() => random.below(0), RangeError)
  })
})

describe('packet builder', () => {
  it('builds an IPv4 header byte by byte', () => {
    // A widely published example: 4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7.
    const ip = { source: '192.168.0.1', destination: '192.168.0.199', dontFragment: true }
    const built = buildPacket({ ip: { ...ip, totalLength: 0x73, protocol: 17 }, payload: '' })
    assert.deepEqual(built, hex('4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7'))
  })

  it('builds ARP as RFC 826 lays it out', () => {
    const arp = {
      operation: 'request',
      senderMac: ethernet.source,
      senderAddress: '198.18.0.1',
      targetMac: '00:00:00:00:00:00',
      targetAddress: '198.18.0.200',
    } as const
    const built = buildFrame({ ethernet: { ...ethernet, destination: 'ff:ff:ff:ff:ff:ff' }, arp })
    assert.deepEqual(
      built,
      hex(`ffffffffffff 020000000001 0806 0001 0800 06 04 0001
           020000000001 c6120001 000000000000 c61200c8`),
    )
    assert.deepEqual(decodeFrame(built).arp, arp)
  })

  it('leaves a partial checksum when asked, and the decoder tells it from a wrong one', () => {
    const tcp = { source: 1, destination: 2, checksum: 'partial' } as const
    assert.deepEqual(decodePacket(buildPacket({ ip: v4, tcp })).problems, ['tcp: partial checksum'])
    const wrong = { source: 1, destination: 2, checksum: 1 }
    assert.deepEqual(decodePacket(buildPacket({ ip: v4, tcp: wrong })).problems, ['tcp: checksum'])
    assert.deepEqual(decodePacket(buildPacket({ ip: { ...v4, checksum: 7 } })).problems, [
      'ip: checksum',
    ])
  })

  it('knows that UDP may go without a checksum in IPv4 only', () => {
    const udp = { source: 1, destination: 2, checksum: 0 }
    assert.deepEqual(decodePacket(buildPacket({ ip: v4, udp })).problems, [])
    assert.deepEqual(decodePacket(buildPacket({ ip: v6, udp })).problems, ['udp: no checksum'])
  })

  it('reports a length that promises more than there is', () => {
    const packet = buildPacket({ ip: v4, udp: { source: 1, destination: 2 }, payload: 'abc' })
    assert.equal(
      decodePacket(packet.subarray(0, 30)).problems[0],
      'ip: length 31, but there are 30 bytes',
    )
  })
})

describe('packet builder and decoder', () => {
  const fragment = { type: PROTOCOL.fragment, body: hex('0001 00000007') }
  const options = { type: PROTOCOL.destinationOptions, body: hex('0104 00000000') }
  const authentication = {
    type: PROTOCOL.authentication,
    body: hex('0000 00001001 00000001 a5a5a5a5a5a5a5a5a5a5a5a5'),
  }
  const inner: IpPacket = { ip: v4, tcp: { source: 40000, destination: 80, flags: 'SEC' } }
  const cases: Record<string, Frame> = {
    'TCP over IPv4': { ethernet, ip: v4, tcp: { source: 1, destination: 80 }, payload: 'GET /' },
    'TCP over IPv6': { ethernet, ip: v6, tcp: { source: 1, destination: 80 }, payload: 'GET /' },
    'TCP with options': {
      ethernet: { ...ethernet, vlans: [7, 8] },
      ip: { ...v4, options: hex('94040000'), trafficClass: 0x2a, ttl: 1 },
      tcp: { source: 1, destination: 2, options: hex('020405b4'), flags: 'S', window: 9 },
    },
    'UDP over IPv4': { ethernet, ip: v4, udp: { source: 53, destination: 9 }, payload: 'x' },
    'UDP over IPv6': {
      ethernet,
      ip: { ...v6, flowLabel: 0xabcde, trafficClass: 0xfe, extensions: [options, options] },
      udp: { source: 53, destination: 9 },
      payload: 'odd',
    },
    'UDP behind AH': {
      ethernet,
      ip: { ...v6, extensions: [authentication, options] },
      udp: { source: 53, destination: 9 },
      payload: 'signed',
    },
    'a first fragment': {
      ethernet,
      ip: { ...v6, extensions: [fragment] },
      udp: { source: 53, destination: 9, length: 4000 },
      payload: 'first part',
    },
    'a later fragment': {
      ethernet,
      ip: { ...v4, fragmentOffset: 1480, identification: 7, protocol: 17 },
      payload: 'the rest',
    },
    'ICMP echo': { ethernet, ip: v4, icmp: { type: 8, code: 0, rest: 0x10002 }, payload: 'ping' },
    'ICMPv6 echo': { ethernet, ip: v6, icmp: { type: 128, code: 0, rest: 1 }, payload: 'ping' },
    'ICMP quoting a packet': {
      ethernet,
      ip: v4,
      icmp: { type: 3, code: 4, rest: 1480 },
      payload: buildPacket(inner).subarray(0, 28),
    },
    IPIP: { ethernet, ip: { source: '198.18.1.1', destination: '198.18.1.2' }, inner },
    'IPv4 in IPv6': { ethernet, ip: v6, inner },
  }
  for (const [name, frame] of Object.entries(cases)) {
    it(`give back ${name}`, () => {
      const built = buildFrame(frame)
      const decoded = decodeFrame(built)
      assert.deepEqual(decoded.problems, [])
      assert.deepEqual(buildFrame(decoded as Frame), built)
    })
  }

  it('give back every flag, port and sequence number (seed 1)', () => {
    const random = new SeededRandom(1)
    for (let i = 0; i < 200; i++) {
      const flags = [...'FSRPAUEC'].filter(() => random.oneIn(2)).join('')
      const tcp = {
        source: random.below(65536),
        destination: random.below(65536),
        sequence: random.below(2 ** 32),
        acknowledgment: random.below(2 ** 32),
        flags,
      }
      const decoded = decodePacket(
        buildPacket({ ip: random.pick([v4, v6]), tcp, payload: random.bytes(random.below(99)) }),
      )
      assert.deepEqual(decoded.problems, [])
      assert.deepEqual({ ...decoded.tcp, ...tcp }, decoded.tcp)
    }
  })
})
