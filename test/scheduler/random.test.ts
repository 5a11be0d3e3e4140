/**
 * Each scheduler against its slow model: random bursts between random changes of the list, of
 * weights, thresholds and load. The model sees events one by one; the real one sees snapshots,
 * lanes and whole bursts.
 */
import assert from 'node:assert/strict'
import { SERVICE_FLAG } from '../../src/dataplane/layout.js'
import { Xoshiro128 } from '../../src/scheduler/random.js'
import { allocateRigBlocks, ip, type MissSpec, SchedulerRig } from '../support/scheduler-rig.js'
import { SeededRandom } from '../support/seeded-random.js'
import * as later from '../support/slow-later-schedulers.js'
import * as slow from '../support/slow-schedulers.js'
import type { DestinationSpec, ServiceSpec } from '../support/snapshot-block.js'

const TCP = 6
const UDP = 17
const LBLCR_EXPIRATION_SEC = 50
const RANDOM_SEED = [5, 6, 7, 8]
const DESTINATION_PORT = 8080
const STEPS = 400
const SEEDS = 6

interface Case {
  title: string
  scheduler: ServiceSpec['scheduler']
  flags: number
  make: () => slow.SlowScheduler
}

const { SCHED1, SCHED2 } = SERVICE_FLAG
const plain = (scheduler: Case['scheduler'], make: Case['make']): Case => ({
  title: scheduler,
  scheduler,
  flags: 0,
  make,
})
const mh = (title: string, flags: number): Case => ({
  title,
  scheduler: 'mh',
  flags,
  make: () => new later.SlowMh((flags & SCHED1) !== 0, (flags & SCHED2) !== 0),
})
const CASES: Case[] = [
  plain('rr', () => new slow.SlowRr()),
  plain('wrr', () => new slow.SlowWrr()),
  plain('lc', () => slow.slowLc),
  plain('wlc', () => slow.slowWlc),
  plain('sed', () => slow.slowSed),
  plain('nq', () => slow.slowNq),
  plain('dh', () => slow.slowDh),
  plain('lblc', () => new slow.SlowLblc()),
  plain('lblcr', () => new slow.SlowLblcr(LBLCR_EXPIRATION_SEC)),
  plain('sh', () => new slow.SlowSh(false, false)),
  {
    title: 'sh with fallback',
    scheduler: 'sh',
    flags: SCHED1,
    make: () => new slow.SlowSh(true, false),
  },
  {
    title: 'sh with fallback and port',
    scheduler: 'sh',
    flags: SCHED1 | SCHED2,
    make: () => new slow.SlowSh(true, true),
  },
  plain('fo', () => later.slowFo),
  plain('ovf', () => later.slowOvf),
  plain('twos', () => new later.SlowTwos(new Xoshiro128(RANDOM_SEED))),
  mh('mh', 0),
  mh('mh with port', SCHED2),
  mh('mh with fallback and port', SCHED1 | SCHED2),
]

class World {
  readonly rig = new SchedulerRig(allocateRigBlocks(), 0, new Xoshiro128(RANDOM_SEED))
  readonly list: slow.SlowDestination[] = []
  readonly trash: slow.SlowDestination[] = []
  readonly model: slow.SlowScheduler
  readonly #random: SeededRandom
  readonly #case: Case
  readonly #protocol: number
  readonly #family: 4 | 6
  #nextSlot = 0
  #changes = 0
  readonly #inserted = new Map<slow.SlowDestination, number>()

  constructor(random: SeededRandom, which: Case) {
    this.#random = random
    this.#case = which
    this.#protocol = random.oneIn(3) ? UDP : TCP
    this.#family = random.oneIn(2) ? 4 : 6
    this.model = which.make()
    this.publish()
    this.model.onChange?.(this.list)
  }

  publish(): void {
    const spec = (d: slow.SlowDestination): DestinationSpec => ({
      slot: d.slot,
      ...this.#address(d.slot),
      weight: d.weight,
      lastWeight: d.lastWeight,
      upperThreshold: d.upperThreshold,
      lowerThreshold: d.lowerThreshold,
      inserted: this.#inserted.get(d) ?? 0,
    })
    const service: ServiceSpec = {
      scheduler: this.#case.scheduler,
      flags: this.#case.flags,
      family: this.#family,
      protocol: this.#protocol,
      destinations: this.list.map(spec),
      changes: this.#changes,
    }
    this.rig.publish({
      services: [service],
      trash: this.trash.map(spec),
      sysctls: { lblcr_expiration: LBLCR_EXPIRATION_SEC },
    })
  }

  #address(slot: number): Required<Pick<DestinationSpec, 'address' | 'family' | 'port'>> {
    const text = this.#family === 4 ? `198.19.0.${slot}` : `2001:db8:1::${slot.toString(16)}`
    return { address: ip(text), family: this.#family, port: DESTINATION_PORT }
  }

  weight(): number {
    const random = this.#random
    if (random.oneIn(6)) return 0
    return random.oneIn(20) ? random.between(1, 65535) : random.between(1, 8)
  }

