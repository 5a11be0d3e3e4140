/**
 * The words of one rule, as iptables takes and iptables-save prints them, to mark rules. What uvs
 * cannot carry out is refused with a sentence, never left out. Pure.
 */
import { ipv4ToNumber, parseAddress } from './address.js'
import type { Address, Family } from './address.js'
import { addressBits, prefixesOf, prefixOf, PREROUTING, setMark, xmark } from './mark-rule.js'
import type { Condition, MarkAction, MarkMatch, MarkRule, PortRange, Prefix } from './mark-rule.js'
import { checkMarkRule } from './mark-rule.js'
import { MARK_PROTOCOLS } from './mark-text.js'

/** Why a rule is not taken; the sentence is for its author. */
export class MarkProblem extends Error {}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** What has been read of a rule; addresses are lists until it is whole. */
interface Draft {
  match: Mutable<MarkMatch>
  source?: Condition<readonly Prefix[]>
  destination?: Condition<readonly Prefix[]>
  family: Family | undefined
  chain: string
  action?: MarkAction
  /** A target named by -j that marks nothing by itself. */
  target?: string
}

const MATCHES: readonly string[] = [
  'tcp',
  'udp',
  'sctp',
  'dccp',
  'udplite',
  'multiport',
  'mark',
  'comment',
  'iprange',
]

/** Targets that have no influence on marks: the rule is passed over. */
const WITHOUT_EFFECT: readonly string[] = ['LOG', 'NFLOG']

interface OptionReader {
  readonly names: readonly string[]
  /** Values it takes. */
  readonly values: number
  readonly negatable?: boolean
  read(draft: Draft, value: string, not: boolean): void
}

const OPTIONS: readonly OptionReader[] = [
  { names: ['-A', '--append'], values: 1, read: (draft, name) => (draft.chain = name) },
  { names: ['-4', '--ipv4'], values: 0, read: (draft) => setFamily(draft, 4) },
  { names: ['-6', '--ipv6'], values: 0, read: (draft) => setFamily(draft, 6) },
  { names: ['-t', '--table'], values: 1, read: (_, name) => requireTable(name) },
  {
    names: ['-p', '--protocol', '--proto'],
    values: 1,
    negatable: true,
    read: (draft, text, not) => once(draft.match, 'protocol', protocolOf(text, not)),
  },
  {
    names: ['-s', '--source', '--src'],
    values: 1,
    negatable: true,
    read: (draft, text, not) => setPrefixes(draft, 'source', prefixList(text), not),
  },
  {
    names: ['-d', '--destination', '--dst'],
    values: 1,
    negatable: true,
    read: (draft, text, not) => setPrefixes(draft, 'destination', prefixList(text), not),
  },
  {
    names: ['--src-range'],
    values: 1,
    negatable: true,
    read: (draft, text, not) => setPrefixes(draft, 'source', addressRange(text), not),
  },
  {
    names: ['--dst-range'],
    values: 1,
    negatable: true,
    read: (draft, text, not) => setPrefixes(draft, 'destination', addressRange(text), not),
  },
  {
    names: ['-i', '--in-interface'],
    values: 1,
    negatable: true,
    read: (draft, name, not) => {
      if (name !== '+' || not) once(draft.match, 'interface', { is: name, not })
    },
  },
  {
    names: ['--sport', '--sports', '--source-port', '--source-ports'],
    values: 1,
    negatable: true,
    read: (draft, text, not) => once(draft.match, 'sourcePorts', { is: portList(text), not }),
  },
  {
    names: ['--dport', '--dports', '--destination-port', '--destination-ports'],
    values: 1,
    negatable: true,
    read: (draft, text, not) => once(draft.match, 'destinationPorts', { is: portList(text), not }),
  },
  {
    names: ['--port', '--ports'],
    values: 1,
    negatable: true,
    read: (draft, text, not) => once(draft.match, 'ports', { is: portList(text), not }),
  },
  {
    names: ['--mark'],
    values: 1,
    negatable: true,
    read: (draft, text, not) => once(draft.match, 'mark', { is: markBits(text), not }),
  },
  { names: ['-m', '--match'], values: 1, read: (_, name) => requireMatch(name) },
  { names: ['--comment'], values: 1, read: () => undefined },
  { names: ['-c', '--set-counters'], values: 2, read: () => undefined },
  { names: ['-j', '--jump'], values: 1, read: setTarget },
  {
    names: ['--set-mark'],
    values: 1,
    read: (draft, text) => setAction(draft, text, (value, mask) => setMark(value, mask)),
  },
  {
    names: ['--set-xmark'],
    values: 1,
    read: (draft, text) => setAction(draft, text, (value, mask) => xmark(value, mask)),
  },
  {
    names: ['--or-mark'],
    values: 1,
    read: (draft, text) => setAction(draft, text, (value) => xmark(value, value)),
  },
  {
    names: ['--and-mark'],
    values: 1,
    read: (draft, text) => setAction(draft, text, (value) => xmark(0, ~value)),
  },
  {
    names: ['--xor-mark'],
    values: 1,
    read: (draft, text) => setAction(draft, text, (value) => xmark(value, 0)),
  },
]

