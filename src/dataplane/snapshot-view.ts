/**
 * Typed read access to a snapshot block, for schedulers.
 *
 * A snapshot is immutable once published (architecture: identity by slot, config by block), so a
 * view is read once when the snapshot is adopted and then only looked at. A service that nobody
 * changed keeps its ServiceView object from the previous view: object identity tells the schedulers
 * that nothing has to be built again.
 *
 * The caller has checked the block (the native check on the main thread and in `adopt`): indexes
 * and offsets are in range.
 */
import {
  DESTINATION_FLAG,
  LIMITS,
  offsetOf,
  RECORDS,
  SNAPSHOT_MAGIC,
  SYSCTL_INDEX,
} from './layout.js'

const SERVICE_WORDS = RECORDS.service.bytes / 4
const DESTINATION_WORDS = RECORDS.destination.bytes / 4

const header = (field: keyof (typeof RECORDS)['snapshotHeader']['fields']): number =>
  offsetOf('snapshotHeader', field) / 4
const HEADER = {
  magic: header('magic'),
  generation: header('generation'),
  serviceCount: header('serviceCount'),
  serviceOffset: header('serviceOffset'),
  destinationCount: header('destinationCount'),
  destinationOffset: header('destinationOffset'),
  orderOffset: header('orderOffset'),
  sysctls: header('sysctls'),
} as const

const service = (field: keyof (typeof RECORDS)['service']['fields']): number =>
  offsetOf('service', field)
const SERVICE = {
  port: service('port') / 2,
  protocol: service('protocol'),
  family: service('family'),
  fwmark: service('fwmark') / 4,
  flags: service('flags') / 4,
  schedulerId: service('schedulerId'),
  orderFirst: service('orderFirst') / 4,
  orderCount: service('orderCount') / 4,
  persistentSec: service('persistentSec') / 4,
  netmask: service('netmask') / 4,
  used: service('used'),
  changes: service('changes') / 4,
  incarnation: service('incarnation') / 4,
} as const

const DESTINATION = {
  port: offsetOf('destination', 'port') / 2,
  weight: offsetOf('destination', 'weight') / 4,
  upperThreshold: offsetOf('destination', 'upperThreshold') / 4,
  lowerThreshold: offsetOf('destination', 'lowerThreshold') / 4,
  flags: offsetOf('destination', 'flags') / 4,
  used: offsetOf('destination', 'used') / 4,
  incarnation: offsetOf('destination', 'incarnation') / 4,
  inserted: offsetOf('destination', 'inserted') / 4,
} as const

export type SysctlName = keyof typeof SYSCTL_INDEX

/** One service as the schedulers see it; all arrays are in list order, newest first. */
export interface ServiceView {
  readonly slot: number
  readonly incarnation: number
  /** Differs when a destination was added, edited or deleted, even to what it was. */
  readonly changes: number
  /** SERVICE_FLAG bits. */
  readonly flags: number
  /** SCHEDULER_ID. */
  readonly schedulerId: number
  readonly port: number
  /** 0 for a service found by address. */
  readonly fwmark: number
  /** Timeout of new templates in seconds. */
  readonly persistentSec: number
  /** IPv4: mask as a host-order integer; IPv6: prefix length. */
  readonly netmask: number
  readonly family: number
  readonly protocol: number
  /** Destination slots. */
  readonly slots: Uint32Array
  readonly weights: Int32Array
  /** Destination ports; 0 means the packet's. */
  readonly ports: Uint16Array
  /** Differs when the destination was put into the list anew. */
  readonly inserted: Uint32Array
  /** The destinations' records as they are in the block. */
  readonly records: Int32Array
}

/** One adopted snapshot. */
export class SnapshotView {
  readonly generation: number
  /** By service slot; undefined for a hole. */
  readonly services: readonly (ServiceView | undefined)[]
  /** Highest destination slot + 1. */
  readonly destinationCount: number
  readonly #words: Int32Array
  readonly #halves: Uint16Array
  readonly #bytes: Uint8Array
  readonly #destinationAt: number

