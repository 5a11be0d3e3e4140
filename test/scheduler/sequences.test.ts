/**
 * The reference's worked sequences, scheduler by scheduler (spec 2.2 to 2.14, appendix C); mh is
 * in maglev.test.ts.
 */
import assert from 'node:assert/strict'
import { SERVICE_FLAG, SYSCTL_INDEX, VERDICT } from '../../src/dataplane/layout.js'
import { connectionOverhead } from '../../src/dataplane/load-view.js'
import { hash32 } from '../../src/scheduler/hash.js'
import { productGreater } from '../../src/scheduler/overhead.js'
import { assignSourceSlots } from '../../src/scheduler/sh.js'
import { allocateRigBlocks, ip, type MissSpec, SchedulerRig } from '../support/scheduler-rig.js'
import type { DestinationSpec, ServiceSpec } from '../support/snapshot-block.js'

const LETTERS = 'ABCDEFGH'
const slotOf = (letter: string): number => LETTERS.indexOf(letter)
const letters = (verdicts: readonly number[]): string =>
  verdicts.map((v) => (v < 0 ? '-' : LETTERS[v])).join(' ')

/** 'A4 B3 C0': destinations in list order, by letter and weight. */
function list(text: string): DestinationSpec[] {
  return text.split(' ').map((word) => ({ slot: slotOf(word[0]), weight: Number(word.slice(1)) }))
}

function rigFor(scheduler: ServiceSpec['scheduler'], text: string, more = {}): SchedulerRig {
  const rig = new SchedulerRig()
  rig.publish({ services: [{ scheduler, destinations: list(text), ...more }] })
  return rig
}

const sequence = (scheduler: ServiceSpec['scheduler'], text: string, count: number): string =>
  letters(rigFor(scheduler, text).picks(count))

describe('hash and fold vectors', () => {
  it('matches hash_32 of the reference', () => {
    const inputs = [0x0a000001, 0x0a000002, 0x0a000003, 0xc0a80164, 0xcb007107, 1, 0xffffffff]
    assert.deepEqual(
      inputs.map((v) => hash32(v, 8)),
      [39, 137, 235, 89, 124, 97, 158],
    )
    assert.deepEqual(
      inputs.map((v) => hash32(v, 10)),
      [159, 550, 941, 357, 499, 391, 632],
    )
  })

  it('folds an IPv6 address by XOR of its words', () => {
    const rig = rigFor('rr', 'A1')
    rig.burst([{ family: 6, client: ip('2001:db8::1') }])
    rig.misses.select(0)
    assert.equal(rig.misses.clientFold >>> 0, 0x20010db9)
    assert.equal(hash32(rig.misses.clientFold, 8), 63)
    assert.equal(hash32(rig.misses.clientFold, 10), 252)
  })
})

describe('load formulas', () => {
  it('counts an active connection 257 times', () => {
    assert.equal(connectionOverhead(1, 0), 257)
    assert.equal(connectionOverhead(3, 5), 776)
  })

  it('compares products beyond 2^53 exactly', () => {
    const a = 257 * 0x7fffffff
    for (const [x, w, y, v] of [
      [a, 0x7fffffff, a, 0x7fffffff],
      [a, 0x7ffffffe, a - 257, 0x7fffffff],
      [a - 1, 0x7fffffff, a, 0x7fffffff],
      [2 ** 39 + 1, 2 ** 30 + 1, 2 ** 39 + 2, 2 ** 30],
      [2 ** 30 + 1, 2 ** 30 - 1, 2 ** 30, 2 ** 30],
      [2 ** 30, 2 ** 30, 2 ** 30 + 1, 2 ** 30 - 1],
    ]) {
      const exact = BigInt(x) * BigInt(w) > BigInt(y) * BigInt(v)
      assert.equal(productGreater(x, w, y, v), exact, `${x}*${w} > ${y}*${v}`)
    }
  })
})

