/**
 * The address tables of lblc and lblcr: 1024 buckets per service, entries from one shared pool.
 *
 * Every function expects the service's lock to be held, except `collectService`, which runs on
 * the main thread and takes it. An entry or member is named by index + 1, 0 is none.
 * Links are written so that a thread that stops half-way leaves a chain that can be walked.
 *
 * A destination is remembered by slot and incarnation: a slot that was given to another
 * destination counts as a destination that is gone.
 */
import type { MissBatch } from '../dataplane/miss-batch.js'
import { hash32 } from './hash.js'
import { acquire, release } from './lock.js'
import {
  ADDRESS_BUCKETS,
  ADDRESS_ENTRIES_MAX,
  ENTRY_WORD,
  ENTRY_WORDS,
  MEMBER_WORD,
  MEMBER_WORDS,
  POOL_WORD,
  type SchedulerState,
  SERVICE_WORD,
  SET_MEMBERS_MAX,
} from './shared-state.js'

const BUCKET_BITS = 10

/** Entries of one table before collection starts. Kernel: IP_VS_LBLC_TAB_SIZE * 16. */
export const TABLE_SIZE_MAX = ADDRESS_BUCKETS * 16

/** Entries at which no new one is made. Kernel 6.1.192: max_size * 3 / 2. */
export const TABLE_SIZE_HARD_MAX = (TABLE_SIZE_MAX * 3) / 2

/** Runs from one full check to the next (30 minutes). Kernel: COUNT_FOR_FULL_EXPIRATION. */
const RUNS_PER_FULL_CHECK = 30

/** Idle seconds after which a partial collection takes an entry. Kernel: ENTRY_TIMEOUT. */
const PARTIAL_IDLE_SEC = 360

/** Word index of an entry's record. */
export function entryAt(entry: number): number {
  return (entry - 1) * ENTRY_WORDS
}

/** Word index of a set member's record. */
export function memberAt(member: number): number {
  return (member - 1) * MEMBER_WORDS
}

/** Finds the entry for the miss's virtual address; 0 for none. */
export function findEntry(state: SchedulerState, serviceSlot: number, miss: MissBatch): number {
  const bucket = bucketOf(state, serviceSlot, miss.destinationFold)
  if (bucket < 0) return 0
  const { buckets, entries } = state.blocks
  const key = miss.words
  const from = miss.destinationAddressAt
  for (let entry = buckets[bucket]; entry !== 0;) {
    const at = entryAt(entry)
    if (
      entries[at + 3] === key[from + 3] &&
      entries[at + 2] === key[from + 2] &&
      entries[at + 1] === key[from + 1] &&
      entries[at] === key[from]
    ) {
      return entry
    }
    entry = entries[at + ENTRY_WORD.NEXT]
  }
  return 0
}

/**
 * Makes an empty entry for the miss's virtual address, last used now; 0 when the table or the
 * pool is full (the pick is still used, only not remembered).
 */
export function insertEntry(
  state: SchedulerState,
  serviceSlot: number,
  miss: MissBatch,
  nowSec: number,
): number {
  const { services, buckets, entries } = state.blocks
  const count = state.at(serviceSlot) + SERVICE_WORD.ENTRIES
  const bucket = bucketOf(state, serviceSlot, miss.destinationFold)
  if (bucket < 0 || services[count] >= TABLE_SIZE_HARD_MAX) return 0
  const entry = takeEntry(state)
  if (entry === 0) return 0
  const at = entryAt(entry)
  for (let i = 0; i < 4; i++) entries[at + i] = miss.words[miss.destinationAddressAt + i]
  entries[at + ENTRY_WORD.LAST_USE_SEC] = nowSec
  entries[at + ENTRY_WORD.SET] = 0
  entries[at + ENTRY_WORD.SET_SIZE] = 0
  entries[at + ENTRY_WORD.LAST_CHANGE_SEC] = nowSec
  entries[at + ENTRY_WORD.NEXT] = buckets[bucket]
  buckets[bucket] = entry
  services[count]++
  return entry
}

