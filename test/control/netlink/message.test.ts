/**
 * Attributes, messages, the controller and error numbers, against bytes a Linux 6.18 kernel gave
 * (the controller's description of itself, acknowledgements, refusals) and hand-made ones.
 */
import assert from 'node:assert/strict'
import { ERRNO_TEXT } from '../../../src/control/model/errors.js'
import {
  AttributeWriter,
  readArray,
  readAttributes,
} from '../../../src/control/netlink/attributes.js'
import * as ctrl from '../../../src/control/netlink/ctrl.js'
import { ERRNO, errnoName } from '../../../src/control/netlink/errno.js'
import * as wire from '../../../src/control/netlink/message.js'
import { bytes, refusedWith, sameBytes, valueOf } from './wire-samples.js'

const PORT = 8042
/** Port 8042 in the header of what the kernel sends to it. */
const HEX_PORT = '6a1f0000'

describe('netlink: attributes', () => {
  it('are written with their length, type and padding', () => {
    const writer = new AttributeWriter()
      .u8(1, 0x12)
      .u16(2, 0x1234)
      .be16(3, 0x1234)
      .u32(4, 0x12345678)
      .be32(5, 0x12345678)
      .u64(6, 0x123456789abcdef0n)
      .string(7, 'wlc')
      .binary(8, bytes('0102030405'))
    writer.nested(9, () => writer.u8(1, 1)).flaggedNested(10, () => undefined)
    sameBytes(
      writer.finish(),
      bytes(
        '0500 0100 12 000000',
        '0600 0200 3412 0000',
        '0600 0300 1234 0000',
        '0800 0400 78563412',
        '0800 0500 12345678',
        '0c00 0600 f0debc9a78563412',
        '0800 0700 776c6300',
        '0900 0800 0102030405 000000',
        '0c00 0900 0500 0100 01 000000',
        '0400 0a80',
      ),
    )
  })

  it('grow, but not beyond their limit', () => {
    const long = new AttributeWriter().binary(1, new Uint8Array(60_000).fill(7)).finish()
    assert.equal(long.length, 60_004)
    assert.equal(long[60_003], 7)
    assert.throws(() => new AttributeWriter(16).u64(1, 1n).u8(2, 1), RangeError)
    assert.throws(() => new AttributeWriter().string(1, 'x'.repeat(70_000)), RangeError)
  })

  it('are read with their flags masked, the last of equals, and unknown ones passed over', () => {
    const stream = bytes('0800 0180 01000000', '0500 6300 ff000000', '0800 0140 02000000')
    const read = valueOf(readAttributes(stream, { 1: 'u32' }))
    assert.equal(read.u32(1), 2)
    assert.equal(read.has(99), false)
    assert.equal(read.u32(2), undefined)
    assert.equal(read.u64(1), undefined)
  })

  it('end at a header that does not fit', () => {
    for (const tail of ['', '06', '0300 0200 ffff0000', '0900 0200 ffff0000', '0000 0200']) {
      const stream = bytes('0600 0100 0100 0000', tail)
      const read = valueOf(readAttributes(stream, { 1: 'u16', 2: 'u8' }))
      assert.equal(read.u16(1), 1)
      assert.equal(read.has(2), false, tail)
      assert.equal(readArray(stream).length, 1)
    }
  })

  it('are refused where the kernel refuses them', () => {
    const policy = { 1: 'u32', 2: { string: 3 }, 3: { binary: 4 }, 4: 'nested', 5: { bytes: 2 } }
    const read = (hex: string) => readAttributes(bytes(hex), policy as never)
    refusedWith(read('0700 0100 01000000'), 'ERANGE')
    assert.equal(valueOf(read('0c00 0100 01000000 02000000')).u32(1), 1)
    assert.equal(valueOf(read('0800 0200 61626300')).string(2), 'abc')
    assert.equal(valueOf(read('0700 0200 61006300')).string(2), 'a')
    refusedWith(read('0800 0200 61626364'), 'EINVAL')
    refusedWith(read('0400 0200'), 'EINVAL')
    refusedWith(read('0900 0200 61620000 00000000'), 'ERANGE')
    sameBytes(valueOf(read('0600 0300 61620000')).binary(3, 4) ?? bytes(), bytes('61620000'))
    refusedWith(read('0900 0300 0102030405000000'), 'ERANGE')
    assert.ok(valueOf(read('0400 0400')).has(4))
    refusedWith(read('0600 0400 01020000'), 'ERANGE')
    refusedWith(read('0500 0500 01000000'), 'ERANGE')
  })
})

