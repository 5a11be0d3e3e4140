/** mh tables from the CPU pool's thread to the workers' threads, and what a lost thread means. */
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { CounterBlocks } from '../../src/dataplane/counters.js'
import { MaglevPool } from '../../src/dataplane/maglev-pool.js'
import { allocateBlocks } from '../../src/dataplane/memory.js'
import { SnapshotView } from '../../src/dataplane/snapshot-view.js'
import { DataplaneError, Supervisor } from '../../src/dataplane/supervisor.js'
import { NO_TABLES, ownersOf, tablesAtOnce } from '../../src/scheduler/maglev-tables.js'
import { configOf } from '../../bench/support/config.js'
import { waitFor } from '../support/wait.js'
import { buildSnapshot } from '../support/snapshot-block.js'
import { EXITS, THROWS } from './support/failing-job.js'
import { blockOf, generator, SYN, webCommands } from './support/setup.js'

const FAILING_JOB = fileURLToPath(new URL('./support/failing-job.js', import.meta.url))

const viewOf = (weights: readonly number[]): SnapshotView => {
  const destinations = weights.map((weight, slot) => ({ slot, weight, port: slot }))
  return new SnapshotView(
    buildSnapshot({ generation: 1, services: [{ scheduler: 'mh', destinations }] }),
  )
}

/** A pool of its own for `test`, ended whatever happens. */
async function withPool(pool: MaglevPool, test: () => Promise<void>): Promise<void> {
  try {
    await test()
  } finally {
    await pool.close()
  }
}

describe('boundary: maglev tables', () => {
  it('the pool builds what this thread would, in shared memory', async () => {
    const pool = new MaglevPool(assert.fail)
    await withPool(pool, async () => {
      const view = viewOf([1, 2, 3])
      const tables = await pool.tablesFor(view, NO_TABLES)
      assert.deepEqual(ownersOf(tables), ownersOf(tablesAtOnce(view, NO_TABLES)))
      assert.ok(tables.get(0)?.owners.buffer instanceof SharedArrayBuffer)
      const again = await pool.tablesFor(viewOf([1, 2, 3]), tables)
      assert.equal(again.get(0)?.owners, tables.get(0)?.owners)
      const small = await pool.tablesFor(view, NO_TABLES, { slots: 251, turnBits: 4 })
      assert.equal(small.get(0)?.owners.length, 251)
    })
  })

  it('a job that fails, and a thread that ends, are operating errors; the next works', async () => {
    const pool = new MaglevPool(assert.fail, FAILING_JOB)
    await withPool(pool, async () => {
      for (const [weight, why] of [
        [THROWS, /nothing was changed; try again: out of slots/],
        [EXITS, /nothing was changed; try again: /],
      ] as const) {
        await assert.rejects(
          pool.tablesFor(viewOf([weight]), NO_TABLES),
          (error: unknown) =>
            error instanceof DataplaneError &&
            error.code === 'TABLE_FAILED' &&
            why.test(error.message),
        )
        const { size } = await pool.tablesFor(viewOf([1]), NO_TABLES)
        assert.equal(size, 1)
      }
    })
  })

  it('code that cannot be loaded fails the change', async () => {
    const pool = new MaglevPool(assert.fail, `${FAILING_JOB}.gone`)
    await withPool(pool, async () => {
      const { size } = await pool.tablesFor(viewOf([]), NO_TABLES)
      assert.equal(size, 1, 'no destinations: nothing to build')
      const failed = pool.tablesFor(viewOf([1]), NO_TABLES)
      await assert.rejects(failed, { code: 'TABLE_FAILED', message: /failing-job\.js\.gone/ })
    })
  })

  it('workers attach them, also one that replaces another', async () => {
    const block = blockOf(configOf(webCommands('direct', 3, 'mh')))
    const tables = ownersOf(tablesAtOnce(new SnapshotView(block), NO_TABLES))
    const blocks = allocateBlocks(1, 1 << 16)
    const supervisor = new Supervisor({
      blocks,
      ports: [[generator(1e12, 1 << 15, SYN)]],
      hostPort: -1,
      hops: 'static',
      log: () => undefined,
    })
    const counters = new CounterBlocks(blocks)
    const bound = (): number => [0, 1, 2].reduce((sum, slot) => sum + counters.load(slot).active, 0)
    try {
      await supervisor.start(block, tables)
      await waitFor('connections', () => bound() > 1000)
      supervisor.kill(0)
      await waitFor('the replacement', () => supervisor.status()[0].restarts === 1)
      await waitFor('all connections', () => bound() === 1 << 15)
      assert.equal(counters.drops().get('scheduler_failed'), 0n)
    } finally {
      await supervisor.stop()
    }
  })
})
