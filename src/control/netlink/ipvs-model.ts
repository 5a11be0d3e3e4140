/**
 * Between what IPVS messages carry and what the model and the API say. The interface of the kernel
 * is wider than the model (any protocol number, eight methods), so reading may refuse; showing
 * never does.
 */
import { type Address, parseAddress } from '../model/address.js'
import type { DestinationView, RatesView, ServiceView, StatsView } from '../api/views.js'
import { TUNNEL_CHECKSUMS, TUNNEL_TYPES } from '../model/destination.js'
import type { DestinationId, DestinationOptions, Method, Tunnel } from '../model/destination.js'
import { PROTOCOL_NUMBER, markServiceId } from '../model/service.js'
import type { Protocol, ServiceId, ServiceOptions } from '../model/service.js'
import { accept, refuse } from './errno.js'
import type { WireResult } from './errno.js'
import { FORWARD } from './ipvs-types.js'
import type {
  WireDestination,
  WireDestinationId,
  WireDestinationOptions,
  WireService,
  WireServiceId,
  WireServiceOptions,
  WireStats,
} from './ipvs-types.js'

const ALL_FLAGS = 0xffffffff

/**
 * FULLNAT has no number in the kernel's interface: programs that do not know it see masquerade,
 * which it is but for the source address.
 */
const METHOD_NUMBER: Readonly<Record<Method, number>> = {
  masquerade: FORWARD.masquerade,
  local: FORWARD.local,
  tunnel: FORWARD.tunnel,
  direct: FORWARD.direct,
  fullnat: FORWARD.masquerade,
}

const METHODS_BY_NUMBER: readonly (Method | undefined)[] = [
  'masquerade',
  'local',
  'tunnel',
  'direct',
]

const PROTOCOLS = Object.keys(PROTOCOL_NUMBER) as Protocol[]

/**
 * The service a message names. The kernel's netlink interface takes any protocol number, but a
 * service of a protocol without a handler never sees a packet; here it cannot exist, so adding it
 * gives EPROTONOSUPPORT and every other command ESRCH (`adding` tells which).
 */
export function serviceIdFromWire(wire: WireServiceId, adding: boolean): WireResult<ServiceId> {
  if (wire.fwmark !== 0) return accept(markServiceId(wire.fwmark, wire.family))
  const protocol = PROTOCOLS.find((one) => PROTOCOL_NUMBER[one] === wire.protocol)
  if (protocol === undefined) return refuse(adding ? 'EPROTONOSUPPORT' : 'ESRCH')
  return accept({ protocol, address: wire.address, port: wire.port, fwmark: 0 })
}

/** The id a message carries for a service; a mark hides protocol, address and port. */
export function serviceIdToWire(id: ServiceId): WireServiceId {
  const { address, port, fwmark } = id
  const { family } = address
  return { family, protocol: PROTOCOL_NUMBER[id.protocol], address, port, fwmark }
}

/**
 * What a message chooses about a service. `flags` are those of the service it edits, 0 for a new
 * one: bits outside the mask stay as they are.
 */
export function serviceOptionsFromWire(wire: WireServiceOptions, flags: number): ServiceOptions {
  return {
    scheduler: wire.scheduler,
    flags: ((flags & ~wire.flagsMask) | (wire.flags & wire.flagsMask)) >>> 0,
    persistentSec: wire.timeoutSec,
    netmask: wire.netmask,
    engine: wire.engine,
  }
}

/** Options that replace every flag, as ipvsadm sends them. */
export function serviceOptionsToWire(options: ServiceOptions): WireServiceOptions {
  return {
    scheduler: options.scheduler,
    flags: options.flags,
    flagsMask: ALL_FLAGS,
    timeoutSec: options.persistentSec,
    netmask: options.netmask,
    engine: options.engine,
  }
}

/**
 * What a message chooses about a destination. EINVAL for a method, a tunnel type or tunnel flags
 * that no director has (the kernel keeps them and then drops the packets).
 */
export function destinationOptionsFromWire(
  wire: WireDestinationOptions,
): WireResult<DestinationOptions> {
  const method = METHODS_BY_NUMBER[wire.method]
  const type = TUNNEL_TYPES[wire.tunnelType]
  const checksum = TUNNEL_CHECKSUMS[wire.tunnelFlags]
  if (method === undefined || type === undefined || checksum === undefined) return refuse('EINVAL')
  return accept({
    method,
    weight: wire.weight,
    upperThreshold: wire.upperThreshold,
    lowerThreshold: wire.lowerThreshold,
    tunnel: { type, port: wire.tunnelPort, checksum },
  })
}

