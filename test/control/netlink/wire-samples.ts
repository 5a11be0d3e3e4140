/** Bytes written down as hexadecimal, and random values of every kind that messages carry. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { addressFromValue, parseAddress } from '../../../src/control/model/address.js'
import type { Address } from '../../../src/control/model/address.js'
import type { WireErrno, WireResult } from '../../../src/control/netlink/errno.js'
import { ERRNO } from '../../../src/control/netlink/errno.js'
import type {
  WireDaemon,
  WireDestination,
  WireService,
  WireServiceId,
  WireStats,
} from '../../../src/control/netlink/ipvs-types.js'

/** Bytes of hexadecimal text; blanks are for the reader. */
export function bytes(...lines: string[]): Uint8Array {
  const text = lines.join('').replace(/\s/g, '')
  assert.match(text, /^([0-9a-f]{2})*$/)
  return new Uint8Array(Buffer.from(text, 'hex'))
}

/** Asserts equal bytes; a difference shows as hexadecimal. */
export function sameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assert.equal(Buffer.from(actual).toString('hex'), Buffer.from(expected).toString('hex'))
}

/** The value of a result that must be one. */
export function valueOf<T>(result: WireResult<T>): T {
  assert.ok(result.ok, result.ok ? '' : `refused with errno ${result.errno}`)
  return result.value
}

/** Asserts a refusal with this errno. */
export function refusedWith(result: WireResult<unknown>, errno: WireErrno): void {
  assert.deepEqual(result, { ok: false, errno: ERRNO[errno] })
}

/** An address from its text. */
export function address(text: string): Address {
  const parsed = parseAddress(text)
  assert.ok(parsed)
  return parsed
}

/** Counters 1 to 10 in the order of their attributes. */
export const ONE_TO_TEN: WireStats = {
  connections: 1n,
  inPackets: 2n,
  outPackets: 3n,
  inBytes: 4n,
  outBytes: 5n,
  connectionRate: 6n,
  inPacketRate: 7n,
  outPacketRate: 8n,
  inByteRate: 9n,
  outByteRate: 10n,
}

/** fc.record with ordinary objects, which deepEqual compares with what unpack functions return. */
export function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
}

export const u8 = fc.integer({ min: 0, max: 0xff })
export const u16 = fc.integer({ min: 0, max: 0xffff })
export const u32 = fc.oneof(
  fc.integer({ min: 0, max: 0xffffffff }),
  fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffffffff),
)
export const s32 = fc.integer({ min: -0x80000000, max: 0x7fffffff })
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const word = (max: number): fc.Arbitrary<string> =>
  fc.string({ minLength: 0, maxLength: max, unit: fc.constantFrom(...'abcz09-_.+') })

export const ipv4 = fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((v) => addressFromValue(4, v))
export const ipv6 = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((v) => addressFromValue(6, v))
export const anyFamily = fc.oneof(ipv4, ipv6)

const statsOf = (width: bigint): fc.Arbitrary<WireStats> => {
  const narrow = fc.bigInt({ min: 0n, max: 2n ** width - 1n })
  return record({
    connections: narrow,
    inPackets: narrow,
    outPackets: narrow,
    inBytes: u64,
    outBytes: u64,
    connectionRate: narrow,
    inPacketRate: narrow,
    outPacketRate: narrow,
    inByteRate: narrow,
    outByteRate: narrow,
  })
}
export const stats64 = statsOf(64n)
/** What socket options can carry. */
export const stats32 = statsOf(32n)

/** Ids by address and by mark; those by mark as messages give them, with placeholders. */
export const serviceId: fc.Arbitrary<WireServiceId> = fc.oneof(
  fc
    .record({ protocol: u16, address: anyFamily, port: u16 })
    .map((id) => ({ ...id, family: id.address.family, fwmark: 0 })),
  fc
    .record({ family: fc.constantFrom(4 as const, 6 as const), fwmark: u32 })
    .filter(({ fwmark }) => fwmark !== 0)
    .map(({ family, fwmark }) => {
      return { family, protocol: 6, address: addressFromValue(family, 0n), port: 0, fwmark }
    }),
)

export const serviceOptions = record({
  scheduler: word(15),
  flags: u32,
  flagsMask: u32,
  timeoutSec: u32,
  netmask: u32,
  engine: word(16),
})

export const service: fc.Arbitrary<WireService> = fc
  .tuple(serviceId, serviceOptions, stats64)
  .map(([id, options, stats]) => ({ ...id, ...options, flagsMask: 0xffffffff, stats }))

export const destinationId = record({ address: anyFamily, port: u16 })

export const destinationOptions = record({
  method: fc.integer({ min: 0, max: 7 }),
  weight: s32,
  upperThreshold: u32,
  lowerThreshold: u32,
  tunnelType: u8,
  tunnelPort: u16,
  tunnelFlags: u16,
})

export const destination: fc.Arbitrary<WireDestination> = fc
  .tuple(
    destinationId,
    destinationOptions,
    record({ active: u32, inactive: u32, persistent: u32, stats: stats64 }),
  )
  .map(([id, options, counts]) => ({ ...id, ...options, ...counts }))

const multicast = fc.oneof(
  fc.bigInt({ min: 0xe0000000n, max: 0xefffffffn }).map((v) => addressFromValue(4, v)),
  fc.bigInt({ min: 0xffn << 120n, max: 2n ** 128n - 1n }).map((v) => addressFromValue(6, v)),
)

export const daemon: fc.Arbitrary<WireDaemon> = record({
  state: u32,
  interface: word(15),
  syncId: u32,
  maxLength: u16,
  group: fc.option(multicast, { nil: undefined }),
  port: u16,
  ttl: u8,
})

export const timeouts = record({ tcpSec: u32, tcpFinSec: u32, udpSec: u32 })
export const info = record({ version: u32, tableSize: u32 })
