/** Which data plane `--offload` asks for, and which one it gets. */
import type { RunningDataplane, StartDataplane } from './dataplane-port.js'
import type { Log } from './log.js'
import { refusalOf } from './model/carried.js'
import type { Carrier } from './model/carried.js'
import { DEFAULT_TIMEOUTS } from './model/config.js'
import type { Config, Timeouts } from './model/config.js'
import { ControlError } from './model/errors.js'
import type { Probe } from './offload/kernel-dataplane.js'
import type { RunSettings } from './run-options.js'
import { UsageError } from './run-options.js'

export interface Choice {
  readonly carrier: Carrier
  /** Who forwards when the kernel refuses the first configuration; undefined: nobody. */
  readonly fallback: 'af_packet' | 'tun' | undefined
  /** The configuration to start with; with the kernel's timeouts where nobody has set any. */
  readonly config: Config
  readonly hostTimeouts: Timeouts | undefined
}

/**
 * Who will forward `config`. With `auto`, why the kernel cannot is logged, and the packet workers
 * do it. Throws a ControlError or UsageError.
 */
export function choose(
  settings: RunSettings,
  config: Config,
  probe: () => Probe,
  log: Log,
): Choice {
  const { offload, io } = settings
  if (offload !== 'off') {
    const kernel = probe()
    const problem = kernel.ok ? refusalOf(config, 'kernel') : kernel.problem
    if (kernel.ok && problem === undefined) {
      const fallback = offload === 'auto' && workersProblem(settings, config) === undefined
      const isUnset = config.timeouts === DEFAULT_TIMEOUTS
      return {
        carrier: 'kernel',
        fallback: fallback ? io : undefined,
        config: isUnset ? { ...config, timeouts: kernel.timeouts } : config,
        hostTimeouts: isUnset ? kernel.timeouts : undefined,
      }
    }
    if (offload === 'kernel' && problem !== undefined) throw problem
    log.info(`offload: the packet workers forward, because ${problem?.message}`)
  }
  const problem = workersProblem(settings, config)
  if (problem !== undefined) throw problem
  return { carrier: io, fallback: undefined, config, hostTimeouts: undefined }
}

function workersProblem({ io, interfaces }: RunSettings, config: Config): Error | undefined {
  if (io !== 'af_packet' || interfaces.length > 0) return refusalOf(config, io)
  return new UsageError('name the interfaces to work on with --iface IF[,IF...], or use --io tun')
}

/**
 * Starts the data plane of `options.carrier`, or the packet workers where the kernel refuses the
 * configuration and a fallback is given. Workers do not start beside what a killed director has
 * left in the kernel: `release` removes it.
 */
export function starter(
  workers: StartDataplane,
  kernel: StartDataplane,
  release: (log: Log) => Promise<void>,
): StartDataplane {
  return async (options, onLost): Promise<RunningDataplane> => {
    const { carrier, fallback, log } = options
    if (carrier === 'kernel') {
      try {
        return await kernel(options, onLost)
      } catch (error) {
        if (fallback === undefined || !(error instanceof ControlError)) throw error
        log.info(`offload: the packet workers forward, because ${error.message}`)
      }
    }
    await release(log)
    return workers({ ...options, carrier: fallback ?? carrier }, onLost)
  }
}
