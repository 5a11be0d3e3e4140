/** Destinations (real servers) and the rules for one destination's attributes (spec 1.4). */
import { formatEndpoint, isUsableUnicast } from './address.js'
import type { Address } from './address.js'
import { failure, success } from './errors.js'
import type { Result } from './errors.js'
import type { Past } from './past.js'
import type { ServiceId } from './service.js'

export type Method = 'masquerade' | 'local' | 'tunnel' | 'direct' | 'fullnat'

export const METHODS: readonly Method[] = ['masquerade', 'local', 'tunnel', 'direct', 'fullnat']

export type TunnelType = 'ipip' | 'gue' | 'gre'
export type TunnelChecksum = 'nocsum' | 'csum' | 'remcsum'

export const TUNNEL_TYPES: readonly TunnelType[] = ['ipip', 'gue', 'gre']
export const TUNNEL_CHECKSUMS: readonly TunnelChecksum[] = ['nocsum', 'csum', 'remcsum']

export interface Tunnel {
  readonly type: TunnelType
  readonly port: number
  readonly checksum: TunnelChecksum
}

export const PLAIN_TUNNEL: Tunnel = { type: 'ipip', port: 0, checksum: 'nocsum' }

/** Identity inside a service. Port 0 means "same port as the packet". */
export interface DestinationId {
  readonly address: Address
  readonly port: number
}

/** What a caller may choose about a destination. */
export interface DestinationOptions {
  readonly method: Method
  readonly weight: number
  /** Connections; 0 turns the threshold off. */
  readonly upperThreshold: number
  readonly lowerThreshold: number
  readonly tunnel: Tunnel
}

export interface Destination extends DestinationId, DestinationOptions {
  readonly past: Past
  /** Most recent non-zero weight; 0 if there was none. */
  readonly lastWeight: number
  readonly slot: number
  /** Changes when the slot is given to another destination. */
  readonly incarnation: number
  /** Moves when it is put into its service's list, also when it comes back from the trash. */
  readonly inserted: number
  /**
   * The place among real servers of one address, of which the newest is found: moves when it is put
   * into its service's list, and with its method, tunnel type or tunnel port. Kernel: ip_vs_ctl.c
   * __ip_vs_update_dest.
   */
  readonly hashed: number
  /** Changes when its traffic counters start again from zero. */
  readonly statisticsEpoch: number
}

/** A removed destination: it keeps its slot while connections may still name it (spec 1.6). */
export interface TrashedDestination {
  readonly destination: Destination
  readonly service: ServiceId
  readonly serviceIncarnation: number
  /** Milliseconds; when it was first seen unreferenced, 0 if never. */
  readonly idleSinceMs: number
}

const INT_MAX = 0x7fffffff

/** A string that is equal exactly for equal identities; also readable in logs. */
export function destinationKey(id: DestinationId): string {
  return formatEndpoint(id.address, id.port)
}

/** Same address and port. */
export function sameDestination(a: DestinationId, b: DestinationId): boolean {
  return a.port === b.port && a.address.text === b.address.text
}

/** Checks of add and edit that need no table, in the kernel's order. */
export function checkDestination(options: DestinationOptions): Result<null> {
  const { weight, upperThreshold, lowerThreshold, tunnel } = options
  if (weight < 0) return failure('WEIGHT_RANGE', 'the weight must not be negative')
  if (lowerThreshold > upperThreshold) {
    return failure('THRESHOLD_RANGE', 'the lower threshold must not exceed the upper threshold')
  }
  if (upperThreshold > INT_MAX) {
    return failure('THRESHOLD_TOO_BIG', `the upper threshold must not exceed ${INT_MAX}`)
  }
  if (tunnel.type === 'gue' && tunnel.port === 0) {
    return failure('TUNNEL_PORT_MISSING', 'a gue tunnel needs a port: give --tun-port')
  }
  return success(null)
}

/**
 * Mixed families are possible only where the outer packet is of its own family: tunnels; where
 * headers are translated: TCP and UDP by FULLNAT from IPv6 to IPv4; and not while the
 * synchronisation daemon runs, whose messages cannot say it.
 */
export function checkFamily(
  service: ServiceId,
  id: DestinationId,
  method: Method,
  synchronised: boolean,
): Result<null> {
  const { family } = service.address
  if (id.address.family === family) return success(null)
  if (synchronised) {
    return failure(
      'DAEMON_MIXED_FAMILIES',
      'connections to destinations of another address family cannot be synchronised: ' +
        'stop the synchronisation daemon first',
    )
  }
  const isSctp = service.fwmark === 0 && service.protocol === 'sctp'
  const isTranslated = method === 'fullnat' && family === 6 && !isSctp
  if (method === 'tunnel' || isTranslated) return success(null)
  return failure(
    'FAMILY_MIXED',
    'a destination of another address family than its service needs the tunnel method, or, to ' +
      'reach IPv4 from IPv6 by TCP or UDP, fullnat',
  )
}

/** Only for destinations that are really new, not for revived ones. */
export function checkUnicast(id: DestinationId): Result<null> {
  if (isUsableUnicast(id.address)) return success(null)
  return failure(
    'ADDRESS_NOT_UNICAST',
    `${id.address.text} is not a unicast address a destination can have`,
  )
}

/** Editing to weight 0 remembers the weight before; adding with 0 remembers 0. */
export function nextLastWeight(adding: boolean, weight: number, lastWeight: number): number {
  return adding || weight !== 0 ? weight : lastWeight
}
