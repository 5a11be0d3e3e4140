/** Collection and limits of the lblc and lblcr tables (spec 2.11), and workers that lag behind. */
import assert from 'node:assert/strict'
import { hash32 } from '../../src/scheduler/hash.js'
import { collectAddressTables } from '../../src/scheduler/reconcile.js'
import {
  ADDRESS_BUCKETS,
  ENTRY_WORD,
  ENTRY_WORDS,
  POOL_WORD,
  SERVICE_WORD,
} from '../../src/scheduler/shared-state.js'
import { ip, SchedulerRig } from '../support/scheduler-rig.js'
import type { ServiceSpec } from '../support/snapshot-block.js'

const address = (i: number): Uint8Array => ip(`198.18.${i >> 8}.${i & 255}`)
const fold = (i: number): number => 0xc6120000 + i

function rigFor(scheduler: ServiceSpec['scheduler']): SchedulerRig {
  const rig = new SchedulerRig()
  rig.publish({ services: [{ scheduler, destinations: [{ slot: 0 }, { slot: 1 }] }] })
  return rig
}

const entries = (rig: SchedulerRig): number => rig.schedulerBlocks.services[SERVICE_WORD.ENTRIES]

const collect = (rig: SchedulerRig): void => {
  assert.ok(rig.view)
  collectAddressTables(rig.view, rig.mainState, rig.nowSec)
}

/** Free entries of the pool, by walking its list. */
function freeEntries(rig: SchedulerRig): number {
  let count = 0
  let ref = rig.schedulerBlocks.pool[POOL_WORD.ENTRY_FREE]
  for (; ref !== 0; count++) {
    ref = rig.schedulerBlocks.entries[(ref - 1) * ENTRY_WORDS + ENTRY_WORD.NEXT]
  }
  return count
}

for (const scheduler of ['lblc', 'lblcr'] as const) {
  describe(`${scheduler} table`, () => {
    it('drops expired entries at the 30th run and not before', () => {
      const rig = rigFor(scheduler)
      rig.burst([{ virtual: address(1) }])
      rig.nowSec += 86400 - 1
      rig.burst([{ virtual: address(2) }])
      rig.nowSec += 1
      for (let run = 1; run < 30; run++) collect(rig)
      assert.equal(entries(rig), 2)
      collect(rig)
      assert.equal(entries(rig), 1)
      assert.equal(freeEntries(rig), 1)
    })

    it(`goes by ${scheduler}_expiration, as it is at the run, and by that alone`, () => {
      const rig = rigFor(scheduler)
      const service = { scheduler, destinations: [{ slot: 0 }, { slot: 1 }] }
      const runs = (): number => {
        for (let run = 1; run <= 30; run++) collect(rig)
        return entries(rig)
      }
      const other = scheduler === 'lblc' ? 'lblcr' : 'lblc'
      rig.burst([{ virtual: address(1) }])
      rig.nowSec += 50
      rig.burst([{ virtual: address(2) }])
      rig.nowSec += 50
      rig.publish({ services: [service], sysctls: { [`${other}_expiration`]: 0 } })
      assert.equal(runs(), 2)
      rig.publish({ services: [service], sysctls: { [`${scheduler}_expiration`]: 101 } })
      assert.equal(runs(), 2)
      rig.publish({ services: [service], sysctls: { [`${scheduler}_expiration`]: 100 } })
      assert.equal(runs(), 1)
      rig.publish({ services: [service], sysctls: { [`${scheduler}_expiration`]: 0 } })
      assert.equal(runs(), 0)
    })

    it('collects a third more than its excess, bucket by bucket, idle ones only', () => {
      const rig = rigFor(scheduler)
      const total = 16384 + 300
      const perBucket = new Array<number>(ADDRESS_BUCKETS).fill(0)
      for (let i = 0; i < total; i++) {
        rig.nowSec = 1000 + (i % 2)
        rig.burst([{ virtual: address(i) }])
        if (i % 2 === 0) perBucket[hash32(fold(i), 10)]++
      }
      rig.nowSec = 1000 + 360
      let goal = 400
      let expected = total
      for (let bucket = 1; goal > 0; bucket++) {
        goal -= perBucket[bucket]
        expected -= perBucket[bucket]
      }
      assert.equal(entries(rig), total)
      collect(rig)
      assert.equal(entries(rig), expected)
      assert.equal(rig.schedulerBlocks.services[SERVICE_WORD.GC_COUNTER], 1)
    }).timeout(60000)

    it('still picks, but remembers no more, at 24576 entries', () => {
      const rig = rigFor(scheduler)
      for (let i = 0; i < 24580; i++) rig.burst([{ virtual: address(i) }])
      assert.equal(entries(rig), 24576)
      assert.ok(rig.burst([{ virtual: address(30000) }])[0] >= 0)
      assert.equal(entries(rig), 24576)
    }).timeout(60000)

    it('gives everything back with the service', () => {
      const rig = rigFor(scheduler)
      for (let i = 0; i < 100; i++) rig.burst([{ virtual: address(i) }])
      rig.publish({ services: [] })
      assert.equal(freeEntries(rig), 100)
      assert.equal(rig.schedulerBlocks.tables[0], 0)
      assert.ok(rig.schedulerBlocks.buckets.every((head) => head === 0))
    })
  })
}

