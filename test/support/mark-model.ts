/**
 * Mark rules as netfilter walks through them, slow and obvious, and random rules and packets of a
 * world so small that most conditions meet.
 */
import { parseAddress, type Family } from '../../src/control/model/address.js'
import {
  contains,
  type MarkAction,
  type MarkMatch,
  type MarkRule,
  type PortRange,
  type Prefix,
  prefixOf,
  PREROUTING,
  setMark,
  xmark,
} from '../../src/control/model/mark-rule.js'
import type { SeededRandom } from './seeded-random.js'

export interface MarkedPacket {
  readonly family: Family
  readonly source: string
  readonly destination: string
  readonly protocol: number
  readonly sourcePort: number
  readonly destinationPort: number
  readonly interface: string
}

type Ending = 'end' | 'accept'

/** The mark that `packet` has after PREROUTING. */
export function markOf(rules: readonly MarkRule[], packet: MarkedPacket): number {
  let mark = 0
  const walk = (chain: string): Ending => {
    for (const rule of rules) {
      if (rule.chain !== chain || rule.family !== packet.family) continue
      if (!matches(rule, packet, mark)) continue
      const { action } = rule
      if (action.kind === 'accept') return 'accept'
      if (action.kind === 'return') return 'end'
      if (action.kind === 'mark') mark = ((mark & ~action.clear) ^ action.flip) >>> 0
      else if (walk(action.chain) === 'accept') return 'accept'
    }
    return 'end'
  }
  walk(PREROUTING)
  return mark
}

function matches(rule: MarkMatch, packet: MarkedPacket, mark: number): boolean {
  const inside = (text: string, prefix: Prefix) => contains(prefix, whole(text))
  const within = (port: number, ranges: readonly PortRange[]) =>
    ranges.some(({ first, last }) => first <= port && port <= last)
  const { sourcePort, destinationPort } = packet
  const checks: [{ not: boolean } | undefined, () => boolean][] = [
    [rule.source, () => inside(packet.source, rule.source!.is)],
    [rule.destination, () => inside(packet.destination, rule.destination!.is)],
    [rule.interface, () => named(rule.interface!.is, packet.interface)],
    [rule.protocol, () => rule.protocol!.is === packet.protocol],
    [rule.sourcePorts, () => within(sourcePort, rule.sourcePorts!.is)],
    [rule.destinationPorts, () => within(destinationPort, rule.destinationPorts!.is)],
    [rule.ports, () => [sourcePort, destinationPort].some((p) => within(p, rule.ports!.is))],
    [rule.mark, () => (mark & rule.mark!.is.mask) >>> 0 === rule.mark!.is.value],
  ]
  return checks.every(([condition, holds]) => condition === undefined || holds() !== condition.not)
}

function named(pattern: string, name: string): boolean {
  return pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : pattern === name
}

function whole(text: string): Prefix {
  const address = parseAddress(text)!
  return { address, bits: address.family === 4 ? 32 : 128 }
}

export const INTERFACES = ['eth0', 'eth1', 'wan0']
const CHAINS = [PREROUTING, 'one', 'two', 'three']
const PORTS = [20, 21, 80, 443, 10000, 15000, 20000, 65535]

const addressIn = (random: SeededRandom, family: Family): string => {
  const n = 1 + random.below(6)
  return family === 4 ? `198.18.${random.below(2)}.${n}` : `2001:db8::${random.below(2)}:${n}`
}

/** A packet of the small world. */
export function randomPacket(random: SeededRandom): MarkedPacket {
  const family = random.below(2) === 0 ? 4 : 6
  return {
    family,
    source: addressIn(random, family),
    destination: addressIn(random, family),
    protocol: random.below(3) === 0 ? 17 : 6,
    sourcePort: random.pick(PORTS),
    destinationPort: random.pick(PORTS),
    interface: random.pick(INTERFACES),
  }
}

/** Rules with every kind of condition and action; jumps only lead to later chains. */
export function randomRules(random: SeededRandom, count: number): MarkRule[] {
  return Array.from({ length: count }, () => {
    const family: Family = random.below(2) === 0 ? 4 : 6
    const chain = random.below(CHAINS.length)
    const match = randomMatch(random, family)
    return { ...match, family, chain: CHAINS[chain], action: randomAction(random, chain) }
  })
}

function randomAction(random: SeededRandom, chain: number): MarkAction {
  const kind = random.below(8)
  if (kind === 0) return { kind: 'accept' }
  if (kind === 1) return { kind: 'return' }
  if (kind <= 3 && chain + 1 < CHAINS.length) {
    return { kind: 'jump', chain: CHAINS[chain + 1 + random.below(CHAINS.length - chain - 1)] }
  }
  if (kind === 4) return xmark(random.below(8), random.below(8))
  return setMark(random.below(8), random.below(3) === 0 ? random.below(8) : 0xffffffff)
}

function randomMatch(random: SeededRandom, family: Family): MarkMatch {
  const maybe = <T>(of: number, is: () => T) =>
    random.below(of) === 0 ? { is: is(), not: random.below(3) === 0 } : undefined
  const prefix = (): Prefix => {
    const address = parseAddress(addressIn(random, family))!
    return prefixOf(address, random.pick(family === 4 ? [32, 30, 24, 23, 8, 0] : [128, 112, 64, 0]))
  }
  const ranges = (): PortRange[] =>
    Array.from({ length: 1 + random.below(3) }, () => {
      const [a, b] = [random.pick(PORTS), random.pick(PORTS)]
      return {
        first: Math.min(a, b),
        last: random.below(2) === 0 ? Math.max(a, b) : Math.min(a, b),
      }
    })
  const ports = random.below(2) === 0
  const found = {
    source: maybe(3, prefix),
    destination: maybe(2, prefix),
    interface: maybe(4, () => random.pick([...INTERFACES, 'eth+', 'ppp0'])),
    protocol: ports
      ? { is: random.pick([6, 6, 17]), not: false }
      : maybe(4, () => random.pick([6, 17, 1])),
    sourcePorts: ports ? maybe(3, ranges) : undefined,
    destinationPorts: ports ? maybe(2, ranges) : undefined,
    ports: ports ? maybe(4, ranges) : undefined,
    mark: maybe(5, () => {
      const mask = random.below(8)
      return { mask, value: random.below(8) & mask }
    }),
  }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined))
}
