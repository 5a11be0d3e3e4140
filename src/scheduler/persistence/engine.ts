/**
 * What makes two connections "the same client": the template key (spec 4.1).
 * Kernel: ip_vs_core.c ip_vs_sched_persist.
 *
 * | case | protocol | virtual address | virtual port | template's destination port |
 * |---|---|---|---|---|
 * | port is the service's, not 21 | packet's | packet's | packet's | the destination's |
 * | port is the service's and 21 (FTP) | packet's | packet's | 0 | 0 |
 * | other port, fwmark service | 0 | the mark | 0 | 0 |
 * | other port (port-0 service, FTP data) | packet's | packet's | 0 | 0 |
 *
 * The client address is masked with the service's netmask in every case.
 *
 * An engine adds a text that the core found in the packet, the Call-ID for `sip` (spec 4.5); then
 * the hash is over the text alone, as the kernel's is.
 */
import { LIMITS, SERVICE_FLAG } from '../../dataplane/layout.js'
import { byteSwap } from '../../dataplane/address-words.js'
import type { MissBatch } from '../../dataplane/miss-batch.js'
import type { ServiceView } from '../../dataplane/snapshot-view.js'
import { keyedHash } from './keyed-hash.js'

const FTP_PORT = 21
/** Bytes 8 to 11 of an IPv4-mapped address as a little-endian word (RFC 4291 2.5.5.2). */
const MAPPED_WORD = 0xffff0000 | 0

/** Where addresses are in `TemplateKey.words`. */
export const KEY_CLIENT = 0
export const KEY_VIRTUAL = 4
export const KEY_ADDRESS_WORDS = 8

/** Words of a text at most, its length included. */
export const KEY_TEXT_WORDS = LIMITS.TEXT_SLOT / 4

/** A key, used again for every miss. Address words are in network order. */
export class TemplateKey {
  readonly words = new Int32Array(KEY_ADDRESS_WORDS)
  /** Length in the first byte, then the text, then zeroes to a whole word. */
  readonly text = new Int32Array(KEY_TEXT_WORDS)
  /** Bytes of the text, its length not included; 0 for none. */
  textBytes = 0
  virtualPort = 0
  protocol = 0
  family = 4
  /** Whether the template remembers the destination's port (first row of the table). */
  keepsPort = false
  /** Bits of the whole key, signed 32-bit. */
  hash = 0
  readonly #seed: Int32Array

  /** `seed`: two words, those of the table it is for. */
  constructor(seed: Int32Array) {
    this.#seed = seed
  }

  /** Computes the key for the selected miss of a persistent service. */
  compute(miss: MissBatch, service: ServiceView): void {
    const ownPort = miss.virtualPort === service.port
    this.family = miss.family
    this.keepsPort = ownPort && service.port !== FTP_PORT
    this.virtualPort = this.keepsPort ? service.port : 0
    this.#maskClient(miss, service.netmask)
    if (!ownPort && service.fwmark !== 0) {
      this.protocol = 0
      this.#setMark(service.fwmark)
    } else {
      this.protocol = miss.protocol
      for (let i = 0; i < 4; i++)
        this.words[KEY_VIRTUAL + i] = miss.words[miss.virtualAddressAt + i]
    }
    this.textBytes = 0
    this.hash = this.#hashOf(this.words, KEY_ADDRESS_WORDS, this.#scalars())
    if ((service.flags & SERVICE_FLAG.SIP) !== 0) this.#takeText(miss)
  }

  /** Words of `text` in use. */
  get textWords(): number {
    return this.textBytes === 0 ? 0 : (this.textBytes + 4) >> 2
  }

  #takeText(miss: MissBatch): void {
    this.textBytes = miss.texts[miss.textAt] & 0xff
    const count = this.textWords
    for (let i = 0; i < count; i++) this.text[i] = miss.texts[miss.textAt + i]
    // Many clients may name one call: each has a template of its own.
    this.hash = this.#hashOf(this.text, count, this.hash)
  }

  #hashOf(words: Int32Array, count: number, last: number): number {
    return keyedHash(this.#seed[0], this.#seed[1], words, count, last)
  }

  #scalars(): number {
    return (this.virtualPort << 16) ^ (this.protocol << 8) ^ this.family
  }

  #maskClient(miss: MissBatch, netmask: number): void {
    const from = miss.clientAddressAt
    if (this.family === 4) {
      this.words[0] = 0
      this.words[1] = 0
      this.words[2] = MAPPED_WORD
      this.words[3] = miss.words[from + 3] & byteSwap(netmask)
      return
    }
    for (let i = 0; i < 4; i++) {
      const bits = Math.min(32, Math.max(0, netmask - 32 * i))
      // A shift by 32 would be a shift by 0.
      const mask = bits === 0 ? 0 : byteSwap(-1 << (32 - bits))
      this.words[i] = miss.words[from + i] & mask
    }
  }

  /** The mark as an IPv4 address, or in the first 32 bits of an IPv6 address. */
  #setMark(fwmark: number): void {
    const four = this.family === 4
    this.words[KEY_VIRTUAL] = four ? 0 : byteSwap(fwmark)
    this.words[KEY_VIRTUAL + 1] = 0
    this.words[KEY_VIRTUAL + 2] = four ? MAPPED_WORD : 0
    this.words[KEY_VIRTUAL + 3] = four ? byteSwap(fwmark) : 0
  }
}
