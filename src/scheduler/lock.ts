/**
 * Short locks between worker threads, one 32-bit word each in shared memory.
 *
 * The word is 0 when free, else the owner's lane + 1: when a worker dies, main knows which locks
 * died with it and frees them (`releaseLocksOf`). Holders do a bounded amount of work on shared
 * memory and never wait for anything but a lock later in the order template bucket, service, pool.
 * Every structure under a lock is changed such that stopping half-way loses at most one entry.
 */

/** Attempts before giving the processor away: the holder may be a thread that is not running. */
const SPIN_COUNT_MAX = 200

/** Longest wait between two rounds of attempts. A free lock is taken without a wake-up call. */
const WAIT_MS = 1

/** Takes the lock at `words[at]` for `lane`. Not reentrant: that is a broken invariant. */
export function acquire(words: Int32Array, at: number, lane: number): void {
  tryAcquire(words, at, lane, Infinity)
}

/** The same; false when it is still held after `waits` waits of WAIT_MS. */
export function tryAcquire(words: Int32Array, at: number, lane: number, waits: number): boolean {
  const owner = lane + 1
  for (let waited = 0; ; waited++) {
    for (let i = 0; i < SPIN_COUNT_MAX; i++) {
      const held = Atomics.compareExchange(words, at, 0, owner)
      if (held === 0) return true
      if (held === owner) throw new Error(`lane ${lane} already holds the lock at word ${at}`)
    }
    if (waited >= waits) return false
    const held = Atomics.load(words, at)
    if (held !== 0) Atomics.wait(words, at, held, WAIT_MS)
  }
}

/** Gives the lock back; only its owner may. */
export function release(words: Int32Array, at: number): void {
  Atomics.store(words, at, 0)
}

/** Frees every `stride`-th word from `first` that a dead lane holds; returns how many. */
export function releaseLocksOf(
  words: Int32Array,
  lane: number,
  first: number,
  stride: number,
): number {
  let released = 0
  for (let at = first; at < words.length; at += stride) {
    if (Atomics.compareExchange(words, at, lane + 1, 0) === lane + 1) released++
  }
  return released
}
