/** `uvs run`: flags, wiring, signals; no logic. */
import { availableParallelism } from 'node:os'
import { prepareSocket } from './api/access.js'
import { startApi } from './api/server.js'
import { createRoutes } from './api/routes.js'
import type { Clock } from './clock.js'
import { systemResolver } from './cli/resolver.js'
import { loadConfig, loadRules } from './config/load.js'
import { reconcile, reconcileMarks } from './config/reconcile.js'
import type { NativeConfig, Settings } from './config/native-format.js'
import { choose } from './choose-dataplane.js'
import type { Choice } from './choose-dataplane.js'
import type { RunningDataplane, StartDataplane } from './dataplane-port.js'
import { Director } from './director.js'
import type { StartIpvsServer } from './ipvs-server/options.js'
import { ipvsSocketPath } from './ipvs-server/private-protocol.js'
import { startParts } from './lifecycle.js'
import type { Part } from './lifecycle.js'
import { createLog } from './log.js'
import type { Log } from './log.js'
import { registerDataplaneMetrics } from './metrics/dataplane.js'
import { createRegistry } from './metrics/registry.js'
import { applyEvery } from './model/apply.js'
import { refusalOf } from './model/carried.js'
import type { Carrier } from './model/carried.js'
import type { PublicCommand } from './model/commands.js'
import { emptyConfig } from './model/config.js'
import type { Capacity, Config } from './model/config.js'
import { ControlError } from './model/errors.js'
import type { Sysctls } from './model/sysctls.js'
import { mergeSettings, parseRunFlags, UsageError } from './run-options.js'
import type { Probe } from './offload/kernel-dataplane.js'
import type { RunFlags, RunSettings } from './run-options.js'

/** What the program gets from its host; tests give something else. */
export interface Host {
  startDataplane: StartDataplane
  startIpvsServer: StartIpvsServer
  /** Whether the kernel's IPVS can forward here. */
  probeKernel(): Probe
  readonly capacity: Capacity
  readonly sysctlDefaults: Sysctls
  readonly clock: Clock
  readonly defaultSocket: string
  readonly version: string
  readonly stderrIsTerminal: boolean
  err(text: string): void
  /** Tells a service manager (sd_notify states). */
  notify(state: string, log: Log): void
  /** Resolves with the name of the signal that ends the program. */
  untilStopped(onReload: () => void): Promise<string>
}

/** Runs until stopped; returns the exit status. */
export async function runDaemon(argv: readonly string[], host: Host): Promise<number> {
  let flags: RunFlags
  try {
    flags = parseRunFlags(argv, host.defaultSocket)
    const file = flags.config === undefined ? undefined : loadConfig(flags.config)
    const settings = mergeSettings(flags, file?.settings ?? NO_SETTINGS, availableParallelism())
    return await runWith(flags, settings, file, host)
  } catch (error) {
    host.err(`uvs: ${error instanceof Error ? error.message : String(error)}\n`)
    return error instanceof UsageError ? 2 : 1
  }
}

const NO_SETTINGS: Settings = { sysctls: {} }

async function runWith(
  flags: RunFlags,
  settings: RunSettings,
  file: NativeConfig | undefined,
  host: Host,
): Promise<number> {
  const format = flags.logFormat ?? (host.stderrIsTerminal ? 'text' : 'json')
  const log = createLog(format, (line) => host.err(`${line}\n`), host.clock.wallMs)
  const config = await firstConfig(flags, settings, file, host)
  const choice = choose(settings, config, () => host.probeKernel(), log)
  const daemon = new Daemon(flags, settings, choice, host, log, file)
  const stop = await startParts(daemon.parts(choice.config), (name, error) =>
    log.error(`${name} did not stop cleanly: ${String(error)}`),
  )
  const stopped = host.untilStopped(() => void daemon.reload())
  host.err('uvs ready\n')
  host.notify('READY=1', log)
  const reason = await Promise.race([stopped.then((signal) => ({ signal })), daemon.lost])
  // A director that no longer forwards must not look alive: the service manager starts it again.
  if ('lost' in reason) log.error(`stopping: ${reason.lost}`)
  else log.info('stopping', reason)
  host.notify('STOPPING=1', log)
  await stop()
  return 'lost' in reason ? 1 : 0
}

/** The configuration before the first packet: file, rules, flags. Throws on the first refusal. */
async function firstConfig(
  flags: RunFlags,
  settings: RunSettings,
  file: NativeConfig | undefined,
  { capacity, sysctlDefaults }: Host,
): Promise<Config> {
  const { maglevIndex } = settings
  const sized = emptyConfig({ ...capacity, maglevIndex }, sysctlDefaults)
  const empty = { ...sized, ftpPorts: settings.ftpPorts }
  const commands: PublicCommand[] = [
    ...settingCommands(flags, file?.settings ?? NO_SETTINGS),
    { kind: 'setDefaultLocalAddresses', addresses: settings.localAddresses },
    ...reconcile(empty, [], file?.services ?? []),
    ...reconcileMarks(empty, [], file?.marks ?? []),
    ...(flags.rules === undefined ? [] : await loadRules(flags.rules, systemResolver())),
  ]
  const result = applyEvery(empty, commands)
  if (!result.ok) throw result.error
  return result.value
}

/** Throws what a change would be refused for, by the model or by the data plane. */
function requireCarried(
  config: Config,
  commands: readonly PublicCommand[],
  carrier: Carrier,
): void {
  const result = applyEvery(config, commands)
  if (!result.ok) throw result.error
  const refused = refusalOf(result.value, carrier)
  if (refused !== undefined) throw refused
}

