/**
 * Cores in threads that end in every way a thread can end. Whatever happens, the memory is free
 * for a successor afterwards, and what the thread knew is still in it.
 */
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { MemoryCore } from '../../src/dataplane/memory-core.js'
import { allocateBlocks, type SharedBlocks } from '../../src/dataplane/memory.js'
import { waitFor } from '../support/wait.js'
import type { CoreThreadTask } from './support/core-thread.js'
import { ACK, blockOf, generator, webConfig, wordOf } from './support/setup.js'

const CONNECTIONS = 512
const FLOWS = 100
const SCRIPT = fileURLToPath(new URL('./support/core-thread.js', import.meta.url))

interface Started {
  readonly thread: Worker
  /** `attached`, or the code the core was refused with. */
  readonly said: string
  readonly exitCode: Promise<number>
}

/** Starts a thread and resolves when it has its core, or was refused one. */
async function start(task: CoreThreadTask): Promise<Started> {
  const thread = new Worker(SCRIPT, { workerData: task })
  // A thread that throws emits `error`; the test looks at how it ended, not at that.
  thread.on('error', () => undefined)
  // Listened for from the start: the last message and the exit may come in one turn.
  const exitCode = new Promise<number>((resolve) => thread.once('exit', resolve))
  const said = await new Promise<string>((resolve) => thread.once('message', resolve))
  return { thread, said, exitCode }
}

/** The successor of a dead thread: finds its connections, and its packets need no verdict. */
async function succeed(blocks: SharedBlocks): Promise<void> {
  await waitFor('the memory to be free', () => wordOf(blocks, 0, 'attached') === 0)
  const next = new MemoryCore([generator()], CONNECTIONS, false, blocks)
  next.adopt(blockOf(webConfig()))
  next.core.generate(FLOWS, 0, FLOWS, 1, ACK)
  assert.equal(next.burst() + next.burst(), 0)
  const { active, inactive } = next.totals()
  assert.ok(active + inactive >= FLOWS)
  assert.equal(next.core.expireConnections(-1), active + inactive)
  assert.deepEqual(next.totals(), { active: 0, inactive: 0 })
  next.core.close()
}

describe('boundary: threads with a core', () => {
  for (const then of ['return', 'exit', 'throw', 'close', 'open'] as const) {
    it(`that end by themselves (${then})`, async () => {
      const blocks = allocateBlocks(1, CONNECTIONS)
      const { said, exitCode } = await start({ blocks, worker: 0, then })
      assert.equal(said, 'attached')
      assert.equal(await exitCode, { exit: 3, throw: 1, return: 0, close: 0, open: 0 }[then])
      await succeed(blocks)
    })
  }

  for (const then of ['poll', 'traffic'] as const) {
    it(`that are terminated (${then})`, async () => {
      const blocks = allocateBlocks(1, CONNECTIONS)
      for (let round = 0; round < 5; round++) {
        const { thread, said } = await start({ blocks, worker: 0, then })
        assert.equal(said, 'attached')
        const startMs = performance.now()
        await thread.terminate()
        // One poll waits 10 ms at the most; a bare native loop would take seconds.
        assert.ok(performance.now() - startMs < 3000)
        await waitFor('the memory to be free', () => wordOf(blocks, 0, 'attached') === 0)
      }
      await succeed(blocks)
    })
  }

  it('of which only one gets the memory', async () => {
    const blocks = allocateBlocks(1, CONNECTIONS)
    const task = { blocks, worker: 0, then: 'poll' } as const
    const both = await Promise.all([start(task), start(task)])
    assert.deepEqual(both.map(({ said }) => said).sort(), ['ERR_BUSY', 'attached'])
    await Promise.all(both.map(({ thread }) => thread.terminate()))
    await succeed(blocks)
  })

  it('that come and go thirty times, four at a time', async () => {
    const workers = 4
    const blocks = allocateBlocks(workers, CONNECTIONS)
    for (let round = 0; round < 30; round += workers) {
      const ids = Array.from({ length: workers }, (_, worker) => worker)
      const threads = await Promise.all(
        ids.map((worker) => start({ blocks, worker, then: worker % 2 === 0 ? 'close' : 'poll' })),
      )
      assert.deepEqual(
        threads.map(({ said }) => said),
        ids.map(() => 'attached'),
      )
      await Promise.all(threads.map(({ thread }) => thread.terminate()))
      for (const worker of ids) {
        await waitFor('the memory to be free', () => wordOf(blocks, worker, 'attached') === 0)
      }
    }
  }).timeout(60_000)
})
