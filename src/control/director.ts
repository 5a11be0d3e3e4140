/**
 * The one owner of the configuration. A change: command -> apply (pure, may refuse) -> publish to
 * the data plane -> side effects. Commands that wait are applied one after the other and published
 * as one change; if the data plane refuses it, they are tried again one by one, so that only the
 * one at fault fails. Atomic commands are a change of their own: all take effect or none.
 */
import type {
  ConnectionView,
  InfoView,
  MarkRuleView,
  Outcome,
  ServiceView,
  StatusView,
} from './api/views.js'
import { reasonText } from '../dataplane/counters.js'
import type { Clock } from './clock.js'
import { DefenceWatch } from './defence-watch.js'
import type { ConnectionRow, DataplanePort, RowFilter, TrafficBook } from './dataplane-port.js'
import type { Log } from './log.js'
import { PERIOD_MS, RateBook } from './metrics/rates.js'
import { apply, applyEvery } from './model/apply.js'
import type { Command } from './model/commands.js'
import { findService } from './model/config.js'
import type { Config } from './model/config.js'
import { DEFENCE_PERIOD_MS, sameModes } from './model/defence.js'
import { describeAction, diff } from './model/diff.js'
import { ControlError, failure } from './model/errors.js'
import type { Result } from './model/errors.js'
import { markRuleText } from './model/mark-text.js'
import { enumerateServices, serviceKey } from './model/service.js'
import type { ServiceId } from './model/service.js'
import { hasPast, PAST_PERIOD_MS } from './model/past.js'
import { releaseRetired, TRASH_PERIOD_MS } from './model/trash.js'
import { matchesFilter } from './row-filter.js'
import { portView, serviceView, trafficView } from './views.js'

/** What the side effects of a change are told; they may not fail the change. */
export type ChangeListener = (before: Config, after: Config) => void

export interface DirectorOptions {
  readonly port: DataplanePort
  /** The configuration the data plane was started with. */
  readonly config: Config
  readonly clock: Clock
  readonly log: Log
  readonly version: string
}

interface Waiting {
  readonly commands: readonly Command[]
  readonly atomic: boolean
  readonly settle: (outcomes: Outcome[]) => void
}

/** Changes with more actions than this are logged as one line. */
const LOGGED_ACTIONS_MAX = 20

/** See the top of this file. */
export class Director {
  readonly #options: DirectorOptions
  readonly #rates: RateBook
  readonly #listeners: ChangeListener[] = []
  readonly #startedMs: number
  readonly #defences: DefenceWatch | undefined
  #config: Config
  #generation = 1
  #waiting: Waiting[] = []
  #draining: Promise<void> | undefined
  #stopTimers: (() => void)[] = []
  /** Cancels the next look at the trash; undefined while none is to come. */
  #stopTrashTimer: (() => void) | undefined

  constructor(options: DirectorOptions) {
    this.#options = options
    this.#config = options.config
    this.#startedMs = options.clock.monotonicMs()
    const counters = options.port.counters()
    this.#rates = new RateBook(counters)
    this.#rates.follow(options.config, counters)
    const { defences } = options.port
    this.#defences =
      defences &&
      new DefenceWatch({
        defences,
        log: options.log,
        sysctls: () => this.#config.sysctls,
        change: (availablePages) => void this.execute([{ kind: 'defend', availablePages }]),
      })
  }

  get config(): Config {
    return this.#config
  }

  get rates(): RateBook {
    return this.#rates
  }