describe('rr', () => {
  it('goes through the list newest first and skips weight 0', () => {
    assert.equal(sequence('rr', 'C1 B1 A1', 7), 'C B A C B A C')
    assert.equal(sequence('rr', 'C1 B0 A1', 4), 'C A C A')
  })

  it('finds nothing in an empty list and in one that is all quiesced', () => {
    const rig = new SchedulerRig()
    rig.publish({ services: [{ scheduler: 'rr', destinations: [] }] })
    assert.equal(rig.picks(1)[0], VERDICT.NONE)
    assert.equal(sequence('rr', 'A0 B0', 2), '- -')
  })

  it('reaches a new destination after the wrap', () => {
    const rig = rigFor('rr', 'C1 B1 A1')
    assert.equal(letters(rig.picks(2)), 'C B')
    rig.publish({ services: [{ scheduler: 'rr', destinations: list('D1 C1 B1 A1') }] })
    assert.equal(letters(rig.picks(3)), 'A D C')
  })

  it('steps back to the predecessor when its position is deleted', () => {
    const rig = rigFor('rr', 'C1 B1 A1')
    assert.equal(letters(rig.picks(2)), 'C B')
    rig.publish({ services: [{ scheduler: 'rr', destinations: list('C1 A1') }] })
    assert.equal(letters(rig.picks(2)), 'A C')
    rig.publish({ services: [{ scheduler: 'rr', destinations: list('A1') }] })
    assert.equal(letters(rig.picks(2)), 'A A')
  })

  it('starts over when the scheduler was changed and changed back', () => {
    const rig = rigFor('rr', 'C1 B1 A1')
    rig.picks(1)
    rig.publish({ services: [{ scheduler: 'lc', destinations: list('C1 B1 A1') }] })
    rig.publish({ services: [{ scheduler: 'rr', destinations: list('C1 B1 A1') }] })
    assert.equal(letters(rig.picks(1)), 'C')
  })

  it('starts over when the slot was given to another service', () => {
    const rig = rigFor('rr', 'C1 B1 A1')
    rig.picks(1)
    rig.publish({ services: [{ scheduler: 'rr', destinations: list('C1 B1 A1'), incarnation: 2 }] })
    assert.equal(letters(rig.picks(1)), 'C')
  })
})

describe('wrr', () => {
  for (const [weights, expected] of [
    ['A4 B3 C2', 'A A B A B C A B C'],
    ['C1 B2 A4', 'A A B A C B A'],
    ['A100 B50 C50', 'A A B C'],
    ['A6 B4', 'A A B A B'],
  ]) {
    it(`deals ${weights} as ${expected}, again and again`, () => {
      const count = expected.split(' ').length
      assert.equal(sequence('wrr', weights, 2 * count), `${expected} ${expected}`)
    })
  }

  it('recomputes threshold and position when a destination is edited', () => {
    const rig = rigFor('wrr', 'A6 B4')
    assert.equal(letters(rig.picks(2)), 'A A')
    rig.publish({ services: [{ scheduler: 'wrr', destinations: list('A6 B3') }] })
    assert.equal(letters(rig.picks(3)), 'A A B')
  })

  it('does so after an edit to what it was, and not after a change of the service alone', () => {
    const rig = rigFor('wrr', 'A6 B4')
    assert.equal(letters(rig.picks(2)), 'A A')
    const service: ServiceSpec = { scheduler: 'wrr', destinations: list('A6 B4'), changes: 1 }
    rig.publish({ services: [{ ...service, persistentSec: 0, changes: 7 }] })
    assert.equal(letters(rig.picks(3)), 'A B A')
    rig.publish({ services: [{ ...service, flags: 0x10, changes: 7 }] })
    assert.equal(letters(rig.picks(2)), 'B A')
  })

  it('is not disturbed by a change of another service', () => {
    const first: ServiceSpec = { slot: 0, scheduler: 'wrr', destinations: list('A4 B3 C2') }
    const rig = new SchedulerRig()
    rig.publish({ services: [first] })
    const before = letters(rig.picks(4))
    rig.publish({ services: [first, { slot: 1, scheduler: 'wrr', destinations: list('D1') }] })
    assert.equal(`${before} ${letters(rig.picks(5))}`, 'A A B A B C A B C')
  })

  it('finds nothing when all weights are 0', () => {
    assert.equal(sequence('wrr', 'A0 B0', 2), '- -')
  })

  it('finds the light one at once when the heavy one is overloaded', () => {
    const rig = new SchedulerRig()
    const destinations = [{ slot: 0, weight: 65535, upperThreshold: 1 }, { slot: 1 }]
    rig.publish({ services: [{ scheduler: 'wrr', destinations }] })
    rig.setLoad(0, 1, 0)
    assert.deepEqual(rig.picks(3), [1, 1, 1])
  })
})

