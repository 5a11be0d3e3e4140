/**
 * Mark rules -> a list of steps that a worker walks through: jumps are written out, and what stops
 * or returns becomes "leave out the next n steps". Pure.
 *
 *   jump with conditions    [conditions: skip 1] [skip the body] body
 *   jump without            body
 *   RETURN                  [conditions: skip to the end of the body]
 *   ACCEPT, or RETURN of PREROUTING itself: [conditions: skip to the end of the family]
 */
import type { Family } from './address.js'
import { failure, success } from './errors.js'
import type { Result } from './errors.js'
import { MARK_LIMITS, PREROUTING } from './mark-rule.js'
import type { MarkMatch, MarkRule } from './mark-rule.js'

/** Where `match` holds: clear and flip bits of the mark, then leave out `skip` steps. */
export interface MarkStep {
  readonly family: Family
  readonly match: MarkMatch
  readonly clear: number
  readonly flip: number
  readonly skip: number
  /** Conditions of the jumps that lead here. */
  readonly within: readonly MarkMatch[]
}

/** Most jumps into each other. */
const DEPTH_MAX = 16

/** A place in the list that is known once everything before it is written. */
interface Place {
  at: number
}

interface Unplaced extends Omit<MarkStep, 'skip'> {
  readonly to: Place | undefined
}

class Refusal extends Error {}

class Compiler {
  readonly #chains: ReadonlyMap<string, readonly MarkRule[]>
  readonly #family: Family
  readonly #steps: Unplaced[] = []
  readonly #end: Place = { at: 0 }

  constructor(family: Family, rules: readonly MarkRule[]) {
    this.#family = family
    const chains = new Map<string, MarkRule[]>()
    for (const rule of rules) {
      const chain = chains.get(rule.chain)
      if (chain === undefined) chains.set(rule.chain, [rule])
      else chain.push(rule)
    }
    this.#chains = chains
  }

  run(): MarkStep[] {
    this.#chain(PREROUTING, this.#end, [], [])
    this.#end.at = this.#steps.length
    return this.#steps.map(({ to, ...step }, i) => ({
      ...step,
      skip: to === undefined ? 0 : to.at - i - 1,
    }))
  }

  #chain(name: string, end: Place, within: readonly MarkMatch[], from: readonly string[]): void {
    if (from.includes(name)) throw new Refusal(`the chain ${name} leads to itself`)
    if (from.length > DEPTH_MAX) throw new Refusal(`at most ${DEPTH_MAX} jumps into each other`)
    for (const rule of this.#chains.get(name) ?? []) {
      const { action } = rule
      if (action.kind === 'jump') {
        this.#jump(rule, action.chain, within, [...from, name])
      } else if (action.kind === 'mark') {
        this.#put(conditionsOf(rule), within, undefined, action.clear, action.flip)
      } else {
        this.#put(conditionsOf(rule), within, action.kind === 'accept' ? this.#end : end)
      }
    }
  }

  #jump(
    rule: MarkRule,
    chain: string,
    within: readonly MarkMatch[],
    from: readonly string[],
  ): void {
    if (!this.#chains.has(chain)) return
    const match = conditionsOf(rule)
    const [body, end]: Place[] = [{ at: 0 }, { at: 0 }]
    if (Object.keys(match).length > 0) {
      this.#put(match, within, body)
      this.#put({}, within, end)
    }
    body.at = this.#steps.length
    this.#chain(chain, end, [...within, match], from)
    end.at = this.#steps.length
  }

  #put(
    match: MarkMatch,
    within: readonly MarkMatch[],
    to: Place | undefined,
    clear = 0,
    flip = 0,
  ): void {
    this.#steps.push({ family: this.#family, match, clear, flip, within, to })
    if (this.#steps.length > MARK_LIMITS.steps) {
      throw new Refusal(`mark rules come to more than ${MARK_LIMITS.steps} steps, jumps included`)
    }
  }
}

const CONDITIONS: readonly (keyof MarkMatch)[] = [
  'source',
  'destination',
  'interface',
  'protocol',
  'sourcePorts',
  'destinationPorts',
  'ports',
  'mark',
]

/** The rule's conditions alone. */
function conditionsOf(rule: MarkRule): MarkMatch {
  const present = CONDITIONS.filter((name) => rule[name] !== undefined)
  return Object.fromEntries(present.map((name) => [name, rule[name]]))
}

/** All steps, IPv4 first; refused where chains lead in a circle or the limits are passed. */
export function compileMarkRules(rules: readonly MarkRule[]): Result<readonly MarkStep[]> {
  try {
    const steps = ([4, 6] as const).flatMap((family) =>
      new Compiler(
        family,
        rules.filter((rule) => rule.family === family),
      ).run(),
    )
    if (steps.length > MARK_LIMITS.steps) {
      return failure('TABLE_FULL', `mark rules come to more than ${MARK_LIMITS.steps} steps`)
    }
    const ranges = steps.reduce((sum, { match }) => sum + rangeCount(match), 0)
    if (ranges > MARK_LIMITS.ports) {
      return failure('TABLE_FULL', `mark rules name more than ${MARK_LIMITS.ports} ranges of ports`)
    }
    return success(steps)
  } catch (error) {
    if (error instanceof Refusal) return failure('MARK_RULE_BAD', error.message)
    throw error
  }
}

function rangeCount({ sourcePorts, destinationPorts, ports }: MarkMatch): number {
  return [sourcePorts, destinationPorts, ports].reduce((sum, c) => sum + (c?.is.length ?? 0), 0)
}

/** Compiled once for each list, which never changes. */
const compiled = new WeakMap<readonly MarkRule[], readonly MarkStep[]>()

/** The steps of rules that a configuration holds: they were compiled before. */
export function markSteps(rules: readonly MarkRule[]): readonly MarkStep[] {
  let steps = compiled.get(rules)
  if (steps === undefined) {
    const result = compileMarkRules(rules)
    if (!result.ok) throw result.error
    steps = result.value
    compiled.set(rules, steps)
  }
  return steps
}
