/**
 * One rule of nftables to mark rules: conditions first, then what happens to the mark, then where
 * it goes on (nft(8), statements and expressions). Pure.
 */
import type { Family } from '../../model/address.js'
import { addressRange, MarkProblem, prefixList, protocolNumber } from '../../model/mark-parse.js'
import { PORTS_MAX, portPlaces, setMark, xmark } from '../../model/mark-rule.js'
import type { MarkAction, MarkBits, PortRange, Prefix } from '../../model/mark-rule.js'
import { PROTOCOL_NUMBER } from '../../model/service.js'
import { TokenReader } from './nft-tokens.js'
import type { Token } from './nft-tokens.js'

/** Any of `list`, or with `not` none of them. */
export interface Choice<T> {
  readonly list: readonly T[]
  readonly not: boolean
}

/** A rule as it was read; what stands for several mark rules is still together. */
export interface NftRule {
  readonly line: number
  families?: readonly Family[]
  source?: Choice<Prefix>
  destination?: Choice<Prefix>
  interfaces?: Choice<string>
  protocols?: Choice<number>
  sourcePorts?: Choice<PortRange>
  destinationPorts?: Choice<PortRange>
  mark?: { readonly is: MarkBits; readonly not: boolean }
  /** In order: at most a change of the mark and a verdict. */
  readonly actions: MarkAction[]
}

/** Elements of a named set. */
export type SetLookup = (name: string) => readonly string[] | undefined

const TRANSPORTS: readonly string[] = ['tcp', 'udp', 'sctp', 'dccp', 'udplite', 'th']
const LOG_OPTIONS: readonly string[] = ['prefix', 'level', 'flags', 'group', 'snaplen']

/** Reads the tokens of one rule. Throws RestoreProblem or MarkProblem. */
export function readNftRule(tokens: readonly Token[], sets: SetLookup): NftRule {
  const reader = new RuleReader(tokens, sets)
  while (!reader.done) reader.part()
  return reader.rule
}

class RuleReader extends TokenReader {
  readonly rule: NftRule
  readonly #sets: SetLookup

  constructor(tokens: readonly Token[], sets: SetLookup) {
    super(tokens)
    this.rule = { line: tokens[0].line, actions: [] }
    this.#sets = sets
  }

  /** One condition or statement of the rule. */
  part(): void {
    const first = this.word()
    if (first === 'meta') this.#meta(this.word())
    else if (first === 'ip' || first === 'ip6') this.#network(first, this.word())
    else if (TRANSPORTS.includes(first)) this.#transport(first, this.word())
    else if (['mark', 'iifname', 'iif', 'l4proto', 'nfproto'].includes(first)) this.#meta(first)
    else if (first === 'counter') this.#counter()
    else if (first === 'comment') this.word()
    else if (first === 'log') this.#log()
    else this.#verdict(first)
  }

