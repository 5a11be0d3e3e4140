/**
 * What the kernel must know so that the host keeps quiet about service traffic and its own traffic
 * is left alone: the entries of the classifier (native/io/classifier_program.h has the table of
 * what each kind decides), the addresses uvs answers ARP and ND for, and FULLNAT's local ports.
 * Pure.
 */
import { mappedBytes, type Address } from '../model/address.js'
import { effectiveLocalAddresses, type Config } from '../model/config.js'
import type { Destination } from '../model/destination.js'
import { markedAddresses, selectedEnds } from '../model/mark-ends.js'
import {
  PROTOCOL_NUMBER,
  type Protocol,
  type Service,
  SERVICE_FLAGS,
  type ServiceId,
} from '../model/service.js'
import { liveTrash } from '../model/trash.js'
import { inSubnet, ownAddresses, type HostInterface } from './interfaces.js'

/** Kinds of classifier entries, EntryKind in native/io/classifier_program.h. */
export const CLASSIFIER_KIND = {
  SERVICE: 1,
  SOURCE: 2,
  LOCAL_ADDRESS: 3,
  HOST: 4,
  VIRTUAL: 5,
  ANNOUNCE: 6,
  FTP_DATA: 7,
} as const

/** Flags of SOURCE entries: methods whose replies come back through uvs. */
export const SOURCE_FLAG = { MASQUERADE: 1, FULLNAT: 2 } as const

/** Key (24 bytes) and flags of one entry. */
export const ENTRY_BYTES = 28

const FTP_PORT = 21

/** FULLNAT local ports unless the host needs some of them (spec 12.3, Ali). */
export const LOCAL_PORTS: PortRange = { first: 5000, last: 65535 }

/** The same where routing rules bring the replies: those cannot say 65535 (tun-rules.ts). */
export const ROUTED_LOCAL_PORTS: PortRange = { first: 5000, last: 65534 }

export interface PortRange {
  readonly first: number
  readonly last: number
}

/** What this host is like. */
export interface HostView {
  readonly interfaces: readonly HostInterface[]
  /** Names of the director's ports, by port index; none with `--io tun`. */
  readonly ports: readonly string[]
  /** net.ipv4.ip_local_port_range, used by the host for both families. */
  readonly ephemeralPorts: PortRange
  /** LOCAL_PORTS, or ROUTED_LOCAL_PORTS with `--io tun`. */
  readonly localPorts: PortRange
  /** False: `--announce off`. */
  readonly announce: boolean
}

export interface Announced {
  readonly address: Address
  /** Index of the port whose subnet contains it. */
  readonly port: number
}

/** What the data plane is told beside the configuration itself. */
export interface HostFacts {
  readonly entries: Uint8Array
  readonly announces: readonly Announced[]
  readonly localPortFirst: number
  readonly localPortLast: number
}

/** A destination whose replies pass through uvs, with the service it is of. */
export interface ReplySource {
  readonly protocol: Protocol
  readonly address: Address
  /** 0: any port. */
  readonly port: number
  readonly fullnat: boolean
}

/** Everything of `config` that depends on the host it runs on. */
export function hostFacts(config: Config, host: HostView): HostFacts {
  const virtual = virtualAddresses(config)
  const local = localAddresses(config)
  const announces = host.announce ? announceList([...virtual, ...local], host) : []
  const entries = new EntryTable()
  for (const { address, port, protocol } of requestEnds(config)) {
    entries.add(CLASSIFIER_KIND.SERVICE, address, port, PROTOCOL_NUMBER[protocol])
  }
  for (const address of ftpDataAddresses(config)) {
    entries.add(CLASSIFIER_KIND.FTP_DATA, address, 0, PROTOCOL_NUMBER.tcp)
  }
  for (const source of replySources(config)) {
    const flag = source.fullnat ? SOURCE_FLAG.FULLNAT : SOURCE_FLAG.MASQUERADE
    const protocol = PROTOCOL_NUMBER[source.protocol]
    entries.add(CLASSIFIER_KIND.SOURCE, source.address, source.port, protocol, flag)
  }
  for (const address of virtual) entries.add(CLASSIFIER_KIND.VIRTUAL, address)
  for (const address of local) entries.add(CLASSIFIER_KIND.LOCAL_ADDRESS, address)
  for (const { addresses } of host.interfaces) {
    for (const { address } of addresses) entries.add(CLASSIFIER_KIND.HOST, address)
  }
  for (const { address } of announces) entries.add(CLASSIFIER_KIND.ANNOUNCE, address)
  const ports = localPorts(local, host)
  return {
    entries: entries.bytes(),
    announces,
    localPortFirst: ports.first,
    localPortLast: ports.last,
  }
}

/**
 * Services that are found by address; a mark says nothing about addresses. SCTP is not forwarded.
 */
export function addressServices(config: Config): Service[] {
  const services = [...config.services.values()]
  return services.filter(({ id }) => isByAddress(id))
}

function isByAddress({ fwmark, protocol }: ServiceId): boolean {
  return fwmark === 0 && protocol !== 'sctp'
}

/**
 * Where requests go that uvs must see: services, and removed ones while connections may name a
 * destination of theirs, whose packets are dropped rather than answered by the host (spec 3.10).
 */
export function requestEnds(config: Config): ServiceId[] {
  const removed = liveTrash(config).map(({ service }) => service)
  return [...addressServices(config).map(({ id }) => id), ...removed.filter(isByAddress)]
}

