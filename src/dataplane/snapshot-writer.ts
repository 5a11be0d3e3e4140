/**
 * Configuration -> the immutable block that workers read. Pure but for the allocation; the layout
 * is layout.ts, the meaning of each field is written there.
 */
import assert from 'node:assert/strict'
import { mappedBytes } from '../control/model/address.js'
import type { Address } from '../control/model/address.js'
import { effectiveLocalAddresses } from '../control/model/config.js'
import type { Config } from '../control/model/config.js'
import type { Destination } from '../control/model/destination.js'
import { serviceKey, type Service } from '../control/model/service.js'
import { liveTrash } from '../control/model/trash.js'
import type { ProxyProtocol } from '../control/model/fullnat.js'
import {
  DESTINATION_FLAG,
  FULLNAT_FLAG,
  LAYOUT_HASH,
  LIMITS,
  METHOD,
  NO_SLOT,
  RECORDS,
  SCHEDULER_ID,
  SERVICE_FLAG,
  SNAPSHOT_MAGIC,
  SYSCTL_INDEX,
  TCP_STATE,
  TUNNEL,
  TUNNEL_FLAG,
  UOA,
} from './layout.js'
import type { Field, RecordName } from './layout.js'
import { markBlocks } from './mark-writer.js'

const METHOD_CODE: Readonly<Record<Destination['method'], number>> = {
  masquerade: METHOD.MASQUERADE,
  local: METHOD.LOCAL,
  tunnel: METHOD.TUNNEL,
  direct: METHOD.DIRECT,
  fullnat: METHOD.FULLNAT,
}

/** A configuration reaches workers only after carried.ts has found all its schedulers here. */
function schedulerId(name: string): number {
  assert.ok(Object.hasOwn(SCHEDULER_ID, name), `no worker knows the scheduler "${name}"`)
  return SCHEDULER_ID[name as keyof typeof SCHEDULER_ID]
}

/** Codes of the netlink interface (spec 9.1). */
const TUNNEL_TYPE = { ipip: TUNNEL.IPIP, gue: TUNNEL.GUE, gre: TUNNEL.GRE } as const
const TUNNEL_CHECKSUM = {
  nocsum: 0,
  csum: TUNNEL_FLAG.CSUM,
  remcsum: TUNNEL_FLAG.REMCSUM,
} as const

const PROXY_FLAGS: Readonly<Record<ProxyProtocol, number>> = {
  off: 0,
  v1: SERVICE_FLAG.PROXY_V1,
  v2: SERVICE_FLAG.PROXY_V2,
  'v1-insecure': SERVICE_FLAG.PROXY_V1 | SERVICE_FLAG.PROXY_INSECURE,
  'v2-insecure': SERVICE_FLAG.PROXY_V2 | SERVICE_FLAG.PROXY_INSECURE,
}

/** Flags of ours that a service's attributes make. */
function ownFlags({ engine, proxyProtocol }: Service): number {
  return PROXY_FLAGS[proxyProtocol] | (engine === 'sip' ? SERVICE_FLAG.SIP : 0)
}

/** Bits above belong to this program; a caller's flags have only the kernel's (spec 1.1). */
const KERNEL_FLAGS = 0xffff

/** Seconds by TCP state: spec 3.6, with ESTABLISHED and FIN_WAIT as set by the operator. */
const TCP_TIMEOUT_SEC: Readonly<Record<keyof typeof TCP_STATE, number>> = {
  NONE: 2,
  ESTABLISHED: 900,
  SYN_SENT: 120,
  SYN_RECV: 60,
  FIN_WAIT: 120,
  TIME_WAIT: 120,
  CLOSE: 10,
  CLOSE_WAIT: 60,
  LAST_ACK: 30,
  LISTEN: 120,
  SYNACK: 120,
}