describe('netlink: messages', () => {
  const head = { family: 0x10, command: 3, version: 1, sequence: 7, port: 0 }
  const request = wire.packRequest(head, ctrl.packFamilyRequest({ name: 'IPVS' }))

  it('carry a request as libnl sends it', () => {
    sameBytes(
      request,
      bytes('20000000 1000 0500 07000000 00000000', '03 01 0000', '0900 0200 4950565300 000000'),
    )
    const dump = wire.packRequest({ ...head, family: 0x1b, command: 4 }, new Uint8Array())
    assert.equal(wire.isDump(wire.splitMessages(dump)[0]), false)
    const listing = wire.packRequest({ ...head, family: 0x1b, command: 4 }, new Uint8Array(), true)
    sameBytes(listing, bytes('14000000 1b00 0503 07000000 00000000', '04 01 0000'))
    assert.equal(wire.isDump(wire.splitMessages(listing)[0]), true)
  })

  it('are split, with padding between them and without what does not fit', () => {
    const odd = wire.packMessage({ type: 3, flags: 2, sequence: 1, port: 2 }, bytes('0a'))
    sameBytes(odd, bytes('11000000 0300 0200 01000000 02000000', '0a 000000'))
    const two = wire.splitMessages(bytes(Buffer.from(odd).toString('hex').repeat(2), '140000'))
    assert.equal(two.length, 2)
    assert.deepEqual(
      two.map(({ type, flags, sequence, port, payload }) => [type, flags, sequence, port, payload]),
      [0, 1].map(() => [3, 2, 1, 2, bytes('0a')]),
    )
    assert.deepEqual(wire.splitMessages(bytes('0f000000 0300 0200 01000000 02000000')), [])
    assert.deepEqual(wire.splitMessages(bytes('ffffffff 0300 0200 01000000 02000000')), [])
    assert.equal(wire.unpackGeneric(two[0]), undefined)
    const generic = wire.unpackGeneric(wire.splitMessages(request)[0])
    assert.equal(generic?.command, 3)
    assert.equal(generic.version, 1)
    assert.equal(generic.attributes.length, 12)
  })

  it('acknowledge with the header alone', () => {
    const name = ctrl.packFamilyRequest({ name: 'nlctrl' })
    const [asked] = wire.splitMessages(wire.packRequest(head, name))
    const ack = wire.packAck(asked, PORT)
    sameBytes(
      ack,
      bytes(
        `24000000 0200 0001 07000000 ${HEX_PORT}`,
        '00000000 20000000 1000 0500 07000000 00000000',
      ),
    )
    const [answer] = wire.splitMessages(ack)
    assert.equal(wire.outcomeOf(answer), 0)
    assert.deepEqual(wire.refusedHeader(answer), { type: 16, flags: 5, sequence: 7, port: 0 })
  })

  it('refuse with the whole request, or its header alone for who wants it so', () => {
    const [asked] = wire.splitMessages(request)
    const error = wire.packError(asked, PORT, ERRNO.ENOENT)
    sameBytes(
      error,
      bytes(
        `34000000 0200 0000 07000000 ${HEX_PORT}`,
        'feffffff 20000000 1000 0500 07000000 00000000',
        '03010000 0900 0200 4950565300 000000',
      ),
    )
    assert.equal(wire.outcomeOf(wire.splitMessages(error)[0]), ERRNO.ENOENT)
    const short = wire.packError(asked, PORT, ERRNO.ENOENT, true)
    assert.equal(short.length, 36)
    assert.equal(wire.splitMessages(short)[0].flags, wire.MESSAGE_FLAG.capped)
  })

  it('end a dump, well or not', () => {
    const [asked] = wire.splitMessages(request)
    const done = wire.packDone(asked, PORT)
    sameBytes(done, bytes(`14000000 0300 0200 07000000 ${HEX_PORT} 00000000`))
    assert.equal(wire.outcomeOf(wire.splitMessages(done)[0]), 0)
    const failed = wire.splitMessages(wire.packDone(asked, PORT, ERRNO.EMSGSIZE))[0]
    assert.equal(wire.outcomeOf(failed), ERRNO.EMSGSIZE)
    assert.equal(wire.outcomeOf(asked), undefined)
    assert.equal(wire.refusedHeader(failed), undefined)
    const bare = (type: number) => wire.packMessage({ ...asked, type }, new Uint8Array())
    assert.equal(wire.outcomeOf(wire.splitMessages(bare(3))[0]), 0)
    assert.equal(wire.outcomeOf(wire.splitMessages(bare(2))[0]), ERRNO.EIO)
  })

  it('answer with the number and sequence of the request', () => {
    const [asked] = wire.splitMessages(request)
    const message = { command: 1, version: 1, attributes: bytes('0500 0100 01000000') }
    sameBytes(
      wire.packReply(asked, PORT, message, true),
      bytes(`1c000000 1000 0200 07000000 ${HEX_PORT}`, '01 01 0000', '0500 0100 01000000'),
    )
    assert.equal(wire.splitMessages(wire.packReply(asked, PORT, message))[0].flags, 0)
  })
})

