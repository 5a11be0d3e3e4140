/**
 * `npm run bench -- NAME [--json FILE] [--quick] [--only TEXT] [--rounds N]`: every trial in a
 * process of its own, rounds interleaved so that a noisy minute spoils no single figure; medians
 * and spread as a Markdown table, JSON on request. `compare --report DIR` also writes a report.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { runCompare } from './compare/compare.js'
import { writeComparison } from './compare/write.js'
import { MAGLEV_INDEX_DEFAULT } from '../src/control/model/maglev-size.js'
import { movedPercentages } from './maglev-trials.js'
import { runNet } from './net/net.js'
import { usageInstead } from './support/usage.js'
import { figureOf, markdownTable, type Figure, type SuiteOptions } from './report.js'

/** One trial: what to run and what its number is called. */
interface Trial {
  readonly name: string
  readonly unit: string
  readonly trial: string
  readonly params: Readonly<Record<string, string | number>>
}

const METHODS = ['dr', 'tun', 'nat', 'fullnat']
const SIZES = [1_000, 1_000_000, 4_000_000]
const SCHEDULERS = ['rr', 'wrr', 'lc', 'wlc', 'lblc', 'lblcr', 'dh', 'sh', 'sed', 'nq']
const LATER_SCHEDULERS = ['fo', 'ovf', 'mh', 'twos']

function coreTrials(): Trial[] {
  const hits = METHODS.flatMap((method) =>
    SIZES.map((connections) => ({
      name: `core/hit/${method}/${connections}`,
      unit: 'packets/s',
      trial: 'hit',
      params: { method, connections },
    })),
  )
  const news = [...SCHEDULERS, ...LATER_SCHEDULERS].map((scheduler) => ({
    name: `core/new/${scheduler}`,
    unit: 'connections/s',
    trial: 'new',
    params: { scheduler, destinations: 32 },
  }))
  const memory = METHODS.map((method) => ({
    name: `core/memory/${method}`,
    unit: 'bytes/connection',
    trial: 'memory',
    params: { method, connections: 1_000_000 },
  }))
  const flood = {
    name: 'core/synproxy/flood',
    unit: 'SYNs/s',
    trial: 'synproxy',
    params: { destinations: 32 },
  }
  return [...hits, ...news, flood, ...memory]
}

/** One trial, once, in a process of its own. */
function runOnce(suite: string, trial: Trial, quick: boolean): number {
  const program = fileURLToPath(new URL('./run-trial.js', import.meta.url))
  const params = JSON.stringify({ ...trial.params, quick })
  const output = execFileSync(process.execPath, [program, suite, trial.trial, params], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return (JSON.parse(output) as { value: number }).value
}

function runTrials(suite: string, all: readonly Trial[], options: SuiteOptions): Figure[] {
  const trials = all.filter((t) => t.name.includes(options.only))
  const values = trials.map((): number[] => [])
  for (let round = 0; round < options.rounds; round++) {
    trials.forEach((trial, i) => {
      values[i].push(runOnce(suite, trial, options.quick))
      process.stderr.write('.')
    })
  }
  process.stderr.write('\n')
  return trials.map((t, i) => figureOf(t.name, t.unit, values[i], t.params))
}

/** What a new table takes, to the first one of a director and to later ones. */
function maglevTrials(): Trial[] {
  return (['first', 'build'] as const).flatMap((trial) =>
    [10, 1000].map((destinations) => ({
      name: `maglev/${trial}/${destinations}`,
      unit: 'ms',
      trial,
      params: { destinations },
    })),
  )
}

/** By size of the table; a value for each of 100 destinations that could go. No randomness. */
function maglevMoved({ only }: SuiteOptions): Figure[] {
  const wanted = [MAGLEV_INDEX_DEFAULT, 14, 16].map((index) => ({
    index,
    name: index === MAGLEV_INDEX_DEFAULT ? 'maglev/moved/100' : `maglev/moved/100/index-${index}`,
  }))
  return wanted
    .filter(({ name }) => name.includes(only))
    .map(({ index, name }) => {
      const params = { destinations: 100, index, clients: '198.18.0.0/16' }
      return figureOf(name, '% of the other flows', movedPercentages(100, index), params)
    })
}

const SUITES: Readonly<Record<string, (options: SuiteOptions) => Figure[] | Promise<Figure[]>>> = {
  core: (options) => runTrials('core', coreTrials(), options),
  maglev: (options) => [...runTrials('maglev', maglevTrials(), options), ...maglevMoved(options)],
  net: runNet,
  compare: runCompare,
}

const USAGE = `usage: bench core|maglev|net|compare [--json FILE] [--quick]
             [--only TEXT] [--rounds N]
       bench compare [--report DIR]`

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      rounds: { type: 'string' },
      report: { type: 'string' },
    },
  })
  const { quick, only, report } = values
  const name = positionals[0] ?? ''
  const suite = Object.hasOwn(SUITES, name) ? SUITES[name] : undefined
  const rounds = Number(values.rounds ?? (quick ? 1 : 5))
  const wrongReport = report !== undefined && name !== 'compare'
  if (suite === undefined || wrongReport || !Number.isInteger(rounds) || rounds < 1) {
    console.error(USAGE)
    return 2
  }
  const figures = await suite({ quick, only, rounds })
  if (figures.length === 0) {
    console.error(`bench ${name}: no figure has ${only} in its name; docs/benchmarks names them`)
    return 1
  }
  console.log(`Machine: ${cpus()[0].model}, ${cpus().length} cores; Node ${process.version}\n`)
  console.log(markdownTable(figures))
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(figures, null, 2))
  if (report !== undefined) writeComparison(report, figures)
  return 0
}

process.exitCode = await main().catch(usageInstead(USAGE))
