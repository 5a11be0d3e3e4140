/**
 * A worker's life, seen from outside: start, publish configuration, notice death, restart, stop.
 *
 * Workers are piscina tasks that never end; a task that rejects is a worker that died. What a
 * worker needs to go on lives with main: ports stay open here and keep their fanout membership,
 * the connection table is shared memory. So the replacement attaches to both and the other
 * workers do not notice; frames that arrive meanwhile wait in the ring.
 */
import { EventEmitter } from 'node:events'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { NO_OWNERS } from '../scheduler/maglev-tables.js'
import { TemplateTable } from '../scheduler/persistence/templates.js'
import { SchedulerState } from '../scheduler/shared-state.js'
import { offsetOf, RECORDS, WORKER_STATE } from './layout.js'
import { LoadView } from './load-view.js'
import { laneOf, type SharedBlocks } from './memory.js'
import { END_OF_LIST, type FromWorker, type Publication, type ToWorker } from './messages.js'
import {
  snapshotFault,
  type BorrowedPort,
  type Handover,
  type HopSource,
  type SyntheticPort,
} from './native.js'
import type { WorkerTask } from './worker.js'

/** Longest time a worker may take to adopt a snapshot or to answer a request. */
const ANSWER_MS = 5_000
/** Back-off of a worker that keeps dying. */
const RESTART_FIRST_MS = 50
const RESTART_MOST_MS = 5_000
/** A worker whose heartbeat stands still this long is ended and replaced. */
const STALE_MS = 5_000
/** A worker that has not attached after this long is given up and started again. */
const START_MS = 20_000
const POLL_MS = 1

const word = (field: keyof (typeof RECORDS)['workerWords']['fields']): number =>
  offsetOf('workerWords', field) / 4

/** Operating errors of the data plane; `code` is stable. */
export class DataplaneError extends Error {
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.name = 'DataplaneError'
    this.code = code
  }
}

/** Ends a worker's wait for packets (NativePortSet). */
export interface Bell {
  readonly fd: number
  ring(): void
}

export interface SupervisorOptions {
  readonly blocks: SharedBlocks
  /** [worker][port] */
  readonly ports: readonly (readonly (BorrowedPort | SyntheticPort)[])[]
  /** Index of the port to the host's own stack in each worker's list; -1: none. */
  readonly hostPort: number
  /** By worker: ends its wait for packets, so that it looks at its mail and words at once. */
  readonly bells?: readonly Bell[]
  /** By worker: how it gets datagrams from the others. */
  readonly handovers?: readonly Handover[]
  /** Where next hops come from; the kernel unless said otherwise (tests). */
  readonly hops?: HopSource
  /** One line for the log; `level` as in src/control/log.ts. */
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void
}

/** How one worker is doing. */
export interface WorkerStatus {
  readonly id: number
  readonly state: keyof typeof WORKER_STATE
  readonly generation: number
  readonly heartbeatAgeMs: number
  readonly restarts: number
  readonly connections: number
  readonly longestGapUs: number
  readonly garbageCollections: number
}

interface Handle {
  readonly id: number
  readonly words: Int32Array
  port: MessagePort | undefined
  abort: AbortController
  restarts: number
  backoffMs: number
  lastHeartbeat: number
  heartbeatAtMs: number
  ended: Promise<void>
  restart: NodeJS.Timeout | undefined
}

/** A question that a worker has not answered yet. */
interface Request {
  readonly worker: number
  readonly answer: (message: FromWorker) => void
  readonly fail: (code: string) => void
}

/** Starts and keeps `blocks.workers` workers. */
export class Supervisor extends EventEmitter {
  readonly #options: SupervisorOptions
  readonly #pool: Piscina
  readonly #handles: Handle[]
  readonly #requests = new Map<number, Request>()
  readonly #seed = randomBytes(8).readBigUInt64LE()
  #generation = 0
  #publication: Publication | undefined
  #request = 0
  #stopping = false
  #watch: NodeJS.Timeout | undefined

