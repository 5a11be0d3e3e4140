/**
 * Several worker threads on one set of shared blocks. With exact sharing the union of what they
 * pick is what one worker alone would pick in as many turns, and no client has two templates.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { TEMPLATE_STATE } from '../../src/dataplane/layout.js'
import { SERVICE_WORD } from '../../src/scheduler/shared-state.js'
import { allocateRigBlocks, type RigBlocks, SchedulerRig } from '../support/scheduler-rig.js'
import { buildSnapshot, type ServiceSpec } from '../support/snapshot-block.js'
import { CONTROL, type HammerJob } from './support/hammer-job.js'

const LIST = [
  { slot: 0, weight: 4 },
  { slot: 1, weight: 3 },
  { slot: 2, weight: 2 },
]

const shared = (words: number): Int32Array => new Int32Array(new SharedArrayBuffer(words * 4))

interface Team {
  results: Int32Array[]
  control: Int32Array
  /** Starts all at once; resolves when every worker has ended by itself. */
  start: () => Promise<void>
}

/** Starts `workers` threads that stand at the start line when this resolves. */
async function assemble(
  workers: number,
  resultWords: number,
  job: Omit<HammerJob, 'lane' | 'control' | 'results'>,
): Promise<Team> {
  const control = shared(CONTROL.WORDS)
  const results = Array.from({ length: workers }, () => shared(resultWords))
  const threads = results.map((own, lane) => {
    const workerData: HammerJob = { ...job, lane, control, results: own }
    return new Worker(new URL('./support/hammer-worker.js', import.meta.url), { workerData })
  })
  // `once` rejects on an error event: a worker that fails fails the test.
  const exits = threads.map((thread) => once(thread, 'exit'))
  const ready = threads.map((thread) => once(thread, 'message'))
  const failed = Promise.race(exits).then(() => assert.fail('a worker ended before the start'))
  await Promise.race([Promise.all(ready), failed])
  const start = async (): Promise<void> => {
    Atomics.store(control, CONTROL.START, 1)
    Atomics.notify(control, CONTROL.START)
    await Promise.all(exits)
  }
  return { results, control, start }
}

/** A main-side rig on the blocks, with the services published to itself only. */
function publishOn(blocks: RigBlocks, services: ServiceSpec[]): Uint8Array {
  const rig = new SchedulerRig(blocks)
  rig.publish({ services })
  return buildSnapshot({ generation: 1, services })
}

function counts(verdicts: Iterable<number>): number[] {
  const sums = [0, 0, 0]
  for (const verdict of verdicts) sums[verdict]++
  return sums
}

/** Enough that all workers are at it at the same time; no multiple of a round. */
const PICKS = 200011