/** The flags are applied after the file, so they win. */
function settingCommands(flags: RunFlags, file: Settings): PublicCommand[] {
  const commands: PublicCommand[] = [...Object.entries(file.sysctls), ...flags.sysctls].map(
    ([name, value]) => ({ kind: 'setSysctl', name, value }),
  )
  if (file.fullnat !== undefined) commands.push({ kind: 'setFullnat', fullnat: file.fullnat })
  if (file.timeouts !== undefined) commands.push({ kind: 'setTimeouts', timeouts: file.timeouts })
  return commands
}

class Daemon {
  readonly #flags: RunFlags
  readonly #settings: RunSettings
  readonly #choice: Choice
  readonly #host: Host
  readonly #log: Log
  /** Resolves when the data plane has lost a port. */
  readonly lost: Promise<{ lost: string }>
  #onLost: (message: string) => void = () => undefined
  #file: NativeConfig | undefined
  #dataplane: RunningDataplane | undefined
  #director: Director | undefined

  constructor(
    flags: RunFlags,
    settings: RunSettings,
    choice: Choice,
    host: Host,
    log: Log,
    file: NativeConfig | undefined,
  ) {
    this.#flags = flags
    this.#settings = settings
    this.#choice = choice
    this.#host = host
    this.#log = log
    this.#file = file
    this.lost = new Promise((resolve) => {
      this.#onLost = (lost) => resolve({ lost })
    })
  }

  /**
   * In the order in which they start. The control socket comes after the data plane, so that
   * whoever reaches it finds a director; that another daemon has it is found out before anything is
   * touched.
   */
  parts(config: Config): Part[] {
    const { socket, http } = this.#flags
    return [
      { name: 'socket check', start: () => this.#checkSocket(socket) },
      { name: 'data plane', start: () => this.#startDataplane(config) },
      { name: 'director', start: () => this.#startDirector(config) },
      { name: 'control socket', start: () => this.#startApi({ path: socket }) },
      { name: 'IPVS interface', start: () => this.#startIpvs(ipvsSocketPath(socket)) },
      ...(http === undefined ? [] : [{ name: 'HTTP listener', start: () => this.#startApi(http) }]),
    ]
  }

  async #checkSocket(path: string): Promise<() => Promise<void>> {
    await prepareSocket(path)
    return () => Promise.resolve()
  }

  async #startDataplane(config: Config): Promise<() => Promise<void>> {
    const options = { ...this.#settings, ...this.#choice, config, log: this.#log }
    const dataplane = await this.#host.startDataplane(options, this.#onLost)
    this.#dataplane = dataplane
    if (this.#settings.offload === 'auto' && this.#carrier() === 'kernel') {
      this.#log.info("offload: the kernel's IPVS forwards")
    }
    return () => dataplane.stop()
  }

  #startDirector(config: Config): Promise<() => Promise<void>> {
    const { clock, version } = this.#host
    const port = this.#dataplane!
    const director = new Director({ port, config, clock, log: this.#log, version })
    director.start()
    this.#director = director
    return Promise.resolve(() => director.stop())
  }

  async #startApi(
    at: { path: string } | { host: string; port: number },
  ): Promise<() => Promise<void>> {
    const director = this.#director!
    const registry = createRegistry()
    registerDataplaneMetrics({
      registry,
      port: this.#dataplane!,
      config: () => director.config,
      rates: director.rates,
    })
    const metrics = async () => ({ text: await registry.metrics(), type: registry.contentType })
    const restartWorker = (worker: number) => this.#dataplane!.restartWorker(worker)
    const routes = createRoutes({ director, metrics, restartWorker })
    const server = await startApi(at, routes, this.#log)
    return () => server.close()
  }

  #startIpvs(path: string): Promise<() => Promise<void>> {
    const [director, port] = [this.#director!, this.#dataplane!]
    return this.#host.startIpvsServer({ path, director, port, log: this.#log })
  }

  /** Who forwards in fact: the kernel may have refused the first configuration. */
  #carrier(): Carrier {
    return this.#dataplane?.info().io === 'kernel' ? 'kernel' : this.#settings.io
  }

  /** SIGHUP. A bad file changes nothing and says why. */
  async reload(): Promise<void> {
    const path = this.#flags.config
    const director = this.#director
    if (path === undefined || director === undefined) {
      return this.#log.warn('nothing to reload: uvs was started without --config')
    }
    try {
      const file = loadConfig(path)
      const { localAddresses } = mergeSettings(this.#flags, file.settings, 1)
      const commands: PublicCommand[] = [
        ...settingCommands(this.#flags, file.settings),
        { kind: 'setDefaultLocalAddresses', addresses: localAddresses },
        ...reconcile(director.config, this.#file?.services ?? [], file.services),
        ...reconcileMarks(director.config, this.#file?.marks ?? [], file.marks),
      ]
      // What can be known beforehand is refused before the data plane is asked.
      requireCarried(director.config, commands, this.#carrier())
      const outcomes = await director.execute(commands, { atomic: true })
      const refused = outcomes.find((outcome) => !outcome.ok)
      if (refused?.ok === false) throw new ControlError(refused.code, refused.message)
      this.#file = file
      this.#log.info(`reloaded ${path}`)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      this.#log.error(`reload refused, nothing changed: ${why}`)
    }
  }
}
