/**
 * What the kernel must know so that the host keeps quiet about service traffic and its own traffic
 * is left alone: the entries of the classifier (native/io/classifier_program.h has the table of
 * what each kind decides), the addresses uvs answers ARP and ND for, and FULLNAT's local ports.
 * Pure.
 */
import { formatEndpoint, mappedBytes, type Address } from '../model/address.js'
import { effectiveLocalAddresses, type Config } from '../model/config.js'
import type { Destination } from '../model/destination.js'
import { markedAddresses, selectedEnds, type MarkEnd } from '../model/mark-ends.js'
import { addressBits, contains, type Prefix } from '../model/mark-rule.js'
import {
  PROTOCOL_NUMBER,
  type Protocol,
  type Service,
  serviceKey,
  isPersistent,
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
  FRAGMENT_SOURCE: 8,
  TUNNEL: 9,
} as const

/** Flags of SOURCE entries: methods whose replies come back through uvs. */
export const SOURCE_FLAG = { MASQUERADE: 1, FULLNAT: 2 } as const

/** Flag of SERVICE, FTP_DATA and SOURCE entries: a worker has all ports of a client. */
export const BY_ADDRESS = 4

/** Key (24 bytes) and flags of one entry. */
export const ENTRY_BYTES = 28

const FTP_PORT = 21

/** Passive ports are real servers' own, and below this nobody offers any. */
const PASSIVE_FIRST = 1024

/** Outer protocols of tunnels (spec appendix A). */
const TUNNEL_PROTOCOL = { ipip: 4, gre: 47, gue: PROTOCOL_NUMBER.udp } as const

/** The kernel's net.ipv4.ip_local_port_range where the host says none. */
const EPHEMERAL_PORTS: PortRange = { first: 32768, last: 60999 }

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
  /** Whether connections name a destination slot. */
  readonly isServed: (slot: number) => boolean
  /** Local addresses that FULLNAT connections of an earlier configuration still have. */
  readonly heldAddresses: readonly Address[]
  /** net.ipv4.ip_local_port_range, used by the host for both families. */
  readonly ephemeralPorts: PortRange
  /** net.ipv4.ip_unprivileged_port_start, of both families too. */
  readonly unprivilegedStart: number
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

/**
 * What an earlier configuration settled for connections that may still be there, and a later one
 * leaves as it is.
 */
export interface Held {
  /** Services whose clients have one worker each (keptTogether). */
  readonly together: ReadonlySet<string>
  /** Keys of the services there are, or may be connections of. */
  readonly known: ReadonlySet<string>
  /** One of them was added to `together` later: its connections are where they were. */
  readonly moved: boolean
  /** Ports that FULLNAT connections may have; undefined: none. */
  readonly localPorts: PortRange | undefined
  /** Addresses that they may have. */
  readonly localAddresses: readonly Address[]
}

export const NOTHING_HELD: Held = {
  together: new Set(),
  known: new Set(),
  moved: false,
  localPorts: undefined,
  localAddresses: [],
}

/** What the data plane is told beside the configuration itself. */
export interface HostFacts {
  /** For the next configuration. */
  readonly held: Held
  readonly entries: Uint8Array
  readonly announces: readonly Announced[]
  /** Of new FULLNAT connections. */
  readonly localPortFirst: number
  readonly localPortLast: number
  /** Those that replies to FULLNAT connections may go to. */
  readonly takenPorts: PortRange
  /** Source ports of GUE tunnels. */
  readonly ephemeralPortFirst: number
  readonly ephemeralPortLast: number
  /** Where the FTP rule begins (spec 1.2). */
  readonly unprivilegedStart: number
  /** The first port, beside 20, that addresses of ftpDataAddresses() take. */
  readonly ftpDataFirst: number
}

/** A destination whose replies pass through uvs, with the service it is of. */
export interface ReplySource {
  readonly protocol: Protocol
  readonly address: Address
  /** 0: any port. */
  readonly port: number
  readonly fullnat: boolean
  readonly byAddress: boolean
}

/**
 * Everything of `config` that depends on the host it runs on; `held` are the facts' own of the
 * configuration before.
 */
