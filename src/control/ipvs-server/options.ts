/** What the IPVS interface of a director is started with. */
import type { CounterReader } from '../dataplane-port.js'
import type { Log } from '../log.js'
import type { FileSource } from './files.js'

export interface IpvsServerOptions {
  /** Where to listen; see ipvsSocketPath. */
  readonly path: string
  readonly director: FileSource
  readonly port: { counters(): CounterReader }
  readonly log: Log
}

/** Starts listening; resolves to what stops it. Throws ControlError when the place is taken. */
export type StartIpvsServer = (options: IpvsServerOptions) => Promise<() => Promise<void>>
