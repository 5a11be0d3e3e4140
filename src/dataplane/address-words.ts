/**
 * Arithmetic on the 16-byte addresses of shared records, read as four little-endian words.
 *
 * Records hold addresses in network order, IPv4 as IPv4-mapped IPv6 (layout.ts). Everything here
 * returns signed 32-bit integers with the bits of the unsigned value: those stay unboxed in
 * compiled code, an unsigned one above 2^31 may not.
 */

/** Swaps the four bytes of a word: network order to host order and back. */
export function byteSwap(word: number): number {
  return (
    ((word & 0xff) << 24) |
    ((word & 0xff00) << 8) |
    ((word >>> 8) & 0xff00) |
    ((word >>> 24) & 0xff)
  )
}

/**
 * fold(addr) of the kernel's schedulers: IPv4 as a host-order integer, IPv6 the XOR of its four
 * host-order words. `at` is a word index; `family` 4 or 6. Kernel: ip_vs.h ip_vs_addr_fold.
 */
export function foldAddress(words: Int32Array, at: number, family: number): number {
  if (family === 4) return byteSwap(words[at + 3])
  return byteSwap(words[at] ^ words[at + 1] ^ words[at + 2] ^ words[at + 3])
}
