/**
 * The report of a comparison from its figures: one Markdown file and the charts that it shows. What
 * was not measured is not mentioned. Pure.
 */
import { type Figure, readable } from '../report.js'
import { type Bar, barChart } from './chart.js'
import { GUEST_METHOD, hostMethod } from './method.js'
import { CONTENDERS, type ContenderName, PEERS } from './plan.js'

export const REPORT_FILE = 'compare.md'

/** The machine and the programs of a run. */
export interface Machine {
  readonly processor: string
  readonly processors: number
  readonly memoryGb: number
  readonly kernel: string
  readonly versions: readonly (readonly [program: string, version: string])[]
}

type Better = 'more' | 'less'

/** A chart and a table of the host's part. */
interface Section {
  readonly end: string
  readonly title: string
  readonly unit: string
  readonly better: Better
  /** From the figure's unit to the one shown. */
  readonly scale: number
}

const SECTIONS: readonly Section[] = [
  { end: 'cps', title: 'New connections', unit: 'connections/s', better: 'more', scale: 1 },
  { end: 'bulk', title: 'Bulk, one stream', unit: 'GB/s', better: 'more', scale: 1e-9 },
  { end: 'rtt', title: 'Round trip, median', unit: 'µs', better: 'less', scale: 1 },
  { end: 'rtt-p99', title: 'Round trip, 99th percentile', unit: 'µs', better: 'less', scale: 1 },
  {
    end: 'cpu-per-kconn',
    title: 'Processor time of 1000 connections',
    unit: 'CPU seconds of the machine',
    better: 'less',
    scale: 1,
  },
  {
    end: 'cpu-per-gb',
    title: 'Processor time of one GB',
    unit: 'CPU seconds of the machine',
    better: 'less',
    scale: 1,
  },
]

const LABELS: Readonly<Record<ContenderName, string>> = {
  uvs: 'uvs NAT',
  haproxy: 'HAProxy',
  nginx: 'nginx stream',
  nft: 'nftables DNAT',
  route: 'routing',
}

/** What the project wants to reach; `least` is a bound for the median of a ratio. */
const TARGETS: readonly { name: string; least: number; strictly: boolean }[] = [
  { name: 'compare/guest/dr/pps-per-cpu/ratio', least: 0.7, strictly: false },
  { name: 'compare/guest/new/wlc/ratio', least: 1, strictly: false },
  ...['haproxy', 'nginx'].flatMap((peer) =>
    ['cps', 'bulk'].map((end) => {
      return { name: `compare/host/${peer}/${end}/ratio`, least: 1, strictly: true }
    }),
  ),
]

const GUEST = 'compare/guest/'
const RATIO = '/ratio'

/** Texts by the names of their files, REPORT_FILE first. */
export function comparisonReport(
  figures: readonly Figure[],
  machine: Machine,
): ReadonlyMap<string, string> {
  const files = new Map<string, string>([[REPORT_FILE, '']])
  const chart = (file: string, alternative: string, svg: string): string => {
    files.set(file, svg)
    return `![${alternative}](${file})`
  }
  const blocks = [
    '# Comparison',
    'Written by `npm run bench -- compare --report docs/benchmarks`; the next run replaces it.',
    machineList(figures, machine),
    ...targets(figures),
    ...hostPart(figures, chart),
    ...guestPart(figures, chart),
  ]
  files.set(REPORT_FILE, `${blocks.join('\n\n')}\n`)
  return files
}

/** Registers a chart's file and returns the Markdown that shows it. */
type AddChart = (file: string, alternative: string, svg: string) => string

function machineList(figures: readonly Figure[], machine: Machine): string {
  const rounds = [...new Set(figures.map((figure) => figure.rounds))].sort((a, b) => a - b)
  const guests = new Set(figures.flatMap(({ params }) => params.kernel ?? []))
  return [
    `- Machine: ${machine.processor}, ${machine.processors} processors, ${machine.memoryGb} GB`,
    `- Kernel: Linux ${machine.kernel}`,
    ...[...guests].map((kernel) => `- Kernel of the guest: Linux ${kernel}`),
    `- Versions: ${machine.versions.map((words) => words.join(' ')).join(', ')}`,
    `- Rounds: ${rounds.join(', ')}`,
  ].join('\n')
}

