/**
 * The shared template table: one row per persistent client, for all workers (spec 4).
 *
 * Theory of operation. Three blocks: `entries`, an array of `template` records that the core
 * borrows too; `texts`, room beside each of them for what an engine adds to its key, memory that
 * nobody touches where there is none; and `index`, the buckets and the free list. A bucket is two
 * words, lock and head; its lock guards the chain and everything in its entries except what the
 * core changes: `connections` (slaves of the template, atomic) and the ASSURED bit.
 *
 * | life | who | what |
 * |---|---|---|
 * | free -> used | worker, bucket lock | `create`: key, destination; +1 persistent in its lane |
 * | used, hit | worker, bucket lock | `connections` + 1, timer restarted |
 * | used | main, no lock | `expireNow`: drop_entry ends it (drop-templates.ts) |
 * | used | core, no lock | `connections` - 1 when a slave ends or could not be made; ASSURED |
 * | used -> invalid | worker, bucket lock | destination unusable: cannot be found again, runs out |
 * | due, slaves alive | whoever looks | timeout becomes 60 s, timer restarted (spec 3.7) |
 * | due, no slaves -> free | whoever looks | unlinked, -1 persistent in the own lane |
 *
 * The core ends a template early (spec 3.7) by storing 0 in `expiresSec`.
 * Times are whole seconds of the director's monotonic clock.
 */
import { offsetOf, RECORDS, TEMPLATE_STATE } from '../../dataplane/layout.js'
import type { LoadView } from '../../dataplane/load-view.js'
import type { MissBatch } from '../../dataplane/miss-batch.js'
import type { ServiceView, SnapshotView } from '../../dataplane/snapshot-view.js'
import { acquire, release, releaseLocksOf, tryAcquire } from '../lock.js'
import { KEY_ADDRESS_WORDS, KEY_TEXT_WORDS, TemplateKey } from './engine.js'

/** Templates of one director unless configured otherwise. */
export const TEMPLATES_MAX = 1 << 20

/** What the timeout of a template becomes when it is due while slaves live (spec 3.7). */
const POSTPONED_SEC = 60

/**
 * A connection that began with the template and has as long goes first, as in the kernel, whose
 * timers of one slot run out the latest set first (kernel/time/timer.c): so long is waited for it.
 * Seconds here are cut off, and workers look every quarter of a second.
 */
const SLAVES_FIRST_SEC = 2

/** The port an invalidated template is listed with (spec 4.6). */
const INVALID_PORT = 65535

const ENTRY_WORDS = RECORDS.template.bytes / 4
const word = (field: keyof (typeof RECORDS)['template']['fields']): number =>
  offsetOf('template', field) / 4
const VIRTUAL_PORT = offsetOf('template', 'virtualPort') / 2
const DESTINATION_PORT = offsetOf('template', 'destinationPort') / 2
const TEXT_BYTES = offsetOf('template', 'textBytes') / 2
const PROTOCOL = offsetOf('template', 'protocol')
const FAMILY = offsetOf('template', 'family')
const STATE = word('state')
const DESTINATION_SLOT = word('destinationSlot')
const SERVICE_SLOT = word('serviceSlot')
const CONNECTIONS = word('connections')
const TIMEOUT_SEC = word('timeoutSec')
const EXPIRES_SEC = word('expiresSec')
const NEXT = word('next')
const FWMARK = word('fwmark')
const PACKETS = word('packets')
const SERVICE_INCARNATION = word('serviceIncarnation')
const DESTINATION_INCARNATION = word('destinationIncarnation')
const BUCKET = word('bucket')

/**
 * How long main waits for a bucket, in waits of a lock. A worker that hangs keeps it, and main is
 * the one who finds out and ends the worker.
 */
const MAIN_WAITS = 20

/** Words of `index`: a cache line of bookkeeping, then two words per bucket. */
const HEADER_WORDS = 16
const POOL_LOCK = 0
const FREE = 1
const FRESH = 2
const USED_COUNT = 3
/** Two words. */
const SEED = 4
const BUCKET_WORDS = 2
const BUCKET_HEAD = 1

/** The blocks of the table; all zero but for the seed is the empty table. */
export interface TemplateBlocks {
  /** `template` records by index; the core borrows this one. */
  readonly entries: Int32Array
  /** KEY_TEXT_WORDS words by index, as in TemplateKey.text. */
  readonly texts: Int32Array
  readonly index: Int32Array
}

