/**
 * The host's part of the comparison as data: who is measured, which figures come of it, and how
 * those of several rounds become one. Pure.
 */
import { type Figure, figureOf } from '../report.js'

/** uvs's NAT, and what it is compared with; neighbours in time where a target compares them. */
export const PEERS = ['haproxy', 'nginx', 'nft', 'route'] as const
export const CONTENDERS = ['uvs', ...PEERS] as const
export type ContenderName = (typeof CONTENDERS)[number]

/** Buffers of a proxy's connection: the best of 16 kB to 1 MB in time per GB, and no cost else. */
export const PROXY_BUFFER_BYTES = 1 << 20

export type MeasureName = 'rtt' | 'cps' | 'bulk'

/** In the order in which they run: the most connections come last, because they leave traces. */
export const MEASURES: readonly MeasureName[] = ['rtt', 'bulk', 'cps']

/** One kind of figure. */
export interface Kind {
  /** The end of its name. */
  readonly end: string
  readonly unit: string
  readonly measure: MeasureName
  /** May uvs be divided by its peers in it? */
  readonly compared: boolean
}

/** `own-...` is the time of the forwarder's process alone; the kernel's forwarding has none. */
export const KINDS: readonly Kind[] = [
  { end: 'rtt', unit: 'µs', measure: 'rtt', compared: true },
  { end: 'rtt-p99', unit: 'µs', measure: 'rtt', compared: true },
  { end: 'bulk', unit: 'bytes/s', measure: 'bulk', compared: true },
  { end: 'cpu-per-gb', unit: 'cpu-s/GB', measure: 'bulk', compared: true },
  { end: 'own-cpu-per-gb', unit: 'cpu-s/GB', measure: 'bulk', compared: false },
  { end: 'cps', unit: 'connections/s', measure: 'cps', compared: true },
  { end: 'cpu-per-kconn', unit: 'cpu-s/1000 connections', measure: 'cps', compared: true },
  { end: 'own-cpu-per-kconn', unit: 'cpu-s/1000 connections', measure: 'cps', compared: false },
]

/** A figure of the run, and the measurements that it is made of: one, or one divided by another. */
export interface Planned {
  readonly name: string
  readonly unit: string
  readonly kind: Kind
  readonly of: readonly ContenderName[]
}

/** Values of one round by `<contender>/<end>`. */
export type Round = ReadonlyMap<string, number>

/** All figures with `only` in their names: first the measured ones, then the ratios. */
export function plannedFigures(only: string): Planned[] {
  const measured = CONTENDERS.flatMap((contender) =>
    KINDS.map((kind): Planned => {
      const name = `compare/host/${contender}/${kind.end}`
      return { name, unit: kind.unit, kind, of: [contender] }
    }),
  )
  const ratios = PEERS.flatMap((peer) =>
    KINDS.filter(({ compared }) => compared).map((kind): Planned => {
      const name = `compare/host/${peer}/${kind.end}/ratio`
      return { name, unit: 'ratio', kind, of: ['uvs', peer] }
    }),
  )
  return [...measured, ...ratios].filter(({ name }) => name.includes(only))
}

/** What has to be measured of whom for these figures. */
export function neededTrials(planned: readonly Planned[]): Map<ContenderName, Set<MeasureName>> {
  const needed = new Map<ContenderName, Set<MeasureName>>()
  for (const { of, kind } of planned) {
    for (const contender of of) {
      needed.set(contender, (needed.get(contender) ?? new Set()).add(kind.measure))
    }
  }
  return needed
}

/** The figures over all rounds. A ratio is formed within a round, so noise harms both its sides. */
export function figuresOf(
  planned: readonly Planned[],
  rounds: readonly Round[],
  paramsOf: (measure: MeasureName) => Figure['params'],
): Figure[] {
  return planned.flatMap(({ name, unit, kind, of }) => {
    const values = rounds.flatMap((round) => {
      const parts = of.flatMap((contender) => round.get(`${contender}/${kind.end}`) ?? [])
      if (parts.length < of.length) return []
      return parts.reduce((value, base) => value / base)
    })
    return values.length === 0 ? [] : figureOf(name, unit, values, paramsOf(kind.measure))
  })
}
