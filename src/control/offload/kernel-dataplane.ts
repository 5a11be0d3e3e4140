/**
 * The kernel's own IPVS as the data plane: the wanted configuration is applied by difference, what
 * somebody else changes about it is seen and put right, and listings show the kernel's numbers.
 * Services that are not in the configuration are left alone unless the options say otherwise.
 */
import { existsSync } from 'node:fs'
import type {
  ConnectionRow,
  CounterReader,
  DataplaneInfo,
  DataplaneOptions,
  LoadReader,
  RowFilter,
  RunningDataplane,
  TrafficBook,
} from '../dataplane-port.js'
import { readInterfaces } from '../host/read-interfaces.js'
import { cleanLeftovers, livingDevice } from '../host/leftovers.js'
import { SavedSettings, settingsFile } from '../host/settings.js'
import type { Log } from '../log.js'
import { refusalOf } from '../model/carried.js'
import type { Config, Timeouts } from '../model/config.js'
import { ControlError } from '../model/errors.js'
import type { ErrorCode } from '../model/errors.js'
import { SYSCTL_NAMES } from '../model/sysctls.js'
import type { SysctlName } from '../model/sysctls.js'
import { ERRNO } from '../netlink/errno.js'
import { matchesFilter } from '../row-filter.js'
import { KernelRefusal } from './ipvs-channel.js'
import { KernelIpvs } from './kernel-ipvs.js'
import { KernelReadings } from './kernel-readings.js'
import { linesOf } from './lines.js'
import { Ownership } from './owned-file.js'
import type { KernelState } from './kernel-state.js'
import { describeOperation, keysOf, plan, wantedOf } from './plan.js'
import type { Operation, PlanOptions, Wanted } from './plan.js'
import { parseConnection } from './proc-stats.js'

const WATCH_MS = 2000
/** Plans for one change, when other programs change the kernel meanwhile. */
const ATTEMPTS_MAX = 3
const SYSCTL_FOLDER = 'net/ipv4/vs'
const CONNECTIONS = '/proc/net/ip_vs_conn'
const ROWS_PER_BATCH = 512

/** What a kernel tells about itself before it is used. */
export type Probe =
  | { readonly ok: true; readonly timeouts: Timeouts }
  | { readonly ok: false; readonly problem: ControlError }

/** Whether the kernel can forward here. */
export function probeKernel(): Probe {
  try {
    const ipvs = KernelIpvs.open()
    if (ipvs === undefined) return { ok: false, problem: absent() }
    const { timeouts } = ipvs.read()
    ipvs.close()
    return { ok: true, timeouts }
  } catch (error) {
    return { ok: false, problem: coded(error) }
  }
}

function absent(): ControlError {
  return new ControlError(
    'IPVS_ABSENT',
    'this kernel has no IPVS: load it with "modprobe ip_vs", or run without --offload kernel',
  )
}

/** Takes the kernel's IPVS over. Rejects with a ControlError, and the kernel is as it was. */
export async function startKernelDataplane(options: DataplaneOptions): Promise<RunningDataplane> {
  const ipvs = KernelIpvs.open()
  if (ipvs === undefined) throw absent()
  let owned: Ownership | undefined
  try {
    owned = Ownership.open()
    const file = await settingsFile()
    if ((await livingDevice()) === undefined) await cleanLeftovers(file)
    const dataplane = new KernelDataplane(options, ipvs, owned, await SavedSettings.open(file))
    await dataplane.start()
    return dataplane
  } catch (error) {
    owned?.close()
    ipvs.close()
    throw coded(error)
  }
}

