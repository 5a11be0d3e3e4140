/**
 * Differences from the kernel that are meant to be: each refers to a line of docs/compat.md, which
 * has the reason. One that does not occur any more fails the run of all scenarios.
 */
import type { Difference } from './compare.js'

export interface Documented {
  /** Name of the scenario. */
  readonly scenario: string
  /** The first cell of the line in docs/compat.md. */
  readonly behaviour: string
  /** What the kernel and uvs show there, as it is printed; every line must fit. */
  readonly kernel: RegExp
  readonly uvs: RegExp
}

export const DOCUMENTED: readonly Documented[] = []

/** The entry that allows a difference. */
export function documentation(
  scenario: string,
  difference: Difference,
  documented: readonly Documented[] = DOCUMENTED,
): Documented | undefined {
  const fits = (pattern: RegExp, lines: readonly string[]) =>
    lines.every((text) => pattern.test(text))
  return documented.find(
    (entry) =>
      entry.scenario === scenario &&
      fits(entry.kernel, difference.kernel) &&
      fits(entry.uvs, difference.uvs),
  )
}
