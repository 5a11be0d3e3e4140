/**
 * rr, round robin: the next usable destination after the last one chosen (spec 2.2).
 * Kernel: ip_vs_rr.c.
 *
 * The position is one shared word, moved by compare-and-exchange, so no lock is needed: whoever
 * wins the exchange has taken that turn. The word is
 *
 *     bits 31..16  low 15 bits of the state's generation (top bit 0)
 *     bits 15..0   destination slot + 1, or 0 for the list head
 *
 * The tag makes an exchange fail that was prepared before main changed the state. A position that
 * is not in the own list is a destination added by a newer snapshot; new ones stand before all old
 * ones, so going on behind them is going on from the head.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { type BindContext, type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'
import { SERVICE_WORD } from './shared-state.js'

const HEAD = -1

/** The shared word for a position: destination slot, or -1 for the head. */
export function packPosition(generation: number, slot: number): number {
  return ((generation & 0x7fff) << 16) | (slot + 1)
}

/** Destination slot of a shared word, or -1 for the head. */
export function unpackPosition(word: number): number {
  return (word & 0xffff) - 1
}

class BoundRr implements Bound {
  readonly #service: ServiceView
  readonly #context: BindContext
  readonly #at: number
  /** List index of the last choice seen here: start of the search, and the private position. */
  #last = HEAD

  constructor(service: ServiceView, context: BindContext) {
    this.#service = service
    this.#context = context
    this.#at = context.state.at(service.slot)
  }

  pick(_miss: MissBatch, load: LoadView): number {
    const words = this.#context.state.blocks.services
    const slots = this.#service.slots
    for (;;) {
      const stateGeneration = Atomics.load(words, this.#at + SERVICE_WORD.GENERATION)
      const word = Atomics.load(words, this.#at + SERVICE_WORD.POSITION)
      const current = word >>> 16 === (stateGeneration & 0x7fff)
      if (!current || ((this.#context.generation - stateGeneration) | 0) < 0) {
        // Main has moved on to a snapshot this worker does not have yet.
        this.#last = this.#next(this.#last, load)
        return this.#last === HEAD ? NO_DESTINATION : slots[this.#last]
      }
      const next = this.#next(this.#indexOf(unpackPosition(word)), load)
      if (next === HEAD) return NO_DESTINATION
      const wanted = packPosition(stateGeneration, slots[next])
      if (Atomics.compareExchange(words, this.#at + SERVICE_WORD.POSITION, word, wanted) === word) {
        this.#last = next
        return slots[next]
      }
    }
  }

  /** First usable index after `from`, once around and `from` itself last; HEAD for none. */
  #next(from: number, load: LoadView): number {
    const { slots, weights } = this.#service
    for (let i = from + 1; i < slots.length; i++) {
      if (weights[i] > 0 && load.overloadedOf[slots[i]] === 0) return i
    }
    for (let i = 0; i <= from; i++) {
      if (weights[i] > 0 && load.overloadedOf[slots[i]] === 0) return i
    }
    return HEAD
  }

  #indexOf(slot: number): number {
    if (slot < 0) return HEAD
    // With one worker the position is always the last choice.
    if (this.#last !== HEAD && this.#service.slots[this.#last] === slot) return this.#last
    return this.#service.slots.indexOf(slot)
  }
}

export const rr: Scheduler = {
  name: 'rr',
  bind: (service, context) => new BoundRr(service, context),
}