describe('lblcr members', () => {
  it('go back to the pool and are used again', () => {
    const rig = rigFor('lblcr')
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 50; i++) rig.burst([{ virtual: address(i) }])
      rig.publish({ services: [] })
      rig.publish({ services: [{ scheduler: 'lblcr', destinations: [{ slot: 0 }] }] })
    }
    assert.equal(rig.schedulerBlocks.pool[POOL_WORD.MEMBER_FRESH], 50)
    assert.equal(rig.schedulerBlocks.pool[POOL_WORD.ENTRY_FRESH], 50)
  })
})

describe('a worker with an older snapshot', () => {
  const service = (scheduler: ServiceSpec['scheduler'], slots: number[]): ServiceSpec => ({
    scheduler,
    destinations: slots.map((slot) => ({ slot, weight: 2 })),
  })

  it('rr: goes on from its own position and leaves the shared one alone', () => {
    const rig = rigFor('none')
    rig.publish({ services: [service('rr', [2, 1, 0])] })
    assert.deepEqual(rig.picks(2), [2, 1])
    const next = rig.reconcile({ services: [service('rr', [2, 0])], trash: [{ slot: 1 }] })
    assert.deepEqual(rig.picks(2), [0, 2], 'old list, private position')
    rig.adopt(next)
    assert.deepEqual(rig.picks(2), [0, 2], 'after 2, where the deletion of 1 put it')
  })

  it('rr: a position on a destination it does not know is behind the head', () => {
    const rig = rigFor('none')
    rig.publish({ services: [service('rr', [1, 0])] })
    assert.deepEqual(rig.picks(2), [1, 0])
    const old = rig.view
    assert.ok(old)
    rig.publish({ services: [service('rr', [2, 1, 0])] })
    assert.deepEqual(rig.picks(1), [2])
    rig.adopt(old)
    assert.deepEqual(rig.picks(1), [1])
  })

  it('wrr: the recomputed state is not touched', () => {
    const rig = rigFor('none')
    rig.publish({ services: [service('wrr', [0, 1])] })
    rig.picks(1)
    const next = rig.reconcile({ services: [service('wrr', [2, 0, 1])] })
    const before = rig.schedulerBlocks.services.slice(0, 16)
    assert.deepEqual(rig.picks(3), [1, 0, 1])
    assert.deepEqual(rig.schedulerBlocks.services.slice(0, 16), before)
    rig.adopt(next)
    assert.deepEqual(rig.picks(3), [2, 0, 1])
  })

  it('lblc: picks by load alone when the table was given away', () => {
    const rig = rigFor('lblc')
    rig.burst([{}])
    rig.reconcile({ services: [service('rr', [0, 1])] })
    assert.deepEqual(rig.burst([{}]), [0])
    assert.equal(entries(rig), 0)
  })

  it('a change undone before the worker looked leaves it current again', () => {
    const rig = rigFor('none')
    rig.publish({ services: [service('rr', [1, 0])] })
    rig.reconcile({ services: [service('rr', [0])], trash: [{ slot: 1 }] })
    rig.adopt(rig.reconcile({ services: [service('rr', [1, 0])] }))
    rig.picks(1)
    assert.notEqual(rig.schedulerBlocks.services[SERVICE_WORD.POSITION] & 0xffff, 0)
  })
})