  constructor(options: SupervisorOptions) {
    super()
    this.#options = options
    const { blocks } = options
    this.#pool = new Piscina({
      filename: fileURLToPath(new URL('./worker.js', import.meta.url)),
      minThreads: blocks.workers,
      maxThreads: blocks.workers,
      concurrentTasksPerWorker: 1,
      // Tasks never end: there is nothing to wait for between them.
      atomics: 'disabled',
    })
    // A thread that fails while it has no task, say while it loads its code: unheard, this event
    // would end the process and with it the workers that still forward.
    this.#pool.on('error', (error: unknown) => {
      const message = error instanceof Error ? error.message : String(error)
      options.log('error', `a worker's thread failed before its task: ${message}`)
    })
    this.#handles = Array.from({ length: blocks.workers }, (_, id) => {
      const lane = laneOf(blocks.words, id, blocks.workers)
      return {
        id,
        words: new Int32Array(lane.buffer, lane.byteOffset, lane.byteLength / 4),
        port: undefined,
        abort: new AbortController(),
        restarts: 0,
        backoffMs: RESTART_FIRST_MS,
        lastHeartbeat: 0,
        heartbeatAtMs: 0,
        ended: Promise.resolve(),
        restart: undefined,
      }
    })
  }

  /** Starts every worker on its first snapshot, with its tables, and waits until all run. */
  async start(block: Uint8Array, tables = NO_OWNERS): Promise<void> {
    this.#check(block)
    this.#generation++
    this.#publication = { block, tables }
    for (const handle of this.#handles) this.#launch(handle)
    this.#watch = setInterval(() => this.#lookForStale(performance.now()), 1000)
    this.#watch.unref()
    await Promise.all(this.#handles.map((handle) => this.#applied(handle, this.#generation)))
  }

  /**
   * Publishes a snapshot: checked here first, so that a bad one reaches nobody; resolves when every
   * worker has adopted it. A worker that dies meanwhile adopts it when it is replaced.
   */
  async publish(block: Uint8Array, tables = NO_OWNERS): Promise<void> {
    this.#check(block)
    const generation = ++this.#generation
    this.#publication = { block, tables }
    for (const handle of this.#handles) {
      Atomics.store(handle.words, word('wantedGeneration'), generation)
      this.#post(handle, { type: 'snapshot', generation, block, tables })
    }
    await Promise.all(this.#handles.map((handle) => this.#applied(handle, generation)))
  }

  /**
   * Streams every connection as blocks of `connectionRow` records, worker by worker. The next block
   * is asked for when `onRows` is done with one, so a slow reader costs no memory; its rejection
   * ends the listing and is the listing's own.
   */
  async list(onRows: (rows: Uint8Array) => void | Promise<void>): Promise<void> {
    for (const handle of this.#handles) {
      for (let cursor = 0; cursor !== END_OF_LIST;) {
        const answer = await this.#ask(handle, (id) => ({ type: 'list', id, cursor }))
        if (answer.type !== 'rows') return
        if (answer.rows.byteLength > 0) await onRows(answer.rows)
        cursor = answer.next
      }
    }
  }

  /** Ends every connection of one destination slot (-1: of all). Returns how many. */
  async expire(destinationSlot: number): Promise<number> {
    const answers = await Promise.all(
      this.#handles.map((handle) =>
        this.#ask(handle, (id) => ({ type: 'expire', id, destinationSlot })),
      ),
    )
    return answers.reduce((sum, a) => sum + (a.type === 'expired' ? a.count : 0), 0)
  }

  status(): WorkerStatus[] {
    const names = Object.keys(WORKER_STATE) as (keyof typeof WORKER_STATE)[]
    const now = performance.now()
    return this.#handles.map((handle) => {
      const read = (field: Parameters<typeof word>[0]): number =>
        Atomics.load(handle.words, word(field)) >>> 0
      this.#noteHeartbeat(handle, now)
      return {
        id: handle.id,
        state: names[read('state')] ?? 'FAILED',
        generation: read('appliedGeneration'),
        heartbeatAgeMs: Math.round(now - handle.heartbeatAtMs),
        restarts: handle.restarts,
        connections: read('connections'),
        longestGapUs: read('longestGapUs'),
        garbageCollections: read('garbageCollections'),
      }
    })
  }

  /**
   * drop_packet (spec 3.11): every worker drops one of `rate` new connections, 0: none. `restarts`:
   * their counts start anew.
   */
  dropPackets(rate: number, restarts: boolean): void {
    for (const { words } of this.#handles) {
      Atomics.store(words, word('dropRate'), rate)
      if (restarts) Atomics.add(words, word('dropReloads'), 1)
    }
  }

  /** Ends one worker's thread as a crash would; it is replaced. For tests and for stale workers. */
  kill(worker: number): void {
    this.#handles[worker].abort.abort()
    this.#ring(this.#handles[worker])
  }

  /** Orderly stop: every worker finishes its burst and closes its core. */
  async stop(): Promise<void> {
    this.#stopping = true
    clearInterval(this.#watch)
    for (const handle of this.#handles) {
      clearTimeout(handle.restart)
      Atomics.store(handle.words, word('stop'), 1)
      this.#ring(handle)
    }
    const deadline = setTimeout(() => this.#handles.forEach((h) => h.abort.abort()), ANSWER_MS)
    await Promise.all(this.#handles.map((handle) => handle.ended))
    clearTimeout(deadline)
    await this.#pool.destroy()
  }

  #check(snapshot: Uint8Array): void {
    const fault = snapshotFault(snapshot)
    if (fault !== undefined) throw new DataplaneError('SNAPSHOT_BAD', `snapshot refused: ${fault}`)
  }

  #launch(handle: Handle): void {
    const { blocks, ports, hostPort, hops = 'kernel' } = this.#options
    const { port1, port2 } = new MessageChannel()
    handle.port = port1
    handle.abort = new AbortController()
    handle.heartbeatAtMs = performance.now()
    port1.on('message', (message: FromWorker) => this.#hear(handle, message))
    Atomics.store(handle.words, word('stop'), 0)
    Atomics.store(handle.words, word('wantedGeneration'), this.#generation)
    Atomics.store(handle.words, word('state'), WORKER_STATE.STARTING)
    const task: WorkerTask = {
      worker: handle.id,
      blocks,
      ports: ports[handle.id],
      hostPort,
      hops,
      bell: this.#options.bells?.[handle.id].fd,
      handovers: this.#options.handovers,
      seed: this.#seed,
      port: port2,
      generation: this.#generation,
      publication: this.#publication as Publication,
    }
    handle.ended = this.#pool
      .run(task, { transferList: [port2], signal: handle.abort.signal })
      .then(
        () => undefined,
        (error: unknown) => this.#died(handle, error),
      )
      .finally(() => port1.close())
  }

  #died(handle: Handle, error: unknown): void {
    if (this.#stopping) return
    const message = error instanceof Error ? error.message : String(error)
    // A thread that was ended could not say so itself.
    Atomics.store(handle.words, word('state'), WORKER_STATE.FAILED)
    handle.port = undefined
    handle.restarts++
    this.#options.log(
      'error',
      `worker ${handle.id} died: ${message}; restarting in ${handle.backoffMs} ms`,
    )
    this.#releaseLocks(handle.id)
    for (const request of [...this.#requests.values()]) {
      if (request.worker === handle.id) request.fail('WORKER_DIED')
    }
    handle.restart = setTimeout(() => this.#launch(handle), handle.backoffMs)
    handle.backoffMs = Math.min(handle.backoffMs * 2, RESTART_MOST_MS)
    this.emit('restart', handle.id)
  }

  /** Locks in shared memory that the dead thread may have held. */
  #releaseLocks(worker: number): void {
    const { blocks } = this.#options
    const lane = blocks.workers
    const load = new LoadView(
      { load: blocks.loads, destinationState: blocks.destinationState },
      lane,
    )
    new SchedulerState(blocks.scheduler, lane).releaseLocks(worker)
    new TemplateTable(blocks.templates, load, lane).releaseLocks(worker)
  }

  #hear(handle: Handle, message: FromWorker): void {
    if (message.type === 'refused') {
      this.#options.log(
        'error',
        `worker ${handle.id} refused configuration ${message.generation}: ${message.message}`,
      )
    } else if (message.type === 'schedulerError') {
      const text = `worker ${handle.id}: scheduler failed, ${message.dropped} connections dropped`
      this.#options.log('error', `${text}: ${message.message}`)
    } else if (message.type === 'templatesFull') {
      const what = `${message.connections} connections not persistent, or dropped with an engine`
      this.#options.log('warn', `worker ${handle.id}: ${what}: the template table is full`)
    } else {
      this.#requests.get(message.id)?.answer(message)
    }
  }

  #post(handle: Handle, message: ToWorker): void {
    handle.port?.postMessage(message)
    Atomics.add(handle.words, word('mail'), 1)
    this.#ring(handle)
  }

  #ring(handle: Handle): void {
    this.#options.bells?.[handle.id].ring()
  }

  #ask(handle: Handle, build: (id: number) => ToWorker): Promise<FromWorker> {
    const id = ++this.#request
    const gone = (code: string): DataplaneError =>
      new DataplaneError(code, `worker ${handle.id} does not answer; try again`)
    if (handle.port === undefined) return Promise.reject(gone('WORKER_DIED'))
    return new Promise((resolve, reject) => {
      const close = (): void => {
        clearTimeout(timer)
        this.#requests.delete(id)
      }
      const fail = (code: string): void => {
        close()
        reject(gone(code))
      }
      const answer = (message: FromWorker): void => {
        close()
        resolve(message)
      }
      const timer = setTimeout(() => fail('WORKER_SILENT'), ANSWER_MS)
      this.#requests.set(id, { worker: handle.id, answer, fail })
      this.#post(handle, build(id))
    })
  }

  /** Resolves when the worker has adopted `generation` (or a newer one). */
  async #applied(handle: Handle, generation: number): Promise<void> {
    const deadline = performance.now() + ANSWER_MS
    for (;;) {
      const applied = Atomics.load(handle.words, word('appliedGeneration'))
      const running = Atomics.load(handle.words, word('state')) === WORKER_STATE.RUNNING
      if (running && ((applied - generation) | 0) >= 0) return
      if (performance.now() > deadline) {
        throw new DataplaneError(
          'WORKER_SILENT',
          `worker ${handle.id} did not adopt configuration ${generation}; see the log`,
        )
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  }

  #noteHeartbeat(handle: Handle, nowMs: number): void {
    const beat = Atomics.load(handle.words, word('heartbeat'))
    if (beat === handle.lastHeartbeat) return
    handle.lastHeartbeat = beat
    handle.heartbeatAtMs = nowMs
  }

  #lookForStale(nowMs: number): void {
    for (const handle of this.#handles) {
      this.#noteHeartbeat(handle, nowMs)
      const state = Atomics.load(handle.words, word('state'))
      const stillMs = nowMs - handle.heartbeatAtMs
      if (
        (state === WORKER_STATE.RUNNING && stillMs > STALE_MS) ||
        (state === WORKER_STATE.STARTING && stillMs > START_MS)
      ) {
        this.#options.log('error', `worker ${handle.id} stands still; replacing it`)
        handle.abort.abort()
      } else if (state === WORKER_STATE.RUNNING) {
        handle.backoffMs = RESTART_FIRST_MS
      }
    }
  }
}