export function hostFacts(config: Config, host: HostView, held = NOTHING_HELD): HostFacts {
  const virtual = virtualAddresses(config)
  const present = localAddresses(config)
  const local = unique([...present, ...host.heldAddresses])
  const announces = host.announce ? announceList([...virtual, ...local], host) : []
  const entries = new EntryTable()
  const together = keptTogether(config, held.together)
  for (const id of requestEnds(config)) {
    const flags = together.has(serviceKey(id)) ? BY_ADDRESS : 0
    entries.add(CLASSIFIER_KIND.SERVICE, id.address, id.port, PROTOCOL_NUMBER[id.protocol], flags)
  }
  for (const address of ftpDataAddresses(config)) {
    entries.add(CLASSIFIER_KIND.FTP_DATA, address, 0, PROTOCOL_NUMBER.tcp, BY_ADDRESS)
  }
  for (const source of replySources(config, together)) {
    const method = source.fullnat ? SOURCE_FLAG.FULLNAT : SOURCE_FLAG.MASQUERADE
    const flag = method | (source.byAddress ? BY_ADDRESS : 0)
    const protocol = PROTOCOL_NUMBER[source.protocol]
    entries.add(CLASSIFIER_KIND.SOURCE, source.address, source.port, protocol, flag)
    entries.add(CLASSIFIER_KIND.FRAGMENT_SOURCE, source.address, 0, 0, flag)
  }
  for (const address of [...virtual, ...removedAddresses(config)]) {
    entries.add(CLASSIFIER_KIND.VIRTUAL, address)
  }
  for (const address of local) entries.add(CLASSIFIER_KIND.LOCAL_ADDRESS, address)
  for (const { addresses } of host.interfaces) {
    for (const { address } of addresses) entries.add(CLASSIFIER_KIND.HOST, address)
  }
  for (const { address } of announces) entries.add(CLASSIFIER_KIND.ANNOUNCE, address)
  for (const { address, port, protocol } of tunnelEnds(config)) {
    entries.add(CLASSIFIER_KIND.TUNNEL, address, port, protocol)
  }
  const ports = localPorts(present, host)
  const own = host.ephemeralPorts
  const ephemeral = own.first > own.last ? EPHEMERAL_PORTS : own
  const taken = { ...ports }
  if (held.localPorts !== undefined) {
    taken.first = Math.min(taken.first, held.localPorts.first)
    taken.last = Math.max(taken.last, held.localPorts.last)
  }
  return {
    held: {
      together,
      known: new Set(steeredIds(config).map(serviceKey)),
      moved: held.moved || movesConnections(config, host, held, together),
      localPorts: local.length > 0 ? taken : held.localPorts,
      localAddresses: local,
    },
    entries: entries.bytes(),
    announces,
    localPortFirst: ports.first,
    localPortLast: ports.last,
    takenPorts: taken,
    ephemeralPortFirst: ephemeral.first,
    ephemeralPortLast: ephemeral.last,
    unprivilegedStart: host.unprivilegedStart,
    ftpDataFirst: ftpDataFirst(config, host),
  }
}

/**
 * Where tunnels end that ICMP errors are understood about (spec 5.7.3: outer IPv4), as the outer
 * packet names it. The port is 0 where the outer packet has none.
 */
function tunnelEnds(config: Config): { address: Address; port: number; protocol: number }[] {
  return boundDestinations(config)
    .map(({ destination }) => destination)
    .filter(({ method, address }) => method === 'tunnel' && address.family === 4)
    .map(({ address, tunnel: { type, port } }) => ({
      address,
      port: type === 'gue' ? port : 0,
      protocol: TUNNEL_PROTOCOL[type],
    }))
}

/** Services that are found by address; a mark says nothing about addresses. */
export function addressServices(config: Config): Service[] {
  const services = [...config.services.values()]
  return services.filter(({ id }) => isByAddress(id))
}

function hostPrefix(address: Address): Prefix {
  return { address, bits: addressBits(address.family) }
}

