/** What a benchmark run says: JSON for machines, a Markdown table for people. Pure. */

/** One figure over its rounds; interface.md names the JSON form. */
export interface Figure {
  readonly name: string
  readonly unit: string
  readonly median: number
  readonly min: number
  readonly max: number
  readonly rounds: number
  readonly params: Readonly<Record<string, string | number | boolean>>
}

/** What a suite of benchmarks is asked for. */
export interface SuiteOptions {
  /** Short trials, for a first look. */
  readonly quick: boolean
  /** Part of the names of the figures that are wanted; '': all. */
  readonly only: string
  readonly rounds: number
}

/** The figure of a list of measurements. */
export function figureOf(
  name: string,
  unit: string,
  values: readonly number[],
  params: Figure['params'],
): Figure {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const median =
    sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  const last = sorted[sorted.length - 1]
  return { name, unit, median, min: sorted[0], max: last, rounds: values.length, params }
}

/** A number of 0 or more with as many digits as a reader needs. */
export function readable(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} G`
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`
  if (value >= 100) return value.toFixed(0)
  return value >= 1 || value === 0 ? value.toFixed(2) : value.toPrecision(3)
}

/** A Markdown table of all figures. */
export function markdownTable(figures: readonly Figure[]): string {
  const rows = figures.map((f) => {
    const spread = `${readable(f.min)} – ${readable(f.max)}`
    return `| ${f.name} | ${readable(f.median)} | ${spread} | ${f.unit} | ${f.rounds} |`
  })
  const head = ['| figure | median | spread | unit | rounds |', '|---|---|---|---|---|']
  return [...head, ...rows].join('\n')
}
