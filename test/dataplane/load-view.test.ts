/** Totals over lanes, counting within a burst, and the OVERLOAD flag (spec 1.5, 3.5). */
import assert from 'node:assert/strict'
import { DESTINATION_STATE, LIMITS, MISS_FLAG, RECORDS } from '../../src/dataplane/layout.js'
import { loadBlockWords, LoadView, overloadAfter } from '../../src/dataplane/load-view.js'
import { SnapshotView } from '../../src/dataplane/snapshot-view.js'
import { SchedulerRig } from '../support/scheduler-rig.js'
import { buildSnapshot } from '../support/snapshot-block.js'

/** Walks totals through the rule and returns the flag after each, as 0 and 1. */
function trace(upper: number, lower: number, totals: readonly number[]): string {
  let flag = false
  return totals.map((total) => Number((flag = overloadAfter(flag, total, upper, lower)))).join('')
}

describe('overloadAfter', () => {
  it('follows the worked traces', () => {
    assert.equal(trace(4, 0, [1, 2, 3, 4, 3, 2, 3]), '0001100')
    assert.equal(trace(4, 2, [3, 4, 3, 2, 1, 2]), '011100')
  })

  it('is clear without an upper threshold', () => {
    assert.equal(overloadAfter(true, 1000, 0, 0), false)
  })

  it('takes three quarters rounded up where there is no lower threshold', () => {
    for (let upper = 1; upper < 40; upper++) {
      for (let total = 0; total < upper; total++) {
        assert.equal(overloadAfter(true, total, upper, 0), 4 * total >= 3 * upper)
      }
    }
  })
})

describe('LoadView', () => {
  const words = RECORDS.load.bytes / 4
  function make(lanes: number, upperThreshold = 0) {
    const blocks = {
      load: new Int32Array(loadBlockWords(lanes)),
      destinationState: new Int32Array(LIMITS.DESTINATIONS),
    }
    const view = new SnapshotView(
      buildSnapshot({
        generation: 1,
        services: [{ scheduler: 'rr', destinations: [{ slot: 5, upperThreshold }] }],
      }),
    )
    const load = new LoadView(blocks, lanes - 1)
    load.adopt(view)
    const lane = (i: number, field: number, value: number): void => {
      blocks.load[i * LIMITS.DESTINATIONS * words + 5 * words + field] = value
    }
    return { load, blocks, lane }
  }

  it('sums all lanes, once per batch', () => {
    const { load, lane } = make(3)
    lane(0, 0, 2)
    lane(1, 0, 3)
    lane(2, 1, 4)
    load.beginBatch(0)
    assert.deepEqual([load.active(5), load.inactive(5), load.total(5)], [5, 4, 9])
    lane(0, 0, 7)
    assert.equal(load.active(5), 5)
    load.beginBatch(0)
    assert.equal(load.active(5), 10)
  })

  it('does not go below nothing when a connection ended on another lane', () => {
    const { load, lane } = make(2)
    lane(0, 0, -1)
    load.beginBatch(0)
    assert.equal(load.active(5), 0)
  })

  it('counts TCP as active, everything else as inactive, and sets the shared flag', () => {
    const { load, blocks } = make(2, 2)
    load.beginBatch(0)
    load.picked(5, 6, false)
    assert.deepEqual([load.active(5), load.inactive(5), load.overloaded(5)], [1, 0, false])
    load.picked(5, 17, false)
    assert.deepEqual([load.active(5), load.inactive(5), load.overloaded(5)], [1, 1, true])
    assert.equal(blocks.destinationState[5], DESTINATION_STATE.OVERLOAD)
  })

  it('lets a one-packet connection rise and fall', () => {
    const { load, lane } = make(2, 10)
    lane(0, 1, 9)
    load.beginBatch(0)
    assert.equal(load.overloaded(5), false)
    load.picked(5, 17, true)
    assert.equal(load.total(5), 9)
    assert.equal(load.overloaded(5), true, '9 is not below three quarters of 10')
    lane(0, 1, 5)
    load.beginBatch(0)
    assert.equal(load.overloaded(5), false)
  })

  it('writes persistent counts to its own lane only', () => {
    const { load, blocks } = make(2)
    load.addPersistent(5, 1)
    assert.equal(blocks.load[LIMITS.DESTINATIONS * words + 5 * words + 2], 1)
    assert.equal(load.persistent(5), 1)
  })

  it('refuses a lane outside the block', () => {
    const blocks = { load: new Int32Array(loadBlockWords(1)), destinationState: new Int32Array(1) }
    assert.throws(() => new LoadView(blocks, 1), RangeError)
  })
})

describe('thresholds while scheduling', () => {
  it('moves on when the first reaches its threshold within one burst', () => {
    const rig = new SchedulerRig()
    const destinations = [{ slot: 0, upperThreshold: 2 }, { slot: 1 }]
    rig.publish({ services: [{ scheduler: 'sh', flags: 8, destinations }] })
    const miss = { flags: MISS_FLAG.TCP_SYN }
    const verdicts = rig.burst([miss, miss, miss, miss])
    assert.ok(verdicts.filter((v) => v === 0).length <= 2)
    assert.ok(verdicts.every((v) => v >= 0))
  })

  it('sets the flag at once when u is lowered below the total, and clears it when raised', () => {
    const rig = new SchedulerRig()
    const publish = (upperThreshold: number, lowerThreshold = 0): void =>
      rig.publish({
        services: [
          { scheduler: 'rr', destinations: [{ slot: 0, upperThreshold, lowerThreshold }] },
        ],
      })
    publish(10)
    rig.setLoad(0, 5, 0)
    assert.equal(rig.overloaded(0), false)
    publish(5)
    assert.equal(rig.overloaded(0), true)
    publish(6)
    assert.equal(rig.overloaded(0), true, '5 is not below 6 - 6/4 = 5')
    publish(8)
    assert.equal(rig.overloaded(0), false)
    publish(0)
    assert.equal(rig.overloaded(0), false)
  })
})
