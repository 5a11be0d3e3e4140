/**
 * Loads, counters and rates of the kernel's objects, for what the configuration calls by slot. One
 * reading of the kernel serves all that is asked in one turn of the event loop.
 */
import type {
  CounterReader,
  DestinationLoad,
  LoadReader,
  TrafficBook,
  TrafficCounters,
  TrafficReading,
} from '../dataplane-port.js'
import type { Config } from '../model/config.js'
import { destinationKey } from '../model/destination.js'
import type { Destination } from '../model/destination.js'
import { serviceKey } from '../model/service.js'
import type { Service } from '../model/service.js'
import type { WireStats } from '../netlink/ipvs-types.js'
import type { KernelIpvs } from './kernel-ipvs.js'
import { countersOf, readingOf } from './kernel-state.js'
import type { KernelDestination, KernelService, KernelState } from './kernel-state.js'

const NO_LOAD: DestinationLoad = { active: 0, inactive: 0, persistent: 0 }
const NO_TRAFFIC: TrafficCounters = {
  connections: 0n,
  inPackets: 0n,
  outPackets: 0n,
  inBytes: 0n,
  outBytes: 0n,
}
const NO_STATS: WireStats = {
  ...NO_TRAFFIC,
  connectionRate: 0n,
  inPacketRate: 0n,
  outPacketRate: 0n,
  inByteRate: 0n,
  outByteRate: 0n,
}
const FIELDS = ['connections', 'inPackets', 'outPackets', 'inBytes', 'outBytes'] as const

/** See the top of this file. */
export class KernelReadings implements TrafficBook {
  readonly #ipvs: KernelIpvs
  readonly #steady = new Map<string, { last: TrafficCounters; sum: TrafficCounters }>()
  #config: Config
  #services = new Map<number, Service>()
  #destinations = new Map<number, { readonly service: Service; readonly key: string }>()
  #state: KernelState | undefined

  constructor(ipvs: KernelIpvs, config: Config) {
    this.#ipvs = ipvs
    this.#config = config
    this.follow(config)
  }

  /** The kernel was brought to another configuration. */
  follow(config: Config): void {
    this.#state = undefined
    this.#config = config
    this.#services = new Map()
    this.#destinations = new Map()
    for (const service of config.services.values()) {
      this.#services.set(service.slot, service)
      for (const one of service.destinations) {
        this.#destinations.set(one.slot, { service, key: destinationKey(one) })
      }
    }
  }

  #read(): KernelState {
    if (this.#state === undefined) {
      this.#state = this.#ipvs.read()
      setImmediate(() => (this.#state = undefined))
    }
    return this.#state
  }

  #service(service: Service | undefined): KernelService | undefined {
    return service && this.#read().services.get(serviceKey(service.id))
  }

  #destination(slot: number): KernelDestination | undefined {
    const at = this.#destinations.get(slot)
    return at && this.#service(at.service)?.destinations.get(at.key)
  }

  loads(): LoadReader {
    return {
      destination: (slot) => {
        const found = this.#destination(slot)
        if (found === undefined) return NO_LOAD
        const { active, inactive, persistent } = found
        return { active, inactive, persistent }
      },
    }
  }

  /** Never going backwards, also where somebody zeroes the kernel's. */
  counters(): CounterReader {
    const counted = (what: string, stats: WireStats | undefined): TrafficCounters =>
      this.#count(what, stats === undefined ? NO_TRAFFIC : countersOf(stats))
    return {
      service: (slot) => counted(`service ${slot}`, this.#service(this.#services.get(slot))?.stats),
      destination: (slot) => counted(`destination ${slot}`, this.#destination(slot)?.stats),
      total: () => counted('total', this.#ipvs.total()),
      port: () => ({ rxFrames: 0n, txFrames: 0n, rxBytes: 0n, txBytes: 0n }),
      drops: () => new Map(),
    }
  }

  #count(what: string, now: TrafficCounters): TrafficCounters {
    const { last, sum } = this.#steady.get(what) ?? { last: NO_TRAFFIC, sum: NO_TRAFFIC }
    const next = Object.fromEntries(
      FIELDS.map((field) => {
        const step = now[field] >= last[field] ? now[field] - last[field] : now[field]
        return [field, sum[field] + step]
      }),
    ) as unknown as TrafficCounters
    this.#steady.set(what, { last: now, sum: next })
    return next
  }

  get total(): TrafficReading {
    return readingOf(this.#ipvs.total())
  }

  service(service: Service): TrafficReading {
    return readingOf(this.#service(service)?.stats ?? NO_STATS)
  }

  destination({ slot }: Destination): TrafficReading {
    return readingOf(this.#destination(slot)?.stats ?? NO_STATS)
  }

  /** Everything is zeroed at once only where that touches nobody else's services. */
  zero(_config: Config, only?: Service): void {
    this.#state = undefined
    const { services, strange } = this.#read()
    const ours = [...this.#config.services.values()]
    if (only !== undefined) this.#ipvs.zero(only.id)
    else if (strange === 0 && services.size === ours.length) this.#ipvs.zero(undefined)
    else for (const service of ours) this.#ipvs.zero(service.id)
    this.#state = undefined
  }
}
