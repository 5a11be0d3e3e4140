/** The size of mh's tables, which the kernel chooses when it is built (spec 2.15). */

/** Slots by CONFIG_IP_VS_MH_TAB_INDEX: a prime just below 2 to that power. */
const SLOTS_BY_INDEX: readonly number[] = [
  251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071,
]

export const MAGLEV_INDEX_MIN = 8
export const MAGLEV_INDEX_MAX = MAGLEV_INDEX_MIN + SLOTS_BY_INDEX.length - 1

/** What kernels have unless they were built otherwise. */
export const MAGLEV_INDEX_DEFAULT = 12

/** Slots of a table, also the most destinations a service may have when it is given to mh. */
export function maglevSlots(index: number): number {
  return SLOTS_BY_INDEX[index - MAGLEV_INDEX_MIN]
}

/** Bits of the most slots that a destination takes in one turn. Kernel: IP_VS_MH_TAB_BITS. */
export function maglevTurnBits(index: number): number {
  return index >> 1
}
