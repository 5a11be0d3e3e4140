/**
 * fo, ovf, twos and mh as slow, obvious models, like those of slow-schedulers.ts: BigInt
 * arithmetic, one step of the reference's pseudo-code (spec 2.8 to 2.10, 2.15) per line.
 */
import type { RandomSource } from '../../src/scheduler/random.js'
import type { SlowDestination, SlowPacket, SlowScheduler } from './slow-schedulers.js'

type List = readonly SlowDestination[]
type Choice = SlowDestination | undefined

const ok = (d: SlowDestination): boolean => !d.overload
const int = (value: bigint): bigint => BigInt.asIntN(32, value)
const u64 = (value: bigint): bigint => BigInt.asUintN(64, value)

const highest = (list: List): Choice => {
  let best: Choice
  for (const d of list) if (d.weight > (best?.weight ?? 0)) best = d
  return best
}

export const slowFo: SlowScheduler = { schedule: (list) => highest(list.filter(ok)) }

export const slowOvf: SlowScheduler = {
  schedule: (list) => highest(list.filter((d) => ok(d) && d.active <= d.weight)),
}

export class SlowTwos implements SlowScheduler {
  readonly random: RandomSource

  constructor(random: RandomSource) {
    this.random = random
  }

  schedule(list: List): Choice {
    const eligible = list.filter((d) => ok(d) && d.weight > 0)
    if (eligible.length === 0) return undefined
    const sum = eligible.reduce((total, d) => total + d.weight, 0)
    const chosen = [0, 1].map(() => {
      let rest = this.random.below(sum + 1)
      return eligible.find((d) => (rest -= d.weight) <= 0) as SlowDestination
    })
    const [one, two] = chosen
    const overhead = (d: SlowDestination): bigint =>
      int(257n * BigInt(d.active) + BigInt(d.inactive))
    const left = int(BigInt(two.weight) * overhead(one))
    const right = int(BigInt(one.weight) * overhead(two))
    return left > right ? two : one
  }
}

const SIZE = 4093n
export const SLOW_KEYS = { h1: 2654435761n, h2: 2654446892n } as const

/** SipHash-1-3 of a 32-bit word, low 32 bits. */
export function slowMaglevHash(v: bigint, k: bigint): bigint {
  let [v0, v1, v2, v3] = [
    0x736f6d6570736575n ^ k,
    0x646f72616e646f6dn ^ k,
    0x6c7967656e657261n ^ k,
    0x7465646279746573n ^ k,
  ]
  const rotate = (x: bigint, n: bigint): bigint => u64((x << n) | (x >> (64n - n)))
  const round = (): void => {
    v0 = u64(v0 + v1)
    v1 = rotate(v1, 13n) ^ v0
    v0 = rotate(v0, 32n)
    v2 = u64(v2 + v3)
    v3 = rotate(v3, 16n) ^ v2
    v0 = u64(v0 + v3)
    v3 = rotate(v3, 21n) ^ v0
    v2 = u64(v2 + v1)
    v1 = rotate(v1, 17n) ^ v2
    v2 = rotate(v2, 32n)
  }
  const b = (4n << 56n) | v
  v3 ^= b
  round()
  v0 ^= b
  v2 ^= 0xffn
  round()
  round()
  round()
  return (v0 ^ v1 ^ v2 ^ v3) & 0xffffffffn
}

/** What a table is made from: fold(address) + port, and the last weight. */
export interface SlowShare {
  readonly key: number
  readonly lastWeight: number
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))

/** The list index that owns each slot; empty when all last weights are 0. */
export function slowMaglevTable(list: readonly SlowShare[]): number[] {
  const g = list.map((d) => d.lastWeight).reduce(gcd, 0)
  if (g === 0) return []
  const most = Math.max(...list.map((d) => d.lastWeight))
  const shift = Math.max(0, (most / g).toString(2).length - 6)
  const setups = list.map(({ key, lastWeight }) => ({
    perm: slowMaglevHash(BigInt(key >>> 0), SLOW_KEYS.h1) % SIZE,
    skip: (slowMaglevHash(BigInt(key >>> 0), SLOW_KEYS.h2) % (SIZE - 1n)) + 1n,
    turns: lastWeight === 0 ? 0 : Math.max(1, Math.floor(lastWeight / g / 2 ** shift)),
  }))
  const table = new Map<bigint, number>()
  while (table.size < Number(SIZE)) {
    setups.forEach((d, index) => {
      for (let turn = 0; turn < d.turns && table.size < Number(SIZE); turn++) {
        while (table.has(d.perm)) d.perm = (d.perm + d.skip) % SIZE
        table.set(d.perm, index)
      }
    })
  }
  return Array.from({ length: Number(SIZE) }, (_, slot) => table.get(BigInt(slot)) as number)
}

export class SlowMh implements SlowScheduler {
  readonly fallback: boolean
  readonly port: boolean
  #table: Choice[] = []
  readonly #hashed = new Map<number, number>()

  constructor(fallback: boolean, port: boolean) {
    this.fallback = fallback
    this.port = port
  }

  onChange(list: List): void {
    this.#table = slowMaglevTable(list).map((index) => list[index])
  }

  schedule(_list: List, packet: SlowPacket): Choice {
    const port = this.port ? packet.clientPort : 0
    const slot = (offset: number): number =>
      this.#slot((offset + port + packet.clientFold) % 2 ** 32)
    const available = (d: SlowDestination): boolean => d.weight > 0 && ok(d)
    const h = slot(0)
    const d = this.#table[h]
    if (d === undefined) return undefined
    if (available(d)) return d
    for (let off = 0; this.fallback && off < Number(SIZE); off++) {
      const other = this.#table[slot((off + h) % Number(SIZE))]
      if (other === undefined) return undefined
      if (available(other)) return other
    }
    return undefined
  }

  /** h1(v) mod SIZE; remembered, as thousands are asked for when everything is down. */
  #slot(v: number): number {
    const known = this.#hashed.get(v)
    if (known !== undefined) return known
    const slot = Number(slowMaglevHash(BigInt(v), SLOW_KEYS.h1) % SIZE)
    this.#hashed.set(v, slot)
    return slot
  }
}
