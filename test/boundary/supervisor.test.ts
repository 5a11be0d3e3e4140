/** The supervisor with real threads: start, publish, death and replacement, orderly stop. */
import assert from 'node:assert/strict'
import { decodeConnections, type ConnectionRecord } from '../../src/dataplane/connections.js'
import { CounterBlocks } from '../../src/dataplane/counters.js'
import { allocateBlocks, type SharedBlocks } from '../../src/dataplane/memory.js'
import type { SyntheticPort } from '../../src/dataplane/native.js'
import { DataplaneError, Supervisor } from '../../src/dataplane/supervisor.js'
import { waitFor } from '../support/wait.js'
import { SchedulerState } from '../../src/scheduler/shared-state.js'
import { configOf } from '../../bench/support/config.js'
import {
  ACK,
  blockOf,
  fillTable,
  generator,
  SYN,
  webCommands,
  webConfig,
  wordOf,
} from './support/setup.js'

const CONNECTIONS = 1024
/** More packets than any test waits for. */
const ENDLESS = 1e12

interface Rig {
  readonly supervisor: Supervisor
  readonly blocks: SharedBlocks
  readonly lines: string[]
}

/** Runs `test` with workers on ports of their own, and stops them whatever happens. */
async function withWorkers(
  ports: readonly SyntheticPort[],
  test: (rig: Rig) => Promise<void>,
  blocks = allocateBlocks(ports.length, CONNECTIONS),
): Promise<void> {
  const lines: string[] = []
  const supervisor = new Supervisor({
    blocks,
    ports: ports.map((port) => [port]),
    hostPort: -1,
    hops: 'static',
    log: (level, message) => lines.push(`${level} ${message}`),
  })
  try {
    await test({ supervisor, blocks, lines })
  } finally {
    await supervisor.stop()
  }
  for (let worker = 0; worker < ports.length; worker++) {
    assert.equal(wordOf(blocks, worker, 'attached'), 0)
  }
}

const QUIET: readonly SyntheticPort[] = [{ kind: 'memory' }, { kind: 'memory' }]

async function listed(supervisor: Supervisor): Promise<ConnectionRecord[]> {
  const rows: ConnectionRecord[] = []
  await supervisor.list((block) => void rows.push(...decodeConnections(block)))
  return rows
}

const inPackets = (blocks: SharedBlocks): number =>
  Number(new CounterBlocks(blocks).total().inPackets)