/**
 * Main: allocates a table for `capacity` templates, with a bucket for every two. `seed`: two random
 * words, which spread keys over the buckets.
 */
export function allocateTemplates(seed: Int32Array, capacity = TEMPLATES_MAX): TemplateBlocks {
  const buckets = 2 ** Math.ceil(Math.log2(Math.max(2, capacity / 2)))
  const shared = (words: number): Int32Array => new Int32Array(new SharedArrayBuffer(words * 4))
  const index = shared(HEADER_WORDS + buckets * BUCKET_WORDS)
  index.set(seed, SEED)
  return {
    entries: shared(capacity * ENTRY_WORDS),
    texts: shared(capacity * KEY_TEXT_WORDS),
    index,
  }
}

/** One listed template. */
export interface TemplateRow {
  /** 16 bytes, network order, masked. */
  readonly clientAddress: Uint8Array
  /** 16 bytes; for protocol 0 it holds the mark (engine.ts). */
  readonly virtualAddress: Uint8Array
  readonly virtualPort: number
  readonly destinationPort: number
  readonly protocol: number
  readonly family: number
  /** TEMPLATE_STATE bits. */
  readonly state: number
  readonly destinationSlot: number
  readonly serviceSlot: number
  readonly connections: number
  readonly timeoutSec: number
  readonly expiresSec: number
  readonly fwmark: number
  readonly packets: number
  /** What the engine added to the key; empty for none. */
  readonly text: Uint8Array
}

/** What `peek` tells. */
export interface PeekedTemplate {
  /** TEMPLATE_STATE bits. */
  readonly state: number
  readonly connections: number
  readonly serviceSlot: number
  readonly serviceIncarnation: number
  readonly packets: number
  /** Since the timer was last started. */
  readonly idleSec: number
}

/** One thread's access to the table. A template is named by its reference: index + 1, 0 is none. */
export class TemplateTable {
  readonly #entries: Int32Array
  readonly #texts: Int32Array
  readonly #halves: Uint16Array
  readonly #bytes: Uint8Array
  readonly #index: Int32Array
  readonly #bucketMask: number
  readonly #capacity: number
  readonly #lane: number
  readonly #load: LoadView

  /** `load` counts templates in its own lane, which is also the owner of locks taken here. */
  constructor(blocks: TemplateBlocks, load: LoadView, lane: number) {
    this.#entries = blocks.entries
    this.#texts = blocks.texts
    this.#halves = new Uint16Array(blocks.entries.buffer, blocks.entries.byteOffset)
    this.#bytes = new Uint8Array(blocks.entries.buffer, blocks.entries.byteOffset)
    this.#index = blocks.index
    this.#bucketMask = (blocks.index.length - HEADER_WORDS) / BUCKET_WORDS - 1
    this.#capacity = blocks.entries.length / ENTRY_WORDS
    this.#lane = lane
    this.#load = load
  }

