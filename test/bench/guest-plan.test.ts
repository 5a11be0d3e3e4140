/** What the comparison with IPVS reads of the kernel, and how figures come of it. */
import assert from 'node:assert/strict'
import {
  figuresOf,
  idleSeconds,
  neededTrials,
  plannedFigures,
  receivedPackets,
  type Round,
  slabBytes,
  TRIALS,
} from '../../bench/compare/guest-plan.js'

const STAT = `cpu  164 0 1202 595 5 0 66 0 0 0
cpu0 102 0 809 231 5 0 35 0 0 0
cpu1 62 0 393 364 0 0 30 0 0 0
`

const DEV = `Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets
    lo:     100       1    0    0    0     0          0         0      100       1
  eth0: 1474560   24576    0    0    0     0          0         0      948      16
`

function values(only: string, rounds: readonly Round[]): Record<string, number> {
  const figures = figuresOf(plannedFigures(only), rounds, () => ({}))
  return Object.fromEntries(figures.map(({ name, median }) => [name, median]))
}

describe('comparison with IPVS', () => {
  it('counts idleness and waiting for disks of all processors', () => {
    assert.equal(idleSeconds(STAT), 6)
    assert.throws(() => idleSeconds('intr 0'), /lacks/)
  })

  it('reads how many frames an interface received', () => {
    assert.equal(receivedPackets(DEV, 'eth0'), 24576)
    assert.throws(() => receivedPackets(DEV, 'eth1'), /lacks eth1/)
  })

  it('counts whole slabs', () => {
    // As sysfs writes them: with the share of each memory node.
    assert.equal(slabBytes('100 N0=100\n', '1\n', 4096), 100 * 2 * 4096)
    assert.throws(() => slabBytes('', '1', 4096), /no numbers/)
  })

  it('takes what the load alone costs from both sides, and tells the ratio without that', () => {
    const round = { 'pps/dr/uvs': 30e-6, 'pps/dr/ipvs': 20e-6, 'pps/base': 10e-6 }
    const found = values('/dr/pps-per-cpu', [round])
    const near = (name: string, wanted: number): void => {
      const value = found[`compare/guest/dr/pps-per-cpu/${name}`]
      assert.ok(Math.abs(value - wanted) < wanted * 1e-9, `${name}: ${value}`)
    }
    near('uvs', 50_000)
    near('ipvs', 100_000)
    near('ratio', 0.5)
    near('ratio-gross', 2 / 3)
  })

  it('takes the cable from the round trips', () => {
    const round = { 'rtt/nat/uvs': 90, 'rtt/base/uvs': 50, 'rtt/nat/ipvs': 70, 'rtt/base/ipvs': 60 }
    assert.deepEqual(values('rtt/nat', [round]), {
      'compare/guest/rtt/nat/uvs': 40,
      'compare/guest/rtt/nat/ipvs': 10,
      'compare/guest/rtt/nat/ratio': 4,
    })
  })

  it('leaves out what no round has, and uses the rounds that have it', () => {
    const memory = { 'memory/uvs': 100, 'memory/ipvs': 400 }
    assert.deepEqual(values('', [{}, memory]), {
      'compare/guest/memory/uvs': 100,
      'compare/guest/memory/ipvs': 400,
      'compare/guest/memory/ratio': 0.25,
    })
    assert.deepEqual(values('', [{ 'new/wlc/uvs': 1, 'new/base': 0.5 }]), {
      'compare/guest/new/wlc/uvs': 2,
    })
  })

  it('measures what the wanted figures need and names each figure once', () => {
    assert.deepEqual(neededTrials(plannedFigures('')), TRIALS)
    assert.deepEqual(neededTrials(plannedFigures('compare/guest/new/wlc/ratio')), ['new/wlc'])
    assert.deepEqual(plannedFigures('compare/host'), [])
    const names = plannedFigures('').map(({ name }) => name)
    assert.equal(new Set(names).size, names.length)
    for (const promised of ['dr/pps-per-cpu', 'new/sh', 'rtt/tun', 'memory']) {
      assert.ok(names.includes(`compare/guest/${promised}/ratio`), promised)
    }
  })
})
