/** The miss view reads what native writes and answers where native reads (layout.ts `miss`). */
import assert from 'node:assert/strict'
import { LIMITS, MISS_FLAG, offsetOf, RECORDS } from '../../src/dataplane/layout.js'
import { MISS_BLOCK_BYTES, MissBatch } from '../../src/dataplane/miss-batch.js'
import { ip, writeMiss } from '../support/scheduler-rig.js'

describe('MissBatch', () => {
  it('reads every field of the selected record', () => {
    const block = new Uint8Array(new SharedArrayBuffer(MISS_BLOCK_BYTES))
    const last = LIMITS.BURST - 1
    writeMiss(block, last, {
      client: ip('198.18.3.4'),
      virtual: ip('198.19.5.6'),
      clientPort: 65535,
      virtualPort: 443,
      service: 4095,
      protocol: 17,
      flags: 0x10,
      fwmark: 0xfffffffe,
      packets: 7,
    })
    const misses = new MissBatch(block.buffer as SharedArrayBuffer)
    misses.select(last)
    assert.equal(misses.clientFold >>> 0, 0xc6120304)
    assert.equal(misses.virtualFold >>> 0, 0xc6130506)
    assert.deepEqual([misses.clientPort, misses.virtualPort], [65535, 443])
    assert.deepEqual([misses.serviceSlot, misses.protocol, misses.family], [4095, 17, 4])
    assert.deepEqual([misses.flags, misses.fwmark, misses.packets], [0x10, 0xfffffffe, 7])
  })

  it('schedulers by destination go by the client where an ICMP error quotes a reply', () => {
    const block = new Uint8Array(new SharedArrayBuffer(MISS_BLOCK_BYTES))
    const ends = { client: ip('198.18.3.4'), virtual: ip('198.19.5.6'), service: 0 }
    writeMiss(block, 0, ends)
    writeMiss(block, 1, { ...ends, flags: MISS_FLAG.ICMP })
    const misses = new MissBatch(block.buffer as SharedArrayBuffer)
    misses.select(0)
    assert.equal(misses.destinationFold, misses.virtualFold)
    misses.select(1)
    assert.equal(misses.destinationFold, misses.clientFold)
    assert.equal(misses.destinationAddressAt, misses.clientAddressAt)
  })

  it('writes verdict and template of the selected record only', () => {
    const block = new SharedArrayBuffer(MISS_BLOCK_BYTES + 64)
    const misses = new MissBatch(block, 64)
    misses.select(1)
    misses.setVerdict(-2)
    misses.setTemplate(9)
    const data = new DataView(block, 64 + RECORDS.miss.bytes)
    assert.equal(data.getInt32(offsetOf('miss', 'verdict'), true), -2)
    assert.equal(data.getUint32(offsetOf('miss', 'templateRef'), true), 9)
    assert.equal(new Uint8Array(block).filter((byte) => byte !== 0).length, 5)
    misses.setVerdict(3)
    assert.deepEqual([misses.verdict, misses.templateRef], [3, 0])
  })

  it('refuses a short block', () => {
    assert.throws(() => new MissBatch(new ArrayBuffer(MISS_BLOCK_BYTES - 64)), RangeError)
  })
})
