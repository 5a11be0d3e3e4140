/**
 * A worker's life, seen from inside: attach to memory and ports, take turns, stop.
 *
 * One never-ending piscina task per thread. Native code and TypeScript take turns on it: poll()
 * forwards a burst and leaves misses, `ScheduleBatch` answers them, resolve() carries the answers
 * out. The loop allocates nothing; it leaves the event loop alone for up to TURN_MS, so that the
 * one Immediate per turn is all the garbage an established load makes. Stop, configuration and
 * requests are noticed between bursts by looking at shared words, within WAIT_US.
 */
import { webcrypto } from 'node:crypto'
import { PerformanceObserver } from 'node:perf_hooks'
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import { BoundServices } from '../scheduler/bound-services.js'
import { TemplateTable } from '../scheduler/persistence/templates.js'
import { Xoshiro128 } from '../scheduler/random.js'
import { ScheduleBatch } from '../scheduler/schedule-batch.js'
import { SchedulerState } from '../scheduler/shared-state.js'
import { LIMITS, offsetOf, RECORDS, WORKER_STATE } from './layout.js'
import { LoadView } from './load-view.js'
import { bytesOf, laneOf, type SharedBlocks } from './memory.js'
import { LIST_ROWS, type FromWorker, type Publication, type ToWorker } from './messages.js'
import { MissBatch } from './miss-batch.js'
import {
  openCore,
  type BorrowedPort,
  type Handover,
  type HopSource,
  type NativeCore,
  type SyntheticPort,
} from './native.js'
import { SnapshotView } from './snapshot-view.js'

/** Longest wait for a frame in one poll; bounds how late stop and configuration are seen. */
const WAIT_US = 10_000
/** The same where main can ring: the core itself looks at its timers every tick. */
const WAIT_WITH_BELL_US = 1_000_000
/** How long a turn keeps the thread before the event loop runs once. */
const TURN_MS = 200

/** What main gives a worker thread. Everything but `port` is shared or plain data. */
export interface WorkerTask {
  readonly worker: number
  readonly blocks: SharedBlocks
  readonly ports: readonly (BorrowedPort | SyntheticPort)[]
  readonly hostPort: number
  readonly hops: HopSource
  readonly bell: number | undefined
  readonly handovers: readonly Handover[] | undefined
  readonly seed: bigint
  readonly port: MessagePort
  readonly generation: number
  readonly publication: Publication
}

const word = (field: keyof (typeof RECORDS)['workerWords']['fields']): number =>
  offsetOf('workerWords', field) / 4
const STOP = word('stop')
const MAIL = word('mail')
const STATE = word('state')
const APPLIED = word('appliedGeneration')
const HEARTBEAT = word('heartbeat')
const COLLECTIONS = word('garbageCollections')
const NOW_MS = word('nowMs')
const NOW_SEC = word('nowSec')

/** Piscina's entry: resolves when main asks the worker to stop, rejects when it cannot go on. */
export default async function work(task: WorkerTask): Promise<void> {
  const loop = new WorkerLoop(task)
  try {
    await loop.run()
  } finally {
    loop.close()
  }
}

class WorkerLoop {
  readonly #task: WorkerTask
  readonly #core: NativeCore
  readonly #words: Int32Array
  readonly #load: LoadView
  readonly #services: BoundServices
  readonly #schedule: ScheduleBatch
  readonly #observer: PerformanceObserver
  readonly #next = new Uint32Array(1)
  readonly #rows = new Uint8Array(LIST_ROWS * RECORDS.connectionRow.bytes)
  #view: SnapshotView | undefined
  #seenMail: number
  readonly #waitUs: number
  #reportedFull = 0

