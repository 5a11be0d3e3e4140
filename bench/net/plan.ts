/** Which trials a run consists of, and which ratios follow from their figures. Pure. */

export type MeasureName = 'rtt' | 'cps' | 'bulk' | 'pps'

/** In the order in which they run: the flood comes last, because it fills tables and queues. */
export const MEASURES: readonly MeasureName[] = ['rtt', 'cps', 'bulk', 'pps']

/** The figures of a measure by the end of their names, with their units. */
export const FIGURES: Readonly<Record<MeasureName, Readonly<Record<string, string>>>> = {
  rtt: { rtt: 'µs', 'rtt-p99': 'µs' },
  cps: { cps: 'connections/s' },
  bulk: { bulk: 'bytes/s' },
  pps: { pps: 'packets/s', 'pps-per-cpu': 'packets/cpu-s' },
}

/** A figure divided by another of the same round. */
export interface Ratio {
  readonly name: string
  readonly over: readonly [figure: string, base: string]
}

const MEASURE_OF: Readonly<Record<string, MeasureName>> = { gc: 'pps' }

/** Measures the figure `net/<contender>/<end>` comes from. */
function measureOf(end: string): MeasureName | undefined {
  return MEASURES.find((measure) => end in FIGURES[measure]) ?? MEASURE_OF[end]
}

const ratio = (figure: string, base: string): Ratio => {
  const [a, b] = [figure, base].map((name) => name.replace('net/', '').replaceAll('/', '-'))
  return { name: `net/ratio/${a}-over-${b}`, over: [figure, base] }
}

/** The ratios of a run: each kind of I/O beside what it could do at best, and beside the kernel. */
export function ratios(contenders: readonly string[]): Ratio[] {
  const directors = contenders.filter((name) => name.includes('/'))
  return directors.flatMap((name) => [
    ...Object.keys(FIGURES.pps).map((end) => ratio(`net/${name}/${end}`, `net/plain/${end}`)),
    ...MEASURES.map((measure) => ratio(`net/${name}/${measure}`, `net/ip_forward/${measure}`)),
  ])
}

/** Names of all figures of these contenders, without ratios. */
export function figureNames(contenders: readonly string[]): string[] {
  const own = contenders.flatMap((name) =>
    MEASURES.flatMap((measure) => Object.keys(FIGURES[measure])).map((end) => `net/${name}/${end}`),
  )
  return [...own, ...ioKinds(contenders).map((io) => `net/${io}/gc`)]
}

/** `af_packet`, `tun`: as far as a contender uses them. */
export function ioKinds(contenders: readonly string[]): string[] {
  const kinds = contenders.filter((name) => name.includes('/')).map((name) => name.split('/')[0])
  return [...new Set(kinds)]
}

/** What has to be measured of whom for every figure and ratio with `only` in its name. */
export function neededTrials(
  contenders: readonly string[],
  only: string,
): Map<string, Set<MeasureName>> {
  const figures = figureNames(contenders).filter((name) => name.includes(only))
  const parts = ratios(contenders)
    .filter(({ name }) => name.includes(only))
    .flatMap(({ over }) => over)
  const needed = new Map<string, Set<MeasureName>>()
  const need = (contender: string, measure: MeasureName): void => {
    needed.set(contender, (needed.get(contender) ?? new Set()).add(measure))
  }
  for (const figure of [...figures, ...parts]) {
    const words = figure.split('/').slice(1)
    const end = words.pop() ?? ''
    const measure = measureOf(end)
    if (measure === undefined) throw new Error(`no measure gives ${figure}`)
    const name = words.join('/')
    for (const contender of contenders) {
      // `net/<io>/gc` is of all methods of a kind of I/O.
      if (contender === name || (end === 'gc' && contender.startsWith(`${name}/`))) {
        need(contender, measure)
      }
    }
  }
  return needed
}
