/**
 * View of the miss block: read a new flow, write its verdict (stop 5 to stop 6 and back).
 *
 * Native fills the records in `poll` and reads the verdicts in `resolve`, on the same thread, so
 * nothing here is atomic. One view per worker; `select` moves it, nothing is allocated per miss.
 */
import { foldAddress } from './address-words.js'
import { LIMITS, MISS_FLAG, offsetOf, RECORDS } from './layout.js'

const RECORD_WORDS = RECORDS.miss.bytes / 4
const CLIENT_ADDRESS = offsetOf('miss', 'clientAddress') / 4
const VIRTUAL_ADDRESS = offsetOf('miss', 'virtualAddress') / 4
const CLIENT_PORT = offsetOf('miss', 'clientPort') / 2
const VIRTUAL_PORT = offsetOf('miss', 'virtualPort') / 2
const SERVICE_SLOT = offsetOf('miss', 'serviceSlot') / 4
const FLOW_HASH = offsetOf('miss', 'flowHash') / 4
const PROTOCOL = offsetOf('miss', 'protocol')
const FAMILY = offsetOf('miss', 'family')
const FLAGS = offsetOf('miss', 'flags') / 2
const FWMARK = offsetOf('miss', 'fwmark') / 4
const VERDICT_WORD = offsetOf('miss', 'verdict') / 4
const PACKETS = offsetOf('miss', 'packets') / 4
const TEMPLATE_REF = offsetOf('miss', 'templateRef') / 4

/** Bytes of one worker's miss block. */
export const MISS_BLOCK_BYTES = LIMITS.BURST * RECORDS.miss.bytes

/** Bytes of the texts that belong to it. */
export const MISS_TEXTS_BYTES = LIMITS.BURST * LIMITS.TEXT_SLOT

const TEXT_WORDS = LIMITS.TEXT_SLOT / 4

/** Cursor over the miss records of one burst. */
export class MissBatch {
  /** The block as 32-bit words; addresses are in network order inside it. */
  readonly words: Int32Array
  /**
   * What engines add to template keys: TEXT_SLOT bytes for each record, length first, filled with
   * zeroes to a whole word. Meaningful for misses of services with an engine only.
   */
  readonly texts: Int32Array
  readonly #halves: Uint16Array
  readonly #bytes: Uint8Array
  #at = 0

  /**
   * `block` holds MISS_BLOCK_BYTES bytes from `byteOffset`, which is a multiple of four; `texts`
   * MISS_TEXTS_BYTES bytes, a block of its own unless given.
   */
  constructor(
    block: SharedArrayBuffer | ArrayBuffer,
    byteOffset = 0,
    texts: Uint8Array = new Uint8Array(MISS_TEXTS_BYTES),
  ) {
    if (block.byteLength - byteOffset < MISS_BLOCK_BYTES) {
      throw new RangeError(`miss block is shorter than ${MISS_BLOCK_BYTES} bytes`)
    }
    this.words = new Int32Array(block, byteOffset, MISS_BLOCK_BYTES / 4)
    this.#halves = new Uint16Array(block, byteOffset, MISS_BLOCK_BYTES / 2)
    this.#bytes = new Uint8Array(block, byteOffset, MISS_BLOCK_BYTES)
    this.texts = new Int32Array(texts.buffer, texts.byteOffset, MISS_TEXTS_BYTES / 4)
  }

  /** Moves the cursor to record `index` of this burst, 0 to LIMITS.BURST - 1. */
  select(index: number): void {
    this.#at = index * RECORD_WORDS
  }

  /** Word index of the record's text in `texts`. */
  get textAt(): number {
    return (this.#at / RECORD_WORDS) * TEXT_WORDS
  }

  /** Word index of the client address in `words`. */
  get clientAddressAt(): number {
    return this.#at + CLIENT_ADDRESS
  }

  /** Word index of the virtual address in `words`. */
  get virtualAddressAt(): number {
    return this.#at + VIRTUAL_ADDRESS
  }

  /** fold(client address), signed 32-bit. */
  get clientFold(): number {
    return foldAddress(this.words, this.#at + CLIENT_ADDRESS, this.family)
  }

  /** fold(virtual address), signed 32-bit. */
  get virtualFold(): number {
    return foldAddress(this.words, this.#at + VIRTUAL_ADDRESS, this.family)
  }

  /**
   * Word index of the address that schedulers by destination (dh, lblc, lblcr) go by: the packet's
   * destination, which is the client where an ICMP error quotes a reply (spec 5.7.2).
   */
  get destinationAddressAt(): number {
    const isQuoted = (this.#halves[this.#at * 2 + FLAGS] & MISS_FLAG.ICMP) !== 0
    return this.#at + (isQuoted ? CLIENT_ADDRESS : VIRTUAL_ADDRESS)
  }

  /** fold(address at destinationAddressAt), signed 32-bit. */
  get destinationFold(): number {
    return foldAddress(this.words, this.destinationAddressAt, this.family)
  }

  get clientPort(): number {
    return this.#halves[this.#at * 2 + CLIENT_PORT]
  }

  get virtualPort(): number {
    return this.#halves[this.#at * 2 + VIRTUAL_PORT]
  }

  get serviceSlot(): number {
    return this.words[this.#at + SERVICE_SLOT] >>> 0
  }

  /** The steering hash of the flow, signed 32-bit. */
  get flowHash(): number {
    return this.words[this.#at + FLOW_HASH]
  }

  get protocol(): number {
    return this.#bytes[this.#at * 4 + PROTOCOL]
  }

  /** 4 or 6. */
  get family(): number {
    return this.#bytes[this.#at * 4 + FAMILY]
  }

  /** MISS_FLAG bits. */
  get flags(): number {
    return this.#halves[this.#at * 2 + FLAGS]
  }

  get fwmark(): number {
    return this.words[this.#at + FWMARK] >>> 0
  }

  /** Packets of this flow that wait behind the verdict. */
  get packets(): number {
    return this.words[this.#at + PACKETS]
  }

  /** Destination slot, or a VERDICT below zero. */
  get verdict(): number {
    return this.words[this.#at + VERDICT_WORD]
  }

  /** Template index + 1; 0 where no template is involved. */
  get templateRef(): number {
    return this.words[this.#at + TEMPLATE_REF]
  }

  /** Answers the selected record without a template. */
  setVerdict(verdict: number): void {
    this.words[this.#at + VERDICT_WORD] = verdict
    this.words[this.#at + TEMPLATE_REF] = 0
  }

  /** Names the template (index + 1) the new connection is a slave of; after `setVerdict`. */
  setTemplate(templateRef: number): void {
    this.words[this.#at + TEMPLATE_REF] = templateRef
  }
}
