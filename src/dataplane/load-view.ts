/**
 * Destination load, totalled over all lanes once per batch, and the OVERLOAD flag (spec 1.5).
 *
 * Lanes: one per worker, written by that worker's core, plus the last one, written by main. This
 * view reads them plainly; its totals stay as they are for the rest of the batch except for what
 * the batch itself assigns: `picked` counts a connection at once, otherwise 64 misses would all
 * choose the same least loaded destination. After `resolve` the core's lane holds the same sum.
 *
 * OVERLOAD is decided here, whenever a destination is totalled: at or above the upper threshold
 * set, below the lower one cleared, between them kept. Totals rise through `picked` only, so
 * every fall since the last look is seen before the next rise, and looking at levels equals the
 * kernel's look at every bind and unbind; edits are looked at by main (`adoptForPublish`). Data
 * connections of FTP are the exception: native makes them, and they are seen at the next look. Two
 * workers may add to one destination in the same instant and pass its threshold by what one batch
 * assigns.
 */
import { DESTINATION_STATE, LIMITS, offsetOf, RECORDS } from './layout.js'
import type { ServiceView, SnapshotView } from './snapshot-view.js'

const LOAD_WORDS = RECORDS.load.bytes / 4
const ACTIVE = offsetOf('load', 'active') / 4
const INACTIVE = offsetOf('load', 'inactive') / 4
const PERSISTENT = offsetOf('load', 'persistent') / 4
const LANE_WORDS = LIMITS.DESTINATIONS * LOAD_WORDS
const PROTOCOL_TCP = 6

/** Int32 words of a load block with `lanes` lanes (workers + 1). */
export function loadBlockWords(lanes: number): number {
  return lanes * LANE_WORDS
}

/** What a LoadView borrows; the blocks belong to main. */
export interface LoadBlocks {
  /** [lane][destination slot] of `load` records. */
  readonly load: Int32Array
  /** DESTINATION_STATE bits by destination slot. */
  readonly destinationState: Int32Array
}

/**
 * OVERLOAD after a look at `total` connections: `overloaded` is the flag before it. Thresholds of
 * 0 are off. Kernel 6.1.192: ip_vs_ctl.c __ip_vs_update_dest, ip_vs_conn.c bind and unbind.
 */
export function overloadAfter(
  overloaded: boolean,
  total: number,
  upperThreshold: number,
  lowerThreshold: number,
): boolean {
  if (upperThreshold === 0) return false
  if (total >= upperThreshold) return true
  // Without a lower threshold: clear below three quarters of the upper one.
  const lower = lowerThreshold !== 0 ? lowerThreshold : upperThreshold - (upperThreshold >>> 2)
  return overloaded && total >= lower
}

/**
 * Overhead of lc, wlc, lblc and lblcr: 256 * active + all connections.
 * Kernel 6.1.192: ip_vs.h ip_vs_dest_conn_overhead.
 */
export function connectionOverhead(active: number, inactive: number): number {
  return 257 * active + inactive
}

/** The load of all destinations during one batch. One per worker (and one in main's sweeps). */
export class LoadView {
  /** Seconds of the director's monotonic clock, as given to `beginBatch`. */
  nowSec = 0
  /** By destination slot; valid after `prepare` or `prepareSlot` in this batch. */
  readonly activeOf = new Int32Array(LIMITS.DESTINATIONS)
  readonly inactiveOf = new Int32Array(LIMITS.DESTINATIONS)
  /** 1: no new connections; valid like `activeOf`. */
  readonly overloadedOf = new Uint8Array(LIMITS.DESTINATIONS)
  /** connectionOverhead, or Infinity when overloaded; valid like `activeOf`. */
  readonly overheadOf = new Float64Array(LIMITS.DESTINATIONS)
  readonly #load: Int32Array
  readonly #state: Int32Array
  readonly #lanes: number
  readonly #ownLane: number
  readonly #slotStamp = new Uint32Array(LIMITS.DESTINATIONS)
  readonly #serviceStamp = new Uint32Array(LIMITS.SERVICES)
  #stamp = 0
  #view: SnapshotView | undefined

  /** `ownLane` is the lane whose persistent counts this thread writes. */
  constructor(blocks: LoadBlocks, ownLane: number) {
    this.#load = blocks.load
    this.#state = blocks.destinationState
    this.#lanes = Math.floor(blocks.load.length / LANE_WORDS)
    this.#ownLane = ownLane
    if (ownLane >= this.#lanes) {
      throw new RangeError(`lane ${ownLane} is outside a load block of ${this.#lanes} lanes`)
    }
  }

  /** Takes thresholds and destinations of a new snapshot; between batches only. */
  adopt(view: SnapshotView): void {
    this.#view = view
    this.beginBatch(this.nowSec)
  }

