/** Mark rules as the records of a snapshot block and of the classifier. Pure. */
import { anyAddress, mappedBytes, type Family } from '../control/model/address.js'
import type { Config } from '../control/model/config.js'
import { markSteps, type MarkStep } from '../control/model/mark-compile.js'
import { selectedEnds, type MarkEnd } from '../control/model/mark-ends.js'
import type { Condition, MarkMatch, PortRange, Prefix } from '../control/model/mark-rule.js'
import { PROTOCOL_NUMBER } from '../control/model/service.js'
import { MARK_NOT, offsetOf, RECORDS } from './layout.js'

/** Arrays of `markRule` records, of ranges (first, last << 16) and of `markEnd` records. */
export interface MarkBlocks {
  readonly rules: Uint8Array
  readonly ports: Uint8Array
  readonly ends: Uint8Array
}

const RULE_BYTES = RECORDS.markRule.bytes
const END_BYTES = RECORDS.markEnd.bytes
/** IPv4 addresses are IPv4-mapped. */
const MAPPED_BITS = 96

type RuleField = keyof (typeof RECORDS)['markRule']['fields']

/** Everything that workers know of the mark rules of `config`. `ports`: names by port index. */
export function markBlocks(config: Config, ports: readonly string[]): MarkBlocks {
  const steps = config.markRules.length === 0 ? [] : markSteps(config.markRules)
  const rules = new Uint8Array(steps.length * RULE_BYTES)
  const ranges: number[] = []
  steps.forEach((step, i) => {
    new RuleWriter(rules.subarray(i * RULE_BYTES, (i + 1) * RULE_BYTES), ranges).write(step, ports)
  })
  const words = new Uint8Array(ranges.length * 4)
  const view = new DataView(words.buffer)
  ranges.forEach((range, i) => view.setUint32(4 * i, range, true))
  return { rules, ports: words, ends: markEndRecords(config) }
}

/** What the mark rules of `config` select, as the classifier takes it. */
export function markEndRecords(config: Config): Uint8Array {
  const ends = selectedEnds(config)
  const bytes = new Uint8Array(ends.length * END_BYTES)
  const view = new DataView(bytes.buffer)
  ends.forEach((end, i) => writeEnd(bytes, view, i * END_BYTES, end))
  return bytes
}

function writeEnd(bytes: Uint8Array, view: DataView, at: number, end: MarkEnd): void {
  const { family } = end.address
  bytes.set(mappedBytes(end.address), at + offsetOf('markEnd', 'address'))
  view.setUint16(at + offsetOf('markEnd', 'portFirst'), end.first, true)
  view.setUint16(at + offsetOf('markEnd', 'portLast'), end.last, true)
  view.setUint8(at + offsetOf('markEnd', 'protocol'), PROTOCOL_NUMBER[end.protocol])
  view.setUint8(at + offsetOf('markEnd', 'bits'), mappedBits(end))
  view.setUint8(at + offsetOf('markEnd', 'family'), family)
}

function mappedBits({ address, bits }: Prefix): number {
  return address.family === 4 ? MAPPED_BITS + bits : bits
}

/** Writes one step into its record; ranges go to the end of the common list. */
class RuleWriter {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #ranges: number[]
  #not = 0

  constructor(bytes: Uint8Array, ranges: number[]) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#ranges = ranges
  }

  write({ family, match, clear, flip, skip }: MarkStep, ports: readonly string[]): void {
    this.#prefix('source', 'sourceBits', family, match.source, MARK_NOT.SOURCE)
    this.#prefix('destination', 'destinationBits', family, match.destination, MARK_NOT.DESTINATION)
    this.#portRanges('sourcePort', match.sourcePorts, MARK_NOT.SOURCE_PORTS)
    this.#portRanges('destinationPort', match.destinationPorts, MARK_NOT.DESTINATION_PORTS)
    this.#portRanges('port', match.ports, MARK_NOT.PORTS)
    this.#byte('family', family)
    this.#byte('protocol', match.protocol?.is ?? 0)
    this.#mark(match.protocol, MARK_NOT.PROTOCOL)
    this.#word('clearMask', clear)
    this.#word('flipBits', flip)
    this.#word('skip', skip)
    // Bits outside the mask can never be equal to the value: kept as they are, nothing matches.
    this.#word('markMask', match.mark?.is.mask ?? 0)
    this.#word('markValue', match.mark?.is.value ?? 0)
    this.#mark(match.mark, MARK_NOT.MARK)
    this.#word('interfaces', interfaceBits(match, ports))
    this.#word('isNot', this.#not)
  }

  #prefix(
    field: 'source' | 'destination',
    bits: RuleField,
    family: Family,
    condition: Condition<Prefix> | undefined,
    not: number,
  ): void {
    const prefix = condition?.is ?? { address: anyAddress(family), bits: 0 }
    this.#bytes.set(mappedBytes(prefix.address), offsetOf('markRule', field))
    this.#byte(bits, mappedBits(prefix))
    this.#mark(condition, not)
  }

  #portRanges(
    name: 'sourcePort' | 'destinationPort' | 'port',
    condition: Condition<readonly PortRange[]> | undefined,
    not: number,
  ): void {
    if (condition === undefined) return
    this.#half(`${name}First`, this.#ranges.length)
    this.#half(`${name}Count`, condition.is.length)
    for (const { first, last } of condition.is) this.#ranges.push(((last << 16) | first) >>> 0)
    this.#mark(condition, not)
  }

  #mark(condition: Condition<unknown> | undefined, not: number): void {
    if (condition?.not === true) this.#not |= not
  }

  #byte(field: RuleField, value: number): void {
    this.#view.setUint8(offsetOf('markRule', field), value)
  }

  #half(field: RuleField, value: number): void {
    this.#view.setUint16(offsetOf('markRule', field), value, true)
  }

  #word(field: RuleField, value: number): void {
    this.#view.setUint32(offsetOf('markRule', field), value, true)
  }
}

/** A bit for each port whose name the condition allows. */
function interfaceBits({ interface: condition }: MarkMatch, ports: readonly string[]): number {
  if (condition === undefined) return 0xffffffff
  const { is, not } = condition
  const named = (name: string) =>
    is.endsWith('+') ? name.startsWith(is.slice(0, -1)) : name === is
  return ports.reduce((bits, name, i) => (named(name) === not ? bits : bits | (1 << i)), 0) >>> 0
}