  editThresholds(d: slow.SlowDestination): void {
    const [upper, lower] = [d.upperThreshold, d.lowerThreshold]
    d.upperThreshold = this.#random.oneIn(2) ? 0 : this.#random.between(1, 12)
    d.lowerThreshold = this.#random.oneIn(2) ? 0 : this.#random.below(d.upperThreshold + 1)
    if (d.upperThreshold !== upper || d.lowerThreshold !== lower) slow.slowThreshold.edited(d)
  }

  add(): void {
    const revived = this.#random.oneIn(2) ? this.trash.pop() : undefined
    const slot = revived?.slot ?? this.#nextSlot++
    const fold = this.#family === 4 ? 0xc6130000 : 0x20010db8 ^ 0x00010000
    const d = revived ?? {
      slot,
      key: (fold ^ slot) + DESTINATION_PORT,
      weight: 0,
      lastWeight: 0,
      active: 0,
      inactive: 0,
      upperThreshold: 0,
      lowerThreshold: 0,
      overload: false,
      available: true,
    }
    d.available = true
    d.weight = this.weight()
    d.lastWeight = d.weight
    this.editThresholds(d)
    this.list.unshift(d)
    this.#inserted.set(d, this.#changes + 1)
    this.changed()
  }

  /** At times another one is added, or the same again, in the same change. */
  remove(): void {
    const d = this.#random.pick(this.list)
    this.model.onDelete?.(this.list, d)
    this.list.splice(this.list.indexOf(d), 1)
    d.available = false
    this.trash.push(d)
    if (this.#random.oneIn(3)) this.add()
    else this.changed()
  }

  edit(): void {
    const d = this.#random.pick(this.list)
    if (this.#random.oneIn(2)) {
      d.weight = this.weight()
      if (d.weight !== 0) d.lastWeight = d.weight
    } else this.editThresholds(d)
    this.changed()
  }

  changed(): void {
    this.#changes++
    this.model.onChange?.(this.list)
    this.publish()
  }

  /** Connections end, or change between active and inactive. */
  endSome(): void {
    for (const d of [...this.list, ...this.trash]) {
      while (d.active + d.inactive > 0 && !this.#random.oneIn(4)) {
        const active = d.inactive === 0 || (d.active > 0 && this.#random.oneIn(2))
        if (active && this.#random.oneIn(3)) {
          d.active--
          d.inactive++
        } else {
          if (active) d.active--
          else d.inactive--
          slow.slowThreshold.unbound(d)
        }
      }
      this.rig.setLoad(d.slot, d.active, d.inactive)
    }
  }

  burst(): void {
    const random = this.#random
    const specs = Array.from({ length: random.between(1, 12) }, () => this.packet())
    const actual = this.rig.burst(specs.map(([miss]) => miss))
    const expected = specs.map(([, packet]) => {
      const d = this.model.schedule(this.list, packet, this.rig.nowSec)
      if (d === undefined) return -1
      if (this.#protocol === TCP) d.active++
      else d.inactive++
      slow.slowThreshold.bound(d)
      return d.slot
    })
    assert.deepEqual(actual, expected)
    for (const d of this.list) this.rig.setLoad(d.slot, d.active, d.inactive)
    for (const d of this.trash) this.rig.setLoad(d.slot, d.active, d.inactive)
  }

  packet(): [MissSpec, slow.SlowPacket] {
    const random = this.#random
    const address = (): [Uint8Array, number] => {
      const low = random.below(40)
      if (this.#family === 4) return [ip(`198.18.0.${low}`), (0xc6120000 + low) >>> 0]
      return [ip(`2001:db8::${low.toString(16)}`), (0x20010db8 ^ low) >>> 0]
    }
    const [client, clientFold] = address()
    const [virtual, virtualFold] = address()
    const clientPort = random.between(1024, 65535)
    const miss: MissSpec = {
      client,
      virtual,
      clientPort,
      protocol: this.#protocol,
      family: this.#family,
    }
    return [miss, { clientFold, virtualFold, virtualKey: virtual.join(), clientPort }]
  }

  step(): void {
    const kind = this.#random.below(20)
    if (kind === 0 && this.list.length < 9) this.add()
    else if (kind === 1 && this.list.length > 0) this.remove()
    else if (kind === 2 && this.list.length > 0) this.edit()
    // An edit to what it was, as health checkers do.
    else if (kind === 3 && this.list.length > 0) this.changed()
    else if (kind < 6) this.endSome()
    else if (kind < 8) this.rig.nowSec += this.#random.below(40)
    else this.burst()
  }
}

describe('schedulers against slow models', () => {
  for (const which of CASES) {
    for (let seed = 1; seed <= SEEDS; seed++) {
      it(`${which.title}, seed ${seed}`, () => {
        const world = new World(new SeededRandom(seed), which)
        for (let i = 0; i < 3; i++) world.add()
        for (let i = 0; i < STEPS; i++) world.step()
      })
    }
  }
})
