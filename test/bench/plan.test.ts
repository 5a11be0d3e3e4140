/** Which trials a benchmark run needs for the figures that were asked for (bench/net/plan.ts). */
import assert from 'node:assert/strict'
import { figureNames, neededTrials, ratios } from '../../bench/net/plan.js'

const CONTENDERS = ['plain', 'af_packet/dr', 'ip_forward', 'af_packet/nat', 'tun/nat']

/** The trials in a form that reads well in a message. */
function trials(only: string): Record<string, string[]> {
  const needed = [...neededTrials(CONTENDERS, only)]
  return Object.fromEntries(needed.map(([name, measures]) => [name, [...measures].sort()]))
}

describe('benchmark plan', () => {
  it('measures everything of everybody when nothing is asked for', () => {
    const all = ['bulk', 'cps', 'pps', 'rtt']
    assert.deepEqual(trials(''), Object.fromEntries(CONTENDERS.map((name) => [name, all])))
  })

  it('measures one figure alone', () => {
    assert.deepEqual(trials('net/af_packet/dr/rtt-p99'), { 'af_packet/dr': ['rtt'] })
  })

  it('measures both sides of a ratio', () => {
    assert.deepEqual(trials('af_packet-dr-pps-over-plain'), {
      plain: ['pps'],
      'af_packet/dr': ['pps'],
    })
    assert.deepEqual(trials('ratio/tun-nat-bulk'), { 'tun/nat': ['bulk'], ip_forward: ['bulk'] })
  })

  it('looks for garbage collections in every flood of a kind of I/O', () => {
    assert.deepEqual(trials('net/af_packet/gc'), {
      'af_packet/dr': ['pps'],
      'af_packet/nat': ['pps'],
    })
  })

  it('measures nothing for a name that no figure has', () => {
    assert.deepEqual(trials('net/no-such'), {})
  })

  it('names figures and ratios once', () => {
    const names = [...figureNames(CONTENDERS), ...ratios(CONTENDERS).map(({ name }) => name)]
    assert.equal(new Set(names).size, names.length)
    assert.ok(names.includes('net/ip_forward/pps'))
    assert.ok(names.includes('net/ratio/af_packet-nat-bulk-over-ip_forward-bulk'))
  })
})