/** The same for FULLNAT (spec 12.8). */
const FULLNAT_TIMEOUT_SEC: Readonly<Record<keyof typeof TCP_STATE, number>> = {
  NONE: 2,
  ESTABLISHED: 90,
  SYN_SENT: 3,
  SYN_RECV: 30,
  FIN_WAIT: 7,
  TIME_WAIT: 7,
  CLOSE: 3,
  CLOSE_WAIT: 7,
  LAST_ACK: 7,
  LISTEN: 120,
  SYNACK: 30,
}

type Values = Readonly<Record<string, number | Address>>

/** Parsing the text of an address costs more than all the rest of its record. */
const knownAddresses = new WeakMap<Address, Uint8Array>()

class BlockWriter {
  readonly bytes: Uint8Array
  readonly #view: DataView

  constructor(length: number) {
    this.bytes = new Uint8Array(new SharedArrayBuffer(length))
    this.#view = new DataView(this.bytes.buffer, 0, length)
  }

  /** Writes the named fields of a record that starts at `offset`. */
  record(name: RecordName, offset: number, values: Values): void {
    const fields: Readonly<Record<string, Field>> = RECORDS[name].fields
    for (const [field, value] of Object.entries(values)) {
      const [type, at] = fields[field]
      if (typeof value === 'object') this.address(offset + at, value)
      else if (type === 'u8') this.#view.setUint8(offset + at, value)
      else if (type === 'u16') this.#view.setUint16(offset + at, value, true)
      else if (type === 'i32') this.#view.setInt32(offset + at, value, true)
      else this.#view.setUint32(offset + at, value, true)
    }
  }

