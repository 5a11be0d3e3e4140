/**
 * Horizontal bars with whiskers as SVG: medians, with the smallest and the largest value of the
 * rounds. Readable on light and dark pages, alone or as an image. Pure.
 */
import { readable } from '../report.js'

export interface Bar {
  readonly label: string
  readonly median: number
  readonly min: number
  readonly max: number
  /** Drawn in the colour that stands out. */
  readonly strong?: boolean
}

export interface Chart {
  readonly title: string
  /** Unit, and which direction is better. */
  readonly note: string
  /** From top to bottom; values are 0 or more. */
  readonly bars: readonly Bar[]
  /** A value to compare with: a line across all bars. */
  readonly reference?: number
}

// Pixels.
const WIDTH = 720
const PLOT_LEFT = 160
const PLOT_RIGHT = 600 // to the right of it: the values
const PLOT_TOP = 64
const ROW = 32
const BAR = 18
const WHISKER = 8
const AXIS = 32
const MARGIN = 16

const TICKS_MAX = 5

/** Its own background: a page need not have the colours that the reader's system prefers. */
const STYLE = `
    .page { fill: #ffffff } .text { fill: #1f2328 } .faint { fill: #59636e }
    .bar { fill: #8c959f } .strong { fill: #0969da }
    .grid { stroke: #d1d9e0 } .whisker, .reference { stroke: #1f2328 }
    .reference { stroke-dasharray: 4 3 }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117 } .text { fill: #f0f6fc } .faint { fill: #9198a1 }
      .bar { fill: #656c76 } .strong { fill: #4493f8 }
      .grid { stroke: #3d444d } .whisker, .reference { stroke: #f0f6fc }
    }
  `

/** The chart as the text of an SVG file. */
export function barChart({ title, note, bars, reference }: Chart): string {
  const ticks = ticksTo(Math.max(reference ?? 0, ...bars.map(({ max }) => max)))
  const end = ticks[ticks.length - 1]
  const x = (value: number): number => PLOT_LEFT + ((PLOT_RIGHT - PLOT_LEFT) * value) / end
  const plotBottom = PLOT_TOP + ROW * bars.length
  const height = plotBottom + AXIS
  const label = escaped(`${title} (${note})`)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" ` +
      `viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${label}" ` +
      'font-family="sans-serif" font-size="13">',
    `  <style>${STYLE}</style>`,
    `  <rect class="page" width="${WIDTH}" height="${height}" rx="6"/>`,
    text(MARGIN, 26, title, 'text', 'font-size="16" font-weight="bold"'),
    text(MARGIN, 46, note, 'faint'),
    ...ticks.flatMap((tick) => [
      line('grid', x(tick), PLOT_TOP, x(tick), plotBottom),
      text(x(tick), plotBottom + 18, tickText(tick, end), 'faint', 'text-anchor="middle"'),
    ]),
    ...bars.flatMap((bar, i) => barLines(bar, PLOT_TOP + ROW * i, x)),
    ...(reference === undefined
      ? []
      : [line('reference', x(reference), PLOT_TOP, x(reference), plotBottom)]),
    '</svg>',
    '',
  ].join('\n')
}

function barLines(bar: Bar, top: number, x: (value: number) => number): string[] {
  const middle = top + ROW / 2
  const [low, high] = [x(bar.min), x(bar.max)]
  const wide = rounded(x(bar.median) - PLOT_LEFT)
  const colour = bar.strong === true ? 'strong' : 'bar'
  const from = middle - BAR / 2
  const [above, below] = [middle - WHISKER / 2, middle + WHISKER / 2]
  return [
    text(PLOT_LEFT - 10, middle + 4, bar.label, 'text', 'text-anchor="end"'),
    `  <rect class="${colour}" x="${PLOT_LEFT}" y="${from}" width="${wide}" height="${BAR}"/>`,
    line('whisker', low, middle, high, middle),
    line('whisker', low, above, low, below),
    line('whisker', high, above, high, below),
    text(PLOT_RIGHT + 12, middle + 4, readable(bar.median), 'text'),
  ]
}

/** From 0 to at least `max` in steps of 1, 2 or 5 times a power of ten. */
function ticksTo(max: number): number[] {
  if (!(max > 0)) return [0, 1]
  const rough = max / TICKS_MAX
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10) * power
  return Array.from({ length: Math.ceil(max / step) + 1 }, (_, i) => i * step)
}

/** All ticks of an axis in the unit of its end, without digits that say nothing. */
function tickText(tick: number, end: number): string {
  const [size, letter] = end >= 1e6 ? [1e6, ' M'] : end >= 1e4 ? [1e3, ' k'] : [1, '']
  return tick === 0 ? '0' : `${Number((tick / size).toPrecision(6))}${letter}`
}

function line(kind: string, x1: number, y1: number, x2: number, y2: number): string {
  const [left, right] = [rounded(x1), rounded(x2)]
  return `  <line class="${kind}" x1="${left}" y1="${y1}" x2="${right}" y2="${y2}"/>`
}

function text(x: number, y: number, words: string, colour: string, more = ''): string {
  const attributes = more === '' ? '' : ` ${more}`
  const place = `x="${rounded(x)}" y="${y}"`
  return `  <text class="${colour}" ${place}${attributes}>${escaped(words)}</text>`
}

const rounded = (pixels: number): number => Math.round(pixels * 10) / 10

function escaped(words: string): string {
  return words
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
