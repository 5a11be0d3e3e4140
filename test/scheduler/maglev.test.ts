/** The Maglev table and mh: the reference's vectors (spec 2.15, appendix C), what keeps a table. */
import assert from 'node:assert/strict'
import {
  MAGLEV_INDEX_DEFAULT,
  maglevSlots,
  maglevTurnBits,
} from '../../src/control/model/maglev-size.js'
import { SERVICE_FLAG } from '../../src/dataplane/layout.js'
import { SnapshotView } from '../../src/dataplane/snapshot-view.js'
import {
  buildMaglevTable,
  DEFAULT_SHAPE,
  FIRST_KEY,
  maglevHash,
  maglevTurns,
  NO_OWNER,
  SECOND_KEY,
} from '../../src/scheduler/maglev.js'
import { maglevInput, planTables, tablesAtOnce } from '../../src/scheduler/maglev-tables.js'
import { movedPercentages } from '../../bench/maglev-trials.js'
import { ip, type MissSpec, SchedulerRig } from '../support/scheduler-rig.js'
import { SeededRandom } from '../support/seeded-random.js'
import { SLOW_KEYS, slowMaglevHash, slowMaglevTable } from '../support/slow-later-schedulers.js'
import { buildSnapshot, type DestinationSpec, type ServiceSpec } from '../support/snapshot-block.js'

const { slots: MAGLEV_SLOTS } = DEFAULT_SHAPE
const LETTERS = 'ABCDEFGH'
const letters = (verdicts: readonly number[]): string =>
  verdicts.map((v) => (v < 0 ? '-' : LETTERS[v])).join('')

const { SCHED1: FALLBACK, SCHED2: PORT } = SERVICE_FLAG

/** A, B, C...: 192.168.0.1:80, 192.168.0.2:80... in list order, by weight. */
function destinations(weights: readonly number[]): DestinationSpec[] {
  return weights.map((weight, slot) => ({
    slot,
    weight,
    address: ip(`192.168.0.${slot + 1}`),
    port: 80,
  }))
}

const service = (
  list: readonly DestinationSpec[],
  more: Partial<ServiceSpec> = {},
): ServiceSpec => ({
  scheduler: 'mh',
  destinations: list,
  ...more,
})

function rigFor(list: readonly DestinationSpec[], flags = 0): SchedulerRig {
  const rig = new SchedulerRig()
  rig.publish({ services: [service(list, { flags })] })
  return rig
}

const ownersIn = (rig: SchedulerRig): Uint16Array => rig.tables.get(0)?.owners ?? new Uint16Array(1)
const counts = (owners: ArrayLike<number>): number[] => {
  const found: number[] = []
  for (const owner of Array.from(owners)) found[owner] = (found[owner] ?? 0) + 1
  return found
}
const keysOf = (last: readonly number[]): Int32Array =>
  Int32Array.from(last, (n) => 0xc0a80000 + n + 80)

describe('maglev: hash', () => {
  for (const [input, first, second] of [
    [0x0a000001, 0x03080ce4, 0x48f9d0c1],
    [0x0a000002, 0x41cfde13, 0xc537a6e5],
    [0x0a000003, 0x264d5ec5, 0x2ac3d875],
    [0xc0a80164, 0xc15d2cf8, 0x4f7edae2],
    [0xcb007107, 0xa86e2c15, 0x2837f961],
    [0x00000001, 0x16ec66b2, 0x8210aad1],
    [0xffffffff, 0x22c5d719, 0xf75a0f5d],
  ]) {
    it(`of 0x${input.toString(16)} is the reference's, whatever its sign`, () => {
      for (const value of [input, input | 0]) {
        assert.equal(maglevHash(value, FIRST_KEY), first)
        assert.equal(maglevHash(value, SECOND_KEY), second)
      }
    })
  }

  it('is SipHash-1-3 in 64 bits for any word', () => {
    const random = new SeededRandom(1)
    for (let i = 0; i < 5000; i++) {
      const value = random.below(2 ** 32)
      const expected = Number(slowMaglevHash(BigInt(value), SLOW_KEYS.h1))
      assert.equal(maglevHash(value, FIRST_KEY), expected, String(value))
    }
  })

  it('gives the slots of the reference, with the port and without', () => {
    const slotOf = (address: number, port: number): number =>
      maglevHash(address + port, FIRST_KEY) % MAGLEV_SLOTS
    const clients = [0x0a000001, 0x0a000002, 0x0a000003]
    assert.deepEqual(
      clients.map((address) => slotOf(address, 0)),
      [3711, 1884, 3741],
    )
    assert.deepEqual(
      clients.map((address) => slotOf(address, 12345)),
      [490, 1889, 2858],
    )
    assert.deepEqual([slotOf(0xc0a80164, 0), slotOf(0xcb007107, 0)], [1341, 1705])
  })
})

