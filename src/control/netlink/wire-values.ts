/** Address families, addresses and counters as IPVS messages and socket options carry them. */
import { addressFromValue, addressValue } from '../model/address.js'
import type { Address, Family } from '../model/address.js'
import {
  AttributeWriter,
  type Attributes,
  type Policy,
  readAttributes,
  viewOf,
} from './attributes.js'
import { ADDRESS_BYTES, STATS_ATTR } from './ipvs-attributes.js'
import type { WireStats } from './ipvs-types.js'

const AF_INET = 2
const AF_INET6 = 10

/** AF_INET or AF_INET6. */
export function familyNumber(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6
}

/** undefined for any other family. */
export function familyFromNumber(number: number): Family | undefined {
  if (number === AF_INET) return 4
  return number === AF_INET6 ? 6 : undefined
}

/** union nf_inet_addr: IPv4 in the first four of 16 bytes, network order. */
export function addressBytes(address: Address): Uint8Array {
  const bytes = new Uint8Array(ADDRESS_BYTES)
  const view = viewOf(bytes)
  const value = addressValue(address)
  if (address.family === 4) {
    view.setUint32(0, Number(value))
  } else {
    view.setBigUint64(0, value >> 64n)
    view.setBigUint64(8, BigInt.asUintN(64, value))
  }
  return bytes
}

/** The address of a family in 16 bytes; what follows an IPv4 address is ignored. */
export function addressFromBytes(family: Family, bytes: Uint8Array): Address {
  const view = viewOf(bytes)
  if (family === 4) return addressFromValue(4, BigInt(view.getUint32(0)))
  return addressFromValue(6, (view.getBigUint64(0) << 64n) | view.getBigUint64(8))
}

export type StatsField = keyof WireStats

const FIELDS = Object.keys(STATS_ATTR) as StatsField[]

/** The counters that have 64 bits in every form (spec 7.5). */
export const WIDE_STATS: ReadonlySet<StatsField> = new Set(['inBytes', 'outBytes'])

/** Counters, each from `counter`. */
export function statsOf(counter: (field: StatsField) => bigint): WireStats {
  return {
    connections: counter('connections'),
    inPackets: counter('inPackets'),
    outPackets: counter('outPackets'),
    inBytes: counter('inBytes'),
    outBytes: counter('outBytes'),
    connectionRate: counter('connectionRate'),
    inPacketRate: counter('inPacketRate'),
    outPacketRate: counter('outPacketRate'),
    inByteRate: counter('inByteRate'),
    outByteRate: counter('outByteRate'),
  }
}

/**
 * STATS, everything but the byte counters cut to 32 bits, then STATS64. Without padding before
 * 64-bit values, as on every machine with cheap unaligned access.
 */
export function writeStats(
  writer: AttributeWriter,
  types: { readonly stats: number; readonly stats64: number },
  stats: WireStats,
): void {
  writer.nested(types.stats, () => {
    for (const field of FIELDS) {
      if (WIDE_STATS.has(field)) writer.u64(STATS_ATTR[field], stats[field])
      else writer.u32(STATS_ATTR[field], Number(BigInt.asUintN(32, stats[field])))
    }
  })
  writer.nested(types.stats64, () => {
    for (const field of FIELDS) writer.u64(STATS_ATTR[field], stats[field])
  })
}

const policyOf = (isWide: (field: StatsField) => boolean): Policy =>
  Object.fromEntries(FIELDS.map((field) => [STATS_ATTR[field], isWide(field) ? 'u64' : 'u32']))

const STATS_POLICY = policyOf((field) => WIDE_STATS.has(field))
const STATS64_POLICY = policyOf(() => true)

/**
 * STATS64, or STATS of a kernel without it (before 4.1); counters a kernel leaves out are 0.
 * undefined when the attribute is malformed.
 */
export function readStats(
  attributes: Attributes,
  types: { readonly stats: number; readonly stats64: number },
): WireStats | undefined {
  const wide = attributes.raw(types.stats64)
  const bytes = wide ?? attributes.raw(types.stats)
  if (bytes === undefined) return statsOf(() => 0n)
  const read = readAttributes(bytes, wide === undefined ? STATS_POLICY : STATS64_POLICY)
  if (!read.ok) return undefined
  const counter = (field: StatsField): bigint => {
    const type = STATS_ATTR[field]
    if (wide !== undefined || WIDE_STATS.has(field)) return read.value.u64(type) ?? 0n
    return BigInt(read.value.u32(type) ?? 0)
  }
  return statsOf(counter)
}
