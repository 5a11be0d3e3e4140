/** Which data plane `--offload` asks for, and which one it gets. */
import type { DataplaneOptions, RunningDataplane, StartDataplane } from './dataplane-port.js'
import type { Log } from './log.js'
import { refusalOf } from './model/carried.js'
import type { Carrier } from './model/carried.js'
import type { Config } from './model/config.js'
import type { ControlError } from './model/errors.js'
import type { RunSettings } from './run-options.js'
import { UsageError } from './run-options.js'

/**
 * The one that will forward `config`. `offloadProblem` tells why the kernel cannot; with `auto` the
 * reason is logged and the packet workers do it. Throws a ControlError or UsageError.
 */
export function chooseCarrier(
  { offload, io, interfaces }: RunSettings,
  config: Config,
  offloadProblem: () => ControlError | undefined,
  log: Log,
): Carrier {
  if (offload !== 'off') {
    const problem = offloadProblem() ?? refusalOf(config, 'kernel')
    if (problem === undefined) {
      if (offload === 'auto') log.info("offload: the kernel's IPVS forwards")
      return 'kernel'
    }
    if (offload === 'kernel') throw problem
    log.info(`offload: the packet workers forward, because ${problem.message}`)
  }
  if (io === 'af_packet' && interfaces.length === 0) {
    throw new UsageError('name the interfaces to work on with --iface IF[,IF...], or use --io tun')
  }
  const refused = refusalOf(config, io)
  if (refused !== undefined) throw refused
  return io
}

/** Starts the data plane of `options.carrier`. */
export function starter(workers: StartDataplane, kernel: StartDataplane): StartDataplane {
  return (options: DataplaneOptions, onLost): Promise<RunningDataplane> =>
    options.carrier === 'kernel' ? kernel(options, onLost) : workers(options, onLost)
}
