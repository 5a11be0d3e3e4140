/** A worker under established traffic collects no garbage (architecture, 2.10). */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { CounterBlocks } from '../../src/dataplane/counters.js'
import { allocateBlocks } from '../../src/dataplane/memory.js'
import { Supervisor } from '../../src/dataplane/supervisor.js'
import { waitFor } from '../support/wait.js'
import { ACK, blockOf, fillTable, generator, webConfig } from './support/setup.js'

const FLOWS = 1000
/** The first packets compile the loop, which leaves garbage; what counts is behind them. */
const WARM_PACKETS = 2_000_000
const MEASURED_MS = 3000

describe('boundary: garbage of a worker', () => {
  it('is none while only established flows pass', async () => {
    const blocks = allocateBlocks(1, FLOWS)
    fillTable(blocks, 0, webConfig(), FLOWS)
    const supervisor = new Supervisor({
      blocks,
      ports: [[generator(1e12, FLOWS, ACK)]],
      hostPort: -1,
      hops: 'static',
      log: (level, message) => assert.fail(`${level}: ${message}`),
    })
    const counters = new CounterBlocks(blocks)
    const packets = (): number => Number(counters.total().inPackets)
    const collections = (): number => supervisor.status()[0].garbageCollections
    try {
      await supervisor.start(blockOf(webConfig()))
      await waitFor('the first packets', () => packets() > WARM_PACKETS)
      const [packetsBefore, before] = [packets(), collections()]
      await pause(MEASURED_MS)
      assert.equal(collections() - before, 0)
      assert.ok(packets() - packetsBefore > 100_000, `${packets() - packetsBefore} packets`)
      assert.equal(counters.total().connections, BigInt(FLOWS))
    } finally {
      await supervisor.stop()
    }
  })
})