/** Puts a destination at the head of an entry's set; false when the pool is full. */
export function insertMember(
  state: SchedulerState,
  entry: number,
  slot: number,
  incarnation: number,
  nowSec: number,
): boolean {
  const { entries, members } = state.blocks
  const member = takeMember(state)
  if (member === 0) return false
  const at = memberAt(member)
  const head = entryAt(entry)
  members[at + MEMBER_WORD.SLOT] = slot
  members[at + MEMBER_WORD.INCARNATION] = incarnation
  members[at + MEMBER_WORD.NEXT] = entries[head + ENTRY_WORD.SET]
  entries[head + ENTRY_WORD.SET] = member
  entries[head + ENTRY_WORD.SET_SIZE]++
  entries[head + ENTRY_WORD.LAST_CHANGE_SEC] = nowSec
  return true
}

/** Takes a member out of an entry's set; the caller decides about LAST_CHANGE_SEC. */
export function removeMember(state: SchedulerState, entry: number, member: number): void {
  const { entries, members } = state.blocks
  const head = entryAt(entry)
  const next = members[memberAt(member) + MEMBER_WORD.NEXT]
  if (entries[head + ENTRY_WORD.SET] === member) entries[head + ENTRY_WORD.SET] = next
  for (let m = entries[head + ENTRY_WORD.SET]; m !== 0;) {
    const at = memberAt(m)
    if (members[at + MEMBER_WORD.NEXT] === member) members[at + MEMBER_WORD.NEXT] = next
    m = members[at + MEMBER_WORD.NEXT]
  }
  entries[head + ENTRY_WORD.SET_SIZE]--
  giveMember(state, member)
}

/** Main: gives all entries of a service's table back, and the table. */
export function freeTable(state: SchedulerState, serviceSlot: number): void {
  const { services, tables, buckets } = state.blocks
  const at = state.at(serviceSlot)
  const table = services[at + SERVICE_WORD.TABLE]
  services[at + SERVICE_WORD.TABLE] = 0
  services[at + SERVICE_WORD.ENTRIES] = 0
  if (table === 0) return
  for (let i = 0; i < ADDRESS_BUCKETS; i++) {
    const bucket = (table - 1) * ADDRESS_BUCKETS + i
    for (let entry = buckets[bucket]; entry !== 0; entry = buckets[bucket]) {
      buckets[bucket] = state.blocks.entries[entryAt(entry) + ENTRY_WORD.NEXT]
      giveEntry(state, entry)
    }
  }
  tables[table - 1] = 0
}

/** Main: gives a service an empty table if one is free; without one it remembers nothing. */
export function assignTable(state: SchedulerState, serviceSlot: number): void {
  const { services, tables } = state.blocks
  const at = state.at(serviceSlot)
  const table = tables.indexOf(0)
  services[at + SERVICE_WORD.TABLE] = table + 1
  services[at + SERVICE_WORD.ENTRIES] = 0
  services[at + SERVICE_WORD.GC_COUNTER] = 1
  services[at + SERVICE_WORD.GC_ROVER] = 0
  if (table >= 0) tables[table] = serviceSlot + 1
}

/**
 * Main, every 60 s per service: drops idle entries (spec 2.11). `expirationSec` is the sysctl
 * lblc_expiration or lblcr_expiration. Kernel: ip_vs_lblc_check_expire, ip_vs_lblc_full_check.
 */
export function collectService(
  state: SchedulerState,
  serviceSlot: number,
  expirationSec: number,
  nowSec: number,
): void {
  const { services } = state.blocks
  const at = state.at(serviceSlot)
  if (services[at + SERVICE_WORD.TABLE] === 0) return
  if (services[at + SERVICE_WORD.GC_COUNTER] % RUNS_PER_FULL_CHECK === 0) {
    for (let i = 0; i < ADDRESS_BUCKETS; i++) {
      collectBucket(state, serviceSlot, i, expirationSec, nowSec)
    }
    services[at + SERVICE_WORD.GC_COUNTER] = 1
    return
  }
  const excess = services[at + SERVICE_WORD.ENTRIES] - TABLE_SIZE_MAX
  if (excess <= 0) {
    services[at + SERVICE_WORD.GC_COUNTER]++
    return
  }
  let goal = Math.min(Math.floor((excess * 4) / 3), TABLE_SIZE_MAX / 2)
  let bucket = services[at + SERVICE_WORD.GC_ROVER]
  for (let i = 0; i < ADDRESS_BUCKETS && goal > 0; i++) {
    bucket = (bucket + 1) % ADDRESS_BUCKETS
    goal -= collectBucket(state, serviceSlot, bucket, PARTIAL_IDLE_SEC, nowSec)
  }
  services[at + SERVICE_WORD.GC_ROVER] = bucket
}

