/**
 * The shared blocks that hold order-defining scheduler state, and their sizes.
 *
 * Main allocates them once and hands them to every worker; only new connections touch them.
 *
 * | block | what | written by | under |
 * |---|---|---|---|
 * | services | a cache line per service slot, SERVICE_WORD | schedulers, main | its lock; rr: CAS |
 * | pool | free lists of entries and members | schedulers, main | its lock |
 * | tables | which service owns an address table | main | - |
 * | buckets | heads of the address tables | schedulers, main | the service's lock |
 * | entries, members | table entries, lblcr set members | schedulers, main | the service's lock |
 *
 * Generation: main writes the snapshot generation of the last change to a service's state here
 * before it publishes that snapshot (reconcile.ts). A worker that still works with an older
 * snapshot then leaves the shared state alone and goes on from a private copy, so a change acts
 * exactly once, whenever each worker adopts it.
 */
import { LIMITS } from '../dataplane/layout.js'
import { acquire, release, releaseLocksOf } from './lock.js'

/** Address tables (services with lblc or lblcr) at the same time. */
export const ADDRESS_TABLES_MAX = 256

/** Buckets of one address table. Kernel: IP_VS_LBLC_TAB_SIZE. */
export const ADDRESS_BUCKETS = 1024

/** Address entries over all tables; the kernel's limit for one table is 24576. */
export const ADDRESS_ENTRIES_MAX = 131072

/** Members of lblcr sets over all entries. */
export const SET_MEMBERS_MAX = 262144

/** Words of one service's state, and where they are. */
export const SERVICE_STATE_WORDS = 16
export const SERVICE_WORD = {
  LOCK: 0,
  /** Snapshot generation of the last change made by main. */
  GENERATION: 1,
  /** SCHEDULER_ID the state is for; 0 for no service. */
  SCHEDULER: 2,
  /** rr: generation tag and position in one word; wrr: destination slot + 1, 0 for the head. */
  POSITION: 3,
  /** wrr: the threshold cw. */
  CURRENT_WEIGHT: 4,
  /** lblc, lblcr: address table index + 1; 0 when none was free. */
  TABLE: 5,
  ENTRIES: 6,
  GC_COUNTER: 7,
  GC_ROVER: 8,
} as const

export const POOL_WORDS = 16
export const POOL_WORD = {
  LOCK: 0,
  /** Heads of the free lists (index + 1), and how many were ever handed out. */
  ENTRY_FREE: 1,
  ENTRY_FRESH: 2,
  MEMBER_FREE: 3,
  MEMBER_FRESH: 4,
} as const

export const ENTRY_WORDS = 16
export const ENTRY_WORD = {
  /** Four words, network order. */
  ADDRESS: 0,
  /** Next in the bucket or free list, index + 1. */
  NEXT: 4,
  LAST_USE_SEC: 5,
  /** lblc: the destination and its incarnation. */
  SLOT: 6,
  INCARNATION: 7,
  /** lblcr: first member (index + 1), how many, time of the last insertion or removal. */
  SET: 8,
  SET_SIZE: 9,
  LAST_CHANGE_SEC: 10,
} as const

export const MEMBER_WORDS = 4
export const MEMBER_WORD = { SLOT: 0, INCARNATION: 1, NEXT: 2 } as const

/** The blocks; all memory is zero at the start, which is a valid empty state. */
export interface SchedulerBlocks {
  readonly services: Int32Array
  readonly pool: Int32Array
  readonly tables: Int32Array
  readonly buckets: Int32Array
  readonly entries: Int32Array
  readonly members: Int32Array
}

const shared = (words: number): Int32Array => new Int32Array(new SharedArrayBuffer(words * 4))

/** Allocates all blocks, about 13 MiB of address space; pages are used when first touched. */
export function allocateSchedulerBlocks(): SchedulerBlocks {
  return {
    services: shared(LIMITS.SERVICES * SERVICE_STATE_WORDS),
    pool: shared(POOL_WORDS),
    tables: shared(ADDRESS_TABLES_MAX),
    buckets: shared(ADDRESS_TABLES_MAX * ADDRESS_BUCKETS),
    entries: shared(ADDRESS_ENTRIES_MAX * ENTRY_WORDS),
    members: shared(SET_MEMBERS_MAX * MEMBER_WORDS),
  }
}

/** One thread's access to the blocks: they know which lane locks for. */
export class SchedulerState {
  readonly blocks: SchedulerBlocks
  readonly lane: number

  constructor(blocks: SchedulerBlocks, lane: number) {
    this.blocks = blocks
    this.lane = lane
  }

  /** Word index of a service's state in `blocks.services`. */
  at(serviceSlot: number): number {
    return serviceSlot * SERVICE_STATE_WORDS
  }

  /** Whether main has changed this service for a snapshot newer than `generation`. */
  isStale(serviceSlot: number, generation: number): boolean {
    const at = this.at(serviceSlot) + SERVICE_WORD.GENERATION
    // A difference of 32-bit counters: right also when the generation wraps.
    return ((generation - Atomics.load(this.blocks.services, at)) | 0) < 0
  }

  lock(serviceSlot: number): void {
    acquire(this.blocks.services, this.at(serviceSlot) + SERVICE_WORD.LOCK, this.lane)
  }

  unlock(serviceSlot: number): void {
    release(this.blocks.services, this.at(serviceSlot) + SERVICE_WORD.LOCK)
  }

  /** Main: frees the locks a dead worker's lane still holds; returns how many. */
  releaseLocks(deadLane: number): number {
    const { services, pool } = this.blocks
    return (
      releaseLocksOf(services, deadLane, SERVICE_WORD.LOCK, SERVICE_STATE_WORDS) +
      releaseLocksOf(pool, deadLane, POOL_WORD.LOCK, POOL_WORDS)
    )
  }
}
