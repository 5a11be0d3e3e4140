/**
 * The guest's part of the comparison as data: which figures there are, which trials they need, how
 * numbers of the kernel's files are read, and how those of several rounds become figures. Pure.
 *
 * `pps-per-cpu`: frames that were delivered, divided by the busy time of the whole machine while
 * they passed: generator, both cables and the end are in it, for both directors alike.
 * `ratio-alone` is the ratio after taking from both what the same load costs when it is dropped
 * where the director would receive it; that is coarse, because the generator uses its pages again
 * only where a frame stays one buffer to its end, as it does with IPVS and when it is dropped, not
 * with uvs.
 *
 * `new`: connections made per second when more SYNs come than can be taken, each of another client,
 * by a director with an empty table. IPVS works within the generator's processor, uvs beside it: on
 * two processors that is what each of them can do, not what a connection costs.
 */
import type { GuestClock } from '../kernel/rig.js'
import { type Figure, figureOf } from '../report.js'

export const METHODS = ['dr', 'tun', 'nat'] as const
export type Method = (typeof METHODS)[number]
export const SCHEDULERS = ['rr', 'wlc', 'sh'] as const
export const DIRECTORS = ['uvs', 'ipvs'] as const
export type DirectorName = (typeof DIRECTORS)[number]

/** What is measured of both directors: `pps/dr`, `new/wlc`, `rtt/nat`, `memory`. */
export const TRIALS: readonly string[] = [
  ...METHODS.map((method) => `rtt/${method}`),
  ...METHODS.map((method) => `pps/${method}`),
  ...SCHEDULERS.map((scheduler) => `new/${scheduler}`),
  'memory',
]

/** Numbers of one round: `<trial>/<director>`, `pps/base` and `rtt/base/<director>`. */
export type Round = Readonly<Record<string, number>>

interface Planned {
  readonly name: string
  readonly unit: string
  readonly trial: string
  /** From a round; undefined where something was not measured in it. */
  value(round: Round): number | undefined
}

/** Which clock of the guest a trial needs (kernel/rig.ts): its processors' work, or time itself. */
export function clockOf(trial: string): GuestClock {
  return trial.startsWith('pps/') || trial === 'memory' ? 'warped' : 'real'
}

/** All figures with `only` in their names. */
export function plannedFigures(only: string): Planned[] {
  return TRIALS.flatMap(figuresOfTrial).filter(({ name }) => name.includes(only))
}

/** What has to be measured for these figures, in order. */
export function neededTrials(planned: readonly Planned[]): string[] {
  return TRIALS.filter((trial) => planned.some((figure) => figure.trial === trial))
}

function figuresOfTrial(trial: string): Planned[] {
  const [kind, what] = trial.split('/')
  const path = {
    pps: `compare/guest/${what}/pps-per-cpu`,
    new: `compare/guest/new/${what}`,
    rtt: `compare/guest/rtt/${what}`,
    memory: 'compare/guest/memory',
  }[kind]
  if (path === undefined) throw new Error(`no such trial: ${trial}`)
  const figure = (end: string, unit: string, value: Planned['value']): Planned => ({
    name: `${path}/${end}`,
    unit,
    trial,
    value,
  })
  // uvs over IPVS; of speeds and of costs alike, whatever a round has under these keys.
  const ratio = (of: (director: DirectorName) => Planned['value']): Planned['value'] => {
    return (round) => divided(of('uvs')(round), of('ipvs')(round))
  }
  if (kind === 'pps') {
    const speed = (director: DirectorName): Planned['value'] => {
      return (round) => divided(1, round[`${trial}/${director}`])
    }
    const alone = (director: DirectorName): Planned['value'] => {
      return (round) => divided(1, less(round[`${trial}/${director}`], round['pps/base']))
    }
    return [
      ...DIRECTORS.map((director) => figure(director, 'packets/cpu-s', speed(director))),
      figure('ratio', 'ratio', ratio(speed)),
      figure('ratio-alone', 'ratio', ratio(alone)),
    ]
  }
  const unit = { rtt: 'µs added', new: 'connections/s' }[kind] ?? 'bytes/connection'
  const value = (director: DirectorName): Planned['value'] => {
    const base = kind === 'rtt' ? `rtt/base/${director}` : undefined
    return (round) => less(round[`${trial}/${director}`], base === undefined ? 0 : round[base])
  }
  return [
    ...DIRECTORS.map((director) => figure(director, unit, value(director))),
    figure('ratio', 'ratio', ratio(value)),
  ]
}

function less(value: number | undefined, base: number | undefined): number | undefined {
  return value === undefined || base === undefined ? undefined : value - base
}

function divided(value: number | undefined, base: number | undefined): number | undefined {
  return value === undefined || base === undefined ? undefined : value / base
}

/** The figures over all rounds. A ratio is formed within a round. */
export function figuresOf(
  planned: readonly Planned[],
  rounds: readonly Round[],
  paramsOf: (kind: string) => Figure['params'],
): Figure[] {
  return planned.flatMap(({ name, unit, trial, value }) => {
    const values = rounds.flatMap((round) => value(round) ?? [])
    return values.length === 0 ? [] : figureOf(name, unit, values, paramsOf(trial.split('/')[0]))
  })
}

/** Bytes of whole slabs of 2^order pages (Documentation/ABI/testing/sysfs-kernel-slab). */
export function slabBytes(slabs: string, order: string, pageBytes: number): number {
  const bytes = Number.parseInt(slabs) * pageBytes * 2 ** Number.parseInt(order)
  if (Number.isNaN(bytes)) throw new Error(`no numbers: "${slabs}", "${order}"`)
  return bytes
}

/**
 * Seconds that all processors together have been idle so far, of /proc/stat (proc(5)): fields idle
 * and iowait, in hundredths. The kernel measures them (kernel/time/tick-sched.c); what it says of
 * other states is sampled.
 */
export function idleSeconds(stat: string): number {
  const line = /^cpu +(.*)$/m.exec(stat)
  if (line === null) throw new Error('/proc/stat lacks the line of all processors')
  const ticks = line[1].trim().split(/\s+/).map(Number)
  return (ticks[3] + ticks[4]) / 100
}

/** The second field of an interface's line in /proc/net/dev (proc(5)). */
export function receivedPackets(dev: string, device: string): number {
  const line = new RegExp(`^ *${device}: *(.*)$`, 'm').exec(dev)
  if (line === null) throw new Error(`/proc/net/dev lacks ${device}`)
  return Number(line[1].split(/\s+/)[1])
}
