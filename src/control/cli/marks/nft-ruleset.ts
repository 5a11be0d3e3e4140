/**
 * The text of `nft list ruleset`: the rules of prerouting chains that set marks, and of the chains
 * they jump to. Chains that never touch a mark are passed over. Pure.
 */
import type { Family } from '../../model/address.js'
import { MarkProblem } from '../../model/mark-parse.js'
import { checkMarkRule, PREROUTING } from '../../model/mark-rule.js'
import type { MarkMatch, MarkRule } from '../../model/mark-rule.js'
import { alternatives, portGroups, readNftRule, setElements, type NftRule } from './nft-rule.js'
import { nftTokens, TokenReader } from './nft-tokens.js'
import type { Token } from './nft-tokens.js'
import { RestoreProblem } from './restored.js'
import type { RestoredRules } from './restored.js'

interface Chain {
  readonly name: string
  readonly line: number
  /** Set for a base chain of hook prerouting and type filter. */
  priority?: number
  readonly statements: Token[][]
}

interface Table {
  readonly name: string
  readonly families: readonly Family[]
  readonly chains: Map<string, Chain>
  readonly sets: Map<string, readonly string[]>
}

const FAMILIES: Readonly<Record<string, readonly Family[]>> = { ip: [4], ip6: [6], inet: [4, 6] }

/** linux/netfilter_ipv4.h NF_IP_PRI_*, as nft names them. */
const PRIORITIES: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
}

/** Throws RestoreProblem. */
export function parseNftRuleset(text: string): RestoredRules {
  const tables = readTables(new TokenReader(nftTokens(text)))
  const families = [...new Set(tables.flatMap((table) => table.families))].sort()
  return { rules: families.flatMap((family) => familyRules(tables, family)), families }
}

function readTables(reader: TokenReader): Table[] {
  const tables: Table[] = []
  for (reader.skipEnds(); !reader.done; reader.skipEnds()) {
    if (reader.take('flush')) reader.statement()
    else {
      reader.expect('table')
      const kind = reader.word()
      const name = reader.word()
      const families = Object.hasOwn(FAMILIES, kind) ? FAMILIES[kind] : []
      reader.expect('{')
      const table = readTable(reader, name, families)
      if (families.length > 0) tables.push(table)
    }
  }
  return tables
}

function readTable(reader: TokenReader, name: string, families: readonly Family[]): Table {
  const table: Table = { name, families, chains: new Map(), sets: new Map() }
  for (reader.skipEnds(); !reader.take('}'); reader.skipEnds()) {
    const kind = reader.word()
    if (kind === 'chain') {
      const chain = readChain(reader)
      table.chains.set(chain.name, chain)
    } else if (kind === 'set') {
      const set = reader.word()
      reader.expect('{')
      table.sets.set(set, readSet(reader))
    } else reader.statement()
  }
  return table
}

function readChain(reader: TokenReader): Chain {
  const { line } = reader
  const chain: Chain = { name: reader.word(), line, statements: [] }
  reader.expect('{')
  for (reader.skipEnds(); !reader.take('}'); reader.skipEnds()) {
    const statement = reader.statement()
    if (statement.length === 0) reader.fail('a rule is missing')
    const words = statement.map(({ value }) => value)
    if (words[0] === 'type') {
      if (words[1] === 'filter' && words[3] === 'prerouting') chain.priority = priority(words)
    } else if (words[0] !== 'policy' && words[0] !== 'comment') chain.statements.push(statement)
  }
  return chain
}

/** `type filter hook prerouting priority NAME [+|- N]`, or a number. */
function priority(words: readonly string[]): number {
  const text = words.slice(words.indexOf('priority') + 1).join('')
  const match = /^([a-z]*)([+-]?[0-9]*)$/.exec(text)
  return (PRIORITIES[match?.[1] ?? ''] ?? 0) + Number(match?.[2] ?? 0)
}

