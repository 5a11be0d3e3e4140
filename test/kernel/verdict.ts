/** From observations to a verdict: equal, documented or different. Pure. */
import { type Difference, differenceText } from './compare.js'
import { type Documented, DOCUMENTED, documentation } from './documented.js'

export type Verdict = 'equal' | 'documented' | 'different'

/** What became of one scenario; goes from the guest to the host as one line of JSON. */
export interface Outcome {
  readonly name: string
  readonly differences: readonly Difference[]
  /** The scenario could not be carried out: a mistake in it, or a director that has died. */
  readonly failure?: string
  readonly guestSec: number
  /** Of a random list: something differed, and did not with longer waits (random.ts). */
  readonly atEdge?: boolean
  /** How many it has. */
  readonly steps: number
  /** What the kernel did, by step: its title and what was seen. */
  readonly kernel: readonly { readonly title: string; readonly seen: readonly string[] }[]
}

/** A scenario that could not be carried out counts as different. */
export function verdictOf(
  { name, differences, failure }: Outcome,
  documented: readonly Documented[] = DOCUMENTED,
): Verdict {
  if (failure !== undefined) return 'different'
  if (differences.length === 0) return 'equal'
  const isAllowed = differences.every((one) => documentation(name, one, documented) !== undefined)
  return isAllowed ? 'documented' : 'different'
}

/** Documented differences of these scenarios that did not occur. */
export function staleEntries(
  outcomes: readonly Outcome[],
  documented: readonly Documented[] = DOCUMENTED,
): Documented[] {
  return documented.filter((entry) => {
    const outcome = outcomes.find(({ name }) => name === entry.scenario)
    return !outcome?.differences.some(
      (one) => documentation(entry.scenario, one, documented) === entry,
    )
  })
}

/** What the kernel did, step by step: shows whether a scenario does what its writer meant. */
export function courseText({ kernel }: Outcome): string {
  return kernel
    .flatMap(({ title, seen }) => [`    ${title}`, ...seen.map((text) => `      ${text}`)])
    .join('\n')
}

/** An outcome as a person reads it: a line, and what differs below it. */
export function outcomeText(outcome: Outcome): string {
  const verdict = verdictOf(outcome)
  const head = `${verdict.padEnd(10)}  ${outcome.name} (${outcome.guestSec.toFixed(1)} s there)`
  if (outcome.failure !== undefined) return `${head}\n    ${outcome.failure}`
  if (verdict === 'equal') return head
  return [head, ...outcome.differences.map(differenceText)].join('\n')
}