/** Drops the entries of one bucket idle for `idleSec` or more; returns how many. */
function collectBucket(
  state: SchedulerState,
  serviceSlot: number,
  index: number,
  idleSec: number,
  nowSec: number,
): number {
  const { services, buckets, entries } = state.blocks
  const at = state.at(serviceSlot)
  const bucket = (services[at + SERVICE_WORD.TABLE] - 1) * ADDRESS_BUCKETS + index
  let dropped = 0
  state.lock(serviceSlot)
  try {
    let previous = 0
    for (let entry = buckets[bucket]; entry !== 0;) {
      const next = entries[entryAt(entry) + ENTRY_WORD.NEXT]
      if (nowSec - entries[entryAt(entry) + ENTRY_WORD.LAST_USE_SEC] >= idleSec) {
        if (previous === 0) buckets[bucket] = next
        else entries[entryAt(previous) + ENTRY_WORD.NEXT] = next
        services[at + SERVICE_WORD.ENTRIES]--
        giveEntry(state, entry)
        dropped++
      } else {
        previous = entry
      }
      entry = next
    }
  } finally {
    state.unlock(serviceSlot)
  }
  return dropped
}

/** Index of the address's bucket; below zero when the service has no table. */
function bucketOf(state: SchedulerState, serviceSlot: number, fold: number): number {
  const table = state.blocks.services[state.at(serviceSlot) + SERVICE_WORD.TABLE]
  return (table - 1) * ADDRESS_BUCKETS + (table === 0 ? 0 : hash32(fold, BUCKET_BITS))
}

function takeEntry(state: SchedulerState): number {
  const { pool, entries } = state.blocks
  acquire(pool, POOL_WORD.LOCK, state.lane)
  let entry = pool[POOL_WORD.ENTRY_FREE]
  if (entry !== 0) pool[POOL_WORD.ENTRY_FREE] = entries[entryAt(entry) + ENTRY_WORD.NEXT]
  else if (pool[POOL_WORD.ENTRY_FRESH] < ADDRESS_ENTRIES_MAX) entry = ++pool[POOL_WORD.ENTRY_FRESH]
  release(pool, POOL_WORD.LOCK)
  return entry
}

function takeMember(state: SchedulerState): number {
  const { pool, members } = state.blocks
  acquire(pool, POOL_WORD.LOCK, state.lane)
  let member = pool[POOL_WORD.MEMBER_FREE]
  if (member !== 0) pool[POOL_WORD.MEMBER_FREE] = members[memberAt(member) + MEMBER_WORD.NEXT]
  else if (pool[POOL_WORD.MEMBER_FRESH] < SET_MEMBERS_MAX) member = ++pool[POOL_WORD.MEMBER_FRESH]
  release(pool, POOL_WORD.LOCK)
  return member
}

/** Gives an entry and its whole set back; the entry is in no chain any more. */
function giveEntry(state: SchedulerState, entry: number): void {
  const { pool, entries, members } = state.blocks
  const at = entryAt(entry)
  for (let member = entries[at + ENTRY_WORD.SET]; member !== 0;) {
    const next = members[memberAt(member) + MEMBER_WORD.NEXT]
    giveMember(state, member)
    member = next
  }
  acquire(pool, POOL_WORD.LOCK, state.lane)
  entries[at + ENTRY_WORD.NEXT] = pool[POOL_WORD.ENTRY_FREE]
  pool[POOL_WORD.ENTRY_FREE] = entry
  release(pool, POOL_WORD.LOCK)
}

function giveMember(state: SchedulerState, member: number): void {
  const { pool, members } = state.blocks
  acquire(pool, POOL_WORD.LOCK, state.lane)
  members[memberAt(member) + MEMBER_WORD.NEXT] = pool[POOL_WORD.MEMBER_FREE]
  pool[POOL_WORD.MEMBER_FREE] = member
  release(pool, POOL_WORD.LOCK)
}
