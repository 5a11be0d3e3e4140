/** What the kernel's IPVS holds, in the words of the model. Pure. */
import type { Timeouts } from '../model/config.js'
import { destinationKey } from '../model/destination.js'
import type { DestinationId, DestinationOptions } from '../model/destination.js'
import type { ServiceId, ServiceOptions } from '../model/service.js'
import { serviceKey } from '../model/service.js'
import type { SyncDaemon } from '../model/sync-daemon.js'
import type { TrafficCounters, TrafficReading } from '../dataplane-port.js'
import type { WireDestination, WireService, WireStats } from '../netlink/ipvs-types.js'
import {
  destinationOptionsFromWire,
  serviceIdFromWire,
  serviceOptionsFromWire,
} from '../netlink/ipvs-model.js'

export interface KernelDestination extends DestinationId {
  /** Undefined: a method or a tunnel that the model has no word for. */
  readonly options: DestinationOptions | undefined
  readonly active: number
  readonly inactive: number
  readonly persistent: number
  readonly stats: WireStats
}

export interface KernelService {
  readonly id: ServiceId
  readonly options: ServiceOptions
  readonly stats: WireStats
  /** By destinationKey, in the kernel's order. */
  readonly destinations: ReadonlyMap<string, KernelDestination>
}

export interface KernelState {
  /** By serviceKey, in the kernel's order. */
  readonly services: ReadonlyMap<string, KernelService>
  /** Services of protocols that the model has no word for: nobody's but their maker's. */
  readonly strange: number
  readonly daemons: readonly SyncDaemon[]
  readonly timeouts: Timeouts
}

const ALL_FLAGS = 0xffffffff

/** A listed service with its destinations; undefined where the model has no word for it. */
export function kernelService(
  wire: WireService,
  destinations: readonly WireDestination[],
): [string, KernelService] | undefined {
  const id = serviceIdFromWire(wire, false)
  if (!id.ok) return undefined
  const options = serviceOptionsFromWire({ ...wire, flagsMask: ALL_FLAGS }, 0)
  const listed = destinations.map((one): [string, KernelDestination] => {
    const read = destinationOptionsFromWire(one)
    const { address, port, active, inactive, persistent, stats } = one
    const known = read.ok ? read.value : undefined
    return [
      destinationKey(one),
      { address, port, options: known, active, inactive, persistent, stats },
    ]
  })
  const service = { id: id.value, options, stats: wire.stats, destinations: new Map(listed) }
  return [serviceKey(id.value), service]
}

/** Counters of a listing. */
export function countersOf(stats: WireStats): TrafficCounters {
  const { connections, inPackets, outPackets, inBytes, outBytes } = stats
  return { connections, inPackets, outPackets, inBytes, outBytes }
}

/** Counters and rates of a listing: the kernel's own, zeroing and estimator included. */
export function readingOf(stats: WireStats): TrafficReading {
  return {
    stats: () => countersOf(stats),
    rates: () => ({
      connections: stats.connectionRate,
      inPackets: stats.inPacketRate,
      outPackets: stats.outPacketRate,
      inBytes: stats.inByteRate,
      outBytes: stats.outByteRate,
    }),
  }
}