describe('maglev: table', () => {
  for (const [index, shares, first] of [
    [8, [63, 63, 125], 'CCCBCCCCCCACACCC'],
    [12, [1024, 1023, 2046], 'ACBACCBCCACBCCAC'],
  ] as const) {
    it(`of index ${index} for weights 1, 1, 2`, () => {
      const input = { keys: keysOf([1, 2, 3]), lastWeights: Int32Array.of(1, 1, 2) }
      const shape = { slots: maglevSlots(index), turnBits: maglevTurnBits(index) }
      const owners = buildMaglevTable(input, shape)
      assert.deepEqual(counts(owners), shares)
      assert.equal(letters(Array.from(owners.subarray(0, 16))), first)
    })
  }

  for (const [weights, turns, shares] of [
    [
      [100, 200, 1000],
      [1, 2, 10],
      [315, 630, 3148],
    ],
    [
      [1, 300],
      [1, 37],
      [108, 3985],
    ],
  ]) {
    it(`deals ${weights.join(' and ')} as ${turns.join(' and ')} in a row`, () => {
      const lastWeights = Int32Array.from(weights)
      assert.deepEqual([...maglevTurns(lastWeights)], turns)
      const keys = keysOf(weights.map((_, i) => i + 1))
      assert.deepEqual(counts(buildMaglevTable({ keys, lastWeights })), shares)
    })
  }

  it('has no slots without a weight, and none for a weight of 0', () => {
    assert.equal(buildMaglevTable({ keys: keysOf([]), lastWeights: new Int32Array(0) }).length, 0)
    assert.equal(
      buildMaglevTable({ keys: keysOf([1, 2]), lastWeights: new Int32Array(2) }).length,
      0,
    )
    const owners = buildMaglevTable({ keys: keysOf([1, 2]), lastWeights: Int32Array.of(0, 7) })
    assert.deepEqual(new Set(owners), new Set([1]))
  })

  it('is the slow model’s, for any list', () => {
    const random = new SeededRandom(2)
    for (let round = 0; round < 60; round++) {
      const list = Array.from({ length: random.between(1, 40) }, () => ({
        key: random.below(2 ** 32),
        lastWeight: random.oneIn(5)
          ? 0
          : random.between(1, random.pick([3, 100, 65535, 2 ** 31 - 1])),
      }))
      // Two of the same kind, as two services of one address on a host that answers for both.
      if (random.oneIn(3)) list.push({ ...list[0] })
      const keys = Int32Array.from(list, ({ key }) => key)
      const lastWeights = Int32Array.from(list, ({ lastWeight }) => lastWeight)
      const owners = buildMaglevTable({ keys, lastWeights })
      assert.deepEqual(Array.from(owners), slowMaglevTable(list), `round ${round}`)
    }
  })

  it('has a slot for each of as many destinations as there are slots', () => {
    const keys = Int32Array.from({ length: MAGLEV_SLOTS }, (_, i) => 0xc6120000 + i)
    const owners = buildMaglevTable({ keys, lastWeights: new Int32Array(MAGLEV_SLOTS).fill(5) })
    assert.equal(new Set(owners).size, MAGLEV_SLOTS)
    assert.ok(!owners.includes(NO_OWNER))
  })

  // What the kernel's own size cannot do better is held too: no more may move than there.
  for (const [index, most] of [
    [12, 4],
    [14, 2],
    [16, 1],
  ]) {
    it(`of index ${index}: under ${most} % of the other flows move when one of 100 goes`, () => {
      const moved = movedPercentages(100, index)
      assert.equal(moved.length, 100)
      const worst = Math.max(...moved)
      assert.ok(worst > 0 && worst < most, `the worst removal moves ${worst.toFixed(2)} %`)
    }).timeout(10_000)
  }
})

describe('maglev: what a table is made from', () => {
  const keys = (list: readonly DestinationSpec[], family: 4 | 6): number[] => {
    const block = buildSnapshot({ generation: 1, services: [service(list, { family })] })
    const [view] = new SnapshotView(block).services
    assert.ok(view)
    return Array.from(maglevInput(view).keys, (key) => key >>> 0)
  }
  const [v4, v6] = [ip('198.18.0.1'), ip('2001:db8::1')]

  it('folds each address by the family of the service', () => {
    assert.deepEqual(keys([{ slot: 0, address: v4, port: 80 }], 4), [0xc6120001 + 80])
    assert.deepEqual(keys([{ slot: 0, address: v6, family: 6, port: 80 }], 6), [0x20010db9 + 80])
  })

  it('sees an address of the other family as the kernel’s union shows it', () => {
    assert.deepEqual(keys([{ slot: 0, address: v6, family: 6, port: 0 }], 4), [0x20010db8])
    assert.deepEqual(keys([{ slot: 0, address: v4, family: 4, port: 0 }], 6), [0xc6120001])
  })
})