/**
 * Addresses whose FTP service takes data connections too, on port 20 and all ports from 1024
 * (spec 1.2). Without persistence such a connection is the host's (spec 5.4).
 */
export function ftpDataAddresses(config: Config): Address[] {
  return addressServices(config)
    .filter(({ id, flags }) => isFtp(id) && (flags & SERVICE_FLAGS.PERSISTENT) !== 0)
    .map(({ id }) => id.address)
}

function isFtp({ protocol, port }: ServiceId): boolean {
  return protocol === 'tcp' && port === FTP_PORT
}

/** The addresses of all services, and those that a mark rule names by themselves; each once. */
export function virtualAddresses(config: Config): Address[] {
  const addresses = addressServices(config).map(({ id }) => id.address)
  return unique([...addresses, ...markedAddresses(selectedEnds(config))])
}

/** The local addresses FULLNAT destinations are reached from, each once. */
export function localAddresses(config: Config): Address[] {
  const services = [...config.services.values()]
  return unique(
    services.flatMap((service) =>
      service.localAddresses.length > 0 || service.destinations.some(isFullnat)
        ? effectiveLocalAddresses(config, service)
        : [],
    ),
  )
}

/**
 * Destinations whose replies uvs must see, the removed ones included while connections may name
 * them. Destination port 0 means the port of the service. A connection to a port that is not the
 * service's keeps its port (spec 4.2), so replies of port-0, persistent FTP and persistent mark
 * services come from any.
 */
export function replySources(config: Config): ReplySource[] {
  const living = [...config.services.values()].flatMap((service) =>
    service.destinations.map((destination) => ({
      destination,
      id: service.id,
      isPersistent: (service.flags & SERVICE_FLAGS.PERSISTENT) !== 0,
    })),
  )
  const removed = liveTrash(config).map(({ destination, service }) => ({
    destination,
    id: service,
    isPersistent: true, // perhaps: what the service was is not known any more
  }))
  return [...living, ...removed].flatMap(({ destination, id, isPersistent }) => {
    const anyPort = id.fwmark === 0 ? id.port === 0 || (isFtp(id) && isPersistent) : isPersistent
    const replies = destination.method === 'masquerade' || isFullnat(destination)
    // A mark service takes any protocol: both that are forwarded.
    const all: Protocol[] = id.fwmark === 0 ? [id.protocol] : ['tcp', 'udp']
    return all
      .filter((protocol) => replies && protocol !== 'sctp')
      .map((protocol) => ({
        protocol,
        address: destination.address,
        port: anyPort ? 0 : destination.port || id.port,
        fullnat: isFullnat(destination),
      }))
  })
}

function isFullnat({ method }: Destination): boolean {
  return method === 'fullnat'
}

/** Addresses nobody has, each with the port whose narrowest subnet contains it. */
function announceList(addresses: readonly Address[], host: HostView): Announced[] {
  const own = ownAddresses(host.interfaces)
  return unique(addresses).flatMap((address) => {
    if (own.has(address.text)) return []
    let best: (Announced & { bits: number }) | undefined
    for (const [port, name] of host.ports.entries()) {
      const found = host.interfaces.find((one) => one.name === name)
      for (const of of found?.addresses ?? []) {
        if (!inSubnet(of, address) || (best !== undefined && best.bits >= of.prefixBits)) continue
        best = { address, port, bits: of.prefixBits }
      }
    }
    return best === undefined ? [] : [{ address: best.address, port: best.port }]
  })
}

/**
 * A local address that the host has too is also the host's source address for connections of its
 * own. uvs then stays out of the ports the host chooses from, in the larger part that is left, so
 * that a reply to the host is never taken for one of ours.
 */
function localPorts(local: readonly Address[], host: HostView): PortRange {
  const own = ownAddresses(host.interfaces)
  const all = host.localPorts
  if (!local.some(({ text }) => own.has(text))) return all
  const { first, last } = host.ephemeralPorts
  const below = { first: all.first, last: Math.min(first - 1, all.last) }
  const above = { first: Math.max(last + 1, all.first), last: all.last }
  const best = above.last - above.first > below.last - below.first ? above : below
  // The host may use every port: then the classifier's table decides, ours first.
  return best.first <= best.last ? best : all
}

function unique(addresses: readonly Address[]): Address[] {
  return [...new Map(addresses.map((address) => [address.text, address])).values()]
}

/** Entries by key; flags of equal keys come together. */
class EntryTable {
  readonly #records = new Map<string, Uint8Array>()

  add(kind: number, address: Address, port = 0, protocol = 0, flags = 0): void {
    const record = new Uint8Array(ENTRY_BYTES)
    const view = new DataView(record.buffer)
    record.set(mappedBytes(address))
    view.setUint16(16, port)
    view.setUint8(18, protocol)
    view.setUint8(19, kind)
    const key = `${address.text} ${port} ${protocol} ${kind}`
    const known = this.#records.get(key)
    const before = known === undefined ? 0 : new DataView(known.buffer).getUint32(24, true)
    view.setUint32(24, before | flags, true)
    this.#records.set(key, record)
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.#records.size * ENTRY_BYTES)
    let at = 0
    for (const record of this.#records.values()) {
      all.set(record, at)
      at += ENTRY_BYTES
    }
    return all
  }
}
