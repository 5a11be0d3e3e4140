/** `uvs mark`: firewall marks of new flows, in the words of iptables. */
import type { Outcome } from '../api/views.js'
import type { Family } from '../model/address.js'
import type { PublicCommand } from '../model/commands.js'
import { ControlError } from '../model/errors.js'
import { MarkProblem, parseMarkWords, splitWords } from '../model/mark-parse.js'
import type { MarkRule } from '../model/mark-rule.js'
import { saveMarkRules } from '../model/mark-text.js'
import type { CliEnvironment } from './environment.js'
import { parseIptablesSave } from './marks/iptables-save.js'
import { parseNftRuleset } from './marks/nft-ruleset.js'
import { RestoreProblem } from './marks/restored.js'
import type { RestoredRules } from './marks/restored.js'

/** Wrong usage: one sentence. */
export class MarkUsage extends Error {}

/** Runs one `uvs mark` command; `json`: for lists. Throws MarkUsage and ControlError. */
export async function runMark(
  words: readonly string[],
  environment: CliEnvironment,
  json: boolean,
): Promise<number> {
  const [verb, ...rest] = words
  switch (verb) {
    case 'add':
      return execute(environment, { kind: 'addMarkRules', rules: rulesOf(rest) })
    case 'del':
      return remove(rest, environment)
    case 'list':
      none(rest, verb)
      return list(environment, json)
    case 'save':
      none(rest, verb)
      environment.out(saveMarkRules(await presentRules(environment)))
      return 0
    case 'restore':
      return restore(rest, environment)
    default:
      throw new MarkUsage('mark needs one of add, del, list, restore, save; see "uvs help mark"')
  }
}

function none(rest: readonly string[], verb: string): void {
  if (rest.length > 0) throw new MarkUsage(`mark ${verb} takes no ${rest[0]}`)
}

function rulesOf(words: readonly string[]): MarkRule[] {
  try {
    const rules = parseMarkWords(words)
    if (rules.length > 0) return rules
  } catch (error) {
    if (error instanceof MarkProblem) throw new MarkUsage(error.message)
    throw error
  }
  throw new MarkUsage('a rule needs --set-mark, or -j with what else happens')
}

async function execute(environment: CliEnvironment, command: PublicCommand): Promise<number> {
  const [outcome]: Outcome[] = await environment.client.execute([command])
  if (!outcome.ok) throw new ControlError(outcome.code, outcome.message)
  return 0
}

/** The rules of the daemon, from their text. */
async function presentRules({ client }: CliEnvironment): Promise<MarkRule[]> {
  return (await client.markRules()).flatMap(({ rule }) => parseMarkWords(splitWords(rule)))
}

/** By number, by the rule itself, or all. */
async function remove(words: readonly string[], environment: CliEnvironment): Promise<number> {
  if (words.length === 1 && words[0] === '--all') {
    return execute(environment, { kind: 'replaceMarkRules', families: [4, 6], rules: [] })
  }
  if (words.length === 1 && /^[0-9]+$/.test(words[0])) {
    const rules = await presentRules(environment)
    const rule = rules.at(Number(words[0]) - 1)
    if (words[0] === '0' || rule === undefined) {
      throw new ControlError('MARK_RULE_UNKNOWN', `there is no mark rule number ${words[0]}`)
    }
    return execute(environment, { kind: 'deleteMarkRules', rules: [rule] })
  }
  return execute(environment, { kind: 'deleteMarkRules', rules: rulesOf(words) })
}

async function list(environment: CliEnvironment, json: boolean): Promise<number> {
  const rules = await environment.client.markRules()
  const numbered = rules.map((rule, i) => ({ number: i + 1, ...rule }))
  environment.out(
    json
      ? `${JSON.stringify(numbered, null, 2)}\n`
      : numbered.map(({ number, rule }) => `${String(number).padStart(4)}  ${rule}\n`).join(''),
  )
  return 0
}

async function restore(words: readonly string[], environment: CliEnvironment): Promise<number> {
  const family = words[0] === '-4' ? 4 : words[0] === '-6' ? 6 : undefined
  none(words.slice(family === undefined ? 0 : 1), 'restore')
  const text = await environment.readInput()
  try {
    const { families, rules } = readMarkText(text, family)
    return await execute(environment, { kind: 'replaceMarkRules', families, rules })
  } catch (error) {
    if (error instanceof RestoreProblem) {
      throw new ControlError('MARK_RULE_BAD', `nothing was restored: ${error.message}`)
    }
    throw error
  }
}

/** What a text of iptables-save, ip6tables-save or nft says. Throws RestoreProblem. */
export function readMarkText(text: string, family?: Family): RestoredRules {
  const [first] = /^\s*[^\s#].*$/m.exec(text) ?? ['']
  if (!/^\s*(table|flush)\s/.test(first)) return parseIptablesSave(text, family)
  const found = parseNftRuleset(text)
  if (family === undefined) return found
  return { families: [family], rules: found.rules.filter((rule) => rule.family === family) }
}