  get #book(): TrafficBook {
    return this.#options.port.traffic?.() ?? this.#rates
  }

  /** Starts the estimator and the load defences; warns about settings that have no effect. */
  start(): void {
    const { clock } = this.#options
    this.#warnIdle(undefined)
    this.#defences?.look(false)
    this.#stopTimers = [
      clock.every(PERIOD_MS, () => this.#estimate()),
      clock.every(DEFENCE_PERIOD_MS, () => this.#defences?.look(true)),
      clock.every(PAST_PERIOD_MS, () => void this.#forgetPasts()),
    ]
  }

  /** Stops the timers and waits for the changes under way. */
  async stop(): Promise<void> {
    this.#stopTimers.forEach((stop) => stop())
    await this.#draining
    this.#stopTrashTimer?.()
  }

  /** Called after each change that took effect. */
  onChange(listener: ChangeListener): void {
    this.#listeners.push(listener)
  }

  /**
   * Applies commands in order; one outcome each. Never rejects. With `atomic`, the first refusal is
   * the outcome of all, and nothing of them was ever in force.
   */
  execute(commands: readonly Command[], { atomic = false } = {}): Promise<Outcome[]> {
    return new Promise((settle) => {
      this.#waiting.push({ commands, atomic, settle })
      this.#draining ??= this.#drain()
    })
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#nextBatch()
      const outcomes = await this.#carryOut(batch)
      let at = 0
      for (const { commands: own, settle } of batch) {
        settle(outcomes.slice(at, at + own.length))
        at += own.length
      }
    }
    this.#draining = undefined
  }

  /** Whatever goes wrong: everybody gets an answer, and the next batch its turn. */
  async #carryOut(batch: readonly Waiting[]): Promise<Outcome[]> {
    const asked = batch.flatMap((w) => w.commands)
    try {
      const commands = this.#complete(asked)
      return await (batch[0].atomic ? this.#changeWhole(commands) : this.#change(commands))
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.#options.log.error(`a change failed: ${message}`)
      return asked.map(() => ({ ok: false, code: 'DATAPLANE_FAILED', message }))
    }
  }

  /** What commands need to know of the host, so that applying them is pure. */
  #complete(commands: readonly Command[]): readonly Command[] {
    const completed = [...commands]
    for (const [i, command] of commands.entries()) {
      if (command.kind !== 'startDaemon') continue
      completed[i] = { ...command, mtu: this.#mtuOf(command.daemon.interface) }
    }
    return completed
  }

  /** An interface that cannot be asked about is as if it was not there. */
  #mtuOf(name: string): number | undefined {
    try {
      return this.#options.port.interfaceMtu(name)
    } catch (error) {
      this.#options.log.warn(`the interface ${name} cannot be looked at: ${String(error)}`)
      return undefined
    }
  }

  /** What waits, up to the next atomic change; that one alone. */
  #nextBatch(): Waiting[] {
    const end = this.#waiting.findIndex(({ atomic }) => atomic)
    return this.#waiting.splice(0, end < 0 ? this.#waiting.length : Math.max(end, 1))
  }

  async #changeWhole(commands: readonly Command[]): Promise<Outcome[]> {
    const applied = applyEvery(this.#config, commands)
    const error = applied.ok ? await this.#publish(applied.value) : applied.error
    if (error !== undefined) return commands.map(() => outcomeOf({ ok: false, error }))
    return commands.map((command) =>
      command.kind === 'zero' ? this.#zero(command.service) : { ok: true },
    )
  }

  async #change(commands: readonly Command[]): Promise<Outcome[]> {
    const applied = await this.#applyAll(commands)
    const refused = await this.#publish(applied.config)
    if (refused !== undefined && commands.length > 1) {
      const outcomes: Outcome[] = []
      for (const command of commands) outcomes.push(...(await this.#change([command])))
      return outcomes
    }
    if (refused !== undefined) return [outcomeOf({ ok: false, error: refused })]
    return commands.map((command, i) => {
      const result = applied.results[i]
      return command.kind === 'zero' && result.ok ? this.#zero(command.service) : outcomeOf(result)
    })
  }

  /** Applies without publishing, except where slots of deleted services are needed at once. */
  async #applyAll(
    commands: readonly Command[],
  ): Promise<{ config: Config; results: Result<Config>[] }> {
    let config = this.#config
    const results: Result<Config>[] = []
    for (const command of commands) {
      let result = apply(config, command)
      const full = !result.ok && result.error.code === 'TABLE_FULL'
      if (full && config.retiredServiceSlots.length > 0) {
        if ((await this.#publish(config)) === undefined) {
          config = this.#config
          result = apply(config, command)
        }
      }
      if (result.ok) config = result.value
      results.push(result)
    }
    return { config, results }
  }

  /** Makes `wanted` the configuration; returns why not. */
  async #publish(wanted: Config): Promise<ControlError | undefined> {
    const before = this.#config
    if (wanted === before) return undefined
    const { port } = this.#options
    const sysctls = this.#defences?.settled(before.sysctls, wanted.sysctls) ?? wanted.sysctls
    const next = sysctls === wanted.sysctls ? wanted : { ...wanted, sysctls }
    try {
      await port.publish(next)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.#options.log.error(`the data plane refused the change: ${message}`)
      // Workers may have seen the numbers of this change: nobody else ever gets them.
      this.#config = { ...before, nextIncarnation: next.nextIncarnation }
      if (error instanceof ControlError) return error
      return new ControlError('DATAPLANE_FAILED', `the data plane refused the change: ${message}`)
    }
    // Every worker has adopted it, so no worker names a deleted service any more.
    this.#config = releaseRetired(next)
    this.#generation++
    this.#rates.follow(this.#config, port.counters())
    this.#announce(before)
    return undefined
  }

  #announce(before: Config): void {
    const { log } = this.#options
    const actions = diff(before, this.#config)
    if (actions.length <= LOGGED_ACTIONS_MAX) {
      actions.forEach((action) => log.info(describeAction(action)))
    } else {
      log.info('configuration changed', { actions: actions.length })
    }
    this.#warnIdle(before)
    if (before.trash.length === 0 && this.#config.trash.length > 0) this.#armTrashTimer()
    for (const listener of this.#listeners) listener(before, this.#config)
    if (!sameModes(before.sysctls, this.#config.sysctls)) {
      this.#defences?.changed(this.#config.sysctls)
    }
    if (this.#config.sysctls.expire_nodest_conn !== 0) this.#sweep(before)
  }

  /** What was changed to something which this data plane does not follow. */
  #warnIdle(before: Config | undefined): void {
    for (const sentence of this.#options.port.idle(before, this.#config)) {
      this.#options.log.warn(sentence)
    }
  }

  /** expire_nodest_conn: connections of removed destinations end with the removal (spec 1.6). */
  #sweep(before: Config): void {
    // One batch may have brought one back and removed it again: then it was inserted anew.
    const known = new Set(before.trash.map((entry) => entry.destination.inserted))
    for (const { destination } of this.#config.trash) {
      if (known.has(destination.inserted)) continue
      this.#options.port.expire(destination.slot).catch((error: unknown) => {
        this.#options.log.warn(`connections of a removed destination stay: ${String(error)}`)
      })
    }
  }

  /** A service that a later command of the batch has removed has nothing to be zeroed any more. */
  #zero(id: ServiceId | undefined): Outcome {
    const only = id === undefined ? undefined : findService(this.#config, id)
    if (id !== undefined && only === undefined) return { ok: true }
    try {
      this.#book.zero(this.#config, only)
      return { ok: true }
    } catch (error) {
      const refused = error instanceof ControlError ? error : undefined
      const message = error instanceof Error ? error.message : String(error)
      return { ok: false, code: refused?.code ?? 'DATAPLANE_FAILED', message }
    }
  }

  #estimate(): void {
    if (this.#config.sysctls.run_estimation === 0) return
    this.#rates.tick(this.#config, this.#options.port.counters())
  }

  /** From the first entry on, and again from each look that leaves some. Kernel: ip_vs_ctl.c. */
  #armTrashTimer(): void {
    this.#stopTrashTimer?.()
    this.#stopTrashTimer = this.#options.clock.after(TRASH_PERIOD_MS, () => {
      this.#stopTrashTimer = undefined
      void this.#reap()
    })
  }

  async #reap(): Promise<void> {
    if (this.#config.trash.length === 0) return
    const { clock, log, port } = this.#options
    try {
      const slotsInUse = await port.slotsInUse()
      await this.execute([{ kind: 'reap', nowMs: clock.monotonicMs(), slotsInUse }])
    } catch (error) {
      log.warn(`removed destinations keep their slots for now: ${String(error)}`)
    }
    // The trash may have become empty, and non-empty again, in the meantime.
    const isArmed = this.#stopTrashTimer !== undefined
    if (this.#config.trash.length > 0 && !isArmed) this.#armTrashTimer()
  }

  async #forgetPasts(): Promise<void> {
    const { log, port } = this.#options
    const lingers = port.lingers?.() ?? false
    if (!hasPast(this.#config) && !lingers) return
    try {
      await this.execute([{ kind: 'forget', slotsInUse: await port.slotsInUse(), lingers }])
    } catch (error) {
      log.warn(`what destinations were before edits is kept for now: ${String(error)}`)
    }
  }

  /** All services in kernel order, or the one asked for. */
  services(only?: ServiceId): Result<ServiceView[]> {
    const loads = this.#options.port.loads()
    const book = this.#book
    if (only === undefined) {
      const all = enumerateServices(this.#config.services.values())
      return { ok: true, value: all.map((s) => serviceView(s, book, loads)) }
    }
    const service = findService(this.#config, only)
    if (service === undefined) {
      return failure('SERVICE_UNKNOWN', `there is no service ${serviceKey(only)}`)
    }
    return { ok: true, value: [serviceView(service, book, loads)] }
  }

  /** All mark rules, in order. */
  markRules(): MarkRuleView[] {
    return this.#config.markRules.map((rule) => {
      const { family, chain } = rule
      return { family, chain, rule: markRuleText(rule) }
    })
  }

  info(): InfoView {
    const { timeouts, sysctls, daemons } = this.#config
    return {
      tableSize: this.#options.port.info().tableSize,
      timeouts,
      sysctls,
      daemons: daemons.map((daemon) => ({ ...daemon, group: daemon.group.text })),
    }
  }

  status(): StatusView {
    const { clock, port, version } = this.#options
    const loads = port.loads()
    let [destinations, active, inactive] = [0, 0, 0]
    for (const service of this.#config.services.values()) {
      for (const { slot } of service.destinations) {
        const load = loads.destination(slot)
        destinations++
        active += load.active
        inactive += load.inactive
      }
    }
    const drops = [...port.counters().drops()].filter(([, count]) => count > 0n)
    const { io, interfaces, ports } = port.info()
    return {
      version,
      pid: process.pid,
      uptimeSec: Math.floor((clock.monotonicMs() - this.#startedMs) / 1000),
      io,
      interfaces,
      generation: this.#generation,
      ports: ports.map((name, index) => portView(name, port.counters().port(index))),
      workers: port.workers(),
      services: this.#config.services.size,
      destinations,
      trash: this.#config.trash.length,
      active,
      inactive,
      ...trafficView(this.#book.total),
      drops: Object.fromEntries(drops.map(([name, count]) => [name, String(count)])),
      reasons: Object.fromEntries(drops.map(([name]) => [name, reasonText(name)])),
    }
  }

  /** Connections, then templates, that pass the filter. */
  async connections(
    filter: RowFilter,
    onBatch: (rows: readonly ConnectionView[]) => void | Promise<void>,
  ): Promise<void> {
    const { port } = this.#options
    const mark = (rows: readonly ConnectionRow[], template: boolean) =>
      rows
        .filter((row) => matchesFilter(row, filter))
        .map((row) => ({ ...row, template: row.template ?? template }))
    await port.connections(filter, (rows) => onBatch(mark(rows, false)))
    await onBatch(mark(await port.templates(), true))
  }
}

function outcomeOf(result: Result<Config>): Outcome {
  if (result.ok) return { ok: true }
  return { ok: false, code: result.error.code, message: result.error.message }
}