/** What a killed director left in the kernel, for one that does without it. */
export async function releaseKernel(log: Log): Promise<void> {
  if (!Ownership.isLeft()) return
  const ipvs = KernelIpvs.open()
  if (ipvs === undefined) return
  const owned = Ownership.open()
  try {
    const found = ipvs.read()
    const steps = plan({ ...NOTHING, timeouts: owned.timeouts ?? found.timeouts }, found, {
      owned: owned.names,
      removeForeign: false,
      setTimeouts: owned.timeouts !== undefined,
    })
    for (const step of steps) ipvs.perform(step)
    owned.remove()
    log.info('removed from the kernel what a killed uvs had left there')
  } catch (error) {
    owned.close()
    throw coded(error)
  } finally {
    ipvs.close()
  }
}

const NOTHING = { services: new Map<string, never>(), daemons: [] } as const

class KernelDataplane implements RunningDataplane {
  readonly #options: DataplaneOptions
  readonly #ipvs: KernelIpvs
  readonly #owned: Ownership
  readonly #settings: SavedSettings
  /** In force; undefined before the first. */
  #config: Config | undefined
  /** Changes and repairs, one after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  #watch: NodeJS.Timeout | undefined
  readonly #readings: KernelReadings
  readonly #tableSize: number

  constructor(
    options: DataplaneOptions,
    ipvs: KernelIpvs,
    owned: Ownership,
    settings: SavedSettings,
  ) {
    this.#options = options
    this.#ipvs = ipvs
    this.#owned = owned
    this.#settings = settings
    this.#readings = new KernelReadings(ipvs, options.config)
    this.#tableSize = ipvs.info().tableSize
  }

  async start(): Promise<void> {
    const { config, log, foreign } = this.#options
    const found = this.#ipvs.read()
    const owned = this.#owned.names
    const others = [...found.services.keys()].filter((key) => !owned.has(key))
    const fate = foreign === 'remove' ? 'removed' : 'left alone'
    const left = others.filter((key) => !config.services.has(key))
    const taken = others.filter((key) => config.services.has(key))
    if (left.length > 0) log.info(`services of others in the kernel, ${fate}: ${left.join(', ')}`)
    if (taken.length > 0) log.info(`services of others that are ours now: ${taken.join(', ')}`)
    try {
      await this.publish(config)
    } catch (error) {
      this.#giveBack(found, owned)
      await this.#settings.restore()
      throw error
    }
    this.#watch = setInterval(() => void this.#exclusive(() => this.#repair()), WATCH_MS)
    this.#watch.unref()
  }

  /** The first configuration was refused half-way: the kernel gets back what it had. */
  #giveBack(found: KernelState, owned: ReadonlySet<string>): void {
    try {
      const { names } = this.#owned
      this.#perform(wantedOf(found), { owned: names, setTimeouts: true, removeForeign: false })
      this.#owned.set(owned)
      if (owned.size === 0) this.#owned.remove()
    } catch (error) {
      this.#options.log.error(`the kernel's IPVS is not as it was: ${String(error)}`)
    }
  }

  /** Takes everything back that is ours. */
  async stop(): Promise<void> {
    clearInterval(this.#watch)
    await this.#exclusive(async () => {
      const { names, timeouts } = this.#owned
      const nothing = { ...NOTHING, timeouts: timeouts ?? this.#ipvs.read().timeouts }
      const setTimeouts = timeouts !== undefined
      this.#perform(nothing, { owned: names, setTimeouts, removeForeign: false })
      this.#owned.remove()
      await this.#settings.restore()
      this.#ipvs.close()
    })
  }

  publish(config: Config): Promise<void> {
    return this.#exclusive(async () => {
      const refused = refusalOf(config, 'kernel')
      if (refused !== undefined) throw refused
      try {
        this.#apply(config)
        await this.#applySettings(config, this.#config)
      } catch (error) {
        await this.#takeBack(error, config)
        throw coded(error)
      }
      this.#config = config
    })
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work)
    this.#turn = done.catch(() => undefined)
    return done
  }

  /** Timeouts that nobody has set are the host's: `hostTimeouts` only shows them. */
  #setsTimeouts(config: Config): boolean {
    return config.timeouts !== this.#options.hostTimeouts
  }

  /** Brings the kernel to `config`; returns what had to be done. Throws at the first refusal. */
  #apply(config: Config): Operation[] {
    const wanted = keysOf(config)
    this.#refuseForeign(config)
    const ours = new Set([...this.#owned.names, ...wanted])
    if (ours.size !== this.#owned.names.size) this.#owned.set(ours)
    if (this.#owned.timeouts === undefined && this.#setsTimeouts(config)) {
      this.#owned.keepTimeouts(this.#ipvs.read().timeouts)
    }
    const done = this.#perform(config, {
      owned: ours,
      setTimeouts: this.#setsTimeouts(config),
      removeForeign: this.#options.foreign === 'remove',
    })
    this.#readings.follow(config)
    if (wanted.length !== ours.size) this.#owned.set(new Set(wanted))
    return done
  }

  /**
   * A service that another program has made is not ours to change, unless the configuration that
   * uvs was started with has it.
   */
  #refuseForeign(config: Config): void {
    const before = this.#config
    if (before === undefined || this.#options.foreign === 'remove') return
    const added = [...config.services.keys()].filter((key) => !before.services.has(key))
    if (added.length === 0) return
    const { services } = this.#ipvs.read()
    const taken = added.find((key) => services.has(key) && !this.#owned.names.has(key))
    if (taken === undefined) return
    throw new ControlError(
      'SERVICE_EXISTS',
      `another program has the service ${taken} in the kernel: remove it there first`,
    )
  }

  /** Plans and carries out; plans again when the kernel has changed between the two. */
  #perform(wanted: Wanted, options: Omit<PlanOptions, 'before'>): Operation[] {
    const before = this.#config === undefined ? {} : { before: this.#config }
    const done: Operation[] = []
    for (let attempt = 1; ; attempt++) {
      const steps = plan(wanted, this.#ipvs.read(), { ...options, ...before })
      const failed = steps.findIndex((step) => !this.#performed(step, attempt < ATTEMPTS_MAX))
      done.push(...(failed < 0 ? steps : steps.slice(0, failed)))
      if (failed < 0) return done
    }
  }

  /** False: what the step was planned for is not there any more, or there already. */
  #performed(operation: Operation, mayPlanAgain: boolean): boolean {
    try {
      this.#ipvs.perform(operation)
      return true
    } catch (error) {
      if (!(error instanceof KernelRefusal)) throw error
      if (mayPlanAgain && isOvertaken(operation, error.errno)) return false
      throw new ControlError(
        codeFor(operation, error.errno),
        `the kernel refused to ${describeOperation(operation)}: ${error.message}`,
      )
    }
  }

  /** A change was refused half-way: the configuration before it is put in force again. */
  async #takeBack(reason: unknown, refused: Config): Promise<void> {
    const before = this.#config
    if (before === undefined) return
    try {
      this.#apply(before)
      await this.#applySettings(before, refused)
    } catch (error) {
      const why = `${String(reason)}; then ${String(error)}`
      this.#options.log.error(`the kernel is between two configurations: ${why}`)
    }
  }

  /** Somebody else changed what is ours. */
  async #repair(): Promise<void> {
    const config = this.#config
    if (config === undefined) return
    const { log } = this.#options
    try {
      for (const operation of this.#apply(config)) {
        log.warn(`repaired what another program changed: ${describeOperation(operation)}`)
      }
      for (const name of await this.#applySettings(config, config)) {
        log.warn(`repaired what another program changed: ${name}`)
      }
    } catch (error) {
      log.error(`the kernel's IPVS could not be repaired: ${String(error)}`)
    }
  }

  /** Settings that the operator has set, or has set back; the host's others stay. */
  async #applySettings(config: Config, before: Config | undefined): Promise<SysctlName[]> {
    const { sysctls, sysctlDefaults: defaults } = config
    const changed: SysctlName[] = []
    for (const name of SYSCTL_NAMES) {
      const value = settingText(sysctls[name])
      const isSet = value !== settingText(defaults[name])
      const wasSet = before !== undefined && settingText(before.sysctls[name]) !== value
      if (!isSet && !wasSet) continue
      if (await this.#settings.change(`${SYSCTL_FOLDER}/${name}`, value)) changed.push(name)
    }
    return changed
  }

  idle(before: Config | undefined, after: Config): readonly string[] {
    const old = before?.sysctls ?? after.sysctlDefaults
    const isNew = (name: SysctlName): boolean =>
      settingText(after.sysctls[name]) !== settingText(old[name])
    return SYSCTL_NAMES.filter(isNew)
      .filter((name) => !existsSync(`/proc/sys/${SYSCTL_FOLDER}/${name}`))
      .map((name) => `this kernel has no setting ${name}`)
  }

  loads(): LoadReader {
    return this.#readings.loads()
  }

  counters(): CounterReader {
    return this.#readings.counters()
  }

  traffic(): TrafficBook {
    return this.#readings
  }

  /** The kernel's own file, in its order; read whole, because a cursor of it restarts per read. */
  async connections(
    filter: RowFilter,
    onBatch: (rows: readonly ConnectionRow[]) => void | Promise<void>,
  ): Promise<void> {
    let rows: ConnectionRow[] = []
    for await (const line of linesOf(CONNECTIONS)) {
      const row = parseConnection(line)
      if (row === undefined || !matchesFilter(row, filter)) continue
      rows.push(row)
      if (rows.length < ROWS_PER_BATCH) continue
      await onBatch(rows)
      rows = []
    }
    await onBatch(rows)
  }

  /** Templates are among the connections. */
  templates(): Promise<readonly ConnectionRow[]> {
    return Promise.resolve([])
  }

  /** The kernel ends connections of removed destinations itself (expire_nodest_conn). */
  expire(): Promise<number> {
    return Promise.resolve(0)
  }

  workers(): [] {
    return []
  }

  /** The kernel keeps removed destinations by itself; their slots here name nothing. */
  slotsInUse(): Promise<ReadonlySet<number>> {
    return Promise.resolve(new Set())
  }

  info(): DataplaneInfo {
    return { io: 'kernel', interfaces: [], ports: [], tableSize: this.#tableSize }
  }

  interfaceMtu(name: string): number | undefined {
    return readInterfaces().find((one) => one.name === name)?.mtu
  }

  /** There are no workers. */
  restartWorker(): void {}
}