describe('mh', () => {
  const CLIENTS = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '192.168.1.100', '203.0.113.7']
  const asks = (rig: SchedulerRig, misses: readonly MissSpec[]): string =>
    misses.map((miss) => letters(rig.burst([miss]))).join('')
  const all = CLIENTS.map((client) => ({ client: ip(client) }))

  it('takes the owner of the client’s slot', () => {
    assert.equal(asks(rigFor(destinations([1, 1, 2])), all), 'BBAAC')
  })

  for (const [i, usual, other] of [
    [0, 'B', 'A'],
    [1, 'B', 'C'],
    [2, 'A', 'B'],
    [3, 'A', 'C'],
    [4, 'C', 'B'],
  ] as const) {
    it(`${CLIENTS[i]}: nothing while ${usual} is quiesced, ${other} with mh-fallback`, () => {
      const quiesced = destinations([1, 1, 2])
      const down = quiesced[LETTERS.indexOf(usual)]
      down.lastWeight = down.weight ?? 0
      down.weight = 0
      assert.equal(asks(rigFor(quiesced), [all[i]]), '-')
      assert.equal(asks(rigFor(quiesced, FALLBACK), [all[i]]), other)
    })
  }

  it('passes over the overloaded', () => {
    const list = destinations([1, 1, 2]).map((d) => ({ ...d, upperThreshold: 1 }))
    const rig = rigFor(list, FALLBACK)
    rig.setLoad(1, 1, 0)
    assert.equal(asks(rig, [all[0]]), 'A')
    for (const slot of [0, 1, 2]) rig.setLoad(slot, 1, 0)
    assert.equal(asks(rig, [all[0]]), '-')
  })

  it('mh-port adds the client port, with TCP, UDP and SCTP', () => {
    const owners = ownersIn(rigFor(destinations([1, 1, 2])))
    const expected = letters([490, 1889, 2858].map((slot) => owners[slot]))
    const misses = all.slice(0, 3).map((miss) => ({ ...miss, clientPort: 12345 }))
    const rig = rigFor(destinations([1, 1, 2]), PORT)
    for (const protocol of [6, 17, 132]) {
      const asked = misses.map((miss) => ({ ...miss, protocol }))
      assert.equal(asks(rig, asked), expected)
    }
    const others = misses.map((miss) => ({ ...miss, protocol: 1 }))
    assert.equal(asks(rig, others), 'BBA')
    assert.equal(asks(rigFor(destinations([1, 1, 2])), misses), 'BBA', 'without the flag')
  })

  it('finds nothing in an empty list and where nobody ever had a weight', () => {
    assert.equal(asks(rigFor([]), all), '-----')
    assert.equal(asks(rigFor(destinations([0, 0]), FALLBACK), all), '-----')
  })
})

describe('mh: from change to change', () => {
  const publish = (rig: SchedulerRig, list: readonly DestinationSpec[], more = {}): Uint16Array => {
    rig.publish({ services: [service(list, more)] })
    return ownersIn(rig)
  }

  it('a weight to 0 and back leaves the table untouched', () => {
    const rig = rigFor(destinations([1, 1, 2]))
    const before = ownersIn(rig)
    const [a, b, c] = destinations([1, 1, 2])
    assert.equal(publish(rig, [a, b, { ...c, weight: 0, lastWeight: 2 }]), before)
    assert.equal(publish(rig, [a, b, c]), before)
  })

  it('a threshold, and a change of another service, leave it untouched', () => {
    const rig = rigFor(destinations([1, 1, 2]))
    const before = ownersIn(rig)
    const [a, b, c] = destinations([1, 1, 2])
    assert.equal(publish(rig, [a, { ...b, upperThreshold: 5 }, c]), before)
    const other: ServiceSpec = { slot: 1, scheduler: 'rr', destinations: [{ slot: 3 }] }
    rig.publish({ services: [service([a, b, c]), other] })
    assert.equal(ownersIn(rig), before)
  })

  it('another weight, order, port or address makes a new one', () => {
    const [a, b, c] = destinations([1, 1, 2])
    for (const list of [
      [a, b, { ...c, weight: 3 }],
      [b, a, c],
      [a, b, { ...c, port: 81 }],
      [a, b, { ...c, address: ip('192.168.0.9') }],
      [a, b],
    ]) {
      const rig = rigFor([a, b, c])
      const before = ownersIn(rig)
      const after = publish(rig, list)
      assert.notEqual(after, before)
      assert.deepEqual(after, ownersIn(rigFor(list)))
    }
  })

  it('one added with weight 0 has no slots until its first weight, and keeps them', () => {
    const [a, b, c] = destinations([1, 1, 2])
    const rig = rigFor([a, b])
    publish(rig, [{ ...c, weight: 0 }, a, b])
    assert.deepEqual(new Set(ownersIn(rig)), new Set([1, 2]))
    const full = publish(rig, [c, a, b])
    assert.deepEqual(new Set(full), new Set([0, 1, 2]))
    assert.equal(publish(rig, [{ ...c, weight: 0, lastWeight: 2 }, a, b]), full)
  })

  it('a service in the slot of another one has a table of its own', () => {
    const rig = rigFor(destinations([1, 1, 2]))
    const before = ownersIn(rig)
    const after = publish(rig, destinations([1, 1, 2]), { incarnation: 2 })
    assert.notEqual(after, before)
    assert.deepEqual(after, before)
  })

  it('without its table a service is not bound', () => {
    const rig = rigFor(destinations([1, 1]))
    const view = rig.reconcile({ services: [service(destinations([1, 2]))] })
    assert.throws(() => rig.adopt(view, new Map()), /no mh table came for service slot 0/)
  })

  it('no table is left when the scheduler is another one', () => {
    const rig = rigFor(destinations([1]))
    rig.publish({ services: [service(destinations([1]), { scheduler: 'sh' })] })
    assert.equal(rig.tables.size, 0)
  })
})

