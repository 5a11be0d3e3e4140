/**
 * lblcr, locality-based least connection with replication: a set of destinations per destination
 * address of the packet, grown when the least loaded member is too busy and shrunk when it has
 * not changed for a day (spec 2.12). Kernel: ip_vs_lblcr.c.
 */
import { connectionOverhead, type LoadView } from '../dataplane/load-view.js'
import type { MissBatch } from '../dataplane/miss-batch.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import {
  entryAt,
  findEntry,
  insertEntry,
  insertMember,
  memberAt,
  removeMember,
} from './address-table.js'
import { isHot } from './lblc.js'
import { pickWeightedLeast, productGreater } from './overhead.js'
import { type BindContext, type Bound, NO_DESTINATION, type Scheduler } from './scheduler.js'
import { ENTRY_WORD, MEMBER_WORD } from './shared-state.js'

class BoundLblcr implements Bound {
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
      const entry = findEntry(state, slot, miss)
      return entry === 0 ? this.#pickFirst(miss, load) : this.#pickFromSet(entry, load)
    } finally {
      state.unlock(slot)
    }
  }

  #pickFirst(miss: MissBatch, load: LoadView): number {
    const { state } = this.#context
    const chosen = pickWeightedLeast(this.#service, load)
    if (chosen === NO_DESTINATION) return NO_DESTINATION
    const entry = insertEntry(state, this.#service.slot, miss, load.nowSec)
    if (entry !== 0) {
      insertMember(state, entry, chosen, load.view.incarnation(chosen), load.nowSec)
    }
    return chosen
  }

  #pickFromSet(entry: number, load: LoadView): number {
    const { state } = this.#context
    const { entries } = state.blocks
    const at = entryAt(entry)
    entries[at + ENTRY_WORD.LAST_USE_SEC] = load.nowSec
    this.#forgetReusedSlots(entry, load)
    const least = this.#leastLoaded(entry, load)
    const unchangedSec = load.nowSec - entries[at + ENTRY_WORD.LAST_CHANGE_SEC]
    if (
      entries[at + ENTRY_WORD.SET_SIZE] > 1 &&
      unchangedSec > load.view.sysctl('lblcr_expiration')
    ) {
      this.#shrink(entry, load)
    }
    if (least !== NO_DESTINATION && !isHot(least, this.#service, load)) return least
    const chosen = pickWeightedLeast(this.#service, load)
    if (chosen !== NO_DESTINATION && !this.#contains(entry, chosen)) {
      insertMember(state, entry, chosen, load.view.incarnation(chosen), load.nowSec)
    }
    return chosen
  }

  /** Least overhead for its weight in set order. Kernel: ip_vs_dest_set_min. */
  #leastLoaded(entry: number, load: LoadView): number {
    const { entries, members } = this.#context.state.blocks
    const view = load.view
    let best = NO_DESTINATION
    let bestWeight = 0
    let bestOverhead = 0
    for (let m = entries[entryAt(entry) + ENTRY_WORD.SET]; m !== 0;) {
      const slot = members[memberAt(m) + MEMBER_WORD.SLOT]
      m = members[memberAt(m) + MEMBER_WORD.NEXT]
      const weight = view.weight(slot)
      if (weight <= 0 || load.overloaded(slot) || !view.available(slot)) continue
      const overhead = load.overheadOf[slot]
      if (best === NO_DESTINATION || productGreater(bestOverhead, weight, overhead, bestWeight)) {
        best = slot
        bestWeight = weight
        bestOverhead = overhead
      }
    }
    return best
  }

  /**
   * Removes the most loaded member; OVERLOAD and AVAILABLE do not matter, weight 0 is never
   * removed. Kernel: ip_vs_dest_set_max, ip_vs_dest_set_erase.
   */
  #shrink(entry: number, load: LoadView): void {
    const { state } = this.#context
    const { entries, members } = state.blocks
    let most = 0
    let mostWeight = 0
    let mostOverhead = 0
    for (let m = entries[entryAt(entry) + ENTRY_WORD.SET]; m !== 0;) {
      const slot = members[memberAt(m) + MEMBER_WORD.SLOT]
      const weight = load.view.weight(slot)
      if (weight > 0) {
        const overhead = connectionOverhead(load.active(slot), load.inactive(slot))
        if (most === 0 || productGreater(overhead, mostWeight, mostOverhead, weight)) {
          most = m
          mostWeight = weight
          mostOverhead = overhead
        }
      }
      m = members[memberAt(m) + MEMBER_WORD.NEXT]
    }
    if (most === 0) return
    removeMember(state, entry, most)
    entries[entryAt(entry) + ENTRY_WORD.LAST_CHANGE_SEC] = load.nowSec
  }

  #contains(entry: number, wanted: number): boolean {
    const { entries, members } = this.#context.state.blocks
    for (let m = entries[entryAt(entry) + ENTRY_WORD.SET]; m !== 0;) {
      if (members[memberAt(m) + MEMBER_WORD.SLOT] === wanted) return true
      m = members[memberAt(m) + MEMBER_WORD.NEXT]
    }
    return false
  }

  /** A slot that another destination has now is none of this set's business any more. */
  #forgetReusedSlots(entry: number, load: LoadView): void {
    const { state } = this.#context
    const { entries, members } = state.blocks
    for (let m = entries[entryAt(entry) + ENTRY_WORD.SET]; m !== 0;) {
      const at = memberAt(m)
      const next = members[at + MEMBER_WORD.NEXT]
      const now = load.view.incarnation(members[at + MEMBER_WORD.SLOT])
      if (now !== members[at + MEMBER_WORD.INCARNATION]) removeMember(state, entry, m)
      m = next
    }
  }
}

export const lblcr: Scheduler = {
  name: 'lblcr',
  bind: (service, context) => new BoundLblcr(service, context),
}