  /**
   * Main, before it publishes `view`: takes it and re-evaluates OVERLOAD where a threshold changed,
   * after a last look with the old thresholds. Kernel 6.1.192: ip_vs_ctl.c __ip_vs_update_dest.
   */
  adoptForPublish(view: SnapshotView): void {
    const old = this.#view
    this.beginBatch(this.nowSec)
    const changed: number[] = []
    for (let slot = 0; old !== undefined && slot < old.destinationCount; slot++) {
      const same =
        old.upperThreshold(slot) === view.upperThreshold(slot) &&
        old.lowerThreshold(slot) === view.lowerThreshold(slot)
      if (same) continue
      this.prepareSlot(slot)
      changed.push(slot)
    }
    this.adopt(view)
    for (const slot of changed) this.prepareSlot(slot)
  }

  /** The adopted snapshot. Broken invariant when there is none yet. */
  get view(): SnapshotView {
    if (this.#view === undefined) throw new Error('no snapshot adopted')
    return this.#view
  }

  /** Forgets all totals; `nowSec` is the monotonic time of this batch in seconds. */
  beginBatch(nowSec: number): void {
    this.nowSec = nowSec
    this.#stamp = (this.#stamp + 1) >>> 0
    if (this.#stamp === 0) {
      this.#slotStamp.fill(0)
      this.#serviceStamp.fill(0)
      this.#stamp = 1
    }
  }

  /** Makes the arrays valid for every destination in the service's list. */
  prepare(service: ServiceView): void {
    if (this.#serviceStamp[service.slot] === this.#stamp) return
    this.#serviceStamp[service.slot] = this.#stamp
    const slots = service.slots
    for (let i = 0; i < slots.length; i++) this.prepareSlot(slots[i])
  }

  /** Makes the arrays valid for one destination, which may be in the trash. */
  prepareSlot(slot: number): void {
    if (this.#slotStamp[slot] === this.#stamp) return
    this.#slotStamp[slot] = this.#stamp
    const load = this.#load
    let active = 0
    let inactive = 0
    for (let lane = 0, at = slot * LOAD_WORDS; lane < this.#lanes; lane++, at += LANE_WORDS) {
      active += load[at + ACTIVE]
      inactive += load[at + INACTIVE]
    }
    // A connection may change sides between two plain reads: never below nothing.
    if (active < 0) active = 0
    if (inactive < 0) inactive = 0
    this.activeOf[slot] = active
    this.inactiveOf[slot] = inactive
    this.#judge(slot, active + inactive)
  }

  active(slot: number): number {
    this.prepareSlot(slot)
    return this.activeOf[slot]
  }

  inactive(slot: number): number {
    this.prepareSlot(slot)
    return this.inactiveOf[slot]
  }

  /** Connections bound to the destination, templates not counted. */
  total(slot: number): number {
    this.prepareSlot(slot)
    return this.activeOf[slot] + this.inactiveOf[slot]
  }

  overloaded(slot: number): boolean {
    this.prepareSlot(slot)
    return this.overloadedOf[slot] !== 0
  }

  /** Templates bound to the destination, all lanes. */
  persistent(slot: number): number {
    let sum = 0
    for (let lane = 0; lane < this.#lanes; lane++) {
      sum += this.#load[lane * LANE_WORDS + slot * LOAD_WORDS + PERSISTENT]
    }
    return sum
  }

  /**
   * Counts a connection just assigned. TCP is active from its SYN on, everything else inactive
   * (spec 3.5). A one-packet connection is gone before the next decision: it rises and falls.
   */
  picked(slot: number, protocol: number, onePacket: boolean): void {
    this.prepareSlot(slot)
    if (onePacket) this.#judge(slot, this.activeOf[slot] + this.inactiveOf[slot] + 1)
    else if (protocol === PROTOCOL_TCP) this.activeOf[slot]++
    else this.inactiveOf[slot]++
    this.#judge(slot, this.activeOf[slot] + this.inactiveOf[slot])
  }

  /** Adds to the own lane's count of templates (written by this thread only). */
  addPersistent(slot: number, delta: number): void {
    const at = this.#ownLane * LANE_WORDS + slot * LOAD_WORDS + PERSISTENT
    this.#load[at] += delta
  }

  /** Sets what depends on the load: the OVERLOAD flag at `total` connections, and the overhead. */
  #judge(slot: number, total: number): void {
    const upper = this.#view === undefined ? 0 : this.#view.upperThreshold(slot)
    const before = (this.#state[slot] & DESTINATION_STATE.OVERLOAD) !== 0
    let after = false
    // Without a threshold, the usual case, there is nothing to decide.
    if (upper !== 0 || before) {
      const lower = this.#view === undefined ? 0 : this.#view.lowerThreshold(slot)
      after = overloadAfter(before, total, upper, lower)
      if (after && !before) Atomics.or(this.#state, slot, DESTINATION_STATE.OVERLOAD)
      if (!after && before) Atomics.and(this.#state, slot, ~DESTINATION_STATE.OVERLOAD)
    }
    this.overloadedOf[slot] = after ? 1 : 0
    this.overheadOf[slot] = after
      ? Infinity
      : connectionOverhead(this.activeOf[slot], this.inactiveOf[slot])
  }
}