function isByAddress({ fwmark }: ServiceId): boolean {
  return fwmark === 0
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
 * Addresses whose FTP service takes data connections too, on port 20 and from ftpDataFirst() on: of
 * a persistent service (spec 1.2), and those that the helper expects (spec 6). Any other packet to
 * such a port is the host's, and given back to it (spec 5.4).
 */
export function ftpDataAddresses(config: Config): Address[] {
  const living = addressServices(config).filter(isPersistent)
  const bound = boundDestinations(config).filter((one) => one.isPersistent)
  const persistent = [...living, ...bound].filter(({ id }) => isFtp(id) && isByAddress(id))
  return unique([...persistent, ...helped(config)].map(({ id }) => id.address))
}

function helped(config: Config): BoundDestination[] {
  return boundDestinations(config).filter(({ id, destination }) =>
    isHelped(config, id, destination),
  )
}

function ftpDataFirst(config: Config, { unprivilegedStart }: HostView): number {
  return helped(config).length === 0
    ? unprivilegedStart
    : Math.min(PASSIVE_FIRST, unprivilegedStart)
}

function isFtp({ protocol, port }: ServiceId): boolean {
  return protocol === 'tcp' && port === FTP_PORT
}

/** Whether the FTP helper reads the connections of a service to a destination (spec 6.1). */
function isHelped({ ftpPorts }: Config, id: ServiceId, { method }: Destination): boolean {
  return method === 'masquerade' && hasHelperPort(ftpPorts, id)
}

function hasHelperPort(
  ftpPorts: readonly number[],
  { fwmark, protocol, port }: ServiceId,
): boolean {
  return fwmark === 0 && protocol === 'tcp' && ftpPorts.includes(port)
}

/**
 * Services whose clients each have one worker for all their connections, by serviceKey: FTP, where
 * the control connection's worker must see the data connections, those of all ports and of marks
 * (what a rule selects is one end to the classifier, whatever its ports), and those that
 * share a destination's port with one, because replies say no more than that. A service never
 * becomes one by a change of its destinations alone unless it shares in this way, and one that was
 * (`before`) stays one: its clients' connections are where they are.
 */
function keptTogether(config: Config, before: ReadonlySet<string>): ReadonlySet<string> {
  const bound = boundDestinations(config)
  const marked = selectedEnds(config)
  const ids = steeredIds(config)
  const whole = new Set(ids.filter(({ port }) => port === 0).map(endKey))
  const together = new Set(
    ids
      .filter(
        (id) =>
          id.port === 0 ||
          isFtp(id) ||
          hasHelperPort(config.ftpPorts, id) ||
          before.has(serviceKey(id)) ||
          whole.has(endKey(id)) ||
          marked.some((end) => selects(end, id)),
      )
      .map(serviceKey),
  )
  const endsOf = ({ id, destination }: BoundDestination): string[] =>
    protocolsOf(id).map((protocol) => {
      const port = destination.port || id.port
      return `${protocol} ${formatEndpoint(destination.address, port)}`
    })
  for (let size = -1; size !== together.size;) {
    size = together.size
    const of = bound.filter(({ id }) => together.has(serviceKey(id)))
    const ends = new Set(of.flatMap(endsOf))
    const any = new Set(of.filter(repliesFromAnyPort).flatMap(addressesOf))
    for (const one of bound) {
      const shares =
        endsOf(one).some((end) => ends.has(end)) || addressesOf(one).some((end) => any.has(end))
      if (shares) together.add(serviceKey(one.id))
    }
  }
  return together
}

/** Services that packets are steered for. */
function steeredIds(config: Config): ServiceId[] {
  const marks = boundDestinations(config).filter(({ id }) => id.fwmark !== 0)
  return [...requestEnds(config), ...marks.map(({ id }) => id)]
}

/** Address and protocol: what the services of one address and a service of all its ports share. */
function endKey({ protocol, address, fwmark }: ServiceId): string {
  return `${protocol} ${address.text} ${fwmark}`
}

/** Whether a service that has connections becomes one whose clients have a worker each. */
function movesConnections(
  config: Config,
  { isServed }: HostView,
  { known, together: before }: Held,
  together: ReadonlySet<string>,
): boolean {
  const moving = (key: string) => together.has(key) && known.has(key) && !before.has(key)
  return boundDestinations(config).some(
    ({ id, destination }) => moving(serviceKey(id)) && isServed(destination.slot),
  )
}

/** Whether a mark may take packets of a service from it. */
function selects(end: MarkEnd, { protocol, address, port }: ServiceId): boolean {
  const isPort = end.first <= port && port <= end.last
  return isPort && end.protocol === protocol && contains(end, hostPrefix(address))
}

const addressesOf = ({ id, destination }: BoundDestination): string[] =>
  protocolsOf(id).map((protocol) => `${protocol} ${destination.address.text}`)

function repliesFromAnyPort({ id, destination, isPersistent }: BoundDestination): boolean {
  return id.fwmark === 0 ? id.port === 0 : isPersistent || destination.port === 0
}

/** The addresses of all services, and those that a mark rule names by themselves; each once. */
export function virtualAddresses(config: Config): Address[] {
  const addresses = addressServices(config).map(({ id }) => id.address)
  return unique([...addresses, ...markedAddresses(selectedEnds(config))])
}

/** Addresses of removed services: fragments and ICMP errors of what connections they had. */
function removedAddresses(config: Config): Address[] {
  const removed = liveTrash(config).map(({ service }) => service)
  return unique(removed.filter(isByAddress).map(({ address }) => address))
}

/** The local addresses FULLNAT destinations are reached from, each once. */
export function localAddresses(config: Config): Address[] {
  const bound = boundDestinations(config).filter(({ destination }) => isFullnat(destination))
  const reached = new Set(bound.map(({ id }) => serviceKey(id)))
  return unique(
    [...config.services.values()].flatMap((service) =>
      service.localAddresses.length > 0 || reached.has(serviceKey(service.id))
        ? effectiveLocalAddresses(config, service)
        : [],
    ),
  )
}

/**
 * Destinations whose replies uvs must see, the removed ones included while connections may name
 * them. Destination port 0 means the port of the service. A connection to a port that is not the
 * service's keeps its port (spec 4.2), so replies of port-0, persistent FTP and persistent mark
 * services come from any. `together` decides byAddress alone.
 */
export function replySources(
  config: Config,
  together: ReadonlySet<string> = new Set(),
): ReplySource[] {
  return boundDestinations(config).flatMap(({ destination, id, isPersistent }) => {
    const data = (isFtp(id) && isPersistent) || isHelped(config, id, destination)
    const anyPort = id.fwmark === 0 ? id.port === 0 || data : isPersistent
    const replies = destination.method === 'masquerade' || isFullnat(destination)
    return protocolsOf(id)
      .filter(() => replies)
      .flatMap((protocol) => {
        const { address } = destination
        const fullnat = isFullnat(destination)
        const port = destination.port || id.port
        const byAddress = port === 0 || together.has(serviceKey(id))
        const source = { protocol, address, port, fullnat, byAddress }
        if (!anyPort) return [source]
        const any = { ...source, port: 0, byAddress: true }
        // The control port itself as well: it decides even if another service has it.
        return data ? [any, source] : [any]
      })
  })
}

/** A mark service takes any protocol: all that are forwarded. */
function protocolsOf({ fwmark, protocol }: ServiceId): readonly Protocol[] {
  return fwmark === 0 ? [protocol] : ['tcp', 'udp', 'sctp']
}

interface BoundDestination {
  readonly destination: Destination
  readonly id: ServiceId
  readonly isPersistent: boolean
}

/**
 * Every destination that a connection may name, with the service it is or was of: once for each
 * method that such a connection may have.
 */
function boundDestinations(config: Config): BoundDestination[] {
  const living = [...config.services.values()].flatMap((service) =>
    service.destinations.map((destination) => ({
      destination,
      id: service.id,
      isPersistent: isPersistent(service) || destination.past.persistent,
    })),
  )
  const removed = liveTrash(config).map(({ destination, service }) => ({
    destination,
    id: service,
    isPersistent: destination.past.persistent,
  }))
  return [...living, ...removed].flatMap((one) => {
    const { method, past } = one.destination
    if (past.methods.length === 0) return [one]
    const methods = new Set([method, ...past.methods])
    return [...methods].map((each) => ({
      ...one,
      destination: { ...one.destination, method: each },
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