describe('lc', () => {
  it('takes the first of a tie, and counts active 257 to 1', () => {
    const rig = rigFor('lc', 'A1 B1')
    rig.setLoad(0, 0, 257)
    rig.setLoad(1, 1, 0)
    assert.deepEqual(rig.burst([{}]), [0])
    rig.setLoad(0, 0, 258)
    assert.deepEqual(rig.burst([{}]), [1])
  })
})

describe('wlc, sed, nq', () => {
  it('wlc: every connection stays active', () => {
    assert.equal(sequence('wlc', 'A1 B2 C3', 12), 'A B C C B C A B C C B C')
  })
  it('sed: every connection stays active', () => {
    assert.equal(sequence('sed', 'A1 B2 C3', 12), 'C B C A B C C B C A B C')
  })
  it('nq: every connection stays active', () => {
    assert.equal(sequence('nq', 'A1 B2 C3', 12), 'A B C C B C C B C A B C')
  })
  it('counts each pick of a burst at once', () => {
    const rig = rigFor('wlc', 'A1 B2 C3')
    assert.equal(letters(rig.burst(new Array<MissSpec>(6).fill({}))), 'A B C C B C')
  })
  it('sed and nq never see UDP connections', () => {
    const service = { protocol: 17 }
    const misses = new Array<MissSpec>(4).fill({ protocol: 17, flags: 0 })
    assert.equal(letters(rigFor('sed', 'A1 B2 C3', service).burst(misses)), 'C C C C')
    assert.equal(letters(rigFor('nq', 'A1 B2 C3', service).burst(misses)), 'A A A A')
  })
})

describe('dh', () => {
  it('takes destination number hash mod n, whatever its weight', () => {
    const rig = rigFor('dh', 'A1 B5 C1')
    for (const [address, hash] of [
      ['10.0.0.1', 39],
      ['10.0.0.2', 137],
      ['10.0.0.3', 235],
      ['192.168.1.100', 89],
      ['203.0.113.7', 124],
    ] as const) {
      assert.deepEqual(rig.burst([{ virtual: ip(address) }]), [hash % 3], address)
    }
    assert.deepEqual(rig.burst([{ virtual: ip('2001:db8::1'), family: 6 }]), [63 % 3])
  })

  it('has no fallback for a quiesced owner', () => {
    const rig = rigFor('dh', 'A0 B1 C1')
    assert.deepEqual(rig.burst([{ virtual: ip('10.0.0.1') }]), [VERDICT.NONE])
  })
})