for (const workers of [2, 4]) {
  describe(`${workers} workers on one block`, () => {
    for (const scheduler of ['rr', 'wrr'] as const) {
      it(`${scheduler}: together pick exactly the sequence`, async () => {
        const blocks = allocateRigBlocks(workers)
        const services: ServiceSpec[] = [{ scheduler, destinations: LIST }]
        const snapshot = publishOn(blocks, services)
        const job = { mode: 'picks' as const, blocks, snapshots: [snapshot], count: PICKS }
        const team = await assemble(workers, PICKS, { ...job, rounds: 0, churn: false })
        await team.start()

        const alone = new SchedulerRig()
        alone.publish({ services })
        const expected: number[] = []
        while (expected.length < workers * PICKS) expected.push(...alone.burst([{}]))
        assert.deepEqual(counts(team.results.flatMap((own) => [...own])), counts(expected))
        const state = (from: RigBlocks): Int32Array =>
          from.schedulerBlocks.services.subarray(SERVICE_WORD.LOCK, SERVICE_WORD.TABLE)
        assert.deepEqual(state(blocks), state(alone.blocks))
      })
    }

    it('a new client seen by all at once gets one template and takes one turn', async () => {
      const clients = 997
      const rounds = 4
      const blocks = allocateRigBlocks(workers, 1024)
      const services: ServiceSpec[] = [{ scheduler: 'rr', destinations: LIST, persistentSec: 360 }]
      const snapshot = publishOn(blocks, services)
      const job = { mode: 'clients' as const, blocks, snapshots: [snapshot], count: clients }
      const team = await assemble(workers, clients, { ...job, rounds, churn: false })
      await team.start()

      const [first, ...others] = team.results
      assert.ok(first.every((seen) => seen > 0))
      for (const other of others) assert.deepEqual(other, first)
      assert.deepEqual(
        counts(first.map((seen) => seen - 1)).sort((a, b) => a - b),
        [332, 332, 333],
        'rr moved once per client',
      )
      const rig = new SchedulerRig(blocks)
      const rows = rig.rows()
      assert.equal(rows.length, clients)
      assert.equal(new Set(rows.map((row) => row.clientAddress.join())).size, clients)
      assert.ok(rows.every((row) => row.connections === workers * rounds))
      assert.equal(rig.loadView.persistent(0), counts(first.map((seen) => seen - 1))[0])
    })

    it('templates that come and go are neither lost nor doubled', async () => {
      const blocks = allocateRigBlocks(workers, 64)
      const services: ServiceSpec[] = [{ scheduler: 'rr', destinations: LIST, persistentSec: 2 }]
      const snapshot = publishOn(blocks, services)
      const job = { mode: 'clients' as const, blocks, snapshots: [snapshot], count: 40 }
      const team = await assemble(workers, 40, { ...job, rounds: 500, churn: true })
      const rig = new SchedulerRig(blocks)
      let isOver = false
      const ended = team.start().finally(() => (isOver = true))
      // Long after they are due, so that whatever has no slave just now goes.
      for (; !isOver; await new Promise((resolve) => setImmediate(resolve))) {
        rig.sweeper.sweep(0x7ffffff0)
      }
      await ended

      const used = rig.rows().filter((row) => (row.state & TEMPLATE_STATE.USED) !== 0)
      assert.equal(used.length, rig.templates.usedCount)
      assert.ok(used.every((row) => row.connections === 0))
      assert.equal(new Set(used.map((row) => row.clientAddress.join())).size, used.length)
      rig.sweeper.sweep(0x7fffffff)
      assert.equal(rig.templates.usedCount, 0)
      assert.deepEqual(
        [0, 1, 2].map((slot) => rig.loadView.persistent(slot)),
        [0, 0, 0],
      )
      // Every entry ever handed out is on the free list: a full table can be filled again.
      rig.publish({ services: [{ ...services[0], incarnation: 2 }] })
      for (let i = 0; i < 64; i++) {
        assert.ok(rig.burst([{ clientPort: 1, client: Uint8Array.of(...clientOf(i)) }])[0] >= 0)
      }
      assert.equal(rig.batch.templateTableFullCount, 0)
    })

    it('rr and wrr survive deletions and additions under fire', async () => {
      for (const scheduler of ['rr', 'wrr'] as const) {
        const blocks = allocateRigBlocks(workers)
        const lists = [LIST, LIST.slice(1), [LIST[0], ...LIST.slice(2)], LIST.slice(0, 2)]
        const publications = 400
        const main = new SchedulerRig(blocks)
        const specs = Array.from({ length: publications }, (_, i) => {
          const destinations = lists[i % lists.length]
          const trash = LIST.filter((destination) => !destinations.includes(destination))
          return { services: [{ scheduler, destinations }] as ServiceSpec[], trash }
        })
        const snapshots = specs.map((spec, i) => buildSnapshot({ ...spec, generation: i + 1 }))
        main.reconcile(specs[0])
        const job = { mode: 'adopting' as const, blocks, snapshots, count: 0, rounds: 0 }
        const team = await assemble(workers, 4, { ...job, churn: false })
        const ended = team.start()
        for (let i = 1; i < publications; i++) {
          main.reconcile(specs[i])
          Atomics.store(team.control, CONTROL.PUBLISHED, i)
          await new Promise((resolve) => setImmediate(resolve))
        }
        Atomics.store(team.control, CONTROL.STOP, 1)
        await ended
        for (const own of team.results) assert.equal(own[3], 0, 'a verdict outside the list')
        const total = team.results.reduce((sum, own) => sum + own[0] + own[1] + own[2], 0)
        assert.ok(total > 0)
        assert.equal(blocks.schedulerBlocks.services[SERVICE_WORD.LOCK], 0)
      }
    })
  })
}

function clientOf(i: number): number[] {
  return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 198, 19, i >> 8, i & 255]
}
