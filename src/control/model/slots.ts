/**
 * Slots: small stable integers that name services and destinations on both sides of the native
 * boundary. A pool is a value; a slot is handed out again only after it was released.
 */

export interface SlotPool {
  readonly capacity: number
  /** Slots from here on were never used. */
  readonly next: number
  /** Released slots, lowest first. */
  readonly free: readonly number[]
}

/** A pool of `capacity` slots, all free. */
export function slotPool(capacity: number): SlotPool {
  return { capacity, next: 0, free: [] }
}

/** Takes the lowest free slot; undefined when the pool is exhausted. */
export function takeSlot(pool: SlotPool): { slot: number; pool: SlotPool } | undefined {
  if (pool.free.length > 0) {
    return { slot: pool.free[0], pool: { ...pool, free: pool.free.slice(1) } }
  }
  if (pool.next >= pool.capacity) return undefined
  return { slot: pool.next, pool: { ...pool, next: pool.next + 1 } }
}

/** Gives slots back. The caller knows that nothing refers to them any more. */
export function releaseSlots(pool: SlotPool, slots: readonly number[]): SlotPool {
  if (slots.length === 0) return pool
  return { ...pool, free: [...pool.free, ...slots].sort((a, b) => a - b) }
}
