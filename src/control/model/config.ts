/** The whole configuration as one immutable value. */
import type { Address } from './address.js'
import { CopyMap } from './copy-map.js'
import { MAGLEV_INDEX_DEFAULT } from './maglev-size.js'
import type { MarkRule } from './mark-rule.js'
import { FULLNAT_DEFAULTS } from './fullnat.js'
import type { FullnatSettings } from './fullnat.js'
import { serviceKey } from './service.js'
import type { Service, ServiceId } from './service.js'
import { slotPool } from './slots.js'
import type { SlotPool } from './slots.js'
import type { SyncDaemon } from './sync-daemon.js'
import { defaultSysctls } from './sysctls.js'
import type { Sysctls } from './sysctls.js'
import { Trash } from './trash-bin.js'

/** Seconds, what `--set` changes (spec 3.6.3). */
export interface Timeouts {
  readonly tcpSec: number
  readonly tcpFinSec: number
  readonly udpSec: number
}

/** What is fixed at the start. Most services and destinations, trash included. */
export interface Capacity {
  readonly services: number
  readonly destinations: number
  readonly localAddresses: number
  /** Size of mh's tables (maglev-size.ts); the kernel's default unless given. */
  readonly maglevIndex?: number
}

export interface Config {
  /** By serviceKey, in no particular order. */
  readonly services: CopyMap<Service>
  readonly trash: Trash
  /** Slots of deleted services; free once every worker has adopted a config without them. */
  readonly retiredServiceSlots: readonly number[]
  readonly serviceSlots: SlotPool
  readonly destinationSlots: SlotPool
  /** Next value for incarnations, epochs and whatever else only has to differ or to grow. */
  readonly nextIncarnation: number
  readonly localAddressCapacity: number
  readonly maglevIndex: number
  /** FULLNAT source addresses of services that have none of their own. */
  readonly defaultLocalAddresses: readonly Address[]
  /** Virtual ports whose connections the FTP helper reads; the kernel's `ip_vs_ftp ports=`. */
  readonly ftpPorts: readonly number[]
  readonly fullnat: FullnatSettings
  readonly timeouts: Timeouts
  /** Running halves of the synchronisation daemon, master first; at most one of each. */
  readonly daemons: readonly SyncDaemon[]
  readonly sysctls: Sysctls
  readonly sysctlDefaults: Sysctls
  /** In the order in which new flows meet them; those of the two families never meet. */
  readonly markRules: readonly MarkRule[]
}

export const DEFAULT_TIMEOUTS: Timeouts = { tcpSec: 900, tcpFinSec: 120, udpSec: 300 }

export const DEFAULT_FTP_PORTS: readonly number[] = [21]
export const FTP_PORTS_MAX = 8

/** No services, everything at its default; `sysctls` are the defaults of the host. */
export function emptyConfig(capacity: Capacity, sysctls = defaultSysctls()): Config {
  return {
    services: CopyMap.empty(),
    trash: Trash.empty(),
    retiredServiceSlots: [],
    serviceSlots: slotPool(capacity.services),
    destinationSlots: slotPool(capacity.destinations),
    nextIncarnation: 1,
    localAddressCapacity: capacity.localAddresses,
    maglevIndex: capacity.maglevIndex ?? MAGLEV_INDEX_DEFAULT,
    defaultLocalAddresses: [],
    ftpPorts: DEFAULT_FTP_PORTS,
    fullnat: FULLNAT_DEFAULTS,
    timeouts: DEFAULT_TIMEOUTS,
    daemons: [],
    sysctls,
    sysctlDefaults: sysctls,
    markRules: [],
  }
}

/** The service with this identity, if there is one. */
export function findService(config: Config, id: ServiceId): Service | undefined {
  return config.services.get(serviceKey(id))
}

/** The configuration with one service replaced or added. */
export function withService(config: Config, service: Service): Config {
  return { ...config, services: config.services.with(serviceKey(service.id), service) }
}

/**
 * The FULLNAT source addresses a service really uses: of its own family, and of the family of its
 * FULLNAT destinations where that is another (NAT64).
 */
export function effectiveLocalAddresses(config: Config, service: Service): readonly Address[] {
  if (service.localAddresses.length > 0) return service.localAddresses
  const families = new Set([service.id.address.family])
  for (const { method, past, address } of service.destinations) {
    if ([method, ...past.methods].includes('fullnat')) families.add(address.family)
  }
  return config.defaultLocalAddresses.filter((address) => families.has(address.family))
}
