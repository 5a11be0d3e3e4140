/**
 * A data plane without packets: remembers what was published and shows the loads, counters and rows
 * a test puts into it.
 */
import type {
  ConnectionRow,
  Defences,
  DestinationLoad,
  RunningDataplane,
  TrafficCounters,
  WorkerStatus,
} from '../../src/control/dataplane-port.js'
import type { Clock } from '../../src/control/clock.js'
import type { Log } from '../../src/control/log.js'
import { idleSentences } from '../../src/control/model/carried.js'
import type { Config } from '../../src/control/model/config.js'

export const NO_TRAFFIC: TrafficCounters = {
  connections: 0n,
  inPackets: 0n,
  outPackets: 0n,
  inBytes: 0n,
  outBytes: 0n,
}

const NO_LOAD: DestinationLoad = { active: 0, inactive: 0, persistent: 0 }

export class FakeDataplane implements RunningDataplane {
  readonly published: Config[] = []
  readonly restarted: number[] = []
  readonly expired: (number | 'all')[] = []
  readonly loadBySlot = new Map<number, DestinationLoad>()
  readonly serviceTraffic = new Map<number, TrafficCounters>()
  readonly destinationTraffic = new Map<number, TrafficCounters>()
  readonly drops = new Map<string, bigint>()
  totalTraffic = NO_TRAFFIC
  rows: ConnectionRow[] = []
  templateRows: ConnectionRow[] = []
  stopped = false
  defences?: Defences
  /** Decides whether a configuration is refused; throws to refuse. */
  check: (config: Config) => void = () => undefined

  async publish(config: Config): Promise<void> {
    await Promise.resolve()
    this.check(config)
    this.published.push(config)
  }

  loads() {
    return { destination: (slot: number) => this.loadBySlot.get(slot) ?? NO_LOAD }
  }

  counters() {
    return {
      service: (slot: number) => this.serviceTraffic.get(slot) ?? NO_TRAFFIC,
      destination: (slot: number) => this.destinationTraffic.get(slot) ?? NO_TRAFFIC,
      total: () => this.totalTraffic,
      port: () => ({ rxFrames: 0n, txFrames: 0n, rxBytes: 0n, txBytes: 0n }),
      drops: () => this.drops,
    }
  }

  async connections(
    _filter: unknown,
    onBatch: (rows: readonly ConnectionRow[]) => void | Promise<void>,
  ): Promise<void> {
    if (this.rows.length > 0) await onBatch(this.rows)
  }

  templates(): Promise<readonly ConnectionRow[]> {
    return Promise.resolve(this.templateRows)
  }

  expire(destinationSlot: number | 'all'): Promise<number> {
    this.expired.push(destinationSlot)
    return Promise.resolve(0)
  }

  workers(): readonly WorkerStatus[] {
    const counts = { restarts: 0, connections: 0, longestGapUs: 0, garbageCollections: 0 }
    return [{ id: 0, state: 'RUNNING', generation: 1, heartbeatAgeMs: 3, ...counts }]
  }

  slotsInUse(): Promise<ReadonlySet<number>> {
    const busy = [...this.loadBySlot].filter(([, l]) => l.active + l.inactive + l.persistent > 0)
    return Promise.resolve(new Set(busy.map(([slot]) => slot)))
  }

  info() {
    return { io: 'fake', interfaces: ['fake0'], ports: ['fake0'], tableSize: 4096 }
  }

  idle(before: Config | undefined, after: Config): readonly string[] {
    return idleSentences(before, after, this.info().ports)
  }

  interfaceMtu(name: string): number | undefined {
    return name === 'fake0' ? 1500 : undefined
  }

  restartWorker(worker: number): void {
    this.restarted.push(worker)
  }

  stop(): Promise<void> {
    this.stopped = true
    return Promise.resolve()
  }
}

/** A clock that moves only when told to. */
export class FakeClock implements Clock {
  #nowMs = 0
  #timers: { periodMs: number; dueMs: number; action: () => void }[] = []

  wallMs = (): number => this.#nowMs
  monotonicMs = (): number => this.#nowMs

  every(periodMs: number, action: () => void): () => void {
    return this.#add(periodMs, periodMs, action)
  }

  after(delayMs: number, action: () => void): () => void {
    return this.#add(delayMs, Infinity, action)
  }

  #add(delayMs: number, periodMs: number, action: () => void): () => void {
    const timer = { periodMs, dueMs: this.#nowMs + delayMs, action }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  /** Runs every timer that becomes due, in order; lets promises settle in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#nowMs + ms
    for (;;) {
      const due = this.#timers.toSorted((a, b) => a.dueMs - b.dueMs)[0]
      if (due === undefined || due.dueMs > end) break
      this.#nowMs = due.dueMs
      due.dueMs += due.periodMs
      due.action()
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#nowMs = end
  }
}

export interface MemoryLog extends Log {
  readonly lines: string[]
}

export function memoryLog(): MemoryLog {
  const lines: string[] = []
  const at = (level: string) => (message: string) => void lines.push(`${level} ${message}`)
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}
