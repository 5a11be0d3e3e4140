/**
 * A thread that holds a core and then does what its task says: polls for ever, exits, throws,
 * returns without closing. Started by threads.test.ts.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { MemoryCore } from '../../../src/dataplane/memory-core.js'
import type { SharedBlocks } from '../../../src/dataplane/memory.js'
import { blockOf, generator, webConfig } from './setup.js'

export interface CoreThreadTask {
  readonly blocks: SharedBlocks
  readonly worker: number
  /**
   * `poll`: bursts until terminated; `traffic`: the same under load; `return`, `exit`, `throw`:
   * ends so without closing the core; `close`: closes it, twice; `open`: leaves verdicts open.
   */
  readonly then: 'poll' | 'traffic' | 'return' | 'exit' | 'throw' | 'close' | 'open'
}

const { blocks, worker, then } = workerData as CoreThreadTask
const FLOWS = 100

function attach(): MemoryCore | string {
  try {
    return new MemoryCore([generator()], blocks.connections, false, blocks, worker)
  } catch (error) {
    return (error as { code: string }).code
  }
}

/** Bursts in a chain of Immediates, as a real worker does; ends only with the thread. */
function forever(rig: MemoryCore, waitUs: number): void {
  if (waitUs === 0) rig.core.generate(6400, 0, FLOWS, 1, 0x02)
  for (let i = 0; i < 100; i++) {
    const misses = rig.core.poll(waitUs)
    if (misses === 0) continue
    rig.schedule.run(misses, 0)
    rig.core.resolve()
  }
  setImmediate(() => forever(rig, waitUs))
}

const rig = attach()
if (typeof rig === 'string') {
  parentPort?.postMessage(rig)
} else {
  rig.adopt(blockOf(webConfig()))
  rig.core.generate(FLOWS, 0, FLOWS, 1, 0x02)
  rig.burst()
  rig.burst()
  if (then === 'open') {
    rig.core.generate(64, FLOWS, 64, 1, 0x02)
    rig.core.poll(0)
  }
  parentPort?.postMessage('attached')
  if (then === 'poll') forever(rig, 10_000)
  if (then === 'traffic') forever(rig, 0)
  if (then === 'exit') process.exit(3)
  if (then === 'throw') throw new Error('meant to be thrown')
  if (then === 'close') {
    rig.core.close()
    rig.core.close()
  }
}
