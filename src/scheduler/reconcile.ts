/**
 * What a change of configuration does to shared scheduler state: the kernel's init, done and
 * add/del/upd_dest hooks, run once by main before it publishes the new snapshot.
 *
 * | change | rr | wrr | lblc, lblcr | others |
 * |---|---|---|---|---|
 * | new service, scheduler changed | head | recompute | empty table | - |
 * | destination deleted | position to the predecessor | recompute | - | - |
 * | destination added, edited, even to what it was | - | recompute | - | - |
 * | service deleted | - | - | table given back | - |
 *
 * What dh, sh and mh build from the list is a function of it, so there is nothing to be told.
 */
import { SCHEDULER_ID } from '../dataplane/layout.js'
import type { ServiceView, SnapshotView } from '../dataplane/snapshot-view.js'
import { assignTable, collectService, freeTable } from './address-table.js'
import { packPosition, unpackPosition } from './rr.js'
import { type SchedulerState, SERVICE_WORD } from './shared-state.js'
import { thresholdAfterChange, weightMark } from './wrr.js'

/**
 * Main, after checking a new snapshot and before any worker can see it. `oldView` is the snapshot
 * published before, undefined at the start. Bounded by services and changed lists.
 */
export function reconcileSchedulers(
  oldView: SnapshotView | undefined,
  newView: SnapshotView,
  state: SchedulerState,
): void {
  const count = Math.max(oldView?.services.length ?? 0, newView.services.length)
  for (let slot = 0; slot < count; slot++) {
    const before = oldView?.services[slot]
    const after = newView.services[slot]
    if (before === after) continue
    if (after === undefined) resetState(state, slot, undefined, newView.generation)
    else if (
      before?.incarnation !== after.incarnation ||
      before.schedulerId !== after.schedulerId
    ) {
      resetState(state, slot, after, newView.generation)
    } else if (before.changes !== after.changes) {
      changeDestinations(state, before, after, newView.generation)
    }
  }
}

/** Main, every 60 s: drops idle addresses of all lblc and lblcr services (spec 2.11). */
export function collectAddressTables(
  view: SnapshotView,
  state: SchedulerState,
  nowSec: number,
): void {
  for (const service of view.services) {
    if (service?.schedulerId === SCHEDULER_ID.lblc) {
      collectService(state, service.slot, view.sysctl('lblc_expiration'), nowSec)
    } else if (service?.schedulerId === SCHEDULER_ID.lblcr) {
      collectService(state, service.slot, view.sysctl('lblcr_expiration'), nowSec)
    }
  }
}

function resetState(
  state: SchedulerState,
  slot: number,
  service: ServiceView | undefined,
  generation: number,
): void {
  const words = state.blocks.services
  const at = state.at(slot)
  const id = service?.schedulerId ?? SCHEDULER_ID.none
  state.lock(slot)
  try {
    Atomics.store(words, at + SERVICE_WORD.GENERATION, generation)
    freeTable(state, slot)
    words[at + SERVICE_WORD.SCHEDULER] = id
    words[at + SERVICE_WORD.CURRENT_WEIGHT] =
      id === SCHEDULER_ID.wrr && service !== undefined ? weightMark(service.weights).mw : 0
    const head = id === SCHEDULER_ID.rr ? packPosition(generation, -1) : 0
    Atomics.store(words, at + SERVICE_WORD.POSITION, head)
    if (id === SCHEDULER_ID.lblc || id === SCHEDULER_ID.lblcr) assignTable(state, slot)
  } finally {
    state.unlock(slot)
  }
}

function changeDestinations(
  state: SchedulerState,
  before: ServiceView,
  after: ServiceView,
  generation: number,
): void {
  const words = state.blocks.services
  const at = state.at(after.slot)
  if (after.schedulerId === SCHEDULER_ID.wrr) {
    state.lock(after.slot)
    try {
      const mark = weightMark(after.weights)
      const cw = words[at + SERVICE_WORD.CURRENT_WEIGHT]
      Atomics.store(words, at + SERVICE_WORD.GENERATION, generation)
      words[at + SERVICE_WORD.CURRENT_WEIGHT] = thresholdAfterChange(cw, mark)
      words[at + SERVICE_WORD.POSITION] = 0
    } finally {
      state.unlock(after.slot)
    }
  } else if (after.schedulerId === SCHEDULER_ID.rr) {
    const stays = survivors(before, after)
    if (!stays.includes(false)) return
    moveOffDeleted(words, at, before.slots, stays, generation)
  }
}

/** The generation goes first: a worker that has read the old one fails its exchange by the tag. */
function moveOffDeleted(
  words: Int32Array,
  at: number,
  slots: Uint32Array,
  stays: readonly boolean[],
  generation: number,
): void {
  Atomics.store(words, at + SERVICE_WORD.GENERATION, generation)
  for (;;) {
    const word = Atomics.load(words, at + SERVICE_WORD.POSITION)
    let index = slots.indexOf(unpackPosition(word))
    while (index >= 0 && !stays[index]) index--
    const moved = packPosition(generation, index < 0 ? -1 : slots[index])
    if (Atomics.compareExchange(words, at + SERVICE_WORD.POSITION, word, moved) === word) return
  }
}

/** By old list index: whether the destination has been in the list all the time. */
function survivors(before: ServiceView, after: ServiceView): boolean[] {
  const now = new Map(Array.from(after.slots, (slot, i) => [slot, after.inserted[i]]))
  return Array.from(before.slots, (slot, i) => now.get(slot) === before.inserted[i])
}
