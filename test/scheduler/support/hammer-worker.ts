/**
 * Worker thread of concurrency.test.ts: waits at the start line, hammers the shared blocks in one
 * of three ways, writes what it saw into its part of the results, and ends.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { LIMITS } from '../../../src/dataplane/layout.js'
import { SnapshotView } from '../../../src/dataplane/snapshot-view.js'
import { ip, SchedulerRig, writeMiss } from '../../support/scheduler-rig.js'
import { SeededRandom } from '../../support/seeded-random.js'
import { CONTROL, type HammerJob } from './hammer-job.js'

const job = workerData as HammerJob
const rig = new SchedulerRig(job.blocks, job.lane)
let adopted = -1

function adoptLatest(): void {
  const published = Atomics.load(job.control, CONTROL.PUBLISHED)
  if (published === adopted) return
  adopted = published
  rig.adopt(new SnapshotView(job.snapshots[published]))
}

/** results[i] is the i-th verdict. */
function picks(): void {
  for (let i = 0; i < job.count;) {
    const burst = Math.min(1 + (i % LIMITS.BURST), job.count - i)
    rig.batch.run(burst, rig.nowSec)
    for (let n = 0; n < burst; n++) job.results[i++] = rig.verdict(n)
  }
}

/** results[client] is verdict + 1, or -1 once a client saw two different ones. */
function clients(): void {
  const random = new SeededRandom(job.lane + 1)
  const all = Array.from({ length: job.count }, (_, i) => i)
  for (let round = 0; round < job.rounds; round++) {
    for (const client of random.shuffle(all)) {
      const address = ip(`198.18.${client >> 8}.${client & 255}`)
      const [verdict] = rig.burst([{ client: address }])
      const seen = job.results[client]
      job.results[client] = seen !== 0 && seen !== verdict + 1 ? -1 : verdict + 1
      if (job.churn) {
        rig.endSlave(rig.templateRef(0))
        if (random.oneIn(3)) rig.nowSec++
      }
    }
  }
}

/** results[slot] counts picks; the last word counts verdicts outside the adopted list. */
function adopting(): void {
  // At least once: a busy machine may let main finish before this thread runs.
  do {
    adoptLatest()
    rig.batch.run(8, rig.nowSec)
    const list = rig.services.service(0)?.slots ?? new Uint32Array(0)
    for (let n = 0; n < 8; n++) {
      const verdict = rig.verdict(n)
      if (list.includes(verdict)) job.results[verdict]++
      else job.results[job.results.length - 1]++
    }
  } while (Atomics.load(job.control, CONTROL.STOP) === 0)
}

for (let i = 0; i < LIMITS.BURST; i++) writeMiss(rig.missBlock, i, {})
adoptLatest()
parentPort?.postMessage('ready')
Atomics.wait(job.control, CONTROL.START, 0)
if (job.mode === 'picks') picks()
else if (job.mode === 'clients') clients()
else adopting()