describe('sh', () => {
  const pick = (flags: number, client: string, clientPort = 1): string =>
    letters(rigFor('sh', 'A1 B0 C1', { flags }).burst([{ client: ip(client), clientPort }]))
  const { SCHED1: FALLBACK, SCHED2: PORT } = SERVICE_FLAG

  it('deals 256 slots by weight, one for weight 0', () => {
    const owners = assignSourceSlots(Int32Array.of(1, 2, 0, 3))
    const first = Array.from(owners.subarray(0, 14), (i) => 'ABCE'[i]).join(' ')
    assert.equal(first, 'A B B C E E E A B B C E E E')
    const counts = [0, 1, 2, 3].map((i) => owners.filter((owner) => owner === i).length)
    assert.deepEqual(counts, [37, 74, 37, 108])
  })

  it('plain: the owner of the slot or none', () => {
    assert.equal(pick(0, '10.0.0.1'), 'A')
    assert.equal(pick(0, '10.0.0.3'), '-')
    assert.equal(pick(0, '203.0.113.7'), '-')
  })

  it('fallback: probes 2h + off', () => {
    assert.equal(pick(FALLBACK, '10.0.0.1'), 'A')
    assert.equal(pick(FALLBACK, '10.0.0.3'), 'C')
    assert.equal(pick(FALLBACK, '203.0.113.7'), 'C')
  })

  it('sh-port adds the client port', () => {
    assert.equal(pick(PORT, '10.0.0.1', 12345), 'C')
    assert.equal(pick(PORT, '10.0.0.3', 12345), 'C')
    assert.equal(pick(PORT, '203.0.113.7', 12345), 'A')
  })
})

describe('lblcr', () => {
  it('grows the set when its destination is hot, and only then', () => {
    const rig = rigFor('lblcr', 'A2 B2')
    assert.deepEqual(rig.burst([{}]), [0])
    rig.setLoad(0, 3, 0)
    rig.setLoad(1, 1, 0)
    assert.deepEqual(rig.burst([{}]), [0], 'B is not idle enough')
    rig.setLoad(1, 0, 0)
    assert.deepEqual(rig.burst([{}]), [1])
    rig.setLoad(0, 0, 0)
    assert.deepEqual(rig.burst([{}]), [1], 'B stands first in the set now')
  })

  it('shrinks an old set by its most loaded member, even if that one is returned', () => {
    const rig = new SchedulerRig()
    const services: ServiceSpec[] = [{ scheduler: 'lblcr', destinations: list('A2 B2') }]
    rig.publish({ services, sysctls: { lblcr_expiration: 100 } })
    assert.ok(SYSCTL_INDEX.lblcr_expiration > 0)
    rig.burst([{}])
    rig.setLoad(0, 3, 0)
    rig.burst([{}]) // set is B, A since 1000
    rig.nowSec = 1100
    assert.deepEqual(rig.burst([{}]), [1])
    rig.nowSec = 1101
    assert.deepEqual(rig.burst([{}]), [1], 'A leaves the set, B serves')
    rig.setLoad(0, 0, 0)
    rig.setLoad(1, 2, 0)
    assert.deepEqual(rig.burst([{}]), [1], 'A is idle but no longer in the set')
  })
})

describe('lblc', () => {
  it('keeps an address on its destination, also when that is overloaded', () => {
    const rig = new SchedulerRig()
    const destinations = [
      { slot: 0, weight: 2, upperThreshold: 1 },
      { slot: 1, weight: 2 },
    ]
    rig.publish({ services: [{ scheduler: 'lblc', destinations }] })
    const fresh = { virtual: ip('198.18.0.2') }
    assert.deepEqual(rig.burst([{}]), [0])
    rig.setLoad(0, 1, 0)
    assert.deepEqual(rig.burst([{}, fresh]), [0, 1])
    rig.setLoad(0, 3, 0)
    assert.deepEqual(rig.burst([{}]), [1], 'hot: moved to the idle one')
    rig.setLoad(0, 0, 0)
    assert.deepEqual(rig.burst([{}]), [1], 'and remembered there')
  })
})

