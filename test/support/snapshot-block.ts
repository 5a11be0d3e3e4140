/**
 * Builds snapshot blocks for tests straight from layout.ts, without the control plane's model and
 * writer: a test of a reader must not depend on the writer it is to be compared with.
 */
import {
  DESTINATION_FLAG,
  LAYOUT_HASH,
  NO_SLOT,
  offsetOf,
  RECORDS,
  SCHEDULER_ID,
  SERVICE_FLAG,
  SNAPSHOT_MAGIC,
  SYSCTL_INDEX,
} from '../../src/dataplane/layout.js'

export interface DestinationSpec {
  slot: number
  /** 16 bytes; zeros unless given. */
  address?: Uint8Array
  family?: 4 | 6
  weight?: number
  /** The weight unless given. */
  lastWeight?: number
  port?: number
  upperThreshold?: number
  lowerThreshold?: number
  incarnation?: number
  inserted?: number
}

export interface ServiceSpec {
  slot?: number
  scheduler: keyof typeof SCHEDULER_ID
  /** In list order: newest first. */
  destinations: readonly DestinationSpec[]
  port?: number
  protocol?: number
  family?: 4 | 6
  fwmark?: number
  flags?: number
  /** Above 0: persistent. */
  persistentSec?: number
  netmask?: number
  incarnation?: number
  changes?: number
}

export interface SnapshotSpec {
  generation: number
  services: readonly ServiceSpec[]
  /** Destinations that were removed: in the block, but not AVAILABLE. */
  trash?: readonly DestinationSpec[]
  sysctls?: Partial<Record<keyof typeof SYSCTL_INDEX, number>>
}

const DEFAULT_SYSCTLS = { lblc_expiration: 86400, lblcr_expiration: 86400 } as const

/** The block, in shared memory like a real one. */
export function buildSnapshot(spec: SnapshotSpec): Uint8Array {
  const live = spec.services.flatMap((service) => service.destinations)
  const all = [...live, ...(spec.trash ?? [])]
  const serviceCount = 1 + Math.max(-1, ...spec.services.map((service) => service.slot ?? 0))
  const destinationCount = 1 + Math.max(-1, ...all.map((destination) => destination.slot))
  const serviceOffset = RECORDS.snapshotHeader.bytes
  const destinationOffset = serviceOffset + serviceCount * RECORDS.service.bytes
  const orderOffset = destinationOffset + destinationCount * RECORDS.destination.bytes
  const bytes = orderOffset + live.length * 4
  const block = new Uint8Array(new SharedArrayBuffer(bytes))
  const data = new DataView(block.buffer)
  const head = (field: keyof (typeof RECORDS)['snapshotHeader']['fields'], value: number): void =>
    data.setUint32(offsetOf('snapshotHeader', field), value, true)
  head('magic', SNAPSHOT_MAGIC)
  head('layoutHash', LAYOUT_HASH)
  head('generation', spec.generation)
  head('bytes', bytes)
  head('serviceCount', serviceCount)
  head('serviceOffset', serviceOffset)
  head('destinationCount', destinationCount)
  head('destinationOffset', destinationOffset)
  head('orderCount', live.length)
  head('orderOffset', orderOffset)
  for (const [name, value] of Object.entries({ ...DEFAULT_SYSCTLS, ...spec.sysctls })) {
    const index = SYSCTL_INDEX[name as keyof typeof SYSCTL_INDEX]
    data.setUint32(offsetOf('snapshotHeader', 'sysctls') + index * 4, value, true)
  }
  let order = 0
  for (const service of spec.services) {
    const at = serviceOffset + (service.slot ?? 0) * RECORDS.service.bytes
    writeService(data, at, service, order)
    for (const destination of service.destinations) {
      data.setUint32(orderOffset + order++ * 4, destination.slot, true)
      const record = destinationOffset + destination.slot * RECORDS.destination.bytes
      writeDestination(data, record, destination, service.slot ?? 0)
    }
  }
  for (const destination of spec.trash ?? []) {
    const record = destinationOffset + destination.slot * RECORDS.destination.bytes
    writeDestination(data, record, destination, NO_SLOT)
    data.setUint32(record + offsetOf('destination', 'flags'), 0, true)
  }
  return block
}

function writeService(data: DataView, at: number, spec: ServiceSpec, orderFirst: number): void {
  const put = (field: keyof (typeof RECORDS)['service']['fields'], value: number): void =>
    data.setUint32(at + offsetOf('service', field), value, true)
  const fwmark = spec.fwmark ?? 0
  const family = spec.family ?? 4
  const persistent = (spec.persistentSec ?? 0) > 0 ? SERVICE_FLAG.PERSISTENT : 0
  data.setUint16(at + offsetOf('service', 'port'), spec.port ?? (fwmark === 0 ? 80 : 0), true)
  data.setUint8(at + offsetOf('service', 'protocol'), fwmark === 0 ? (spec.protocol ?? 6) : 0)
  data.setUint8(at + offsetOf('service', 'family'), family)
  put('fwmark', fwmark)
  put('flags', (spec.flags ?? 0) | persistent | SERVICE_FLAG.HASHED)
  data.setUint8(at + offsetOf('service', 'schedulerId'), SCHEDULER_ID[spec.scheduler])
  data.setUint8(at + offsetOf('service', 'used'), 1)
  put('orderFirst', orderFirst)
  put('orderCount', spec.destinations.length)
  put('persistentSec', spec.persistentSec ?? 0)
  put('netmask', spec.netmask ?? (family === 4 ? 0xffffffff : 128))
  put('changes', spec.changes ?? 0)
  put('incarnation', spec.incarnation ?? 1)
}

function writeDestination(
  data: DataView,
  at: number,
  spec: DestinationSpec,
  serviceSlot: number,
): void {
  const put = (field: keyof (typeof RECORDS)['destination']['fields'], value: number): void =>
    data.setUint32(at + offsetOf('destination', field), value, true)
  data.setUint16(at + offsetOf('destination', 'port'), spec.port ?? 0, true)
  if (spec.address !== undefined) new Uint8Array(data.buffer).set(spec.address, at)
  data.setUint8(at + offsetOf('destination', 'family'), spec.family ?? 4)
  put('weight', spec.weight ?? 1)
  put('lastWeight', spec.lastWeight ?? spec.weight ?? 1)
  put('upperThreshold', spec.upperThreshold ?? 0)
  put('lowerThreshold', spec.lowerThreshold ?? 0)
  put('serviceSlot', serviceSlot)
  put('flags', DESTINATION_FLAG.AVAILABLE)
  put('used', 1)
  put('incarnation', spec.incarnation ?? 1)
  put('inserted', spec.inserted ?? 1)
}