describe('boundary: supervisor', () => {
  it('starts workers, publishes to all and stops them', async () => {
    await withWorkers(QUIET, async ({ supervisor, lines }) => {
      await supervisor.start(blockOf(webConfig()))
      const generations = (): number[] => supervisor.status().map(({ generation }) => generation)
      assert.deepEqual(generations(), [1, 1])
      for (let generation = 2; generation <= 20; generation++) {
        await supervisor.publish(blockOf(webConfig('direct', generation), generation))
        assert.deepEqual(generations(), [generation, generation])
      }
      // Without waiting in between: the newest counts.
      await Promise.all(
        [21, 22, 23].map((n) => supervisor.publish(blockOf(webConfig('direct', n), n))),
      )
      assert.deepEqual(generations(), [23, 23])
      assert.deepEqual(
        supervisor.status().map(({ state, restarts }) => [state, restarts]),
        [
          ['RUNNING', 0],
          ['RUNNING', 0],
        ],
      )
      await supervisor.stop()
      assert.deepEqual(
        supervisor.status().map(({ state }) => state),
        ['STOPPED', 'STOPPED'],
      )
      assert.deepEqual(lines, [])
    })
  })

  it('starts again on the same blocks', async () => {
    const blocks = allocateBlocks(2, CONNECTIONS)
    fillTable(blocks, 1, webConfig(), 50)
    for (let round = 0; round < 3; round++) {
      await withWorkers(
        QUIET,
        async ({ supervisor }) => {
          await supervisor.start(blockOf(webConfig()))
          assert.equal((await listed(supervisor)).length, 50)
        },
        blocks,
      )
    }
  })

  it('refuses a bad snapshot and changes nothing', async () => {
    await withWorkers(QUIET, async ({ supervisor, blocks }) => {
      const bad = blockOf(webConfig()).subarray(8)
      const refused = (error: unknown): boolean =>
        error instanceof DataplaneError && error.code === 'SNAPSHOT_BAD'
      await assert.rejects(supervisor.start(bad), refused)
      await supervisor.start(blockOf(webConfig()))
      const before = supervisor.status().map(({ generation }) => generation)
      await assert.rejects(supervisor.publish(bad), refused)
      assert.deepEqual(
        supervisor.status().map(({ generation }) => generation),
        before,
      )
      assert.equal(wordOf(blocks, 0, 'wantedGeneration'), before[0])
      await supervisor.publish(blockOf(webConfig('tunnel', 3)))
    })
  })

  // Found by reading: the message was in the port before the worker first looked for mail.
  it('publishes to workers that are only starting', async () => {
    await withWorkers(QUIET, async ({ supervisor }) => {
      const starting = supervisor.start(blockOf(webConfig()))
      await supervisor.publish(blockOf(webConfig('direct', 3), 2))
      await starting
      assert.deepEqual(
        supervisor.status().map(({ generation }) => generation),
        [2, 2],
      )
    })
  })

  it('lists connections over several answers and ends them by destination', async () => {
    const blocks = allocateBlocks(2, CONNECTIONS)
    fillTable(blocks, 0, webConfig(), 700)
    fillTable(blocks, 1, webConfig(), 100)
    await withWorkers(
      QUIET,
      async ({ supervisor }) => {
        await supervisor.start(blockOf(webConfig()))
        const rows = await listed(supervisor)
        assert.equal(rows.length, 800)
        assert.equal(new Set(rows.map(({ clientPort }) => clientPort)).size, 700)
        assert.ok(rows.every(({ state, method }) => state === 'ESTABLISHED' && method === 'direct'))
        const ofFirst = rows.filter(({ destinationSlot }) => destinationSlot === 0).length
        assert.equal(await supervisor.expire(0), ofFirst)
        assert.equal((await listed(supervisor)).length, 800 - ofFirst)
        assert.deepEqual(new CounterBlocks(blocks).load(0), {
          active: 0,
          inactive: 0,
          persistent: 0,
        })
        assert.equal(await supervisor.expire(-1), 800 - ofFirst)
      },
      blocks,
    )
  })

  it('lists no further than its reader follows, and ends with what the reader throws', async () => {
    const blocks = allocateBlocks(2, CONNECTIONS)
    for (const worker of [0, 1]) fillTable(blocks, worker, webConfig(), 700)
    const unheard: unknown[] = []
    const hear = (error: unknown) => void unheard.push(error)
    process.on('unhandledRejection', hear)
    try {
      await withWorkers(
        QUIET,
        async ({ supervisor }) => {
          await supervisor.start(blockOf(webConfig()))
          let [waiting, blockCount] = [0, 0]
          await supervisor.list(async () => {
            assert.equal(++waiting, 1, 'rows came while their reader was busy')
            await new Promise(setImmediate)
            waiting--
            blockCount++
          })
          assert.ok(blockCount > 2, `${blockCount} blocks are not enough to tell`)
          let asked = 0
          const leaves = () => Promise.reject(new Error(`gone after ${++asked}`))
          await assert.rejects(supervisor.list(leaves), /^Error: gone after 1$/)
          assert.equal((await listed(supervisor)).length, 1400)
          assert.equal(asked, 1)
        },
        blocks,
      )
    } finally {
      process.off('unhandledRejection', hear)
    }
    assert.deepEqual(unheard, [])
  })

  it('replaces a killed worker, which keeps its connections; others do not notice', async () => {
    const blocks = allocateBlocks(2, CONNECTIONS)
    fillTable(blocks, 0, webConfig(), 200)
    fillTable(blocks, 1, webConfig(), 100)
    const ports = [generator(ENDLESS, 200, ACK), generator(ENDLESS, 100, ACK)]
    await withWorkers(
      ports,
      async ({ supervisor, lines }) => {
        await supervisor.start(blockOf(webConfig()))
        for (let round = 1; round <= 3; round++) {
          const before = inPackets(blocks)
          supervisor.kill(0)
          await waitFor('the replacement', () => {
            const [first] = supervisor.status()
            return first.state === 'RUNNING' && first.restarts === round
          })
          await waitFor('traffic', () => inPackets(blocks) > before + 10_000)
          await supervisor.publish(blockOf(webConfig('direct', 2 + round), 1 + round))
        }
        const [, second] = supervisor.status()
        assert.deepEqual([second.state, second.restarts], ['RUNNING', 0])
        assert.equal((await listed(supervisor)).length, 300)
        assert.equal(new CounterBlocks(blocks).drops().get('not_syn'), 0n)
        const { load } = { load: new CounterBlocks(blocks) }
        assert.equal(load.load(0).active + load.load(1).active, 300)
        assert.ok(lines.every((line) => line.startsWith('error worker 0 died')))
      },
      blocks,
    )
  })

  it('lets a worker that died adopt what was published meanwhile', async () => {
    await withWorkers(QUIET, async ({ supervisor }) => {
      await supervisor.start(blockOf(webConfig()))
      supervisor.kill(1)
      await supervisor.publish(blockOf(webConfig('direct', 3), 2))
      assert.deepEqual(
        supervisor.status().map(({ generation, state }) => [generation, state]),
        [
          [2, 'RUNNING'],
          [2, 'RUNNING'],
        ],
      )
    })
  })

  it('says that a worker cannot start, and stops all the same', async () => {
    const wrong = { kind: 'unknown' } as unknown as SyntheticPort
    await withWorkers([wrong], async ({ supervisor, lines }) => {
      await assert.rejects(supervisor.start(blockOf(webConfig())), { code: 'WORKER_SILENT' })
      assert.match(lines[0], /unknown kind of port/)
      assert.equal(supervisor.status()[0].state, 'FAILED')
    })
  })

  it('replaces a worker that stands still', async () => {
    await withWorkers([generator(ENDLESS, 500, SYN)], async ({ supervisor, blocks, lines }) => {
      // Main holds the lock that the first new flow needs, as a hung thread would.
      const state = new SchedulerState(blocks.scheduler, blocks.workers)
      const config = configOf(webCommands('direct', 2, 'wrr'))
      const slot = [...config.services.values()][0].slot
      state.lock(slot)
      supervisor.once('restart', () => state.unlock(slot))
      await supervisor.start(blockOf(config))
      await waitFor('the replacement', () => supervisor.status()[0].restarts === 1, 15_000)
      await waitFor('traffic', () => inPackets(blocks) > 10_000)
      const still = lines.filter((line) => line.includes('stands still'))
      assert.equal(still.length, 1, lines.join('\n'))
      assert.equal(lines.length, 2, lines.join('\n'))
      assert.equal((await listed(supervisor)).length, 500)
    })
  })

  it('fails a request at once when its worker dies', async () => {
    await withWorkers([{ kind: 'memory' }], async ({ supervisor }) => {
      await supervisor.start(blockOf(webConfig()))
      supervisor.kill(0)
      const fails = { code: 'WORKER_DIED' }
      await assert.rejects(listed(supervisor), fails) // asked before its death was seen
      await assert.rejects(supervisor.expire(-1), fails) // nobody there to ask
      await waitFor('the replacement', () => supervisor.status()[0].restarts === 1)
      const rows = await waitFor('an answer', () => listed(supervisor).catch(() => undefined))
      assert.deepEqual(rows, [])
    })
  })
})
