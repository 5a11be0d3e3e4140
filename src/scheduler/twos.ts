/**
 * twos, the power of two choices: two destinations at random by weight, of which the less loaded
 * for its weight takes the connection (spec 2.10). Kernel 6.1.192: ip_vs_twos.c.
 *
 * All arithmetic is the kernel's in `int`, which wraps: sums of weights, what is left of the two
 * numbers, and the products that are compared. The numbers are from 0 to the sum of the weights,
 * both included, so the first of the list is a little likelier than its weight says.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import type { RandomSource } from './random.js'
import { type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'

class BoundTwos implements Bound {
  readonly #service: ServiceView
  readonly #random: RandomSource

  constructor(service: ServiceView, random: RandomSource) {
    this.#service = service
    this.#random = random
  }

  pick(_miss: MissBatch, load: LoadView): number {
    const { slots, weights } = this.#service
    let total = 0
    let last = NO_DESTINATION
    for (let i = 0; i < slots.length; i++) {
      if (weights[i] <= 0 || load.overloadedOf[slots[i]] !== 0) continue
      total = (total + weights[i]) | 0
      last = i
    }
    if (last === NO_DESTINATION) return NO_DESTINATION
    // A sum that wraps to nothing divides by zero in the kernel; here it has one value.
    const values = (total + 1) >>> 0 || 1
    return this.#between(this.#random.below(values) | 0, this.#random.below(values) | 0, last, load)
  }

  /** The choice for two numbers; `last` is the list's last usable one, for numbers that wrapped. */
  #between(first: number, second: number, last: number, load: LoadView): number {
    const { slots, weights } = this.#service
    let one = NO_DESTINATION
    let two = NO_DESTINATION
    for (let i = 0; i <= last && (one < 0 || two < 0); i++) {
      const weight = weights[i]
      if (weight <= 0 || load.overloadedOf[slots[i]] !== 0) continue
      first = (first - weight) | 0
      second = (second - weight) | 0
      if (first <= 0 && one < 0) one = i
      if (second <= 0 && two < 0) two = i
    }
    if (two < 0) return slots[one < 0 ? last : one]
    const weightOne = one < 0 ? -1 : weights[one]
    const overheadOne = one < 0 ? 0 : load.overheadOf[slots[one]]
    const greater =
      Math.imul(weights[two], overheadOne) > Math.imul(weightOne, load.overheadOf[slots[two]])
    return slots[greater ? two : one < 0 ? last : one]
  }
}

export const twos: Scheduler = {
  name: 'twos',
  bind: (service, { random }) => new BoundTwos(service, random),
}