describe('mh with more destinations than slots', () => {
  const many = (from: number, to: number): DestinationSpec[] =>
    Array.from({ length: to - from }, (_, i) => {
      const slot = to - 1 - i
      return { slot, address: ip(`198.19.${slot >> 8}.${slot & 255}`), port: 80 }
    })

  it('the default of the configuration is the default shape', () => {
    const index = MAGLEV_INDEX_DEFAULT
    const shape = { slots: maglevSlots(index), turnBits: maglevTurnBits(index) }
    assert.deepEqual(shape, DEFAULT_SHAPE)
  })

  it('one more leaves the table as it was', () => {
    const rig = rigFor(many(0, MAGLEV_SLOTS))
    const slots = (): number[] => {
      const entry = rig.tables.get(0)
      assert.ok(entry)
      const { owners, service: of } = entry
      return Array.from(owners, (owner) => (owner === NO_OWNER ? -1 : of.slots[owner]))
    }
    const before = slots()
    rig.publish({ services: [service(many(0, MAGLEV_SLOTS + 2))] })
    assert.deepEqual(slots(), before)
    const edited = many(0, MAGLEV_SLOTS + 2).map((d, i) => ({ ...d, weight: 1 + i }))
    rig.publish({ services: [service(edited)] })
    assert.deepEqual(slots(), before)
    // The oldest goes; its slot is nobody's until there is a new table.
    rig.publish({ services: [service(many(1, MAGLEV_SLOTS + 2))] })
    assert.deepEqual(
      slots(),
      before.map((slot) => (slot === 0 ? -1 : slot)),
    )
    rig.publish({ services: [service(many(2, MAGLEV_SLOTS + 2))] })
    assert.equal(new Set(slots()).size, MAGLEV_SLOTS)
    assert.ok(slots().includes(MAGLEV_SLOTS + 1))
  })

  it('a client whose slot is nobody’s gets nothing', () => {
    const rig = rigFor(many(0, MAGLEV_SLOTS + 1), FALLBACK)
    const [chosen] = rig.burst([{}])
    assert.ok(chosen >= 0)
    const rest = many(0, MAGLEV_SLOTS + 2).filter(({ slot }) => slot !== chosen)
    rig.publish({ services: [service(rest, { flags: FALLBACK })] })
    assert.deepEqual(rig.burst([{}]), [-1])
  })

  it('all at once have the table of the oldest', () => {
    const rig = rigFor(many(0, MAGLEV_SLOTS + 3))
    const entry = rig.tables.get(0)
    assert.ok(entry)
    const alone = rigFor(many(0, MAGLEV_SLOTS))
    assert.deepEqual(
      Array.from(entry.owners, (owner) => owner - 3),
      Array.from(ownersIn(alone)),
    )
  })

  it('plans no work where nothing changed', () => {
    const block = buildSnapshot({ generation: 1, services: [service(many(0, 5000))] })
    const view = new SnapshotView(block)
    const tables = tablesAtOnce(view, new Map())
    assert.deepEqual(planTables(view, tables, DEFAULT_SHAPE).wanted, [])
    const again = buildSnapshot({ generation: 2, services: [service(many(0, 5000))] })
    assert.deepEqual(planTables(new SnapshotView(again, view), tables, DEFAULT_SHAPE).wanted, [])
  })
})
