/** The estimator against the rows of spec 7.2, zeroing 7.4, and who keeps what over changes. */
import assert from 'node:assert/strict'
import { Estimator, RateBook } from '../../src/control/metrics/rates.js'
import { FakeDataplane, NO_TRAFFIC } from '../support/fake-dataplane.js'
import {
  addDestination,
  addService,
  configOf,
  deleteDestination,
  serviceId,
  serviceIn,
} from './fixtures.js'

/** Readings of one field after each run, with `steps` added per run. */
function readings(field: 'inPackets' | 'inBytes', steps: readonly number[]): number[] {
  const estimator = new Estimator(NO_TRAFFIC)
  let total = 0n
  return steps.map((step) => {
    total += BigInt(step)
    estimator.tick({ ...NO_TRAFFIC, [field]: total })
    return Number(estimator.rates()[field])
  })
}

const times = (n: number, value: number) => Array.from({ length: n }, () => value)

describe('estimator', () => {
  it('200 packets constantly', () => {
    assert.deepEqual(readings('inPackets', times(6, 200)), [25, 44, 58, 68, 76, 82])
    assert.equal(readings('inPackets', times(60, 200)).at(-1), 100)
  })
  it('100 packets once', () => {
    assert.deepEqual(readings('inPackets', [100, ...times(8, 0)]), [12, 9, 7, 5, 4, 3, 2, 2, 1])
  })
  it('1 packet constantly reads 0 for ever', () => {
    assert.deepEqual(new Set(readings('inPackets', times(100, 1))), new Set([0]))
  })
  it('2000 bytes constantly', () => {
    assert.deepEqual(readings('inBytes', times(5, 2000)), [250, 437, 578, 684, 763])
    assert.equal(readings('inBytes', times(80, 2000)).at(-1), 1000)
  })
  it('shows counters as of the last run and zeroes to that sample', () => {
    const estimator = new Estimator({ ...NO_TRAFFIC, inPackets: 1000n })
    assert.equal(estimator.stats().inPackets, 0n)
    estimator.tick({ ...NO_TRAFFIC, inPackets: 1500n })
    assert.equal(estimator.stats().inPackets, 500n)
    estimator.zero()
    assert.equal(estimator.stats().inPackets, 0n)
    assert.equal(estimator.rates().inPackets, 0n)
    estimator.tick({ ...NO_TRAFFIC, inPackets: 1501n })
    assert.equal(estimator.stats().inPackets, 1n)
    assert.equal(estimator.since({ ...NO_TRAFFIC, inPackets: 1600n }).inPackets, 600n)
  })
})

describe('rate book', () => {
  const S = serviceId()

  it('follows objects, not slots', () => {
    const port = new FakeDataplane()
    const added = configOf([addService(S), addDestination(S, '198.18.1.1')])
    const [destination] = serviceIn(added, S).destinations
    const book = new RateBook(port.counters())
    book.follow(added, port.counters())
    port.destinationTraffic.set(destination.slot, { ...NO_TRAFFIC, inPackets: 10n })
    book.tick(added, port.counters())
    const shown = () => book.destination(destination).stats().inPackets
    assert.equal(shown(), 10n)
    const removed = configOf([deleteDestination(S, '198.18.1.1')], added)
    book.follow(removed, port.counters())
    const back = configOf([addDestination(S, '198.18.1.1')], removed)
    book.follow(back, port.counters())
    assert.equal(shown(), 10n)
    // Not sampled yet: the kernel's zero point is its last sample, so this is seen afterwards.
    port.destinationTraffic.set(destination.slot, { ...NO_TRAFFIC, inPackets: 13n })
    const remade = configOf(
      [{ kind: 'deleteService', service: S }, addService(S), addDestination(S, '198.18.1.1')],
      back,
    )
    book.follow(remade, port.counters())
    assert.equal(shown(), 0n)
    book.tick(remade, port.counters())
    assert.equal(shown(), 3n)
  })

  it('forgets the last sample of a destination that comes back to a new service, no more', () => {
    const port = new FakeDataplane()
    const added = configOf([addService(S), addDestination(S, '198.18.1.1')])
    const [destination] = serviceIn(added, S).destinations
    const count = (inPackets: bigint) =>
      port.destinationTraffic.set(destination.slot, { ...NO_TRAFFIC, inPackets })
    const book = new RateBook(port.counters())
    book.follow(added, port.counters())
    count(10n)
    book.tick(added, port.counters())
    count(13n)
    const remade = configOf(
      [{ kind: 'deleteService', service: S }, addService(S), addDestination(S, '198.18.1.1')],
      added,
    )
    book.follow(remade, port.counters())
    count(14n)
    book.tick(remade, port.counters())
    assert.equal(book.destination(destination).stats().inPackets, 4n)
  })

  it('zeroes one service without touching the total', () => {
    const port = new FakeDataplane()
    const config = configOf([addService(S)])
    const service = serviceIn(config, S)
    const book = new RateBook(port.counters())
    book.follow(config, port.counters())
    port.serviceTraffic.set(service.slot, { ...NO_TRAFFIC, connections: 5n })
    port.totalTraffic = { ...NO_TRAFFIC, connections: 5n }
    book.tick(config, port.counters())
    book.zero(config, service)
    assert.equal(book.service(service).stats().connections, 0n)
    assert.equal(book.total.stats().connections, 5n)
    book.zero(config)
    assert.equal(book.total.stats().connections, 0n)
  })
})
