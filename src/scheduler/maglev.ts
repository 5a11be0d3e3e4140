/**
 * The Maglev table of mh (spec 2.15). Kernel: ip_vs_mh.c on a 64-bit machine. Eisenbud et al.,
 * "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4.
 *
 * Every destination visits the slots of the table in an order of its own, and they take turns in
 * taking the next free one, so that each gets its share and keeps most of it when another one goes.
 */

/** The size of a table. */
export interface MaglevShape {
  /** Slots, a prime. Kernel: IP_VS_MH_TAB_SIZE. */
  readonly slots: number
  /** Bits of the most turns in a row. Kernel: IP_VS_MH_TAB_BITS. */
  readonly turnBits: number
}

/** The kernel's, unless it was built otherwise: CONFIG_IP_VS_MH_TAB_INDEX 12. */
export const DEFAULT_SHAPE: MaglevShape = { slots: 4093, turnBits: 6 }

/** Owner of a slot that has none. */
export const NO_OWNER = 0xffff

/** Keys of the two hashes; both halves of a SipHash key are equal, with zeros above. */
export const FIRST_KEY = 0x9e3779b1
export const SECOND_KEY = 0x9e37a52c

/**
 * SipHash-1-3 (Aumasson and Bernstein, 2012) of one 32-bit word, little-endian, cut to its low 32
 * bits; unsigned. In halves of 64-bit words, as BigInt would take microseconds. Kernel: hsiphash.
 */
export function maglevHash(input: number, key: number): number {
  let v0h = 0x736f6d65
  let v0l = 0x70736575 ^ key
  let v1h = 0x646f7261
  let v1l = 0x6e646f6d ^ key
  let v2h = 0x6c796765
  let v2l = 0x6e657261 ^ key
  // The last block: the length in the top byte, the message below.
  let v3h = 0x74656462 ^ (4 << 24)
  let v3l = 0x79746573 ^ key ^ input
  for (let round = 0; round < 4; round++) {
    v0l = (v0l + v1l) | 0
    v0h = (v0h + v1h + (v0l >>> 0 < v1l >>> 0 ? 1 : 0)) | 0
    let held = v1h
    v1h = ((v1h << 13) | (v1l >>> 19)) ^ v0h
    v1l = ((v1l << 13) | (held >>> 19)) ^ v0l
    held = v0h
    v0h = v0l
    v0l = held
    v2l = (v2l + v3l) | 0
    v2h = (v2h + v3h + (v2l >>> 0 < v3l >>> 0 ? 1 : 0)) | 0
    held = v3h
    v3h = ((v3h << 16) | (v3l >>> 16)) ^ v2h
    v3l = ((v3l << 16) | (held >>> 16)) ^ v2l
    v0l = (v0l + v3l) | 0
    v0h = (v0h + v3h + (v0l >>> 0 < v3l >>> 0 ? 1 : 0)) | 0
    held = v3h
    v3h = ((v3h << 21) | (v3l >>> 11)) ^ v0h
    v3l = ((v3l << 21) | (held >>> 11)) ^ v0l
    v2l = (v2l + v1l) | 0
    v2h = (v2h + v1h + (v2l >>> 0 < v1l >>> 0 ? 1 : 0)) | 0
    held = v1h
    v1h = ((v1h << 17) | (v1l >>> 15)) ^ v2h
    v1l = ((v1l << 17) | (held >>> 15)) ^ v2l
    held = v2h
    v2h = v2l
    v2l = held
    if (round === 0) {
      v0h ^= 4 << 24
      v0l ^= input
      v2l ^= 0xff
    }
  }
  return (v0l ^ v1l ^ v2l ^ v3l) >>> 0
}

/** How many slots in a row a destination takes, by its last weight. All 0: nobody takes any. */
export function maglevTurns(lastWeights: Int32Array, { turnBits } = DEFAULT_SHAPE): Int32Array {
  let divisor = 0
  let most = 0
  for (const weight of lastWeights) {
    for (let rest = weight; rest > 0;) [divisor, rest] = [rest, divisor % rest]
    most = Math.max(most, weight)
  }
  if (divisor === 0) return new Int32Array(lastWeights.length)
  const shift = Math.max(0, 32 - Math.clz32(most / divisor) - turnBits)
  return lastWeights.map((weight) => (weight <= 0 ? 0 : (weight / divisor) >> shift || 1))
}

/** What a table is made from, in list order: where each destination begins, and its share. */
export interface MaglevInput {
  /** fold(address) + port of each destination. */
  readonly keys: Int32Array
  /** 0 for one that was added with weight 0 and never had another. */
  readonly lastWeights: Int32Array
}

/**
 * Which list index owns each slot, in shared memory; empty when nobody has a weight. At most
 * `slots` destinations, and fewer than NO_OWNER.
 */
export function buildMaglevTable(input: MaglevInput, shape = DEFAULT_SHAPE): Uint16Array {
  const { keys, lastWeights } = input
  const { slots } = shape
  const turns = maglevTurns(lastWeights, shape)
  if (turns.every((turn) => turn === 0)) return new Uint16Array(0)
  const next = keys.map((key) => maglevHash(key, FIRST_KEY) % slots)
  const skip = keys.map((key) => (maglevHash(key, SECOND_KEY) % (slots - 1)) + 1)
  const owners = new Uint16Array(new SharedArrayBuffer(slots * 2)).fill(NO_OWNER)
  for (let taken = 0, at = 0; ; at = at + 1 === keys.length ? 0 : at + 1) {
    for (let turn = 0; turn < turns[at]; turn++) {
      let slot = next[at]
      while (owners[slot] !== NO_OWNER) {
        slot += skip[at]
        if (slot >= slots) slot -= slots
      }
      owners[slot] = at
      next[at] = slot
      if (++taken === slots) return owners
    }
  }
}