  constructor(task: WorkerTask) {
    this.#task = task
    this.#waitUs = task.bell === undefined ? WAIT_US : WAIT_WITH_BELL_US
    const { blocks, worker } = task
    const lane = (block: Uint8Array): Uint8Array => laneOf(block, worker, blocks.workers)
    const words = lane(blocks.words)
    this.#words = new Int32Array(words.buffer, words.byteOffset, words.byteLength / 4)
    // One behind: what main posted while this thread was starting is read in the first turn.
    this.#seenMail = (Atomics.load(this.#words, MAIL) - 1) | 0
    this.#core = openCore({
      worker,
      workers: blocks.workers,
      connections: blocks.connections,
      table: blocks.tables[worker],
      misses: lane(blocks.misses),
      missTexts: lane(blocks.missTexts),
      words,
      portWords: lane(blocks.portWords),
      templates: bytesOf(blocks.templates.entries),
      loads: loadLane(blocks.loads, worker),
      serviceTraffic: lane(blocks.serviceTraffic),
      destinationTraffic: lane(blocks.destinationTraffic),
      totalTraffic: lane(blocks.totalTraffic),
      reasons: lane(blocks.reasons),
      ports: task.ports,
      hostPort: task.hostPort,
      hops: task.hops,
      ...(task.bell === undefined ? {} : { bell: task.bell }),
      ...(task.handovers === undefined ? {} : { handovers: task.handovers }),
      seed: task.seed,
      manualClock: false,
    })
    this.#load = new LoadView(
      { load: blocks.loads, destinationState: blocks.destinationState },
      worker,
    )
    const misses = lane(blocks.misses)
    const random = new Xoshiro128(webcrypto.getRandomValues(new Uint32Array(4)))
    this.#services = new BoundServices(new SchedulerState(blocks.scheduler, worker), random)
    this.#schedule = new ScheduleBatch({
      misses: new MissBatch(
        misses.buffer as SharedArrayBuffer,
        misses.byteOffset,
        lane(blocks.missTexts),
      ),
      load: this.#load,
      services: this.#services,
      templates: new TemplateTable(blocks.templates, this.#load, worker),
    })
    this.#observer = new PerformanceObserver((list) => {
      Atomics.add(this.#words, COLLECTIONS, list.getEntries().length)
    })
    this.#observer.observe({ entryTypes: ['gc'] })
    this.#adopt(task.generation, task.publication)
    Atomics.store(this.#words, STATE, WORKER_STATE.RUNNING)
  }

  /** Takes turns until main asks to stop. */
  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        try {
          if (this.#turn()) setImmediate(turn)
          else resolve()
        } catch (error) {
          Atomics.store(this.#words, STATE, WORKER_STATE.FAILED)
          reject(error instanceof Error ? error : new Error(String(error)))
        }
      }
      turn()
    })
  }

  close(): void {
    this.#observer.disconnect()
    this.#core.close()
    if (Atomics.load(this.#words, STATE) === WORKER_STATE.RUNNING) {
      Atomics.store(this.#words, STATE, WORKER_STATE.STOPPED)
    }
    this.#task.port.close()
  }

  /** Bursts for TURN_MS; false when the worker is to stop. */
  #turn(): boolean {
    const words = this.#words
    const start = words[NOW_MS]
    do {
      const misses = this.#core.poll(this.#waitUs)
      if (misses > 0) {
        const dropped = this.#schedule.run(misses, words[NOW_SEC])
        this.#core.resolve()
        if (dropped > 0) this.#reportDropped(dropped)
      }
      words[HEARTBEAT]++
      if (Atomics.load(words, STOP) !== 0) return false
      if (Atomics.load(words, MAIL) !== this.#seenMail) this.#readMail()
    } while ((words[NOW_MS] - start) >>> 0 < TURN_MS)
    this.#reportFullTemplates()
    return true
  }

  #readMail(): void {
    this.#seenMail = Atomics.load(this.#words, MAIL)
    for (;;) {
      const received = receiveMessageOnPort(this.#task.port) as { message: ToWorker } | undefined
      if (received === undefined) return
      this.#obey(received.message)
    }
  }

  #obey(message: ToWorker): void {
    switch (message.type) {
      case 'snapshot':
        try {
          this.#adopt(message.generation, message)
        } catch (error) {
          const text = error instanceof Error ? error.message : String(error)
          this.#send({ type: 'refused', generation: message.generation, message: text })
        }
        break
      case 'list': {
        const count = this.#core.readConnections(message.cursor, this.#rows, this.#next)
        const rows = this.#rows.slice(0, count * RECORDS.connectionRow.bytes)
        this.#send({ type: 'rows', id: message.id, rows, next: this.#next[0] })
        break
      }
      case 'expire': {
        const count = this.#core.expireConnections(message.destinationSlot)
        this.#send({ type: 'expired', id: message.id, count })
        break
      }
    }
  }

  /** Native first: it refuses a bad block, and then nothing has changed. */
  #adopt(generation: number, { block, tables }: Publication): void {
    this.#core.adopt(block)
    const view = new SnapshotView(block, this.#view)
    this.#services.adopt(view, tables)
    this.#load.adopt(view)
    this.#view = view
    Atomics.store(this.#words, APPLIED, generation)
  }

  #reportDropped(dropped: number): void {
    const { lastError } = this.#schedule
    const message = lastError instanceof Error ? lastError.message : String(lastError)
    this.#send({ type: 'schedulerError', message, dropped })
  }

  #reportFullTemplates(): void {
    const connections = this.#schedule.templateTableFullCount - this.#reportedFull
    if (connections === 0) return
    this.#reportedFull += connections
    this.#send({ type: 'templatesFull', connections })
  }

  #send(message: FromWorker): void {
    this.#task.port.postMessage(message)
  }
}

/** The lane of the load block that this worker's core writes. */
function loadLane(loads: Int32Array, worker: number): Uint8Array {
  const bytes = LIMITS.DESTINATIONS * RECORDS.load.bytes
  return new Uint8Array(loads.buffer, loads.byteOffset + worker * bytes, bytes)
}