  #meta(key: string): void {
    if (key === 'mark') return this.take('set') ? this.#setMark() : this.#matchMark()
    this.#condition()
    if (key === 'iifname' || key === 'iif') {
      const { list, not } = this.#values()
      const names = list.map((name) => name.replace(/\*$/, '+'))
      if (names.some((name) => /\+$/.test(name)) && names.length > 1) {
        return this.fail('a list of interfaces with * is more than one rule can say')
      }
      this.rule.interfaces = this.#single(this.rule.interfaces, { list: names, not })
    } else if (key === 'l4proto') this.#protocols()
    else if (key === 'nfproto' || key === 'protocol') this.#families()
    else this.fail(`meta ${key} is not supported in a mark rule`)
  }

  #families(): void {
    const { list, not } = this.#values()
    const names = list.map((name): Family | undefined =>
      name === 'ipv4' || name === 'ip' ? 4 : name === 'ipv6' || name === 'ip6' ? 6 : undefined,
    )
    this.#narrow(([4, 6] as const).filter((family) => names.includes(family) !== not))
  }

  #narrow(families: readonly Family[]): void {
    const { families: before = [4, 6] } = this.rule
    this.rule.families = before.filter((family) => families.includes(family))
  }

  #network(layer: 'ip' | 'ip6', field: string): void {
    this.#condition()
    this.#narrow([layer === 'ip' ? 4 : 6])
    if (field === 'protocol' || field === 'nexthdr') return this.#protocols()
    if (field !== 'saddr' && field !== 'daddr') {
      return this.fail(`${layer} ${field} is not supported in a mark rule`)
    }
    const { list, not } = this.#values()
    const prefixes = list.flatMap((text) =>
      text.includes('-') ? addressRange(text) : prefixList(text),
    )
    const strange = prefixes.find(({ address }) => (address.family === 4) !== (layer === 'ip'))
    if (strange !== undefined) this.fail(`${strange.address.text} is no address of ${layer}`)
    const end = field === 'saddr' ? 'source' : 'destination'
    this.rule[end] = this.#single(this.rule[end], { list: prefixes, not })
  }

  #protocols(): void {
    const { list, not } = this.#values()
    this.#protocol({ list: list.map(protocolNumber), not })
  }

  /** `meta l4proto tcp tcp dport 80` says it twice, as nft prints it. */
  #protocol(choice: Choice<number>): void {
    const before = this.rule.protocols
    if (before === undefined) this.rule.protocols = choice
    else if (before.not || choice.not) this.fail('a rule has one condition of the protocol')
    else {
      const list = before.list.filter((number) => choice.list.includes(number))
      if (list.length === 0) this.fail('these protocols exclude each other')
      this.rule.protocols = { list, not: false }
    }
  }

  #transport(protocol: string, field: string): void {
    this.#condition()
    if (field !== 'sport' && field !== 'dport') {
      return this.fail(`${protocol} ${field} is not supported in a mark rule`)
    }
    const { list, not } = this.#values()
    const ports = list.map((text) => this.#port(text))
    const name = field === 'sport' ? 'sourcePorts' : 'destinationPorts'
    this.rule[name] = this.#single(this.rule[name], { list: ports, not })
    if (protocol !== 'th') this.#protocol({ list: [protocolNumber(protocol)], not: false })
    else this.rule.protocols ??= { list: Object.values(PROTOCOL_NUMBER), not: false }
  }

  #port(text: string): PortRange {
    const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(text)
    const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])]
    if (match !== null && first <= last && last <= 0xffff) return { first, last }
    return this.fail(`"${text}" is no port; list the ruleset without -S`)
  }

  #matchMark(): void {
    this.#condition()
    if (this.rule.mark !== undefined) this.fail('a rule has one condition of the mark')
    const mask = this.take('and') || this.take('&') ? this.#number() : 0xffffffff
    const not = this.take('!=')
    if (!not) this.take('==')
    this.rule.mark = { is: { value: this.#number(), mask }, not }
  }

  /** A number, or the mark with bits cleared, set or flipped. */
  #setMark(): void {
    if (this.rule.actions.length > 0) this.fail('a rule sets the mark once')
    const meta = this.take('meta')
    if (!this.take('mark')) {
      if (meta) this.fail('only the mark itself can be part of the new mark')
      this.rule.actions.push(setMark(this.#number()))
      return
    }
    // mark = (mark & keep) ^ flip, whatever the operations are.
    let [keep, flip] = [0xffffffff, 0]
    while (!this.done) {
      const sign = this.peek() ?? ''
      if (!['and', '&', 'or', '|', 'xor', '^'].includes(sign)) break
      this.next()
      const number = this.#number()
      if (sign === 'and' || sign === '&') [keep, flip] = [keep & number, flip & number]
      else if (sign === 'xor' || sign === '^') flip ^= number
      else [keep, flip] = [keep & ~number, flip | number]
    }
    this.rule.actions.push(xmark(flip, ~keep))
  }

  #number(): number {
    const text = this.word()
    const value = /^(0x[0-9a-f]+|[0-9]+)$/i.test(text) ? Number(text) : Number.NaN
    return value <= 0xffffffff ? value : this.fail(`"${text}" is no mark`)
  }

  #counter(): void {
    if (this.take('name')) this.word()
    for (const what of ['packets', 'bytes']) if (this.take(what)) this.word()
  }

  #log(): void {
    while (LOG_OPTIONS.includes(this.peek() ?? '')) {
      this.next()
      this.word()
    }
  }

  #verdict(name: string): void {
    const { actions } = this.rule
    if (name === 'continue') return
    if (name === 'accept' || name === 'return') actions.push({ kind: name })
    else if (name === 'jump') actions.push({ kind: 'jump', chain: this.word() })
    else if (name.startsWith('xt')) {
      this.fail('this rule was made by iptables: restore it from the text of iptables-save')
    } else this.fail(`${name} is not supported in a mark rule`)
    if (!this.done && this.peek() !== 'comment') this.fail(`nothing may stand behind ${name}`)
  }

  /** Conditions behind a change would hold for what comes after it only. */
  #condition(): void {
    if (this.rule.actions.length > 0) this.fail('conditions must stand before meta mark set')
  }

  #single<T>(before: Choice<T> | undefined, choice: Choice<T>): Choice<T> {
    return before === undefined ? choice : this.fail('a rule has one condition of each kind')
  }

  /** `[==|!=] VALUE`, `{ VALUE, ... }` or `@SET`. */
  #values(): Choice<string> {
    const not = this.take('!=')
    if (!not) this.take('==')
    if (!this.take('{')) {
      const value = this.word()
      if (!value.startsWith('@')) return { list: [value], not }
      const list = this.#sets(value.slice(1))
      return list === undefined ? this.fail(`there is no set ${value}`) : { list, not }
    }
    return { list: setElements(this), not }
  }
}

/** Elements of a set whose opening bracket has been read, without counters and comments. */
export function setElements(reader: TokenReader): string[] {
  const list: string[] = []
  for (reader.skipEnds(); !reader.take('}'); reader.skipEnds()) {
    list.push(reader.word())
    for (let next = reader.peek(); next !== ',' && next !== '}'; next = reader.peek()) {
      const { kind, value } = reader.next()
      if (value === '.' || value === ':') reader.fail(`${value} in a set is not supported`)
      if (kind === 'mark') reader.fail(`${value} is not understood in a set`)
    }
    reader.take(',')
  }
  if (list.length === 0) reader.fail('an empty set matches nothing')
  return list
}

/** Each value alone, or the negated condition as a whole when one rule can say it. */
export function alternatives<T>(choice: Choice<T> | undefined): { is: T; not: boolean }[] {
  if (choice === undefined) return []
  const { list, not } = choice
  if (not && list.length > 1) {
    throw new MarkProblem('!= with several values is more than one rule can say')
  }
  return list.map((is) => ({ is, not }))
}

/** Ranges in groups that one condition may name. */
export function portGroups(choice: Choice<PortRange>): { is: PortRange[]; not: boolean }[] {
  const groups: PortRange[][] = [[]]
  for (const range of choice.list) {
    const last = groups[groups.length - 1]
    if (portPlaces([...last, range]) <= PORTS_MAX) last.push(range)
    else groups.push([range])
  }
  if (choice.not && groups.length > 1) {
    throw new MarkProblem(`!= names at most ${PORTS_MAX} ports, where a range counts as two`)
  }
  return groups.map((is) => ({ is, not: choice.not }))
}