/** The id a message carries for a destination. */
export function destinationIdToWire(id: DestinationId): WireDestinationId {
  return { address: id.address, port: id.port }
}

/** Options as a message carries them; fullnat becomes masquerade. */
export function destinationOptionsToWire(options: DestinationOptions): WireDestinationOptions {
  return {
    method: METHOD_NUMBER[options.method],
    weight: options.weight,
    upperThreshold: options.upperThreshold,
    lowerThreshold: options.lowerThreshold,
    ...tunnelToWire(options.tunnel),
  }
}

function tunnelToWire(
  tunnel: Tunnel,
): Pick<WireDestinationOptions, 'tunnelType' | 'tunnelPort' | 'tunnelFlags'> {
  return {
    tunnelType: TUNNEL_TYPES.indexOf(tunnel.type),
    tunnelPort: tunnel.port,
    tunnelFlags: TUNNEL_CHECKSUMS.indexOf(tunnel.checksum),
  }
}

/** A service as a kernel would list it; flags are shown as they are, HASHED (0x2) included. */
export function serviceViewToWire(view: ServiceView): WireService {
  const address = addressOf(view.address)
  return {
    ...serviceIdToWire({ ...view, address }),
    ...serviceOptionsToWire(view),
    stats: statsToWire(view.stats, view.rates),
  }
}

/** A destination as a kernel would list it. */
export function destinationViewToWire(view: DestinationView): WireDestination {
  return {
    address: addressOf(view.address),
    port: view.port,
    ...destinationOptionsToWire(view),
    active: view.active,
    inactive: view.inactive,
    persistent: view.persistent,
    stats: statsToWire(view.stats, view.rates),
  }
}

/** A listed service as the API shows it; refused where the model has no word for its protocol. */
export function serviceViewFromWire(
  wire: WireService,
  destinations: readonly DestinationView[],
): WireResult<ServiceView> {
  const id = serviceIdFromWire(wire, true)
  if (!id.ok) return id
  return accept({
    protocol: id.value.protocol,
    address: id.value.address.text,
    port: id.value.port,
    fwmark: id.value.fwmark,
    ...serviceOptionsFromWire({ ...wire, flagsMask: ALL_FLAGS }, 0),
    localAddresses: [],
    ...statsFromWire(wire.stats),
    destinations,
  })
}

/** A listed destination as the API shows it; refused as destinationOptionsFromWire does. */
export function destinationViewFromWire(wire: WireDestination): WireResult<DestinationView> {
  const options = destinationOptionsFromWire(wire)
  if (!options.ok) return options
  return accept({
    address: wire.address.text,
    port: wire.port,
    ...options.value,
    active: wire.active,
    inactive: wire.inactive,
    persistent: wire.persistent,
    ...statsFromWire(wire.stats),
  })
}

/** Views carry canonical text only, so it always parses. */
function addressOf(text: string): Address {
  const address = parseAddress(text)
  if (address === undefined) throw new Error(`a view holds "${text}" where an address belongs`)
  return address
}

function statsToWire(stats: StatsView, rates: RatesView): WireStats {
  return {
    connections: BigInt(stats.connections),
    inPackets: BigInt(stats.inPackets),
    outPackets: BigInt(stats.outPackets),
    inBytes: BigInt(stats.inBytes),
    outBytes: BigInt(stats.outBytes),
    connectionRate: BigInt(rates.connections),
    inPacketRate: BigInt(rates.inPackets),
    outPacketRate: BigInt(rates.outPackets),
    inByteRate: BigInt(rates.inBytes),
    outByteRate: BigInt(rates.outBytes),
  }
}

function statsFromWire(stats: WireStats): { stats: StatsView; rates: RatesView } {
  return {
    stats: {
      connections: String(stats.connections),
      inPackets: String(stats.inPackets),
      outPackets: String(stats.outPackets),
      inBytes: String(stats.inBytes),
      outBytes: String(stats.outBytes),
    },
    rates: {
      connections: Number(stats.connectionRate),
      inPackets: Number(stats.inPacketRate),
      outPackets: Number(stats.outPacketRate),
      inBytes: Number(stats.inByteRate),
      outBytes: Number(stats.outByteRate),
    },
  }
}
