/** Which trials a comparison needs, and the figures of its rounds (bench/compare/plan.ts). */
import assert from 'node:assert/strict'
import { busySeconds } from '../../bench/compare/measures.js'
import { CONTENDERS, figuresOf, neededTrials, plannedFigures } from '../../bench/compare/plan.js'

const names = (only: string): string[] => plannedFigures(only).map(({ name }) => name)

const trials = (only: string): Record<string, string[]> =>
  Object.fromEntries(
    [...neededTrials(plannedFigures(only))].map(([name, measures]) => [name, [...measures].sort()]),
  )

describe('comparison plan', () => {
  it('has the figures that interfaces promise, each once', () => {
    const all = names('')
    assert.equal(new Set(all).size, all.length)
    const ends = ['cps', 'bulk', 'rtt', 'cpu-per-gb']
    for (const peer of ['nft', 'haproxy', 'nginx', 'route']) {
      for (const end of ends) assert.ok(all.includes(`compare/host/${peer}/${end}/ratio`))
    }
    for (const who of CONTENDERS) assert.ok(all.includes(`compare/host/${who}/cpu-per-kconn`))
    assert.ok(!all.some((name) => name.startsWith('compare/host/uvs/') && name.endsWith('/ratio')))
  })

  it('measures everything of everybody when nothing is asked for', () => {
    const all = ['bulk', 'cps', 'rtt']
    assert.deepEqual(trials(''), Object.fromEntries(CONTENDERS.map((name) => [name, all])))
  })

  it('measures only what the figures need: both sides of a ratio', () => {
    assert.deepEqual(trials('nginx/cps/ratio'), { uvs: ['cps'], nginx: ['cps'] })
    assert.deepEqual(trials('host/nft/rtt-p99'), { nft: ['rtt'], uvs: ['rtt'] })
    assert.deepEqual(trials('uvs/own-cpu-per-gb'), { uvs: ['bulk'] })
    assert.deepEqual(trials('compare/guest'), {})
  })

  it('forms ratios within a round', () => {
    const rounds = [
      new Map([
        ['uvs/cps', 100],
        ['nginx/cps', 50],
      ]),
      new Map([
        ['uvs/cps', 40],
        ['nginx/cps', 10],
      ]),
      new Map([
        ['uvs/cps', 30],
        ['nginx/cps', 10],
      ]),
    ]
    const params = { seconds: 1 }
    const planned = plannedFigures('compare/host/nginx/cps')
    const found = figuresOf(planned, rounds, (measure) => ({ ...params, measure }))
    assert.deepEqual(found, [
      {
        name: 'compare/host/nginx/cps',
        unit: 'connections/s',
        median: 10,
        min: 10,
        max: 50,
        rounds: 3,
        params: { seconds: 1, measure: 'cps' },
      },
      {
        name: 'compare/host/nginx/cps/ratio',
        unit: 'ratio',
        median: 3,
        min: 2,
        max: 4,
        rounds: 3,
        params: { seconds: 1, measure: 'cps' },
      },
    ])
  })

  it('has no figure, and no ratio, of what was not measured', () => {
    const rounds = [new Map([['uvs/own-cpu-per-gb', 2]]), new Map([['uvs/cps', 5]])]
    const found = figuresOf(plannedFigures(''), rounds, () => ({}))
    const seen = found.map(({ name, rounds: count }) => [name, count])
    assert.deepEqual(seen, [
      ['compare/host/uvs/own-cpu-per-gb', 1],
      ['compare/host/uvs/cps', 1],
    ])
  })

  it('counts as busy all but idle, waiting and stolen time', () => {
    const cpu0 = 'cpu0 9 9 9 9 9 9 9 9 9 9\n'
    const stat = `cpu  100 20 300 99999 4000 5 6 777 50 8\n${cpu0}intr 1\n`
    assert.equal(busySeconds(stat), 4.31)
    assert.throws(() => busySeconds(cpu0), /no line for all processors/)
  })
})