function targets(figures: readonly Figure[]): string[] {
  const rows = TARGETS.flatMap(({ name, least, strictly }) => {
    const found = figures.find((figure) => figure.name === name)
    if (found === undefined) return []
    const reached = strictly ? found.median > least : found.median >= least
    const wanted = strictly ? `more than ${least}` : `${least} or more`
    return [[`\`${name}\``, wanted, readable(found.median), spread(found), reached ? 'yes' : 'no']]
  })
  if (rows.length === 0) return []
  return ['## Targets', table(['figure', 'target', 'median', 'min – max', 'reached'], rows)]
}

function hostPart(figures: readonly Figure[], chart: AddChart): string[] {
  const sections = SECTIONS.flatMap((section) => hostSection(figures, section, chart))
  if (sections.length === 0) return []
  return ['## On the host: uvs beside others', hostMethod(figures), ...sections]
}

function hostSection(figures: readonly Figure[], section: Section, chart: AddChart): string[] {
  const { end, title, unit, better, scale } = section
  const of = (name: string): Figure | undefined =>
    figures.find((figure) => figure.name === `compare/host/${name}`)
  const shown = CONTENDERS.flatMap((name) => {
    const figure = of(`${name}/${end}`)
    return figure === undefined ? [] : [{ name, figure: scaled(figure, scale) }]
  })
  if (shown.length === 0) return []
  const bars = shown.map(({ name, figure }): Bar => {
    return { ...figure, label: LABELS[name], strong: name === 'uvs' }
  })
  const note = `${unit}, ${better} is better`
  const hasOwn = CONTENDERS.some((name) => of(`${name}/own-${end}`) !== undefined)
  const rows = shown.map(({ name, figure }) => {
    const ratio = isPeer(name) ? of(`${name}/${end}${RATIO}`) : undefined
    const own = of(`${name}/own-${end}`)
    return [
      LABELS[name],
      readable(figure.median),
      spread(figure),
      ...(hasOwn ? [own === undefined ? '' : readable(own.median)] : []),
      ratio === undefined ? '' : readable(ratio.median),
      ratio === undefined ? '' : spread(ratio),
    ]
  })
  const ownHead = hasOwn ? ['forwarder alone'] : []
  const head = ['', 'median', 'min – max', ...ownHead, 'uvs / it', 'min – max']
  return [
    `### ${title}: ${note}`,
    chart(`compare-${end}.svg`, `${title}, ${note}`, barChart({ title, note, bars })),
    table(head, rows),
  ]
}

function isPeer(name: ContenderName): boolean {
  return (PEERS as readonly string[]).includes(name)
}

/** Whatever the guest's part measured: its ratios as charts, all of it as a table. */
function guestPart(figures: readonly Figure[], chart: AddChart): string[] {
  const guest = figures.filter(({ name }) => name.startsWith(GUEST))
  if (guest.length === 0) return []
  const ratios = guest.filter(({ name }) => name.endsWith(RATIO))
  const charts = (['more', 'less'] as const).flatMap((better) => {
    const bars = ratios
      .filter(({ name }) => betterOf(name) === better)
      .map((figure): Bar => ({ ...figure, label: shortName(figure.name), strong: true }))
    if (bars.length === 0) return []
    const title = `uvs / kernel IPVS: ${better} is better`
    const note = 'ratio of two values of the same round; 1 is the kernel'
    return chart(
      `compare-guest-${better}.svg`,
      title,
      barChart({ title, note, bars, reference: 1 }),
    )
  })
  const rows = guest.map((f) => [`\`${f.name}\``, readable(f.median), spread(f), f.unit])
  return [
    "## In one guest: uvs beside the kernel's IPVS",
    'The guest is an emulated machine where everything is slow alike, so only its ratios say ' +
      'something; its other figures cannot be compared with those of any other machine.',
    GUEST_METHOD,
    ...charts,
    table(['figure', 'median', 'min – max', 'unit'], rows),
  ]
}

/** Rates are better when they are more; times and sizes when they are less. */
function betterOf(name: string): Better {
  return /\/(new|pps|pps-per-cpu|cps|bulk)\//.test(name) ? 'more' : 'less'
}

const shortName = (name: string): string => name.slice(GUEST.length, -RATIO.length)

const scaled = (figure: Figure, scale: number): Figure => ({
  ...figure,
  median: figure.median * scale,
  min: figure.min * scale,
  max: figure.max * scale,
})

const spread = ({ min, max }: Figure): string => `${readable(min)} – ${readable(max)}`

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const written = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [written(head), `|${'---|'.repeat(head.length)}`, ...rows.map(written)].join('\n')
}
