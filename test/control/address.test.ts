/** Address texts: every form the tools take, and parse(print(x)) = x. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  addressFromMapped,
  addressFromValue,
  addressRange,
  addressValue,
  foldAddress,
  isUsableUnicast,
  mappedBytes,
  parseAddress,
  parseIpv4Aton,
} from '../../src/control/model/address.js'
import { ip } from './fixtures.js'

const IPV6_TEXTS: readonly (readonly [string, string])[] = [
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['2001:DB8::0001', '2001:db8::1'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['0:0:0:1::', '0:0:0:1::'],
  ['::ffff:198.18.0.1', '::ffff:198.18.0.1'],
  ['::c612:1', '::198.18.0.1'],
  ['::1:2', '::0.1.0.2'],
  ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
]

describe('addresses', () => {
  for (const [text, canonical] of IPV6_TEXTS) {
    it(`${text} prints as ${canonical}`, () => assert.equal(parseAddress(text)?.text, canonical))
  }

  for (const text of ['', '1.2.3', '1.2.3.4.5', '1.2.3.256', '2001:db8', 'fe80::1%lo', 'x']) {
    it(`"${text}" is no address`, () => assert.equal(parseAddress(text), undefined))
  }

  it('takes every form of inet_aton', () => {
    const forms: readonly (readonly [string, string | undefined])[] = [
      ['198.18.0.1', '198.18.0.1'],
      ['1.2', '1.0.0.2'],
      ['1.2.3', '1.2.0.3'],
      ['0x7f.1', '127.0.0.1'],
      ['012.0x10.1.1', '10.16.1.1'],
      ['3232235777', '192.168.1.1'],
      ['1.2.3.4 x', '1.2.3.4'],
      ['256.1', undefined],
      ['1.16777216', undefined],
      ['08.1.1.1', undefined],
      ['1.2.3.4.5', undefined],
      [' 1.2.3.4', undefined],
    ]
    for (const [text, expected] of forms) assert.equal(parseIpv4Aton(text)?.text, expected, text)
  })

  it('parse(print(x)) = x for every IPv4 and IPv6 value', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }), (value) => {
        const address = addressFromValue(4, value)
        assert.deepEqual(parseAddress(address.text), address)
        assert.equal(addressValue(address), value)
      }),
    )
    // Values with many zero groups, where the text is shortened.
    const group = fc.oneof(
      fc.constant(0n),
      fc.constant(0xffffn),
      fc.bigInt({ min: 0n, max: 0xffffn }),
    )
    const value = fc
      .array(group, { minLength: 8, maxLength: 8 })
      .map((groups) => groups.reduce((sum, g) => (sum << 16n) | g, 0n))
    fc.assert(
      fc.property(value, (v) => {
        const address = addressFromValue(6, v)
        assert.deepEqual(parseAddress(address.text), address)
        assert.equal(addressValue(address), v)
        // An IPv4-mapped value reads back as the IPv4 address: 16 bytes do not carry the family.
        if (v >> 32n !== 0xffffn) assert.deepEqual(addressFromMapped(mappedBytes(address)), address)
      }),
    )
  })

  it('has the mapped form and the fold of the kernel', () => {
    assert.equal(
      Buffer.from(mappedBytes(ip('198.18.0.1'))).toString('hex'),
      '00000000000000000000ffffc6120001',
    )
    assert.equal(foldAddress(ip('198.18.0.1')), 0xc6120001)
    assert.equal(foldAddress(ip('2001:db8::1')), (0x20010db8 ^ 1) >>> 0)
  })

  it('knows which addresses a destination can have', () => {
    for (const good of ['198.18.0.1', '127.0.0.1', '240.0.0.1', '2001:db8::1', '::1']) {
      assert.equal(isUsableUnicast(ip(good)), true, good)
    }
    for (const bad of [
      '0.0.0.0',
      '0.1.2.3',
      '224.0.0.1',
      '255.255.255.255',
      '::',
      'ff02::1',
      'fe80::1',
    ]) {
      assert.equal(isUsableUnicast(ip(bad)), false, bad)
    }
  })

  it('counts ranges, and refuses backward, mixed and too long ones', () => {
    const range = addressRange(ip('198.18.0.254'), ip('198.18.1.1'), 8)
    assert.deepEqual(
      range?.map((a) => a.text),
      ['198.18.0.254', '198.18.0.255', '198.18.1.0', '198.18.1.1'],
    )
    assert.equal(addressRange(ip('198.18.0.2'), ip('198.18.0.1'), 8), undefined)
    assert.equal(addressRange(ip('198.18.0.2'), ip('2001:db8::1'), 8), undefined)
    assert.equal(addressRange(ip('198.18.0.0'), ip('198.18.1.0'), 8), undefined)
  })
})
