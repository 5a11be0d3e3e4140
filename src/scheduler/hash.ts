/** What the hashing schedulers share: the multiplicative hash, table sizes, the hashed port. */
import type { MissBatch } from '../dataplane/miss-batch.js'

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

const PORT_PROTOCOLS: ReadonlySet<number> = new Set([6, 17, 132])

/** What sh-port and mh-port add to the hash: the client's port with TCP, UDP and SCTP, else 0. */
export function hashedPort(miss: MissBatch): number {
  return PORT_PROTOCOLS.has(miss.protocol) ? miss.clientPort : 0
}