  /** Reads `block`; unchanged services are taken over from `previous`. */
  constructor(block: Uint8Array, previous?: SnapshotView) {
    this.#words = new Int32Array(block.buffer, block.byteOffset, block.byteLength >> 2)
    this.#halves = new Uint16Array(block.buffer, block.byteOffset, block.byteLength >> 1)
    this.#bytes = block
    if (this.#words[HEADER.magic] >>> 0 !== SNAPSHOT_MAGIC) {
      throw new Error('snapshot block does not start with its magic; was it ever written?')
    }
    this.generation = this.#words[HEADER.generation] >>> 0
    this.destinationCount = Math.min(this.#words[HEADER.destinationCount], LIMITS.DESTINATIONS)
    this.#destinationAt = this.#words[HEADER.destinationOffset] >> 2
    const services: (ServiceView | undefined)[] = []
    const count = this.#words[HEADER.serviceCount]
    for (let slot = 0; slot < count; slot++) {
      services.push(this.#readService(slot, previous?.services[slot]))
    }
    this.services = services
  }

  /** Value of one IPVS sysctl at the time of this snapshot. */
  sysctl(name: SysctlName): number {
    return this.#words[HEADER.sysctls + SYSCTL_INDEX[name]]
  }

  weight(destination: number): number {
    return this.#destinationWord(destination, DESTINATION.weight)
  }

  incarnation(destination: number): number {
    return this.#destinationWord(destination, DESTINATION.incarnation)
  }

  upperThreshold(destination: number): number {
    return this.#destinationWord(destination, DESTINATION.upperThreshold) >>> 0
  }

  lowerThreshold(destination: number): number {
    return this.#destinationWord(destination, DESTINATION.lowerThreshold) >>> 0
  }

  /** 0 means the packet's port. */
  destinationPort(destination: number): number {
    if (destination >= this.destinationCount) return 0
    const at = (this.#destinationAt + destination * DESTINATION_WORDS) * 2
    return this.#halves[at + DESTINATION.port]
  }

  /** A copy of its address, 16 bytes; undefined for a hole. */
  destinationAddress(destination: number): Uint8Array | undefined {
    if (this.#destinationWord(destination, DESTINATION.used) === 0) return undefined
    const at = (this.#destinationAt + destination * DESTINATION_WORDS) * 4
    return this.#bytes.slice(at, at + 16)
  }

  /** Linked in its service: not in the trash, not a hole (kernel: IP_VS_DEST_F_AVAILABLE). */
  available(destination: number): boolean {
    return (
      this.#destinationWord(destination, DESTINATION.used) !== 0 &&
      (this.#destinationWord(destination, DESTINATION.flags) & DESTINATION_FLAG.AVAILABLE) !== 0
    )
  }

  #destinationWord(destination: number, field: number): number {
    if (destination >= this.destinationCount) return 0
    return this.#words[this.#destinationAt + destination * DESTINATION_WORDS + field]
  }

  #readService(slot: number, previous: ServiceView | undefined): ServiceView | undefined {
    const words = this.#words
    const at = (words[HEADER.serviceOffset] >> 2) + slot * SERVICE_WORDS
    if (this.#bytes[at * 4 + SERVICE.used] === 0) return undefined
    const count = words[at + SERVICE.orderCount]
    const first = (words[HEADER.orderOffset] >> 2) + words[at + SERVICE.orderFirst]
    const slots = new Uint32Array(count)
    const weights = new Int32Array(count)
    const ports = new Uint16Array(count)
    const inserted = new Uint32Array(count)
    const records = new Int32Array(count * DESTINATION_WORDS)
    for (let i = 0; i < count; i++) {
      const record = this.#destinationAt + words[first + i] * DESTINATION_WORDS
      slots[i] = words[first + i]
      weights[i] = words[record + DESTINATION.weight]
      ports[i] = this.#halves[record * 2 + DESTINATION.port]
      inserted[i] = words[record + DESTINATION.inserted]
      records.set(words.subarray(record, record + DESTINATION_WORDS), i * DESTINATION_WORDS)
    }
    const view: ServiceView = {
      slot,
      incarnation: words[at + SERVICE.incarnation] >>> 0,
      changes: words[at + SERVICE.changes] >>> 0,
      flags: words[at + SERVICE.flags] >>> 0,
      schedulerId: this.#bytes[at * 4 + SERVICE.schedulerId],
      port: this.#halves[at * 2 + SERVICE.port],
      fwmark: words[at + SERVICE.fwmark] >>> 0,
      persistentSec: words[at + SERVICE.persistentSec] >>> 0,
      netmask: words[at + SERVICE.netmask] >>> 0,
      family: this.#bytes[at * 4 + SERVICE.family],
      protocol: this.#bytes[at * 4 + SERVICE.protocol],
      slots,
      weights,
      ports,
      inserted,
      records,
    }
    return previous !== undefined && sameService(previous, view) ? previous : view
  }
}

function sameService(a: ServiceView, b: ServiceView): boolean {
  return (
    a.incarnation === b.incarnation &&
    a.changes === b.changes &&
    a.flags === b.flags &&
    a.schedulerId === b.schedulerId &&
    a.port === b.port &&
    a.fwmark === b.fwmark &&
    a.persistentSec === b.persistentSec &&
    a.netmask === b.netmask &&
    a.family === b.family &&
    a.protocol === b.protocol &&
    sameWords(a.slots, b.slots) &&
    sameWords(a.records, b.records)
  )
}

function sameWords(a: Uint32Array | Int32Array, b: Uint32Array | Int32Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
