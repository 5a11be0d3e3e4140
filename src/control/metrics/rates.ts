/**
 * The estimator behind --stats and --rate (spec 7.2 to 7.4): every PERIOD_MS the counters are
 * sampled, and each rate moves a quarter of the way to what the last period showed. What users see
 * are the sampled values, so they lag by up to one period. Pure: counters come in, the caller keeps
 * time.
 */
import type { CounterReader, TrafficCounters } from '../dataplane-port.js'
import type { Config } from '../model/config.js'
import type { Destination } from '../model/destination.js'
import type { Service } from '../model/service.js'

/** Fixed by the formula: its shifts assume two seconds. */
export const PERIOD_MS = 2000

const FIELDS = ['connections', 'inPackets', 'outPackets', 'inBytes', 'outBytes'] as const
type Field = (typeof FIELDS)[number]
type Numbers = Record<Field, bigint>

/** Fraction bits of the state, and what rounds a reading, by kind of counter. */
const COUNT_SCALE = { shift: 9n, readShift: 10n, round: 0x1ffn } as const
const BYTE_SCALE = { shift: 4n, readShift: 5n, round: 0xfn } as const

const scaleOf = (field: Field) => (field.endsWith('Bytes') ? BYTE_SCALE : COUNT_SCALE)

const ZERO: Readonly<Numbers> = {
  connections: 0n,
  inPackets: 0n,
  outPackets: 0n,
  inBytes: 0n,
  outBytes: 0n,
}

function combine(compute: (field: Field) => bigint): Numbers {
  return {
    connections: compute('connections'),
    inPackets: compute('inPackets'),
    outPackets: compute('outPackets'),
    inBytes: compute('inBytes'),
    outBytes: compute('outBytes'),
  }
}

/** One service, one destination, or the total. */
export class Estimator {
  readonly #born: TrafficCounters
  #zeroPoint: TrafficCounters
  #sampled: TrafficCounters
  #state: Numbers = { ...ZERO }

  /** Counting starts at `start`; what a slot counted before does not belong to it. */
  constructor(start: TrafficCounters) {
    this.#born = start
    this.#zeroPoint = start
    this.#sampled = start
  }

  /** One run, PERIOD_MS after the one before. */
  tick(counters: TrafficCounters): void {
    const before = this.#sampled
    const state = this.#state
    for (const field of FIELDS) {
      const rate = (counters[field] - before[field]) << scaleOf(field).shift
      state[field] += (rate - state[field]) >> 2n
    }
    this.#sampled = counters
  }

  /** Counters start again from the last sample, rates from zero. */
  zero(): void {
    this.#zeroPoint = this.#sampled
    this.#state = { ...ZERO }
  }

  /** Sampled counters since the zero point. */
  stats(): TrafficCounters {
    return combine((field) => this.#sampled[field] - this.#zeroPoint[field])
  }

  /** Per second, truncated as the kernel does. */
  rates(): TrafficCounters {
    return combine((field) => {
      const { round, readShift } = scaleOf(field)
      return (this.#state[field] + round) >> readShift
    })
  }

  /** Live counters since creation; not affected by zero(), for metrics that may not go back. */
  since(counters: TrafficCounters): TrafficCounters {
    return combine((field) => counters[field] - this.#born[field])
  }
}

type ServiceEstimators = Map<number, { incarnation: number; estimator: Estimator }>
type DestinationEstimators = Map<
  number,
  { incarnation: number; epoch: number; estimator: Estimator }
>

/** The estimators of a configuration, kept by what they measure, not by slot alone. */
export class RateBook {
  readonly total: Estimator
  readonly #services: ServiceEstimators = new Map()
  readonly #destinations: DestinationEstimators = new Map()
  #followed: Config | undefined

  constructor(counters: CounterReader) {
    this.total = new Estimator(counters.total())
  }

  /**
   * Follows a change of configuration: new objects start at the present counters of their slot.
   * Objects that are gone, or in the trash, keep their estimator until their slot is used again,
   * and services that did not change are passed over.
   */
  follow(config: Config, counters: CounterReader): void {
    for (const [key, service] of config.services) {
      if (this.#followed?.services.get(key) === service) continue
      const { slot, incarnation } = service
      if (this.#services.get(slot)?.incarnation !== incarnation) {
        const estimator = new Estimator(counters.service(slot))
        this.#services.set(slot, { incarnation, estimator })
      }
      for (const destination of service.destinations) this.#followOne(destination, counters)
    }
    this.#followed = config
  }

  /** A destination whose service was made anew is zeroed like one by hand: from the last sample. */
  #followOne(destination: Destination, counters: CounterReader): void {
    const { slot, incarnation, statisticsEpoch: epoch } = destination
    const known = this.#destinations.get(slot)
    if (known?.epoch === epoch) return
    const isSame = known?.incarnation === incarnation
    const estimator = isSame ? known.estimator : new Estimator(counters.destination(slot))
    if (isSame) estimator.zero()
    this.#destinations.set(slot, { incarnation, epoch, estimator })
  }

  /** One run over everything in service; the trash stands still. */
  tick(config: Config, counters: CounterReader): void {
    this.total.tick(counters.total())
    for (const service of config.services.values()) {
      this.service(service).tick(counters.service(service.slot))
      for (const destination of service.destinations) {
        this.destination(destination).tick(counters.destination(destination.slot))
      }
    }
  }

  /** Zeroes one service with its destinations, or everything. */
  zero(config: Config, only?: Service): void {
    const services = only === undefined ? config.services.values() : [only]
    for (const service of services) {
      service.destinations.forEach((destination) => this.destination(destination).zero())
      this.service(service).zero()
    }
    if (only === undefined) this.total.zero()
  }

  /** The estimator of a service of the followed configuration. */
  service({ slot }: Service): Estimator {
    return this.#services.get(slot)?.estimator ?? new Estimator(ZERO)
  }

  /** The estimator of a destination of the followed configuration. */
  destination({ slot }: Destination): Estimator {
    return this.#destinations.get(slot)?.estimator ?? new Estimator(ZERO)
  }
}
