/**
 * HalfSipHash-1-3 (Aumasson and Bernstein; the kernel's lib/siphash.c has it too), with 32 bits of
 * result: who does not know the key cannot choose words that meet in one bucket. Every word of a
 * template's key comes from the network, and a chain is walked under a lock.
 */
export function keyedHash(
  key0: number,
  key1: number,
  words: Int32Array,
  count: number,
  last: number,
): number {
  let v0 = key0
  let v1 = key1
  let v2 = 0x6c796765 ^ key0
  let v3 = 0x74656462 ^ key1
  // One round for each word and for `last`, three to finish.
  for (let i = 0; i < count + 4; i++) {
    const word = i < count ? words[i] : i === count ? last : 0
    if (i === count + 1) v2 ^= 0xff
    v3 ^= word
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    v0 ^= word
  }
  return v1 ^ v3
}
