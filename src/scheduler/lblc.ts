/**
 * lblc, locality-based least connection: one destination per destination address of the packet,
 * as long as it is not too busy (spec 2.11). Kernel: ip_vs_lblc.c.
 *
 * The remembered destination is not tested for OVERLOAD; that is the kernel's rule.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { entryAt, findEntry, insertEntry } from './address-table.js'
import { pickWeightedLeast } from './overhead.js'
import { type BindContext, type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'
import { ENTRY_WORD } from './shared-state.js'

/**
 * Whether a destination is too busy to keep its addresses: more active connections than its
 * weight while another of the service has fewer than half of its own weight.
 * Kernel: ip_vs_lblc.c is_overloaded. `load` must be prepared for the service.
 */
export function isHot(slot: number, service: ServiceView, load: LoadView): boolean {
  if (load.active(slot) <= load.view.weight(slot)) return false
  for (let i = 0; i < service.slots.length; i++) {
    if (load.activeOf[service.slots[i]] * 2 < service.weights[i]) return true
  }
  return false
}

class BoundLblc implements Bound {
  readonly #service: ServiceView
  readonly #context: BindContext

  constructor(service: ServiceView, context: BindContext) {
    this.#service = service
    this.#context = context
  }

  pick(miss: MissBatch, load: LoadView): number {
    const { state, generation } = this.#context
    const { slot } = this.#service
    state.lock(slot)
    try {
      // The table may belong to another service already: use the load alone.
      if (state.isStale(slot, generation)) return pickWeightedLeast(this.#service, load)
      return this.#pickRemembered(miss, load)
    } finally {
      state.unlock(slot)
    }
  }

  #pickRemembered(miss: MissBatch, load: LoadView): number {
    const { state } = this.#context
    const { entries } = state.blocks
    const view = load.view
    let entry = findEntry(state, this.#service.slot, miss)
    if (entry !== 0) {
      const at = entryAt(entry)
      entries[at + ENTRY_WORD.LAST_USE_SEC] = load.nowSec
      const cached = entries[at + ENTRY_WORD.SLOT]
      const usable =
        view.available(cached) &&
        view.incarnation(cached) === entries[at + ENTRY_WORD.INCARNATION] &&
        view.weight(cached) > 0
      if (usable && !isHot(cached, this.#service, load)) return cached
    }
    const chosen = pickWeightedLeast(this.#service, load)
    if (chosen === NO_DESTINATION) return NO_DESTINATION
    if (entry === 0) entry = insertEntry(state, this.#service.slot, miss, load.nowSec)
    if (entry !== 0) {
      entries[entryAt(entry) + ENTRY_WORD.SLOT] = chosen
      entries[entryAt(entry) + ENTRY_WORD.INCARNATION] = view.incarnation(chosen)
    }
    return chosen
  }
}

export const lblc: Scheduler = {
  name: 'lblc',
  bind: (service, context) => new BoundLblc(service, context),
}