/**
 * The rules that the words of one rule stand for: several where it names several addresses, none
 * where it does nothing about marks. `family` is what the source of the words is for; without it,
 * -4, -6 or the addresses say so, else it is 4. Throws MarkProblem.
 */
export function parseMarkWords(words: readonly string[], family?: Family): MarkRule[] {
  const draft: Draft = { match: {}, family, chain: PREROUTING }
  for (let at = 0; at < words.length;) {
    let not = words[at] === '!'
    if (not) at++
    const name = words[at++]
    const option = OPTIONS.find(({ names }) => names.includes(name))
    if (option === undefined) throw new MarkProblem(unknown(name))
    // An old form: -d ! 198.18.0.1.
    if (!not && option.negatable === true && words[at] === '!') {
      not = true
      at++
    }
    if (not && option.negatable !== true) throw new MarkProblem(`${name} cannot be negated with !`)
    if (at + option.values > words.length) throw new MarkProblem(`${name} needs a value`)
    option.read(draft, words[at] ?? '', not)
    at += option.values
  }
  return finish(draft)
}

/** Words of a line; blanks part them, except between double quotes or behind a \. */
export function splitWords(line: string): string[] {
  const words: string[] = []
  const pattern = /\s+|((?:"(?:[^"\\]|\\.)*"|[^\s"\\]|\\.)+)|(.)/gs
  for (const [, word, stray] of line.matchAll(pattern)) {
    if (stray !== undefined) throw new MarkProblem(`a ${stray} is not closed`)
    if (word !== undefined) words.push(word.replace(/"|\\(.)/gs, (_, one?: string) => one ?? ''))
  }
  return words
}

function unknown(name: string | undefined): string {
  if (name === undefined) return 'a rule must not end with !'
  return `${name} is not supported in a mark rule`
}

function finish(draft: Draft): MarkRule[] {
  const { action, target } = draft
  if (action === undefined && target === 'MARK') {
    throw new MarkProblem('MARK needs --set-mark, --set-xmark, --or-mark, --and-mark or --xor-mark')
  }
  if (action?.kind === 'mark' && target !== undefined && target !== 'MARK') {
    throw new MarkProblem(`only MARK sets a mark, not ${target}`)
  }
  const does = action ?? (target === undefined ? undefined : targetAction(target))
  if (does === undefined) return []
  const family = draft.family ?? 4
  const rules: MarkRule[] = []
  for (const source of each(draft.source)) {
    for (const destination of each(draft.destination)) {
      const rule = { ...draft.match, ...some({ source, destination }) }
      const made = checkMarkRule({ ...rule, family, chain: draft.chain, action: does })
      if (!made.ok) throw new MarkProblem(made.error.message)
      rules.push(made.value)
    }
  }
  return rules
}

/** Each prefix as a condition of its own; one absent condition where there is none. */
function each(list: Draft['source']): (Condition<Prefix> | undefined)[] {
  if (list === undefined) return [undefined]
  const { is, not } = list
  if (!not) return is.map((prefix) => (prefix.bits === 0 ? undefined : { is: prefix, not }))
  if (is.length === 1) return [{ is: is[0], not }]
  throw new MarkProblem('! before several addresses is more than one rule can say')
}

function some(ends: Pick<MarkMatch, never> & Record<string, Condition<Prefix> | undefined>) {
  return Object.fromEntries(Object.entries(ends).filter(([, value]) => value !== undefined))
}

function once<K extends keyof MarkMatch>(
  match: Mutable<MarkMatch>,
  name: K,
  condition: MarkMatch[K],
): void {
  if (match[name] !== undefined) throw new MarkProblem(`a rule has one condition of ${LABEL[name]}`)
  if (condition !== undefined) match[name] = condition
}

const LABEL: Readonly<Record<keyof MarkMatch, string>> = {
  source: 'the source',
  destination: 'the destination',
  interface: 'the interface',
  protocol: 'the protocol',
  sourcePorts: 'the source port',
  destinationPorts: 'the destination port',
  ports: 'either port',
  mark: 'the mark',
}

function setFamily(draft: Draft, family: Family): void {
  if (draft.family !== undefined && draft.family !== family) {
    throw new MarkProblem(`this rule is for IPv${draft.family}, but it names IPv${family}`)
  }
  draft.family = family
}

function setPrefixes(
  draft: Draft,
  end: 'source' | 'destination',
  prefixes: readonly Prefix[],
  not: boolean,
): void {
  if (draft[end] !== undefined) throw new MarkProblem(`a rule has one condition of ${LABEL[end]}`)
  for (const { address } of prefixes) setFamily(draft, address.family)
  draft[end] = { is: prefixes, not }
}

function requireTable(name: string): void {
  if (name !== 'mangle') throw new MarkProblem(`marks are set in the table mangle, not in ${name}`)
}

function requireMatch(name: string): void {
  if (!MATCHES.includes(name)) throw new MarkProblem(`-m ${name} is not supported in a mark rule`)
}

function setTarget(draft: Draft, target: string): void {
  if (draft.target !== undefined) throw new MarkProblem('a rule has one -j')
  draft.target = target
}

function setAction(
  draft: Draft,
  text: string,
  make: (value: number, mask?: number) => MarkAction,
): void {
  if (draft.action !== undefined) throw new MarkProblem('a rule sets the mark once')
  const [value, mask] = text.split('/', 2)
  draft.action = make(markNumber(value), mask === undefined ? undefined : markNumber(mask))
}

/** In capitals: targets of iptables. Anything else is a chain. */
function targetAction(target: string): MarkAction | undefined {
  if (WITHOUT_EFFECT.includes(target)) return undefined
  if (target === 'ACCEPT') return { kind: 'accept' }
  if (target === 'RETURN') return { kind: 'return' }
  if (FOREIGN_TARGETS.includes(target)) {
    throw new MarkProblem(`-j ${target} is not supported: mark rules set marks and do nothing else`)
  }
  return { kind: 'jump', chain: target }
}

/** Targets that would be taken for chains (iptables-extensions(8)). */
const FOREIGN_TARGETS: readonly string[] = [
  ...['DROP', 'QUEUE', 'NFQUEUE', 'CONNMARK', 'SECMARK', 'CONNSECMARK', 'CLASSIFY', 'TPROXY'],
  ...['DSCP', 'TOS', 'TTL', 'HL', 'TCPMSS', 'TCPOPTSTRIP', 'ECN', 'TEE', 'TRACE', 'CT', 'NOTRACK'],
  ...['HMARK', 'IDLETIMER', 'RATEEST', 'SET', 'LED', 'AUDIT', 'CHECKSUM', 'REJECT', 'DNAT', 'SNAT'],
  ...['REDIRECT', 'MASQUERADE', 'NETMAP', 'CLUSTERIP', 'SYNPROXY'],
]

/** strtoul(3) with base 0: decimal, 0x..., 0... */
function markNumber(text: string): number {
  const base = /^0x[0-9a-f]+$/i.test(text) ? 16 : /^0[0-7]*$/.test(text) ? 8 : 10
  const digits = base === 16 ? text.slice(2) : text
  const value = Number.parseInt(digits, base)
  const good = base === 16 || /^[0-9]+$/.test(text)
  if (good && value <= 0xffffffff) return value
  throw new MarkProblem(`"${text}" is no mark: a number from 0 to 0xffffffff`)
}

function markBits(text: string): { value: number; mask: number } {
  const [value, mask] = text.split('/', 2)
  return { value: markNumber(value), mask: mask === undefined ? 0xffffffff : markNumber(mask) }
}

function protocolOf(text: string, not: boolean): Condition<number> | undefined {
  const name = text.toLowerCase()
  if (name === 'all' || name === '0') {
    if (not) throw new MarkProblem('! -p all matches nothing')
    return undefined
  }
  return { is: protocolNumber(name), not }
}

/** IANA number of a protocol by its name or number. Throws MarkProblem. */
export function protocolNumber(name: string): number {
  const known = name === 'icmpv6' ? 58 : MARK_PROTOCOLS[name]
  if (Object.hasOwn(MARK_PROTOCOLS, name) || known === 58) return known
  const value = /^[0-9]{1,3}$/.test(name) ? Number(name) : 256
  if (value > 0 && value <= 255) return value
  throw new MarkProblem(`"${name}" is no protocol: use its number`)
}

/** ADDRESS[/BITS or MASK], with commas between several. Throws MarkProblem. */
export function prefixList(text: string): Prefix[] {
  return text.split(',').map(onePrefix)
}

function onePrefix(text: string): Prefix {
  const [host, mask] = text.split('/', 2)
  const address = parseAddress(host)
  if (address === undefined) {
    throw new MarkProblem(`"${host}" is no address; names of hosts are not looked up`)
  }
  const bits = mask === undefined ? addressBits(address.family) : maskBits(mask, address.family)
  return prefixOf(address, bits)
}

function maskBits(text: string, family: Family): number {
  if (/^[0-9]{1,3}$/.test(text) && Number(text) <= addressBits(family)) return Number(text)
  const mask = family === 4 ? parseAddress(text) : undefined
  if (mask?.family === 4) {
    const ones = Math.clz32(~ipv4ToNumber(mask))
    if (prefixOf(mask, ones).address.text === mask.text && zeroBelow(mask, ones)) return ones
  }
  throw new MarkProblem(`"${text}" is no prefix length or mask`)
}

function zeroBelow(mask: Address, ones: number): boolean {
  return ones === 32 || (ipv4ToNumber(mask) << ones) >>> 0 === 0
}

/** FIRST-LAST as the prefixes it consists of. Throws MarkProblem. */
export function addressRange(text: string): Prefix[] {
  const [from, to] = text.split('-', 2)
  const [first, last] = [parseAddress(from), parseAddress(to ?? from)]
  if (first === undefined || last?.family !== first.family) {
    throw new MarkProblem(`"${text}" is no range of addresses`)
  }
  const prefixes = prefixesOf(first, last)
  if (prefixes.length === 0) throw new MarkProblem(`"${text}" ends before it begins`)
  return prefixes
}

/** PORT, FIRST:LAST, :LAST and FIRST:, with commas between several. Throws MarkProblem. */
export function portList(text: string): PortRange[] {
  return text.split(',').map((one) => {
    const match = /^([0-9]{0,5})(:?)([0-9]{0,5})$/.exec(one)
    if (match === null || one === '' || one === ':') {
      throw new MarkProblem(`"${one}" is no port; names of services are not looked up`)
    }
    const [, from, colon, to] = match
    const first = from === '' ? 0 : Number(from)
    const last = colon === '' ? first : to === '' ? 0xffff : Number(to)
    if (last > 0xffff || first > last) throw new MarkProblem(`"${one}" is no range of ports`)
    return { first, last }
  })
}