/** As /proc/sys shows it: two numbers with a tab. */
function settingText(value: number | string | readonly number[]): string {
  return typeof value === 'object' ? value.join('\t') : String(value)
}

/** The kernel has changed since the plan was made: the object is there already, or gone. */
function isOvertaken({ kind }: Operation, errno: number): boolean {
  if (errno === ERRNO.EEXIST || errno === ERRNO.ESRCH) return true
  return errno === ERRNO.ENOENT && (kind === 'setDestination' || kind === 'deleteDestination')
}

/** The code whose errno and text ipvsadm would show for the kernel's answer. */
function codeFor(operation: Operation, errno: number): ErrorCode {
  if (errno === ERRNO.EPERM) return 'PERMISSION'
  const ofService = operation.kind === 'newService' || operation.kind === 'setService'
  if (errno === ERRNO.ENOENT && ofService) return 'SCHEDULER_UNKNOWN'
  if (errno === ERRNO.ENODEV) return 'INTERFACE_UNKNOWN'
  return 'KERNEL_REFUSED'
}

/** Any error with a code and a sentence. */
function coded(error: unknown): ControlError {
  if (error instanceof ControlError) return error
  if (error instanceof KernelRefusal && error.errno === ERRNO.EPERM) {
    const what = 'the kernel lets only CAP_NET_ADMIN use its IPVS: run uvs as root'
    return new ControlError('PERMISSION', what)
  }
  return new ControlError('KERNEL_REFUSED', `the kernel's IPVS: ${String(error)}`)
}