function readSet(reader: TokenReader): readonly string[] {
  let elements: readonly string[] = []
  for (reader.skipEnds(); !reader.take('}'); reader.skipEnds()) {
    if (!reader.take('elements')) {
      if (reader.statement().length === 0) reader.fail('the set does not end')
      continue
    }
    reader.expect('=')
    reader.expect('{')
    elements = setElements(reader)
  }
  return elements
}

function familyRules(tables: readonly Table[], family: Family): MarkRule[] {
  const bases = tables
    .filter((table) => table.families.includes(family))
    .flatMap((table) =>
      [...table.chains.values()]
        .filter((chain) => chain.priority !== undefined && marks(table, chain))
        .map((chain) => ({ table, chain })),
    )
    .sort((a, b) => (a.chain.priority ?? 0) - (b.chain.priority ?? 0))
  const rules = bases.flatMap(({ table, chain }) => baseRules(table, chain, family))
  if (bases.length > 1) requirePlain(rules, bases[1].chain.line)
  return rules
}

/** Whether a chain, or one that it jumps to, sets a mark. */
function marks(table: Table, chain: Chain): boolean {
  return [...reachable(table, chain)].some(({ statements }) =>
    statements.some((tokens) =>
      tokens.some(({ value }, i) => value === 'mark' && tokens[i + 1]?.value === 'set'),
    ),
  )
}

function reachable(table: Table, from: Chain): Set<Chain> {
  const found = new Set([from])
  for (const { statements } of found) {
    for (const tokens of statements) {
      const at = tokens.findIndex(({ value }) => value === 'jump' || value === 'goto')
      const next = at < 0 ? undefined : table.chains.get(tokens[at + 1]?.value ?? '')
      if (next !== undefined) found.add(next)
    }
  }
  return found
}

/** A verdict ends one base chain, but not the next one: one chain of ours cannot say that. */
function requirePlain(rules: readonly MarkRule[], line: number): void {
  if (rules.every(({ action }) => action.kind === 'mark')) return
  const why = 'several prerouting chains set marks, and some of them accept, return or jump'
  throw new RestoreProblem(line, `${why}: put these rules into one chain`)
}

function baseRules(table: Table, base: Chain, family: Family): MarkRule[] {
  return [...reachable(table, base)].flatMap((chain) =>
    chain.statements.flatMap((tokens) =>
      atLine(tokens[0].line, () => {
        const rule = readNftRule(tokens, (name) => table.sets.get(name))
        return expand(rule, chain === base ? PREROUTING : chain.name, family)
      }),
    ),
  )
}

function atLine<T>(line: number, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof MarkProblem) throw new RestoreProblem(line, error.message)
    throw error
  }
}

/** The mark rules that a rule stands for in one family; none where it does nothing about marks. */
function expand(rule: NftRule, chain: string, family: Family): MarkRule[] {
  if (rule.families?.includes(family) === false) return []
  const { actions } = rule
  if (actions.length > 1 && rule.mark !== undefined) {
    throw new MarkProblem('a condition of the mark holds no more once the same rule has set it')
  }
  let matches: MarkMatch[] = [rule.mark === undefined ? {} : { mark: rule.mark }]
  const cross = <K extends keyof MarkMatch>(name: K, options: readonly MarkMatch[K][]) => {
    if (options.length === 0) return
    matches = matches.flatMap((match) => options.map((option) => ({ ...match, [name]: option })))
  }
  cross('protocol', alternatives(rule.protocols))
  cross('source', alternatives(rule.source))
  cross('destination', alternatives(rule.destination))
  cross('interface', alternatives(rule.interfaces))
  if (rule.sourcePorts !== undefined) cross('sourcePorts', portGroups(rule.sourcePorts))
  if (rule.destinationPorts !== undefined) {
    cross('destinationPorts', portGroups(rule.destinationPorts))
  }
  return matches.flatMap((match) =>
    actions.map((action) => {
      const checked = checkMarkRule({ ...match, family, chain, action })
      if (!checked.ok) throw new MarkProblem(checked.error.message)
      return checked.value
    }),
  )
}
