/**
 * Repeatable random numbers for tests: the same seed gives the same sequence on every machine.
 * SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014), the
 * generator test/native/check.h uses too, so that a seed means the same in both languages.
 */
const MASK = (1n << 64n) - 1n

export class SeededRandom {
  private state: bigint

  /** `seed`: any integer; print it in the test's title or message, so that a failure repeats. */
  constructor(seed: number | bigint) {
    this.state = BigInt(seed) & MASK
  }

  /** The next 64 random bits. */
  next(): bigint {
    this.state = (this.state + 0x9e3779b97f4a7c15n) & MASK
    let z = this.state
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK
    return z ^ (z >> 31n)
  }

  /** A whole number in [0, bound); `bound` is from 1 to 2^53. */
  below(bound: number): number {
    if (!Number.isSafeInteger(bound) || bound < 1) {
      throw new RangeError(`below() wants a whole number from 1, not ${bound}`)
    }
    return Number(this.next() % BigInt(bound))
  }

  /** A whole number in [low, high], both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  /** True once in `n` times on average. */
  oneIn(n: number): boolean {
    return this.below(n) === 0
  }

  /** One element of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError('pick() from an empty list')
    return list[this.below(list.length)] as T
  }

  /** `count` random bytes. */
  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(256))
  }

  /** A shuffled copy (Fisher-Yates). */
  shuffle<T>(list: readonly T[]): T[] {
    const copy = [...list]
    for (let i = copy.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      const held = copy[i] as T
      copy[i] = copy[j] as T
      copy[j] = held
    }
    return copy
  }
}
