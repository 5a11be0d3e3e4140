/**
 * Mark rules: what mangle PREROUTING does in a recipe with iptables, as part of the configuration.
 * A rule is a set of conditions, all of which must hold, and what then happens to the packet's mark
 * (iptables(8), iptables-extensions(8): MARK, multiport, mark).
 */
import { addressFromValue, addressValue } from './address.js'
import type { Address, Family } from './address.js'
import { failure, success } from './errors.js'
import type { Result } from './errors.js'

/** `bits` leading bits of `address` count; the others are zero. */
export interface Prefix {
  readonly address: Address
  readonly bits: number
}

/** Both ends included. */
export interface PortRange {
  readonly first: number
  readonly last: number
}

/** The packet's mark so far has these bits: (mark & mask) === value. */
export interface MarkBits {
  readonly value: number
  readonly mask: number
}

/** Holds where the packet has it, or with `not` where it has it not. */
export interface Condition<T> {
  readonly is: T
  readonly not: boolean
}

/** What a rule asks of a packet; a condition that is not there holds. */
export interface MarkMatch {
  readonly source?: Condition<Prefix>
  readonly destination?: Condition<Prefix>
  /** Name of the input interface; a `+` at the end stands for any further characters. */
  readonly interface?: Condition<string>
  /** IANA number. */
  readonly protocol?: Condition<number>
  readonly sourcePorts?: Condition<readonly PortRange[]>
  readonly destinationPorts?: Condition<readonly PortRange[]>
  /** Holds where either port is in one of the ranges. */
  readonly ports?: Condition<readonly PortRange[]>
  readonly mark?: Condition<MarkBits>
}

/**
 * `mark`: the bits of `clear` are cleared, then those of `flip` flipped, and the rules go on.
 * `accept`: no more rules. `return`: no more rules of this chain.
 */
export type MarkAction =
  | { readonly kind: 'mark'; readonly clear: number; readonly flip: number }
  | { readonly kind: 'accept' }
  | { readonly kind: 'return' }
  | { readonly kind: 'jump'; readonly chain: string }

export interface MarkRule extends MarkMatch {
  readonly family: Family
  /** PREROUTING, or one that a rule jumps to. */
  readonly chain: string
  readonly action: MarkAction
}

export const PREROUTING = 'PREROUTING'

/**
 * Most rules; and once jumps are written out: most steps, port ranges, and destinations with
 * protocol and port range (LIMITS.MARK_RULES, MARK_PORTS and MARK_ENDS of the data plane).
 */
export const MARK_LIMITS = { rules: 1024, steps: 2048, ports: 8192, ends: 8192 } as const

/** Ports of one condition; a range counts as two (linux/netfilter/xt_multiport.h). */
export const PORTS_MAX = 15

/** IFNAMSIZ - 1 and XT_EXTENSION_MAXNAMELEN - 1. */
const INTERFACE_MAX = 15
const CHAIN_MAX = 28

/** TCP, UDP, DCCP, SCTP, UDP-Lite. */
const WITH_PORTS: readonly number[] = [6, 17, 33, 132, 136]

/** iptables' MARK: --set-mark value/mask. */
export function setMark(value: number, mask = 0xffffffff): MarkAction {
  return xmark(value, value | mask)
}

/** --set-xmark value/mask; the kernel knows this one only. */
export function xmark(value: number, mask = 0xffffffff): MarkAction {
  return { kind: 'mark', clear: mask >>> 0, flip: value >>> 0 }
}

/** Bits of an address of this family. */
export function addressBits(family: Family): number {
  return family === 4 ? 32 : 128
}

/** The prefix of `address`, its other bits zeroed. */
export function prefixOf(address: Address, bits: number): Prefix {
  const shift = BigInt(addressBits(address.family) - bits)
  return {
    address: addressFromValue(address.family, (addressValue(address) >> shift) << shift),
    bits,
  }
}

/** Whether all of `inner` lies in `outer`. */
export function contains(outer: Prefix, inner: Prefix): boolean {
  if (outer.address.family !== inner.address.family || outer.bits > inner.bits) return false
  return prefixOf(inner.address, outer.bits).address.text === outer.address.text
}

/** Prefixes that together are the addresses from `first` to `last`, which is not before it. */
export function prefixesOf(first: Address, last: Address): Prefix[] {
  const all = BigInt(addressBits(first.family))
  const end = addressValue(last)
  const found: Prefix[] = []
  for (let at = addressValue(first); at <= end;) {
    let size = 0n
    while (size < all && at % (2n << size) === 0n && at + (2n << size) - 1n <= end) size++
    found.push({ address: addressFromValue(first.family, at), bits: Number(all - size) })
    at += 1n << size
  }
  return found
}

/** Places that ranges take in a condition. */
export function portPlaces(ranges: readonly PortRange[]): number {
  return ranges.reduce((sum, { first, last }) => sum + (first === last ? 1 : 2), 0)
}

/** The rule, or a sentence about what is wrong with it. */
export function checkMarkRule(rule: MarkRule): Result<MarkRule> {
  const why =
    prefixFault(rule.family, rule.source) ??
    prefixFault(rule.family, rule.destination) ??
    nameFault(rule) ??
    portFault(rule)
  return why === undefined ? success(rule) : failure('MARK_RULE_BAD', why)
}

function prefixFault(family: Family, prefix: Condition<Prefix> | undefined): string | undefined {
  if (prefix === undefined) return undefined
  const { address, bits } = prefix.is
  if (address.family !== family) return `${address.text} is not an IPv${family} address`
  if (bits <= addressBits(family)) return undefined
  return `a prefix has at most ${addressBits(family)} bits`
}

function nameFault(rule: MarkRule): string | undefined {
  const name = rule.interface?.is
  if (name !== undefined && (name.length > INTERFACE_MAX || !/^[^\s/!"]+$/.test(name))) {
    return `"${name}" is no name of an interface`
  }
  const chains = [rule.chain, ...(rule.action.kind === 'jump' ? [rule.action.chain] : [])]
  const bad = chains.find((chain) => chain.length > CHAIN_MAX || !/^[^\s!"-][^\s"]*$/.test(chain))
  return bad === undefined ? undefined : `"${bad}" is no name of a chain`
}

function portFault(rule: MarkRule): string | undefined {
  const { protocol } = rule
  for (const ports of [rule.sourcePorts, rule.destinationPorts, rule.ports]) {
    if (ports === undefined) continue
    if (protocol === undefined || protocol.not || !WITH_PORTS.includes(protocol.is)) {
      return 'ports need a protocol that has them: -p tcp, udp or sctp'
    }
    if (ports.is.length === 0 || portPlaces(ports.is) > PORTS_MAX) {
      return `one condition names 1 to ${PORTS_MAX} ports, where a range counts as two`
    }
  }
  return undefined
}
