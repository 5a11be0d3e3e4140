/** The reasons to drop a packet: one list for counters, metrics and people. */
import assert from 'node:assert/strict'
import { CounterBlocks } from '../../src/dataplane/counters.js'
import { REASON_LANE_WORDS, reasonIndex, REASONS, reasonText } from '../../src/dataplane/reasons.js'
import { allocateBlocks } from '../../src/dataplane/memory.js'

describe('reasons to drop', () => {
  it('have names that a metric label can be, each once, and a text', () => {
    const names = REASONS.map(([name]) => name)
    assert.equal(new Set(names).size, names.length)
    for (const [name, text] of REASONS) {
      assert.match(name, /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/)
      assert.ok(text.length > 10 && text.length < 80, name)
      assert.equal(reasonText(name), text)
    }
    assert.ok(names.length <= REASON_LANE_WORDS)
  })

  it('are read from the place that native code counts them at, over all workers', () => {
    const blocks = allocateBlocks(3, 1)
    const words = new BigUint64Array(blocks.reasons.buffer, blocks.reasons.byteOffset)
    for (const [name] of REASONS) {
      for (let worker = 0; worker < 3; worker++) {
        words[worker * REASON_LANE_WORDS + reasonIndex(name)] = BigInt(
          1000 * (worker + 1) + reasonIndex(name),
        )
      }
    }
    const drops = new CounterBlocks(blocks).drops()
    assert.equal(drops.size, REASONS.length)
    for (const [name] of REASONS) {
      assert.equal(drops.get(name), BigInt(6000 + 3 * reasonIndex(name)))
    }
  })
})
