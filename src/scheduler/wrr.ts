/**
 * wrr, weighted round robin: rounds with a falling weight threshold (spec 2.3).
 * Kernel: ip_vs_wrr.c.
 *
 * `di` (gcd of the weights) and `mw` (first threshold) follow from the list; the position and the
 * threshold `cw` are the state, shared under the service's lock. A worker whose snapshot is older
 * than the last change of that state goes on from its own last values and writes nothing.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { type BindContext, type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'
import { SERVICE_WORD } from './shared-state.js'

const HEAD = -1

/** What the weights of a list give: the step `di` and the first threshold `mw`, 0 if all are 0. */
export interface WeightMark {
  readonly di: number
  readonly mw: number
}

/** Computes di and mw. Kernel: ip_vs_wrr_gcd_weight, ip_vs_wrr_max_weight. */
export function weightMark(weights: Int32Array): WeightMark {
  let gcd = 0
  let max = 0
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i]
    if (weight <= 0) continue
    max = Math.max(max, weight)
    let a = gcd
    let b = weight
    while (a !== 0) [a, b] = [b % a, a]
    gcd = b
  }
  const di = gcd === 0 ? 1 : gcd
  return { di, mw: max - (di - 1) }
}

/** The threshold after a change of the destinations. Kernel: ip_vs_wrr_dest_changed. */
export function thresholdAfterChange(cw: number, mark: WeightMark): number {
  if (cw > mark.mw || cw === 0) return mark.mw
  return mark.di > 1 ? Math.floor(cw / mark.di) * mark.di + 1 : cw
}

class BoundWrr implements Bound {
  readonly #service: ServiceView
  readonly #context: BindContext
  readonly #mark: WeightMark
  /** List index of the position, and the threshold: copies of the shared state after each pick. */
  #cl = HEAD
  #cw: number

  constructor(service: ServiceView, context: BindContext) {
    this.#service = service
    this.#context = context
    this.#mark = weightMark(service.weights)
    this.#cw = this.#mark.mw
  }

  pick(_miss: MissBatch, load: LoadView): number {
    if (this.#mark.mw === 0) return NO_DESTINATION
    const { state, generation } = this.#context
    const { slot, slots } = this.#service
    state.lock(slot)
    try {
      if (state.isStale(slot, generation)) return this.#advance(load)
      const words = state.blocks.services
      const at = state.at(slot)
      this.#restore(words[at + SERVICE_WORD.POSITION] - 1, words[at + SERVICE_WORD.CURRENT_WEIGHT])
      const chosen = this.#advance(load)
      words[at + SERVICE_WORD.POSITION] = this.#cl === HEAD ? 0 : slots[this.#cl] + 1
      words[at + SERVICE_WORD.CURRENT_WEIGHT] = this.#cw
      return chosen
    } finally {
      state.unlock(slot)
    }
  }

  #restore(slot: number, cw: number): void {
    const slots = this.#service.slots
    if (slot < 0) this.#cl = HEAD
    else if (this.#cl === HEAD || slots[this.#cl] !== slot) this.#cl = slots.indexOf(slot)
    this.#cw = cw <= 0 || cw > this.#mark.mw ? this.#mark.mw : cw
  }

  /** Moves #cl and #cw to the next choice and returns its destination slot. */
  #advance(load: LoadView): number {
    const { slots, weights } = this.#service
    const { di, mw } = this.#mark
    const last = this.#cl
    let index = last
    let stop = HEAD
    let lastPass = false
    let restarted = false
    let heaviest = 0
    let fullRound = index === HEAD
    for (;;) {
      while (++index < slots.length) {
        const usable = load.overloadedOf[slots[index]] === 0
        if (usable && weights[index] >= this.#cw) {
          this.#cl = index
          return slots[index]
        }
        if (usable && weights[index] > heaviest) heaviest = weights[index]
        if (index === stop) {
          this.#cl = index
          return NO_DESTINATION
        }
      }
      index = HEAD
      if (fullRound) this.#cw = this.#skipRounds(heaviest)
      this.#cw -= di
      if (this.#cw <= 0) {
        this.#cw = mw
        if (lastPass || last === HEAD) {
          this.#cl = HEAD
          return NO_DESTINATION
        }
        restarted = true
      }
      lastPass = this.#cw <= di
      if (lastPass && restarted && last !== HEAD) stop = last
      fullRound = true
      heaviest = 0
    }
  }

  /**
   * The threshold before the next round that can matter: rounds above the heaviest usable weight
   * choose nothing and change nothing, except the last one (cw <= di), which ends the search. The
   * kernel walks them all; with weights like 65535 and 1 that is 65535 walks under the lock.
   */
  #skipRounds(heaviest: number): number {
    const floor = Math.max(heaviest, this.#mark.di)
    const rounds = Math.ceil((this.#cw - floor) / this.#mark.di) - 1
    return rounds > 0 ? this.#cw - rounds * this.#mark.di : this.#cw
  }
}

export const wrr: Scheduler = {
  name: 'wrr',
  bind: (service, context) => new BoundWrr(service, context),
}
