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
import { readInterfaces } from '../host/interfaces.js'
import { cleanLeftovers, livingDevice } from '../host/leftovers.js'
import { SavedSettings, settingsFile } from '../host/settings.js'
import { refusalOf } from '../model/carried.js'
import { emptyConfig } from '../model/config.js'
import type { Config } from '../model/config.js'
import { ControlError } from '../model/errors.js'
import type { ErrorCode } from '../model/errors.js'
import { defaultSysctls, SYSCTL_NAMES } from '../model/sysctls.js'
import type { SysctlName } from '../model/sysctls.js'
import { ERRNO } from '../netlink/errno.js'
import { matchesFilter } from '../row-filter.js'
import { KernelRefusal } from './ipvs-channel.js'
import { KernelIpvs } from './kernel-ipvs.js'
import { KernelReadings } from './kernel-readings.js'
import { linesOf } from './lines.js'
import { Ownership } from './owned-file.js'
import { describeOperation, keysOf, plan } from './plan.js'
import type { Operation } from './plan.js'
import { parseConnection } from './proc-stats.js'

const WATCH_MS = 2000
const SYSCTL_FOLDER = 'net/ipv4/vs'
const CONNECTIONS = '/proc/net/ip_vs_conn'
const ROWS_PER_BATCH = 512

/** Why the kernel cannot forward here; undefined when it can. */
export function offloadProblem(): ControlError | undefined {
  try {
    const ipvs = KernelIpvs.open()
    ipvs?.close()
    if (ipvs !== undefined) return undefined
  } catch (error) {
    return coded(error)
  }
  return new ControlError(
    'IPVS_ABSENT',
    'this kernel has no IPVS: load it with "modprobe ip_vs", or run without --offload kernel',
  )
}

/** Takes the kernel's IPVS over. Rejects with a ControlError and nothing changed. */
export async function startKernelDataplane(options: DataplaneOptions): Promise<RunningDataplane> {
  const ipvs = KernelIpvs.open()
  if (ipvs === undefined) throw offloadProblem() ?? new ControlError('IPVS_ABSENT', 'no IPVS')
  try {
    const owned = Ownership.open(ipvs.read().timeouts)
    const file = await settingsFile()
    if ((await livingDevice()) === undefined) await cleanLeftovers(file)
    const dataplane = new KernelDataplane(options, ipvs, owned, await SavedSettings.open(file))
    await dataplane.start()
    return dataplane
  } catch (error) {
    ipvs.close()
    throw coded(error)
  }
}

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
    const others = [...found.services.keys()].filter((key) => !this.#isOurs(key, config))
    if (others.length > 0 || found.strange > 0) {
      const fate = foreign === 'remove' ? 'removed' : 'left alone'
      log.info(`services of others in the kernel, ${fate}: ${others.join(', ')}`)
    }
    await this.publish(config)
    this.#watch = setInterval(() => void this.#exclusive(() => this.#repair()), WATCH_MS)
    this.#watch.unref()
  }

  #isOurs(key: string, config: Config): boolean {
    return this.#owned.names.has(key) || config.services.has(key)
  }

  /** Takes everything back that is ours. */
  async stop(): Promise<void> {
    clearInterval(this.#watch)
    await this.#exclusive(async () => {
      const none = emptyConfig({ services: 0, destinations: 0, localAddresses: 0 })
      this.#apply({ ...none, timeouts: this.#owned.timeouts })
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
        this.#takeBack(error)
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

  /** Brings the kernel to `config`; returns what had to be done. Throws at the first refusal. */
  #apply(config: Config): Operation[] {
    const wanted = keysOf(config)
    const ours = new Set([...this.#owned.names, ...wanted])
    if (ours.size !== this.#owned.names.size) this.#owned.set(ours)
    const operations = plan(config, this.#ipvs.read(), {
      ...(this.#config === undefined ? {} : { before: this.#config }),
      owned: ours,
      removeForeign: this.#options.foreign === 'remove',
    })
    for (const operation of operations) this.#perform(operation)
    this.#readings.follow(config)
    if (wanted.length !== ours.size) this.#owned.set(new Set(wanted))
    return operations
  }

  #perform(operation: Operation): void {
    try {
      this.#ipvs.perform(operation)
    } catch (error) {
      if (!(error instanceof KernelRefusal)) throw error
      throw new ControlError(
        codeFor(operation, error.errno),
        `the kernel refused to ${describeOperation(operation)}: ${error.message}`,
      )
    }
  }

  /** A change was refused half-way: the configuration before it is put in force again. */
  #takeBack(reason: unknown): void {
    if (this.#config === undefined) return
    try {
      this.#apply(this.#config)
    } catch (error) {
      const why = `${String(reason)}; then ${String(error)}`
      this.#options.log.error(`the kernel is between two configurations: ${why}`)
    }
  }

  /** Somebody else changed what is ours. */
  async #repair(): Promise<void> {
    const config = this.#config
    if (config === undefined) return
    try {
      for (const operation of this.#apply(config)) {
        this.#options.log.warn(
          `repaired what another program changed: ${describeOperation(operation)}`,
        )
      }
      await this.#applySettings(config, config)
    } catch (error) {
      this.#options.log.error(`the kernel's IPVS could not be repaired: ${String(error)}`)
    }
  }

  /** Settings that the operator has set, or has set back; the host's others stay. */
  async #applySettings({ sysctls }: Config, before: Config | undefined): Promise<void> {
    const defaults = defaultSysctls()
    for (const name of SYSCTL_NAMES) {
      const value = settingText(sysctls[name])
      const isSet = value !== settingText(defaults[name])
      const wasSet = before !== undefined && settingText(before.sysctls[name]) !== value
      if (isSet || wasSet) await this.#settings.change(`${SYSCTL_FOLDER}/${name}`, value)
    }
  }

  idle(before: Config | undefined, after: Config): readonly string[] {
    const isNew = (name: SysctlName): boolean =>
      settingText(after.sysctls[name]) !== settingText((before?.sysctls ?? defaultSysctls())[name])
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

  async interfaceMtu(name: string): Promise<number | undefined> {
    return (await readInterfaces()).find((one) => one.name === name)?.mtu
  }

  /** There are no workers. */
  restartWorker(): void {}
}

/** As /proc/sys shows it: two numbers with a tab. */
function settingText(value: number | readonly number[]): string {
  return typeof value === 'number' ? String(value) : value.join('\t')
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
