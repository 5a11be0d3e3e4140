/**
 * What the messages of the generic netlink family IPVS say, as values. The wire forms (generic
 * netlink: spec 9.1, ipvs-messages.ts; socket options: spec 9.3, legacy-options.ts) carry numbers
 * that the model has words for and values that the model refuses, so these types are wider than
 * the model's; ipvs-model.ts translates between the two.
 */
import type { Address, Family } from '../model/address.js'

/** IP_VS_STATE_*: which half of the synchronisation daemon. */
export const DAEMON_STATE = { master: 1, backup: 2 } as const

/** IP_VS_CONN_F_FWD_MASK: the forwarding method in `method`. */
export const FORWARD = { masquerade: 0, local: 1, tunnel: 2, direct: 3, bypass: 4 } as const

/** A mark names the service where it is not 0; protocol, address and port are then placeholders. */
export interface WireServiceId {
  readonly family: Family
  /** IANA number; the interface does not check it. */
  readonly protocol: number
  readonly address: Address
  /** Host order. */
  readonly port: number
  readonly fwmark: number
}

/** What a program may choose about a service. */
export interface WireServiceOptions {
  readonly scheduler: string
  /** New flags are `(old & ~flagsMask) | (flags & flagsMask)`. */
  readonly flags: number
  readonly flagsMask: number
  readonly timeoutSec: number
  /** IPv4: mask as a host-order integer; IPv6: prefix length. */
  readonly netmask: number
  /** Persistence engine, empty for none. */
  readonly engine: string
}

/** Counters and rates of one object; rates per second. */
export interface WireStats {
  readonly connections: bigint
  readonly inPackets: bigint
  readonly outPackets: bigint
  readonly inBytes: bigint
  readonly outBytes: bigint
  readonly connectionRate: bigint
  readonly inPacketRate: bigint
  readonly outPacketRate: bigint
  readonly inByteRate: bigint
  readonly outByteRate: bigint
}

export interface WireService extends WireServiceId, WireServiceOptions {
  readonly stats: WireStats
}

export interface WireDestinationId {
  readonly address: Address
  readonly port: number
}

/** What a program may choose about a destination. */
export interface WireDestinationOptions {
  /** One of FORWARD; only the low three bits count. */
  readonly method: number
  /** Signed 32 bits. */
  readonly weight: number
  readonly upperThreshold: number
  readonly lowerThreshold: number
  /** 0 ipip, 1 gue, 2 gre. */
  readonly tunnelType: number
  readonly tunnelPort: number
  /** 0 nocsum, 1 csum, 2 remcsum. */
  readonly tunnelFlags: number
}

export interface WireDestination extends WireDestinationId, WireDestinationOptions {
  readonly active: number
  readonly inactive: number
  readonly persistent: number
  readonly stats: WireStats
}

/** Where a value is not given (0, undefined), the kernel's default applies. */
export interface WireDaemon {
  /** One of DAEMON_STATE, or what a bad request says. */
  readonly state: number
  readonly interface: string
  readonly syncId: number
  readonly maxLength: number
  readonly group: Address | undefined
  /** Host order. */
  readonly port: number
  readonly ttl: number
}

export interface WireTimeouts {
  readonly tcpSec: number
  readonly tcpFinSec: number
  readonly udpSec: number
}

export interface WireInfo {
  /** 0x010201 is 1.2.1. */
  readonly version: number
  readonly tableSize: number
}
