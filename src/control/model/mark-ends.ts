/**
 * What mark rules select: the destinations, protocols and ports of packets that may get a mark that
 * some service is for. The data plane takes exactly these from the host; sources, interfaces and
 * `!` before a destination are looked at by the rules themselves, later. Pure.
 */
import { anyAddress, type Address, type Family } from './address.js'
import type { Config } from './config.js'
import { markSteps, type MarkStep } from './mark-compile.js'
import {
  addressBits,
  contains,
  type Condition,
  type MarkMatch,
  type MarkRule,
  type PortRange,
  type Prefix,
} from './mark-rule.js'
import { PROTOCOL_NUMBER, type Protocol } from './service.js'
import { liveTrash } from './trash.js'

export interface MarkEnd extends Prefix, PortRange {
  readonly protocol: Protocol
}

const PROTOCOLS = Object.keys(PROTOCOL_NUMBER) as Protocol[]
const ALL_PORTS: PortRange = { first: 0, last: 0xffff }
const WHOLE = 0xffffffff

/** Marks of services, and of removed ones that connections may still name, by family. */
function wantedMarks(config: Config): Record<Family, Set<number>> {
  const marks: Record<Family, Set<number>> = { 4: new Set(), 6: new Set() }
  const ids = [...config.services.values()].map(({ id }) => id)
  for (const { fwmark, address } of [...ids, ...liveTrash(config).map(({ service }) => service)]) {
    if (fwmark !== 0) marks[address.family].add(fwmark)
  }
  return marks
}

/** What the rules of `config` select, each once. */
export function selectedEnds(config: Config): MarkEnd[] {
  if (config.markRules.length === 0) return []
  return endsOf(config.markRules, wantedMarks(config))
}

/** The most that `rules` can select, whatever services there are. */
export function mostEnds(rules: readonly MarkRule[]): number {
  return markSteps(rules).flatMap(stepEnds).length
}

function endsOf(
  rules: readonly MarkRule[],
  wanted: Readonly<Record<Family, ReadonlySet<number>>>,
): MarkEnd[] {
  const steps = markSteps(rules)
  const found = new Map<string, MarkEnd>()
  for (const family of [4, 6] as const) {
    const own = steps.filter((step) => step.family === family && (step.clear | step.flip) !== 0)
    // Where a rule changes some bits only, what comes out depends on the others.
    const isWhole = own.every(({ clear }) => clear === WHOLE)
    for (const step of own) {
      if (wanted[family].size === 0 || (isWhole && !wanted[family].has(step.flip))) continue
      for (const end of stepEnds(step)) {
        found.set(`${end.address.text}/${end.bits} ${end.protocol} ${end.first} ${end.last}`, end)
      }
    }
  }
  return [...found.values()]
}

/** Single addresses that rules select: as good as the address of a service. */
export function markedAddresses(ends: readonly MarkEnd[]): Address[] {
  return ends.filter(({ address, bits }) => bits === addressBits(address.family)).map(addressOf)
}

function addressOf({ address }: MarkEnd): Address {
  return address
}

/** Whether the end stands for every address of its family. */
export function isAnywhere({ bits }: MarkEnd): boolean {
  return bits === 0
}

function stepEnds({ family, match, within, clear, flip }: MarkStep): MarkEnd[] {
  if ((clear | flip) === 0) return []
  const all = [...within, match]
  const prefix = all.reduce<Prefix | undefined>(
    (so, { destination }) => (so === undefined ? undefined : narrower(so, destination)),
    { address: anyAddress(family), bits: 0 },
  )
  if (prefix === undefined) return []
  const ranges = all.reduce((so, one) => both(so, destinationRanges(one)), [ALL_PORTS])
  return PROTOCOLS.filter((protocol) => all.every((one) => allows(one, protocol))).flatMap(
    (protocol) => ranges.map((range) => ({ ...prefix, ...range, protocol })),
  )
}

function allows({ protocol }: MarkMatch, name: Protocol): boolean {
  return protocol === undefined || (protocol.is === PROTOCOL_NUMBER[name]) !== protocol.not
}

/** The part of `so` that a condition leaves; all of it where it is negated. */
function narrower(so: Prefix, condition: Condition<Prefix> | undefined): Prefix | undefined {
  if (condition === undefined) return so
  if (condition.not) return contains(condition.is, so) ? undefined : so
  if (contains(so, condition.is)) return condition.is
  return contains(condition.is, so) ? so : undefined
}

/** Destination ports that a rule allows; either-port conditions allow them all. */
function destinationRanges({ destinationPorts }: MarkMatch): PortRange[] {
  if (destinationPorts === undefined) return [ALL_PORTS]
  const sorted = [...destinationPorts.is].sort((a, b) => a.first - b.first)
  const joined: PortRange[] = []
  for (const range of sorted) {
    const before = joined.at(-1)
    if (before === undefined || range.first > before.last + 1) joined.push(range)
    else joined[joined.length - 1] = { ...before, last: Math.max(before.last, range.last) }
  }
  return destinationPorts.not ? complement(joined) : joined
}

function complement(ranges: readonly PortRange[]): PortRange[] {
  const gaps: PortRange[] = []
  let from = 0
  for (const { first, last } of ranges) {
    if (first > from) gaps.push({ first: from, last: first - 1 })
    from = last + 1
  }
  return from > 0xffff ? gaps : [...gaps, { first: from, last: 0xffff }]
}

/** Ports that are in both lists. */
function both(a: readonly PortRange[], b: readonly PortRange[]): PortRange[] {
  return a.flatMap((x) =>
    b
      .map((y) => ({ first: Math.max(x.first, y.first), last: Math.min(x.last, y.last) }))
      .filter(({ first, last }) => first <= last),
  )
}
