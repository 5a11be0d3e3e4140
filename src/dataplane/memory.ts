/**
 * Every block of shared memory, allocated once by main and kept for the life of the process.
 *
 * | block | shape | written by |
 * |---|---|---|
 * | loads | `load` [workers + 1][destination slot] | lane's owner; the last lane is main's |
 * | destinationState | i32 [destination slot] | schedulers (Atomics) |
 * | serviceTraffic, destinationTraffic | `traffic` [worker][slot] | that worker |
 * | totalTraffic | `traffic` [worker] | that worker |
 * | reasons | u64 [worker][REASON_LANE_WORDS] | that worker |
 * | words | `workerWords` [worker] | line 0 main, line 1 the worker |
 * | portWords | `portWords` [worker][port] | that worker |
 * | misses | `miss` [worker][BURST] | that worker, native and TypeScript in turns |
 * | missTexts | bytes [worker][BURST][TEXT_SLOT] | that worker, native only |
 * | tables | connection table, one block per worker | that worker, native only |
 * | templates, scheduler | see their files | schedulers, main (locks); native: counts and flags |
 *
 * docs/shared-memory.md gives order and lifetime. A worker that dies is replaced by one that
 * attaches to the same blocks, so nothing here is zeroed on restart.
 */
import { allocateSchedulerBlocks, type SchedulerBlocks } from '../scheduler/shared-state.js'
import { allocateTemplates, type TemplateBlocks } from '../scheduler/persistence/templates.js'
import { LIMITS, RECORDS } from './layout.js'
import { REASON_LANE_WORDS } from './reasons.js'
import { loadBlockWords } from './load-view.js'
import { connectionTableBytes, sharedLines } from './native.js'

/** Blocks that every thread sees. */
export interface SharedBlocks {
  readonly workers: number
  /** Most connections of one worker. */
  readonly connections: number
  readonly loads: Int32Array
  readonly destinationState: Int32Array
  readonly serviceTraffic: Uint8Array
  readonly destinationTraffic: Uint8Array
  readonly totalTraffic: Uint8Array
  readonly reasons: Uint8Array
  readonly words: Uint8Array
  readonly portWords: Uint8Array
  readonly misses: Uint8Array
  readonly missTexts: Uint8Array
  readonly tables: readonly Uint8Array[]
  readonly templates: TemplateBlocks
  readonly scheduler: SchedulerBlocks
}

const bytes = sharedLines

function words(n: number): Int32Array {
  const block = sharedLines(n * 4)
  return new Int32Array(block.buffer, block.byteOffset, n)
}

/** Allocates everything for `workers` workers with `connections` connections each. */
export function allocateBlocks(workers: number, connections: number): SharedBlocks {
  const traffic = RECORDS.traffic.bytes
  return {
    workers,
    connections,
    loads: words(loadBlockWords(workers + 1)),
    destinationState: words(LIMITS.DESTINATIONS),
    serviceTraffic: bytes(workers * LIMITS.SERVICES * traffic),
    destinationTraffic: bytes(workers * LIMITS.DESTINATIONS * traffic),
    totalTraffic: bytes(workers * traffic),
    reasons: bytes(workers * REASON_LANE_WORDS * 8),
    words: bytes(workers * RECORDS.workerWords.bytes),
    portWords: bytes(workers * LIMITS.PORTS * RECORDS.portWords.bytes),
    misses: bytes(workers * LIMITS.BURST * RECORDS.miss.bytes),
    missTexts: bytes(workers * LIMITS.BURST * LIMITS.TEXT_SLOT),
    tables: Array.from({ length: workers }, () => bytes(connectionTableBytes(connections))),
    templates: allocateTemplates(crypto.getRandomValues(new Int32Array(2))),
    scheduler: allocateSchedulerBlocks(),
  }
}

/** The part of a block with one lane per worker that belongs to `worker`. */
export function laneOf(block: Uint8Array, worker: number, workers: number): Uint8Array {
  const lane = block.byteLength / workers
  return block.subarray(worker * lane, (worker + 1) * lane)
}

/** The same memory as bytes. */
export function bytesOf(array: Int32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}
