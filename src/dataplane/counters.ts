/** Reads the counters of all workers: traffic, loads, drops by reason (docs/shared-memory.md). */
import { LIMITS, offsetOf, RECORDS } from './layout.js'
import { REASON_LANE_WORDS, REASONS } from './reasons.js'
import type { SharedBlocks } from './memory.js'

export { reasonText } from './reasons.js'

/** Traffic of one service or destination, summed over the workers. */
export interface Traffic {
  readonly connections: bigint
  readonly inPackets: bigint
  readonly outPackets: bigint
  readonly inBytes: bigint
  readonly outBytes: bigint
}

/** What went through one port, summed over the workers. A GSO super-packet is one frame. */
export interface PortTraffic {
  readonly rxFrames: bigint
  readonly txFrames: bigint
  readonly rxBytes: bigint
  readonly txBytes: bigint
}

const TRAFFIC_WORDS = RECORDS.traffic.bytes / 8
const FIELDS = ['connections', 'inPackets', 'outPackets', 'inBytes', 'outBytes'] as const
const OFFSETS = FIELDS.map((field) => offsetOf('traffic', field) / 8)
const PORT_WORDS = RECORDS.portWords.bytes / 8
const PORT_FIELDS = ['rxFrames', 'txFrames', 'rxBytes', 'txBytes'] as const
const PORT_OFFSETS = PORT_FIELDS.map((field) => offsetOf('portWords', field) / 8)
const LOAD_WORDS = RECORDS.load.bytes / 4

/** One reader over the shared blocks; every call reads at that moment. */
export class CounterBlocks {
  readonly #services: BigUint64Array
  readonly #destinations: BigUint64Array
  readonly #total: BigUint64Array
  readonly #reasons: BigUint64Array
  readonly #ports: BigUint64Array
  readonly #loads: Int32Array
  readonly #workers: number

  constructor(blocks: SharedBlocks) {
    const words = (block: Uint8Array): BigUint64Array =>
      new BigUint64Array(block.buffer, block.byteOffset, block.byteLength / 8)
    this.#services = words(blocks.serviceTraffic)
    this.#destinations = words(blocks.destinationTraffic)
    this.#total = words(blocks.totalTraffic)
    this.#reasons = words(blocks.reasons)
    this.#ports = words(blocks.portWords)
    this.#loads = blocks.loads
    this.#workers = blocks.workers
  }

  service(slot: number): Traffic {
    return this.#sum(this.#services, LIMITS.SERVICES, slot)
  }

  destination(slot: number): Traffic {
    return this.#sum(this.#destinations, LIMITS.DESTINATIONS, slot)
  }

  total(): Traffic {
    return this.#sum(this.#total, 1, 0)
  }

  /** Packets by reason name; all reasons, also those that never occurred. */
  drops(): Map<string, bigint> {
    const out = new Map<string, bigint>()
    REASONS.forEach(([name], index) => {
      let sum = 0n
      for (let worker = 0; worker < this.#workers; worker++) {
        sum += Atomics.load(this.#reasons, worker * REASON_LANE_WORDS + index)
      }
      out.set(name, sum)
    })
    return out
  }

  /** Frames and bytes of a port, by its place in the workers' lists. */
  port(index: number): PortTraffic {
    const sums = PORT_OFFSETS.map((offset) => {
      let sum = 0n
      for (let worker = 0; worker < this.#workers; worker++) {
        sum += Atomics.load(this.#ports, (worker * LIMITS.PORTS + index) * PORT_WORDS + offset)
      }
      return sum
    })
    return { rxFrames: sums[0], txFrames: sums[1], rxBytes: sums[2], txBytes: sums[3] }
  }

  /** Connections and templates of a destination over all lanes, main's included. */
  load(slot: number): { active: number; inactive: number; persistent: number } {
    const sum = { active: 0, inactive: 0, persistent: 0 }
    for (let lane = 0; lane <= this.#workers; lane++) {
      const at = (lane * LIMITS.DESTINATIONS + slot) * LOAD_WORDS
      sum.active += Atomics.load(this.#loads, at)
      sum.inactive += Atomics.load(this.#loads, at + 1)
      sum.persistent += Atomics.load(this.#loads, at + 2)
    }
    return sum
  }

  #sum(block: BigUint64Array, slots: number, slot: number): Traffic {
    const sums = OFFSETS.map((offset) => {
      let sum = 0n
      for (let worker = 0; worker < this.#workers; worker++) {
        sum += Atomics.load(block, (worker * slots + slot) * TRAFFIC_WORDS + offset)
      }
      return sum
    })
    return {
      connections: sums[0],
      inPackets: sums[1],
      outPackets: sums[2],
      inBytes: sums[3],
      outBytes: sums[4],
    }
  }
}