  /** A key to search this table with. */
  newKey(): TemplateKey {
    return new TemplateKey(this.#index.slice(SEED, SEED + 2))
  }

  /** Locks the key's bucket and returns it; everything below wants it. */
  lock(key: TemplateKey): number {
    const bucket = HEADER_WORDS + (key.hash & this.#bucketMask) * BUCKET_WORDS
    acquire(this.#index, bucket, this.#lane)
    return bucket
  }

  unlock(bucket: number): void {
    release(this.#index, bucket)
  }

  /** Finds the template of a key in its locked bucket; 0 for none. Frees what is due on its way. */
  find(bucket: number, key: TemplateKey, nowSec: number): number {
    let previous = 0
    for (let ref = this.#index[bucket + BUCKET_HEAD]; ref !== 0;) {
      const next = this.#entries[this.#at(ref) + NEXT]
      if (this.#isDue(ref, nowSec)) {
        this.#unlink(bucket, previous, ref)
      } else {
        if (this.#matches(ref, key)) return ref
        previous = ref
      }
      ref = next
    }
    return 0
  }

  /**
   * Whether new connections may follow the template: its destination is there, and not quiesced
   * where expire_quiescent_template asks for that. OVERLOAD does not matter (spec 4.6).
   */
  isUsable(ref: number, view: SnapshotView): boolean {
    if (!this.#isThere(ref, view)) return false
    return (
      view.sysctl('expire_quiescent_template') === 0 || view.weight(this.destination(ref)) !== 0
    )
  }

  /** Whether its destination is still the one in the slot, and available. */
  #isThere(ref: number, view: SnapshotView): boolean {
    const at = this.#at(ref)
    const slot = this.#entries[at + DESTINATION_SLOT]
    return (
      view.available(slot) && view.incarnation(slot) === this.#entries[at + DESTINATION_INCARNATION]
    )
  }

  /** Makes a template unfindable; its slaves live on and it runs out by itself (spec 4.6). */
  invalidate(ref: number): void {
    const at = this.#at(ref)
    Atomics.or(this.#entries, at + STATE, TEMPLATE_STATE.INVALID)
    this.#halves[at * 2 + VIRTUAL_PORT] = INVALID_PORT
    this.#halves[at * 2 + DESTINATION_PORT] = INVALID_PORT
  }

  /** Makes the template of a key in its locked bucket; 0 when the table is full. */
  create(
    bucket: number,
    key: TemplateKey,
    service: ServiceView,
    miss: MissBatch,
    destinationSlot: number,
  ): number {
    const ref = this.#take()
    if (ref === 0) return 0
    const at = this.#at(ref)
    const entries = this.#entries
    const view = this.#load.view
    for (let i = 0; i < KEY_ADDRESS_WORDS; i++) entries[at + i] = key.words[i]
    this.#halves[at * 2 + VIRTUAL_PORT] = key.virtualPort
    this.#halves[at * 2 + DESTINATION_PORT] = key.keepsPort
      ? view.destinationPort(destinationSlot)
      : 0
    this.#bytes[at * 4 + PROTOCOL] = key.protocol
    this.#bytes[at * 4 + FAMILY] = key.family
    this.#halves[at * 2 + TEXT_BYTES] = key.textBytes
    const textAt = (ref - 1) * KEY_TEXT_WORDS
    for (let i = key.textWords - 1; i >= 0; i--) this.#texts[textAt + i] = key.text[i]
    entries[at + DESTINATION_SLOT] = destinationSlot
    entries[at + DESTINATION_INCARNATION] = view.incarnation(destinationSlot)
    entries[at + SERVICE_SLOT] = service.slot
    entries[at + SERVICE_INCARNATION] = service.incarnation
    entries[at + TIMEOUT_SEC] = service.persistentSec
    entries[at + FWMARK] = miss.fwmark
    entries[at + PACKETS] = 0
    entries[at + BUCKET] = bucket
    Atomics.store(entries, at + CONNECTIONS, 0)
    Atomics.store(entries, at + STATE, TEMPLATE_STATE.USED)
    entries[at + NEXT] = this.#index[bucket + BUCKET_HEAD]
    this.#index[bucket + BUCKET_HEAD] = ref
    this.#load.addPersistent(destinationSlot, 1)
    return ref
  }

  /** The template's destination slot. */
  destination(ref: number): number {
    return this.#entries[this.#at(ref) + DESTINATION_SLOT]
  }

  /** A new slave: counted until the core takes it back, and the timer starts anew (spec 4.3). */
  addConnection(ref: number, nowSec: number): void {
    const at = this.#at(ref)
    const others = Atomics.add(this.#entries, at + CONNECTIONS, 1)
    // Due already, and only waiting for those that go first: as if postponed.
    const isDue = nowSec >= this.#entries[at + EXPIRES_SEC]
    if (others > 0 && isDue) this.#entries[at + TIMEOUT_SEC] = POSTPONED_SEC
    this.#entries[at + EXPIRES_SEC] = nowSec + this.#entries[at + TIMEOUT_SEC]
  }

  /** One-packet traffic through the template (spec 3.8). */
  addPackets(ref: number, packets: number): void {
    Atomics.add(this.#entries, this.#at(ref) + PACKETS, packets)
  }

  /** Templates in the table, invalid ones included. */
  get usedCount(): number {
    return Atomics.load(this.#index, USED_COUNT)
  }

  /** References ever given out: 1 to this many, free ones among them. */
  get referenceCount(): number {
    return Atomics.load(this.#index, FRESH)
  }

  /** What drop_entry asks about a reference, without a lock: it may change while it is read. */
  peek(ref: number, nowSec: number): PeekedTemplate {
    const at = this.#at(ref)
    const entries = this.#entries
    return {
      state: Atomics.load(entries, at + STATE),
      connections: Atomics.load(entries, at + CONNECTIONS),
      serviceSlot: entries[at + SERVICE_SLOT] >>> 0,
      serviceIncarnation: entries[at + SERVICE_INCARNATION] >>> 0,
      packets: entries[at + PACKETS] >>> 0,
      idleSec: nowSec + entries[at + TIMEOUT_SEC] - entries[at + EXPIRES_SEC],
    }
  }

  /** Makes a template due at once, as the core does; one that gets a slave meanwhile lives on. */
  expireNow(ref: number): void {
    Atomics.store(this.#entries, this.#at(ref) + EXPIRES_SEC, 0)
  }

  /** Main, every second: frees what is due. Returns how many were freed. */
  sweep(nowSec: number): number {
    return this.#freeThose(
      (ref) => nowSec >= this.#entries[this.#at(ref) + EXPIRES_SEC],
      (ref) => this.#isDue(ref, nowSec),
    )
  }

  /**
   * Main, after a removal with expire_nodest_conn: frees templates whose destination is not there,
   * unless connections follow them still (spec 3.10). Returns how many were freed.
   */
  sweepGone(view: SnapshotView): number {
    const isGone = (ref: number): boolean =>
      !this.#isThere(ref, view) && Atomics.load(this.#entries, this.#at(ref) + CONNECTIONS) <= 0
    return this.#freeThose(isGone, isGone)
  }

  /**
   * Frees every template that `isOver` says so of, its bucket locked. `mayBeOver` is asked first,
   * without the lock: of a template that is changed meanwhile it may tell what was.
   */
  #freeThose(mayBeOver: (ref: number) => boolean, isOver: (ref: number) => boolean): number {
    let freed = 0
    // Most directors have few templates or none: looking ends with the last one there was.
    let left = this.usedCount
    for (let ref = 1; left > 0 && ref <= this.referenceCount; ref++) {
      const at = this.#at(ref)
      if ((this.#entries[at + STATE] & TEMPLATE_STATE.USED) === 0) continue
      left--
      if (mayBeOver(ref)) freed += this.#freeAround(ref, isOver)
    }
    return freed
  }

  /** Frees what is over in the bucket of a template, in one walk: the chain may be long. */
  #freeAround(ref: number, isOver: (ref: number) => boolean): number {
    const bucket = this.#lockThatOf(ref)
    if (bucket === 0) return 0
    let freed = 0
    let previous = 0
    for (let here = this.#index[bucket + BUCKET_HEAD]; here !== 0;) {
      const next = this.#entries[this.#at(here) + NEXT]
      if (isOver(here)) {
        this.#unlink(bucket, previous, here)
        freed++
      } else {
        previous = here
      }
      here = next
    }
    release(this.#index, bucket)
    return freed
  }

  /**
   * Control: every template, in no order; the lock is not held during `onRow`. One whose bucket a
   * worker keeps is left out.
   */
  read(onRow: (row: TemplateRow) => void): void {
    for (let ref = 1; ref <= this.referenceCount; ref++) {
      const bucket = this.#lockThatOf(ref)
      if (bucket === 0) continue
      const row = this.#row(ref)
      release(this.#index, bucket)
      onRow(row)
    }
  }

  /** Main: locks the bucket of a template; 0 where it is free, or a worker keeps the bucket. */
  #lockThatOf(ref: number): number {
    const at = this.#at(ref)
    const isUsed = (): boolean =>
      // An ordered read: `create` writes the bucket first, and a new entry has none before.
      (Atomics.load(this.#entries, at + STATE) & TEMPLATE_STATE.USED) !== 0
    if (!isUsed()) return 0
    const bucket = this.#entries[at + BUCKET]
    if (!tryAcquire(this.#index, bucket, this.#lane, MAIN_WAITS)) return 0
    // Another thread may have freed it meanwhile, and given it to another bucket.
    if (isUsed() && this.#entries[at + BUCKET] === bucket) return bucket
    release(this.#index, bucket)
    return 0
  }

  /** Main: frees the locks a dead worker's lane still holds; returns how many. */
  releaseLocks(deadLane: number): number {
    return (
      releaseLocksOf(this.#index.subarray(0, HEADER_WORDS), deadLane, POOL_LOCK, HEADER_WORDS) +
      releaseLocksOf(this.#index, deadLane, HEADER_WORDS, BUCKET_WORDS)
    )
  }

  #at(ref: number): number {
    return (ref - 1) * ENTRY_WORDS
  }

  #matches(ref: number, key: TemplateKey): boolean {
    const at = this.#at(ref)
    const entries = this.#entries
    for (let i = KEY_ADDRESS_WORDS - 1; i >= 0; i--) {
      if (entries[at + i] !== key.words[i]) return false
    }
    return (
      this.#halves[at * 2 + VIRTUAL_PORT] === key.virtualPort &&
      this.#bytes[at * 4 + PROTOCOL] === key.protocol &&
      this.#bytes[at * 4 + FAMILY] === key.family &&
      this.#halves[at * 2 + TEXT_BYTES] === key.textBytes &&
      (Atomics.load(entries, at + STATE) & TEMPLATE_STATE.INVALID) === 0 &&
      this.#sameText(ref, key)
    )
  }

  #sameText(ref: number, key: TemplateKey): boolean {
    const textAt = (ref - 1) * KEY_TEXT_WORDS
    for (let i = key.textWords - 1; i >= 0; i--) {
      if (this.#texts[textAt + i] !== key.text[i]) return false
    }
    return true
  }

  /** Runs the timer: postpones a template with slaves, and says whether it is to be freed. */
  #isDue(ref: number, nowSec: number): boolean {
    const at = this.#at(ref)
    const entries = this.#entries
    if (nowSec < entries[at + EXPIRES_SEC]) return false
    if (Atomics.load(entries, at + CONNECTIONS) <= 0) return true
    // As if the timer had run on time, however late somebody looks.
    const lateSec = nowSec - entries[at + EXPIRES_SEC]
    if (lateSec < SLAVES_FIRST_SEC) return false
    const steps = Math.floor(lateSec / POSTPONED_SEC) + 1
    entries[at + TIMEOUT_SEC] = POSTPONED_SEC
    entries[at + EXPIRES_SEC] += steps * POSTPONED_SEC
    return false
  }

  #unlink(bucket: number, previous: number, ref: number): void {
    const at = this.#at(ref)
    const next = this.#entries[at + NEXT]
    if (previous === 0) this.#index[bucket + BUCKET_HEAD] = next
    else this.#entries[this.#at(previous) + NEXT] = next
    this.#load.addPersistent(this.#entries[at + DESTINATION_SLOT], -1)
    Atomics.store(this.#entries, at + STATE, 0)
    acquire(this.#index, POOL_LOCK, this.#lane)
    this.#entries[at + NEXT] = this.#index[FREE]
    this.#index[FREE] = ref
    this.#index[USED_COUNT]--
    release(this.#index, POOL_LOCK)
  }

  #take(): number {
    acquire(this.#index, POOL_LOCK, this.#lane)
    let ref = this.#index[FREE]
    if (ref !== 0) this.#index[FREE] = this.#entries[this.#at(ref) + NEXT]
    else if (this.#index[FRESH] < this.#capacity) ref = ++this.#index[FRESH]
    if (ref !== 0) this.#index[USED_COUNT]++
    release(this.#index, POOL_LOCK)
    return ref
  }

  #row(ref: number): TemplateRow {
    const at = this.#at(ref)
    const entries = this.#entries
    const unsigned = (field: number): number => entries[at + field] >>> 0
    const text = new Uint8Array(
      this.#texts.buffer,
      this.#texts.byteOffset + (ref - 1) * KEY_TEXT_WORDS * 4 + 1,
      this.#halves[at * 2 + TEXT_BYTES],
    )
    return {
      clientAddress: this.#bytes.slice(at * 4, at * 4 + 16),
      virtualAddress: this.#bytes.slice(at * 4 + 16, at * 4 + 32),
      virtualPort: this.#halves[at * 2 + VIRTUAL_PORT],
      destinationPort: this.#halves[at * 2 + DESTINATION_PORT],
      protocol: this.#bytes[at * 4 + PROTOCOL],
      family: this.#bytes[at * 4 + FAMILY],
      state: unsigned(STATE),
      destinationSlot: unsigned(DESTINATION_SLOT),
      serviceSlot: unsigned(SERVICE_SLOT),
      connections: Atomics.load(entries, at + CONNECTIONS),
      timeoutSec: unsigned(TIMEOUT_SEC),
      expiresSec: unsigned(EXPIRES_SEC),
      fwmark: unsigned(FWMARK),
      packets: unsigned(PACKETS),
      text: text.slice(),
    }
  }
}