  words(offset: number, values: readonly number[]): void {
    values.forEach((value, i) => this.#view.setUint32(offset + 4 * i, value, true))
  }

  shorts(offset: number, values: readonly number[]): void {
    values.forEach((value, i) => this.#view.setUint16(offset + 2 * i, value, true))
  }

  copy(offset: number, record: Uint8Array): void {
    this.bytes.set(record, offset)
  }

  address(offset: number, value: Address): void {
    let bytes = knownAddresses.get(value)
    if (bytes === undefined) {
      bytes = mappedBytes(value)
      knownAddresses.set(value, bytes)
    }
    this.bytes.set(bytes, offset)
  }
}

/** What the host adds to a configuration. */
export interface HostFacts {
  /** Ports of new FULLNAT connections, both ends included. */
  readonly localPortFirst: number
  readonly localPortLast: number
  /** Ports of those there may be, both ends included. */
  readonly takenPorts: { readonly first: number; readonly last: number }
  /** Ports the host chooses its own from, both ends included: source ports of GUE tunnels. */
  readonly ephemeralPortFirst: number
  readonly ephemeralPortLast: number
  /** net.ipv4.ip_unprivileged_port_start: where the FTP rule begins (spec 1.2). */
  readonly unprivilegedStart: number
  /** Keys of SYN cookies and where their minutes begin: 36 random bytes, for a director's life. */
  readonly cookieSecret: Uint8Array
  /** Addresses to answer ARP and ND for, with the index of the port that does. */
  readonly announces: readonly { readonly address: Address; readonly port: number }[]
  /** Names of the ports by index, for the interfaces of mark rules. */
  readonly portNames: readonly string[]
  readonly held: {
    /** Keys of services whose clients have one worker each, for all their connections. */
    readonly together: ReadonlySet<string>
    /** Services have become such while they had connections. */
    readonly moved: boolean
    /** All that FULLNAT connections may have, of an earlier configuration too. */
    readonly localAddresses: readonly Address[]
  }
}

/** The block of one generation, in shared memory of its own. */
export function writeSnapshot(config: Config, generation: number, host: HostFacts): Uint8Array {
  const services = [...config.services.values()]
  const order = services.flatMap((service) => service.destinations.map((d) => d.slot))
  const { local, placed: listed } = placeLocalAddresses(config, services, host.held.localAddresses)
  const serviceCount = 1 + services.reduce((most, s) => Math.max(most, s.slot), -1)
  const destinationCount = 1 + highestDestination(config)
  const serviceOffset = RECORDS.snapshotHeader.bytes
  const destinationOffset = serviceOffset + serviceCount * RECORDS.service.bytes
  const localAddressOffset = destinationOffset + destinationCount * RECORDS.destination.bytes
  const orderOffset = localAddressOffset + local.length * 16
  const announceOffset = orderOffset + order.length * 4
  const markRuleOffset = announceOffset + host.announces.length * RECORDS.announce.bytes
  const marks = markBlocks(config, host.portNames)
  const markPortOffset = markRuleOffset + marks.rules.length
  const markEndOffset = markPortOffset + marks.ports.length
  const synproxyOffset = markEndOffset + marks.ends.length
  const removed = removedAddresses(config)
  const removedAddressOffset = synproxyOffset + RECORDS.synproxy.bytes
  const bytes = removedAddressOffset + removed.length * 16
  const block = new BlockWriter(bytes)
  block.record('snapshotHeader', 0, {
    magic: SNAPSHOT_MAGIC,
    layoutHash: LAYOUT_HASH,
    generation,
    bytes,
    serviceCount,
    serviceOffset,
    destinationCount,
    destinationOffset,
    orderCount: order.length,
    orderOffset,
    localAddressCount: local.length,
    localAddressOffset,
    ...portFields(host),
    steeringMoved: host.held.moved ? 1 : 0,
    announceCount: host.announces.length,
    announceOffset,
    synproxyOffset,
    udpTimeoutSec: config.timeouts.udpSec,
    markRuleCount: marks.rules.length / RECORDS.markRule.bytes,
    markRuleOffset,
    markPortCount: marks.ports.length / 4,
    markPortOffset,
    markEndCount: marks.ends.length / RECORDS.markEnd.bytes,
    markEndOffset,
    removedAddressCount: removed.length,
    removedAddressOffset,
    ...fullnatFields(config),
  })
  block.shorts(RECORDS.snapshotHeader.fields.ftpPorts[1], config.ftpPorts)
  writeTimers(block, config)
  writeServices(block, serviceOffset, listed, host.held.together)
  writeDestinations(block, destinationOffset, config)
  block.words(orderOffset, order)
  local.forEach((address, i) => block.address(localAddressOffset + 16 * i, address))
  host.announces.forEach((announce, i) => {
    block.record('announce', announceOffset + i * RECORDS.announce.bytes, announce)
  })
  block.copy(markRuleOffset, marks.rules)
  block.copy(markPortOffset, marks.ports)
  block.copy(markEndOffset, marks.ends)
  writeSynproxy(block, synproxyOffset, config, host.cookieSecret)
  removed.forEach((address, i) => block.address(removedAddressOffset + 16 * i, address))
  return block.bytes
}

function fullnatFields({ fullnat }: Config) {
  const toa = fullnat.toa ? FULLNAT_FLAG.TOA : 0
  const randomise = fullnat.randomIsn ? FULLNAT_FLAG.RANDOMISE : 0
  return {
    fullnatFlags: toa | randomise,
    uoaMode: fullnat.uoa === 'ipo' ? UOA.OPTION : UOA.HEADER,
    uoaTrail: fullnat.uoaTrail,
  }
}

interface PlacedService {
  readonly service: Service
  readonly localFirst: number
  readonly localCount: number
}

/** One copy of each different list: many services share the default. */
function placeLocalAddresses(
  config: Config,
  services: readonly Service[],
  held: readonly Address[],
): { local: Address[]; placed: PlacedService[] } {
  const local: Address[] = []
  const firstByList = new Map<string, number>()
  const placed = services.map((service) => {
    const list = effectiveLocalAddresses(config, service)
    const key = list.map((address) => address.text).join()
    let localFirst = firstByList.get(key)
    if (localFirst === undefined) {
      localFirst = local.length
      firstByList.set(key, localFirst)
      local.push(...list)
    }
    return { service, localFirst, localCount: list.length }
  })
  const texts = new Set(local.map(({ text }) => text))
  local.push(...held.filter(({ text }) => !texts.has(text)))
  return { local, placed }
}

function portFields(host: HostFacts) {
  return {
    localPortFirst: host.localPortFirst,
    localPortLast: host.localPortLast,
    takenPortFirst: host.takenPorts.first,
    takenPortLast: host.takenPorts.last,
    ephemeralPortFirst: host.ephemeralPortFirst,
    ephemeralPortLast: host.ephemeralPortLast,
    unprivilegedStart: host.unprivilegedStart,
  }
}

/** Addresses of services by address of which only the trash knows. */
function removedAddresses(config: Config): Address[] {
  const removed = liveTrash(config)
    .map(({ service }) => service)
    .filter((id) => id.fwmark === 0 && !config.services.has(serviceKey(id)))
  const byText = new Map(removed.map(({ address }) => [address.text, address]))
  return [...byText.values()].slice(0, LIMITS.REMOVED_ADDRESSES)
}

function highestDestination(config: Config): number {
  let highest = -1
  for (const { destinations } of config.services.values()) {
    for (const { slot } of destinations) highest = Math.max(highest, slot)
  }
  for (const { destination } of config.trash) highest = Math.max(highest, destination.slot)
  return highest
}

function writeTimers(block: BlockWriter, { timeouts, sysctls }: Config): void {
  const { fields } = RECORDS.snapshotHeader
  const states = Object.keys(TCP_STATE) as (keyof typeof TCP_STATE)[]
  const tcp = { ...TCP_TIMEOUT_SEC, ESTABLISHED: timeouts.tcpSec, FIN_WAIT: timeouts.tcpFinSec }
  block.words(
    fields.tcpTimeoutSec[1],
    states.map((state) => tcp[state]),
  )
  block.words(
    fields.fullnatTcpTimeoutSec[1],
    states.map((state) => FULLNAT_TIMEOUT_SEC[state]),
  )
  const names = Object.keys(SYSCTL_INDEX) as (keyof typeof SYSCTL_INDEX)[]
  for (const name of names) {
    block.words(fields.sysctls[1] + 4 * SYSCTL_INDEX[name], [sysctls[name]])
  }
}

/** Spec 12.9. Without synproxy_conn_reuse no state is one to begin anew in. */
function writeSynproxy(
  block: BlockWriter,
  offset: number,
  { sysctls }: Config,
  secret: Uint8Array,
): void {
  const reuse = {
    CLOSE: sysctls.synproxy_conn_reuse_close,
    TIME_WAIT: sysctls.synproxy_conn_reuse_time_wait,
    FIN_WAIT: sysctls.synproxy_conn_reuse_fin_wait,
    CLOSE_WAIT: sysctls.synproxy_conn_reuse_close_wait,
    LAST_ACK: sysctls.synproxy_conn_reuse_last_ack,
  }
  const states = (Object.keys(reuse) as (keyof typeof reuse)[]).reduce(
    (bits, state) => (reuse[state] === 0 ? bits : bits | (1 << TCP_STATE[state])),
    0,
  )
  const truth = (value: number): number => (value === 0 ? 0 : 1)
  block.record('synproxy', offset, {
    initMss: sysctls.synproxy_init_mss,
    dupAck: sysctls.synproxy_ack_storm_thresh,
    maxAckSaved: sysctls.synproxy_ack_skb_store_thresh,
    reuseStates: sysctls.synproxy_conn_reuse === 0 ? 0 : states,
    windowScale: sysctls.synproxy_wscale,
    sack: truth(sysctls.synproxy_sack),
    timestamps: truth(sysctls.synproxy_timestamp),
    ttl: sysctls.synproxy_synack_ttl,
    defer: truth(sysctls.synproxy_defer),
    synRetry: sysctls.synproxy_syn_retry,
    closeClientWindow: truth(sysctls.synproxy_close_client_window),
  })
  assert.equal(secret.length, RECORDS.synproxy.fields.initMss[1])
  block.copy(offset, secret)
}

/** A SYN is not answered when nobody could take the connection; it must not cost a look at all. */
function snapshotFlags(service: Service): number {
  const flags = service.flags & KERNEL_FLAGS
  const weightless =
    (flags & SERVICE_FLAG.SYNPROXY) !== 0 &&
    service.destinations.every(({ weight }) => weight === 0)
  return weightless ? flags | SERVICE_FLAG.UNWEIGHTED : flags
}

const PROTOCOL = { tcp: 6, udp: 17, sctp: 132 } as const

function writeServices(
  block: BlockWriter,
  offset: number,
  listed: readonly PlacedService[],
  together: ReadonlySet<string>,
): void {
  let orderFirst = 0
  for (const { service, localFirst, localCount } of listed) {
    const { id } = service
    block.record('service', offset + service.slot * RECORDS.service.bytes, {
      address: id.address,
      port: id.port,
      protocol: id.fwmark === 0 ? PROTOCOL[id.protocol] : 0,
      family: id.address.family,
      fwmark: id.fwmark,
      flags:
        snapshotFlags(service) |
        ownFlags(service) |
        (together.has(serviceKey(id)) ? SERVICE_FLAG.BY_ADDRESS : 0),
      schedulerId: schedulerId(service.scheduler),
      orderFirst,
      orderCount: service.destinations.length,
      persistentSec: service.persistentSec,
      netmask: service.netmask,
      localFirst,
      localCount,
      used: 1,
      changes: service.changes,
      incarnation: service.incarnation,
    })
    orderFirst += service.destinations.length
  }
}

function writeDestinations(block: BlockWriter, offset: number, config: Config): void {
  const at = (slot: number) => offset + slot * RECORDS.destination.bytes
  const slotByIncarnation = new Map<number, number>()
  for (const service of config.services.values()) {
    slotByIncarnation.set(service.incarnation, service.slot)
    for (const d of service.destinations) block.copy(at(d.slot), destinationRecord(d, service.slot))
  }
  for (const { destination, serviceIncarnation } of config.trash) {
    const serviceSlot = slotByIncarnation.get(serviceIncarnation) ?? NO_SLOT
    block.copy(at(destination.slot), destinationRecord(destination, serviceSlot))
    block.record('destination', at(destination.slot), { serviceSlot, flags: 0 })
  }
}

/**
 * Records already made. A change touches few of tens of thousands of destinations, and a
 * destination object never changes and never moves to another service slot.
 */
const madeRecords = new WeakMap<Destination, Uint8Array>()

/** The record of a destination in service. */
function destinationRecord(destination: Destination, serviceSlot: number): Uint8Array {
  let record = madeRecords.get(destination)
  if (record === undefined) {
    record = makeDestinationRecord(destination, serviceSlot)
    madeRecords.set(destination, record)
  }
  return record
}

function makeDestinationRecord(destination: Destination, serviceSlot: number): Uint8Array {
  const writer = new BlockWriter(RECORDS.destination.bytes)
  writer.record('destination', 0, {
    address: destination.address,
    port: destination.port,
    method: METHOD_CODE[destination.method],
    family: destination.address.family,
    weight: destination.weight,
    lastWeight: destination.lastWeight,
    upperThreshold: destination.upperThreshold,
    lowerThreshold: destination.lowerThreshold,
    serviceSlot,
    flags: DESTINATION_FLAG.AVAILABLE,
    tunnelType: TUNNEL_TYPE[destination.tunnel.type],
    tunnelFlags: TUNNEL_CHECKSUM[destination.tunnel.checksum],
    tunnelPort: destination.tunnel.port,
    used: 1,
    incarnation: destination.incarnation,
    inserted: destination.inserted,
    hashed: destination.hashed,
  })
  return writer.bytes
}
