/** Virtual services: identity, attributes and their order in listings (spec 1.1). */
import { anyAddress, foldAddress, formatEndpoint } from './address.js'
import type { Address, Family } from './address.js'
import type { Destination } from './destination.js'
import type { ProxyProtocol } from './fullnat.js'

export type Protocol = 'tcp' | 'udp' | 'sctp'

/** IANA protocol numbers. */
export const PROTOCOL_NUMBER: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 }

/** The kernel's IP_VS_SVC_F_* bits. */
export const SERVICE_FLAGS = {
  PERSISTENT: 0x1,
  HASHED: 0x2,
  ONE_PACKET: 0x4,
  SCHED1: 0x8,
  SCHED2: 0x10,
  SCHED3: 0x20,
  /** Alibaba's and DPVS' bit: SYNs are answered with cookies (spec 12.9). */
  SYNPROXY: 0x8000,
} as const

/** Schedulers that IPVS has; `none` never finds a destination. Not every data plane has all. */
export const SCHEDULERS = [
  'none',
  'rr',
  'wrr',
  'lc',
  'wlc',
  'lblc',
  'lblcr',
  'dh',
  'sh',
  'sed',
  'nq',
  'fo',
  'ovf',
  'mh',
  'twos',
] as const

/** Persistence engines that IPVS has. */
export const ENGINES: readonly string[] = ['sip']

export type SchedulerName = (typeof SCHEDULERS)[number]

/** True for a scheduler that exists. */
export function isScheduler(name: string): name is SchedulerName {
  return (SCHEDULERS as readonly string[]).includes(name)
}

/**
 * What names a service: either protocol, address and port, or a firewall mark and a family. A mark
 * service has protocol tcp, port 0 and the all-zero address as placeholders.
 */
export interface ServiceId {
  readonly protocol: Protocol
  readonly address: Address
  readonly port: number
  readonly fwmark: number
}

/** What a caller may choose about a service. */
export interface ServiceOptions {
  readonly scheduler: string
  readonly flags: number
  /** Seconds; meaningful with SERVICE_FLAGS.PERSISTENT. */
  readonly persistentSec: number
  /** IPv4: mask as a host-order integer; IPv6: prefix length. */
  readonly netmask: number
  /** Persistence engine, empty for none. */
  readonly engine: string
  /** What FULLNAT destinations are told first; undefined keeps it as it is, or `off`. */
  readonly proxyProtocol?: ProxyProtocol
}

export interface Service extends Omit<ServiceOptions, 'scheduler'> {
  readonly id: ServiceId
  readonly proxyProtocol: ProxyProtocol
  readonly scheduler: SchedulerName
  readonly slot: number
  /** Unique per service object; also tells which of two services is newer. */
  readonly incarnation: number
  /** Moves when a destination is added, edited or deleted: the kernel's hooks of schedulers. */
  readonly changes: number
  /** FULLNAT source addresses, in the order they were added. */
  readonly localAddresses: readonly Address[]
  /** Newest first. */
  readonly destinations: readonly Destination[]
}

/** Whether templates keep its clients (spec 4). */
export function isPersistent({ flags }: Pick<Service, 'flags'>): boolean {
  return (flags & SERVICE_FLAGS.PERSISTENT) !== 0
}

/** The id of a firewall-mark service. */
export function markServiceId(fwmark: number, family: Family): ServiceId {
  return { protocol: 'tcp', address: anyAddress(family), port: 0, fwmark }
}

/** A string that is equal exactly for equal ids; also readable in logs. */
export function serviceKey(id: ServiceId): string {
  if (id.fwmark !== 0) return `fwmark ${id.fwmark}${id.address.family === 6 ? ' ipv6' : ''}`
  return `${id.protocol} ${formatEndpoint(id.address, id.port)}`
}

/** The mask that keeps every client apart. */
export function hostNetmask(family: Family): number {
  return family === 4 ? 0xffffffff : 128
}

const ADDRESS_BUCKETS = 256

/** Position in the order of every listing: table, bucket, newest first (spec 1.1). */
function enumerationBucket(id: ServiceId): number {
  if (id.fwmark !== 0) return ADDRESS_BUCKETS + (id.fwmark & 255)
  const hash = PROTOCOL_NUMBER[id.protocol] ^ foldAddress(id.address) ^ (id.port >> 8) ^ id.port
  return hash & 255
}

/** Services in the order the kernel's tables would list them. */
export function enumerateServices(services: Iterable<Service>): Service[] {
  return [...services]
    .map((service) => ({ service, bucket: enumerationBucket(service.id) }))
    .sort((a, b) => a.bucket - b.bucket || b.service.incarnation - a.service.incarnation)
    .map(({ service }) => service)
}