describe('fo', () => {
  it('takes the highest weight, the first of a tie, whatever its connections', () => {
    assert.equal(sequence('fo', 'A1 B3 C3 D2', 4), 'B B B B')
    assert.equal(sequence('fo', 'A0 B0', 1), '-')
  })

  it('fails over to the next weight, and back', () => {
    const rig = new SchedulerRig()
    const destinations = [
      { slot: 0, weight: 1 },
      { slot: 1, weight: 3, upperThreshold: 2 },
    ]
    const publish = (weight: number): void =>
      rig.publish({
        services: [{ scheduler: 'fo', destinations: [...destinations, { slot: 2, weight }] }],
      })
    publish(2)
    assert.equal(letters(rig.picks(4)), 'B B C C')
    publish(0)
    assert.equal(letters(rig.picks(1)), 'A')
    rig.setLoad(1, 0, 0)
    assert.equal(letters(rig.picks(1)), 'B')
  })
})

describe('ovf', () => {
  it('fills up to the weight and one more, then the next, then nobody', () => {
    assert.equal(sequence('ovf', 'A2 B1', 7), 'A A A B B - -')
    assert.equal(sequence('ovf', 'A1 B2 C2', 9), 'B B B C C C A A -')
    assert.equal(sequence('ovf', 'A0', 1), '-')
  })

  it('comes back as soon as connections end', () => {
    const rig = rigFor('ovf', 'A2 B1')
    rig.picks(4)
    rig.setLoad(0, 2, 50)
    assert.equal(letters(rig.burst([{}, {}])), 'A B')
  })
})

describe('twos', () => {
  /** Draws the given numbers, and says which bounds it was asked for. */
  function drawing(numbers: readonly number[]): { below(bound: number): number; bounds: number[] } {
    const bounds: number[] = []
    return { bounds, below: (bound) => numbers[bounds.push(bound) - 1] }
  }

  function twosRig(text: string, numbers: readonly number[]) {
    const random = drawing(numbers)
    const rig = new SchedulerRig(allocateRigBlocks(), 0, random)
    rig.publish({ services: [{ scheduler: 'twos', destinations: list(text) }] })
    return { rig, bounds: random.bounds }
  }

  for (const [first, second, expected] of [
    [0, 0, 'A'],
    [0, 2, 'B'],
    [2, 4, 'C'],
    [4, 2, 'C'],
    [3, 3, 'B'],
  ] as const) {
    it(`takes ${expected} for the numbers ${first} and ${second}`, () => {
      const { rig, bounds } = twosRig('A1 B2 C1', [first, second])
      rig.setLoad(0, 3, 0)
      rig.setLoad(1, 1, 0)
      assert.equal(letters(rig.burst([{}])), expected)
      assert.deepEqual(bounds, [5, 5], 'from 0 to 4, both included')
    })
  }

  it('passes over the quiesced, and needs no number when nobody is left', () => {
    const { rig, bounds } = twosRig('A0 B2 C0', [2, 2])
    assert.equal(letters(rig.burst([{}])), 'B')
    assert.deepEqual(bounds, [3, 3])
    const none = twosRig('A0', [])
    assert.equal(letters(none.rig.burst([{}])), '-')
  })

  it('compares products in 32 bits, as the kernel does', () => {
    // B has fewer connections, but 65535 * 257 * 200 wraps to less than the other product.
    const { rig } = twosRig('A65535 B65535', [0, 65536])
    rig.setLoad(0, 200, 0)
    rig.setLoad(1, 127, 0)
    assert.equal(letters(rig.burst([{}])), 'A')
  })

  it('sums weights in 32 bits, as the kernel does', () => {
    const { rig, bounds } = twosRig('A2147483647 B2147483647', [4294967294, 4294967294])
    assert.equal(letters(rig.burst([{}])), 'B', '-2 less a weight wraps; less two weights is 0')
    assert.deepEqual(bounds, [4294967295, 4294967295])
  })
})

describe('none', () => {
  it('never finds a destination', () => {
    assert.equal(sequence('none', 'A1', 1), '-')
  })
})
