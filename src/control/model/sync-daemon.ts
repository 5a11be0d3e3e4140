/**
 * The two halves of the connection synchronisation daemon as configuration: which run, and how they
 * send or listen (spec 8.1, 8.2). Pure; what the host's interface is like is an argument.
 */
import { addressValue, ipv4FromNumber } from './address.js'
import type { Address } from './address.js'
import type { Config } from './config.js'
import { failure, success } from './errors.js'
import type { Result } from './errors.js'

export type DaemonRole = 'master' | 'backup'

/** In the order of listings. */
export const DAEMON_ROLES: readonly DaemonRole[] = ['master', 'backup']

/** What a caller may choose; 0 and undefined stand for the default. */
export interface DaemonOptions {
  readonly role: DaemonRole
  /** Name of the interface that carries the group. */
  readonly interface: string
  /** A backup with 0 accepts every syncid. */
  readonly syncId: number
  /** Most bytes of a message. */
  readonly maxLength: number
  readonly group: Address | undefined
  readonly port: number
  readonly ttl: number
}

/** A running half: everything has its value. */
export interface SyncDaemon extends DaemonOptions {
  readonly group: Address
}

const DEFAULT_GROUP = ipv4FromNumber(0xe0000051) // 224.0.0.81
const DEFAULT_PORT = 8848
const DEFAULT_TTL = 1
const MASTER_MTU = 1500
const BACKUP_LENGTH_MIN = 1024
const DATAGRAM_MAX = 65535

/** IPv4 224.0.0.0/4, IPv6 ff00::/8. */
export function isMulticast(address: Address): boolean {
  const value = addressValue(address)
  return address.family === 4 ? value >> 28n === 0xen : value >> 120n === 0xffn
}

/**
 * The configuration with one half started. `mtu` is that of the interface, undefined where there is
 * no such interface. Order of the checks: kernel, ip_vs_genl_new_daemon, start_sync_thread.
 */
export function startDaemon(
  config: Config,
  options: DaemonOptions,
  mtu: number | undefined,
): Result<Config> {
  const { role, group = DEFAULT_GROUP } = options
  if (!isMulticast(group)) {
    return failure('GROUP_NOT_MULTICAST', `${group.text} is not a multicast address`)
  }
  if (mixesFamilies(config)) {
    return failure(
      'DAEMON_MIXED_FAMILIES',
      'connections to destinations of another address family cannot be synchronised',
    )
  }
  if (mtu === undefined) {
    return failure('INTERFACE_UNKNOWN', `there is no interface "${options.interface}"`)
  }
  if (config.daemons.some((daemon) => daemon.role === role)) {
    return failure('DAEMON_RUNNING', `the ${role} synchronisation daemon runs already`)
  }
  const daemon: SyncDaemon = {
    ...options,
    group,
    maxLength: messageLength(options, group, mtu),
    port: options.port || DEFAULT_PORT,
    ttl: options.ttl || DEFAULT_TTL,
  }
  const daemons = [...config.daemons, daemon].sort(
    (a, b) => DAEMON_ROLES.indexOf(a.role) - DAEMON_ROLES.indexOf(b.role),
  )
  return success({ ...config, daemons })
}

/** The configuration with one half stopped. */
export function stopDaemon(config: Config, role: DaemonRole): Result<Config> {
  const daemons = config.daemons.filter((daemon) => daemon.role !== role)
  if (daemons.length === config.daemons.length) {
    return failure('DAEMON_NOT_RUNNING', `the ${role} synchronisation daemon does not run`)
  }
  return success({ ...config, daemons })
}

/** True where some destination has another family than its service. */
export function mixesFamilies(config: Config): boolean {
  for (const { id, destinations } of config.services.values()) {
    if (destinations.some(({ address }) => address.family !== id.address.family)) return true
  }
  return false
}

/** `sync_maxlen` of spec 8.1. */
function messageLength({ role, maxLength }: DaemonOptions, group: Address, mtu: number): number {
  const headers = group.family === 4 ? 28 : 48
  const most = DATAGRAM_MAX - headers
  if (maxLength !== 0) {
    const least = role === 'master' ? 1 : BACKUP_LENGTH_MIN
    return Math.min(Math.max(maxLength, least), most)
  }
  const packet = role === 'master' ? MASTER_MTU : Math.min(Math.max(mtu, MASTER_MTU), DATAGRAM_MAX)
  return packet - headers
}