describe('netlink: the controller', () => {
  /** What the kernel says of its family nlctrl. */
  const NLCTRL = bytes(
    '0b00 0200 6e6c6374726c00 00',
    '0600 0100 1000 0000',
    '0800 0300 02000000',
    '0800 0400 00000000',
    '0800 0500 00000000',
    '2c00 0600',
    '1400 0100 0800 0100 03000000 0800 0200 0e000000',
    '1400 0200 0800 0100 0a000000 0800 0200 0c000000',
  )
  const GROUPS = bytes('1c00 0700 1800 0100 0800 0200 10000000 0b00 0100 6e6f7469667900 00')
  const description = {
    id: 0x10,
    name: 'nlctrl',
    version: 2,
    headerSize: 0,
    maxAttribute: 0,
    operations: [
      { id: 3, flags: 0xe },
      { id: 10, flags: 0xc },
    ],
  }

  it('describes a family as the kernel does', () => {
    sameBytes(ctrl.packFamily(description), NLCTRL)
    assert.deepEqual(valueOf(ctrl.unpackFamily(NLCTRL)), description)
    assert.deepEqual(valueOf(ctrl.unpackFamily(Buffer.concat([NLCTRL, GROUPS]))), description)
    const bare = { ...description, operations: [] }
    sameBytes(ctrl.packFamily(bare), NLCTRL.subarray(0, 44))
    refusedWith(ctrl.unpackFamily(bytes('0600 0100 1000 0000')), 'EINVAL')
  })

  it('is asked by name or by number', () => {
    const both = ctrl.packFamilyRequest({ id: 0x10, name: 'IPVS' })
    sameBytes(both, bytes('0600 0100 1000 0000', '0900 0200 4950565300 000000'))
    assert.deepEqual(valueOf(ctrl.unpackFamilyRequest(both)), { id: 0x10, name: 'IPVS' })
    const number = ctrl.packFamilyRequest({ id: 0x10 })
    assert.deepEqual(valueOf(ctrl.unpackFamilyRequest(number)), { id: 0x10 })
    refusedWith(ctrl.unpackFamilyRequest(new Uint8Array()), 'EINVAL')
    // The kernel refuses this very request so.
    refusedWith(ctrl.unpackFamilyRequest(bytes('1800 0200', '61'.repeat(20))), 'EINVAL')
  })
})

describe('netlink: error numbers', () => {
  it('have one name each, with all the names of the model', () => {
    for (const name of Object.keys(ERRNO) as (keyof typeof ERRNO)[]) {
      assert.equal(errnoName(ERRNO[name]), name)
    }
    for (const name of Object.keys(ERRNO_TEXT)) assert.ok(name in ERRNO, name)
    assert.equal(errnoName(0), undefined)
    assert.equal(ERRNO.EAFNOSUPPORT, 97)
    assert.equal(ERRNO.EMSGSIZE, 90)
  })
})
