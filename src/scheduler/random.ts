/**
 * Random numbers for schedulers: the seed is an argument, so the same seed gives the same choices.
 * xoshiro128** 1.1 (Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators", 2021):
 * 32-bit words only, period 2^128 - 1.
 */

/** Where a scheduler's random numbers come from. */
export interface RandomSource {
  /** A whole number from 0 to bound - 1; `bound` is whole, from 1 to 2^32. */
  below(bound: number): number
}

const rotateLeft = (word: number, bits: number): number => (word << bits) | (word >>> (32 - bits))

/** One generator; not for secrets. */
export class Xoshiro128 implements RandomSource {
  readonly #state: Int32Array

  /** `seed`: four words, not all of them zero. */
  constructor(seed: ArrayLike<number>) {
    this.#state = Int32Array.from({ length: 4 }, (_, i) => seed[i])
    if (this.#state.every((word) => word === 0)) throw new RangeError('a seed of zeros')
  }

  /** The next 32 random bits, as an unsigned integer. */
  next(): number {
    const s = this.#state
    const result = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9)
    const t = s[1] << 9
    s[2] ^= s[0]
    s[3] ^= s[1]
    s[1] ^= s[2]
    s[0] ^= s[3]
    s[2] ^= t
    s[3] = rotateLeft(s[3], 11)
    return result >>> 0
  }

  /** By the high bits of the product; no number is likelier than another by more than 2^-32. */
  below(bound: number): number {
    return Math.floor((this.next() / 2 ** 32) * bound)
  }
}
