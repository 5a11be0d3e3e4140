/** What the demo prints: colours on a terminal, plain text elsewhere; bars, numbers, headings. */
import process from 'node:process'

const BAR_COLUMNS = 30

const colourful = process.stdout.isTTY === true && process.env.NO_COLOR === undefined

type Paint = (text: string) => string
const paint =
  (code: number): Paint =>
  (text) =>
    colourful ? `\u001b[${code}m${text}\u001b[0m` : text

export const bold = paint(1)
export const dim = paint(2)
export const green = paint(32)
export const red = paint(31)
export const cyan = paint(36)

/** Prints a line. */
export function say(text = ''): void {
  process.stdout.write(`${text}\n`)
}

/** Prints a heading with what it is about behind it. */
export function heading(title: string, about: string): void {
  say()
  say(`${bold(cyan(title.padEnd(10)))} ${about}`)
}

/** A bar that is full at `most`. */
export function bar(value: number, most: number): string {
  const columns = most === 0 ? 0 : Math.round((value / most) * BAR_COLUMNS)
  return cyan('█'.repeat(columns)) + dim('·'.repeat(BAR_COLUMNS - columns))
}

/** 12345 -> `12,345`. */
export function thousands(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

/** A quantile of unsorted values, by the nearest rank; `share` between 0 and 1. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const rank = Math.max(1, Math.ceil(share * sorted.length))
  return sorted[rank - 1] ?? 0
}

/** Microseconds in the unit that reads best. */
export function duration(valueUs: number): string {
  return valueUs < 1000 ? `${Math.round(valueUs)} µs` : `${(valueUs / 1000).toFixed(1)} ms`
}
