/** What the options of one command line have said so far. */
import { anyAddress } from '../model/address.js'
import type { Address, Family } from '../model/address.js'
import { PLAIN_TUNNEL } from '../model/destination.js'
import type { ProxyProtocol } from '../model/fullnat.js'
import type { Method, TunnelChecksum, TunnelType } from '../model/destination.js'
import { hostNetmask } from '../model/service.js'
import type { Protocol } from '../model/service.js'
import type { DaemonRole } from '../model/sync-daemon.js'
import type { MatrixOption } from './options.js'

/** 31 days, the tool's own limit (spec 10.1). */
export const TIMEOUT_MAX_SEC = 86400 * 31

/** Everything the options of one line said, with the tool's defaults. */
export interface Draft {
  readonly given: Set<MatrixOption>
  family: Family
  protocol: Protocol | undefined
  address: Address
  port: number
  fwmark: number
  scheduler: string
  schedulerFlagText: string
  persistentSec: number | undefined
  netmask: number
  engine: string
  onePacket: boolean
  synproxy: boolean
  proxyProtocol: ProxyProtocol
  destinationAddress: Address
  destinationPort: number
  method: Method
  weight: number
  upperThreshold: number
  lowerThreshold: number
  tunnelType: TunnelType
  tunnelPort: number
  tunnelChecksum: TunnelChecksum
  localAddress: Address
  daemonRole: DaemonRole
  syncId: number
  syncMaxLength: number
  syncInterface: string
  syncGroup: Address | undefined
  syncPort: number
  syncTtl: number
}

/** The tool's defaults. */
export function emptyDraft(): Draft {
  return {
    given: new Set(),
    family: 4,
    protocol: undefined,
    address: anyAddress(4),
    port: 0,
    fwmark: 0,
    scheduler: '',
    schedulerFlagText: '',
    persistentSec: undefined,
    netmask: hostNetmask(4),
    engine: '',
    onePacket: false,
    synproxy: false,
    proxyProtocol: 'off',
    destinationAddress: anyAddress(4),
    destinationPort: 0,
    method: 'direct',
    weight: 1,
    upperThreshold: 0,
    lowerThreshold: 0,
    tunnelType: PLAIN_TUNNEL.type,
    tunnelPort: 0,
    tunnelChecksum: PLAIN_TUNNEL.checksum,
    localAddress: anyAddress(4),
    daemonRole: 'master',
    syncId: 0,
    syncMaxLength: 0,
    syncInterface: 'eth0',
    syncGroup: undefined,
    syncPort: 0,
    syncTtl: 0,
  }
}
