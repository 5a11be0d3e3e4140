/** Commands about mark rules; part of apply.ts. Pure. */
import type { Family } from './address.js'
import type { Config } from './config.js'
import { failure, success } from './errors.js'
import type { Result } from './errors.js'
import { compileMarkRules } from './mark-compile.js'
import { mostEnds } from './mark-ends.js'
import { checkMarkRule, MARK_LIMITS } from './mark-rule.js'
import type { MarkRule } from './mark-rule.js'
import { markRuleText } from './mark-text.js'

/** Rules behind the present ones. */
export function addMarkRules(config: Config, rules: readonly MarkRule[]): Result<Config> {
  return withRules(config, [...config.markRules, ...rules])
}

/** For each rule the first that is equal to it goes. */
export function deleteMarkRules(config: Config, rules: readonly MarkRule[]): Result<Config> {
  const left = config.markRules.map((rule) => ({ rule, text: markRuleText(rule) }))
  for (const rule of rules) {
    const text = markRuleText(rule)
    const at = left.findIndex((one) => one.text === text)
    if (at < 0) return failure('MARK_RULE_UNKNOWN', `there is no mark rule ${text}`)
    left.splice(at, 1)
  }
  return withRules(
    config,
    left.map(({ rule }) => rule),
  )
}

/** `rules` in the place of all that these families have. */
export function replaceMarkRules(
  config: Config,
  families: readonly Family[],
  rules: readonly MarkRule[],
): Result<Config> {
  const stray = rules.find(({ family }) => !families.includes(family))
  if (stray !== undefined) {
    return failure('MARK_RULE_BAD', `not of a family that is replaced: ${markRuleText(stray)}`)
  }
  const kept = config.markRules.filter(({ family }) => !families.includes(family))
  return withRules(config, [...kept, ...rules])
}

function withRules(config: Config, rules: readonly MarkRule[]): Result<Config> {
  if (rules.length > MARK_LIMITS.rules) {
    return failure('TABLE_FULL', `at most ${MARK_LIMITS.rules} mark rules`)
  }
  for (const rule of rules) {
    const checked = checkMarkRule(rule)
    if (!checked.ok) return checked
  }
  const compiled = compileMarkRules(rules)
  if (!compiled.ok) return compiled
  if (mostEnds(rules) > MARK_LIMITS.ends) {
    return failure('TABLE_FULL', `mark rules select more than ${MARK_LIMITS.ends} ranges of ports`)
  }
  return success({ ...config, markRules: rules })
}
