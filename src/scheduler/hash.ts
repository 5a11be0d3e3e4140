/** The multiplicative hash of the hashing schedulers, and the fixed size of their tables. */

/** Slots of a dh or sh table. Kernel: IP_VS_DH_TAB_SIZE, IP_VS_SH_TAB_SIZE (default). */
export const HASH_SLOTS = 256

/** Bits of an index into HASH_SLOTS. */
export const HASH_SLOT_BITS = 8

/**
 * hash_32(value, bits): the top `bits` (1 to 32) of value * 0x61C88647 in 32-bit arithmetic.
 * Kernel: include/linux/hash.h hash_32 with GOLDEN_RATIO_32.
 */
export function hash32(value: number, bits: number): number {
  return Math.imul(value, 0x61c88647) >>> (32 - bits)
}
