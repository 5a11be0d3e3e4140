/**
 * The core seen from JavaScript, in one thread: lifetime, arguments, memory and snapshots that do
 * not fit, verdicts that make no sense, garbage collection at any time (architecture, 2.7 to 2.9).
 */
import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { CounterBlocks } from '../../src/dataplane/counters.js'
import { LIMITS, offsetOf, RECORDS } from '../../src/dataplane/layout.js'
import { MemoryCore } from '../../src/dataplane/memory-core.js'
import { allocateBlocks, bytesOf, type SharedBlocks } from '../../src/dataplane/memory.js'
import { openCore, snapshotFault, type CoreOptions } from '../../src/dataplane/native.js'
import type { Bound } from '../../src/scheduler/scheduler.js'
import { BoundServices } from '../../src/scheduler/bound-services.js'
import { SeededRandom } from '../support/seeded-random.js'
import { blockOf, dropsOf, request, webConfig, wordOf } from './support/setup.js'

const CONNECTIONS = 256
const MEMORY = [{ kind: 'memory' }] as const

function makeRig(blocks?: SharedBlocks): MemoryCore {
  const rig = new MemoryCore(MEMORY, CONNECTIONS, true, blocks)
  rig.adopt(blockOf(webConfig()))
  return rig
}

/** Options that a core accepts, for a test to spoil one of them. */
function goodOptions(blocks: SharedBlocks): Omit<CoreOptions, 'layoutHash'> {
  return {
    worker: 0,
    workers: 1,
    connections: CONNECTIONS,
    table: blocks.tables[0],
    misses: blocks.misses,
    missTexts: blocks.missTexts,
    words: blocks.words,
    portWords: blocks.portWords,
    templates: bytesOf(blocks.templates.entries),
    loads: bytesOf(blocks.loads),
    serviceTraffic: blocks.serviceTraffic,
    destinationTraffic: blocks.destinationTraffic,
    totalTraffic: blocks.totalTraffic,
    reasons: blocks.reasons,
    ports: MEMORY,
    hostPort: -1,
    hops: 'static',
    seed: 1n,
    manualClock: true,
  }
}

const refuses = (code: string, act: () => unknown): void => {
  assert.throws(act, (error: unknown) => {
    assert.equal((error as { code?: string }).code, code, String(error))
    return true
  })
}

describe('boundary: lifetime of a core', () => {
  it('closes twice, and says so to every call after', () => {
    const { core, blocks } = makeRig()
    assert.equal(wordOf(blocks, 0, 'attached'), 1)
    core.close()
    core.close()
    assert.equal(wordOf(blocks, 0, 'attached'), 0)
    const calls: (() => unknown)[] = [
      () => core.adopt(blockOf(webConfig())),
      () => core.poll(0),
      () => core.resolve(),
      () => core.readConnections(0, new Uint8Array(96), new Uint32Array(1)),
      () => core.expireConnections(-1),
      () => core.inject([]),
      () => core.collect(),
      () => core.generate(1, 0, 1, 1, 2),
    ]
    for (const call of calls) refuses('ERR_CLOSED', call)
    core.setTime(5)
  })

  it('closes with verdicts open, and its successor goes on', () => {
    const rig = makeRig()
    rig.core.inject([request(1), request(2)])
    assert.equal(rig.core.poll(0), 2)
    rig.core.close()
    const next = makeRig(rig.blocks)
    next.core.inject([request(1, 'S')])
    assert.equal(next.burst(), 1)
    assert.equal(next.core.collect().length, 1)
    next.core.close()
  })

  it('keeps the order adopt, poll, resolve', () => {
    const rig = new MemoryCore(MEMORY, CONNECTIONS, true)
    refuses('ERR_ORDER', () => rig.core.poll(0))
    refuses('ERR_ORDER', () => rig.core.resolve())
    rig.adopt(blockOf(webConfig()))
    refuses('ERR_ORDER', () => rig.core.resolve())
    rig.core.inject([request(1)])
    assert.equal(rig.core.poll(0), 1)
    refuses('ERR_ORDER', () => rig.core.poll(0))
    rig.core.resolve()
    rig.core.close()
  })

  it('lends its memory to one core at a time', () => {
    const rig = makeRig()
    refuses('ERR_BUSY', () => makeRig(rig.blocks))
    rig.core.close()
    makeRig(rig.blocks).core.close()
  })

  it('works from two copies of the addon in one process', () => {
    const folder = mkdtempSync(join(tmpdir(), 'uvs-boundary-'))
    const require = createRequire(import.meta.url)
    const original = require.resolve('../../../native/build/Release/uvs.node')
    const copy = join(folder, 'copy.node')
    copyFileSync(original, copy)
    const other = require(copy) as { layoutHash: number; checkSnapshot(b: Uint8Array): string }
    rmSync(folder, { recursive: true })
    const rig = makeRig()
    assert.equal(other.checkSnapshot(blockOf(webConfig())), '')
    rig.core.inject([request(1)])
    assert.equal(rig.burst(), 1)
    rig.core.close()
  })
})

describe('boundary: memory that does not fit', () => {
  const blocks = allocateBlocks(1, CONNECTIONS)
  const good = goodOptions(blocks)
  const names = Object.keys(good).filter(
    (name) => good[name as keyof typeof good] instanceof Uint8Array,
  ) as (keyof typeof good)[]

  /** Blocks that may be longer than a worker's own part. */
  const LEAST: Partial<Record<string, number>> = {
    templates: RECORDS.template.bytes,
    loads: LIMITS.DESTINATIONS * RECORDS.load.bytes,
  }

  it('is refused when short, misaligned or no memory at all', () => {
    assert.equal(names.length, 11)
    for (const name of names) {
      const block = good[name] as Uint8Array
      const least = LEAST[name] ?? block.byteLength
      const wrong: unknown[] = [undefined, null, 7, 'x', [], block.subarray(0, least - 1)]
      for (const value of wrong) {
        refuses('ERR_ARGUMENT', () => openCore({ ...good, [name]: value }))
      }
      const larger = new Uint8Array(new SharedArrayBuffer(block.byteLength + 65))
      const odd = larger.subarray(1, 1 + block.byteLength)
      const code = name === 'table' ? 'ERR_TABLE' : 'ERR_ARGUMENT'
      refuses(code, () => openCore({ ...good, [name]: odd }))
    }
    assert.equal(wordOf(blocks, 0, 'attached'), 0)
    openCore(good).close()
  })

  it('is refused when it was laid out by another version, or numbers are out of range', () => {
    const probe = openCore(good)
    const Core = probe.constructor as new (options: object) => unknown
    probe.close()
    refuses('ERR_LAYOUT', () => new Core({ ...good, layoutHash: 1 }))
    for (const wrong of [
      { workers: 0 },
      { workers: LIMITS.WORKERS + 1 },
      { worker: 1 },
      { worker: -1 },
      { connections: 0 },
      { connections: 1.5 },
      { ports: undefined },
      { ports: [{ kind: 'unknown' }] },
      { ports: Array.from({ length: LIMITS.PORTS + 1 }, () => MEMORY[0]) },
      { ports: [] },
    ]) {
      refuses('ERR_ARGUMENT', () => openCore({ ...good, ...wrong } as typeof good))
    }
    assert.throws(() => new Core(undefined as unknown as object), { code: 'ERR_ARGUMENT' })
  })

  it('is refused when its table is of another size', () => {
    openCore(good).close()
    const larger = allocateBlocks(1, CONNECTIONS * 2)
    larger.tables[0].set(blocks.tables[0])
    refuses('ERR_TABLE', () => openCore({ ...goodOptions(larger), connections: CONNECTIONS * 2 }))
    assert.equal(wordOf(larger, 0, 'attached'), 0)
  })

  it('refuses frames and buffers that are none', () => {
    const { core } = makeRig()
    refuses('ERR_ARGUMENT', () => core.inject([7 as unknown as Uint8Array]))
    refuses('ERR_ARGUMENT', () => core.inject([new Uint8Array(70_000)]))
    refuses('ERR_ARGUMENT', () => core.inject(7 as unknown as Uint8Array[]))
    refuses('ERR_ARGUMENT', () => core.generate(1, 0, 1, 1, 2))
    const rows = new Uint8Array(RECORDS.connectionRow.bytes)
    refuses('ERR_ARGUMENT', () => core.readConnections(0, rows, new Uint32Array(0)))
    refuses('ERR_ARGUMENT', () => core.readConnections(0, rows.subarray(1), new Uint32Array(1)))
    core.close()
  })
})

describe('boundary: snapshots', () => {
  it('that are cut short change nothing', () => {
    const rig = makeRig()
    const block = blockOf(webConfig('masquerade', 3), 2)
    for (let bytes = 0; bytes < block.byteLength; bytes++) {
      refuses('ERR_SNAPSHOT', () => rig.core.adopt(block.subarray(0, bytes)))
    }
    const shifted = new Uint8Array(new SharedArrayBuffer(block.byteLength + 8)).subarray(1)
    shifted.set(block)
    refuses('ERR_SNAPSHOT', () => rig.core.adopt(shifted.subarray(0, block.byteLength)))
    refuses('ERR_ARGUMENT', () => rig.core.adopt({} as Uint8Array))
    rig.core.inject([request(1)])
    assert.equal(rig.burst(), 1)
    assert.equal(rig.core.collect().length, 1)
    rig.core.close()
  })

  it('that are damaged are refused, or can be worked with (seed 4)', () => {
    const random = new SeededRandom(4)
    const rig = makeRig()
    const good = blockOf(webConfig('masquerade', 3), 2)
    let refused = 0
    for (let round = 0; round < 3000; round++) {
      const block = new Uint8Array(new SharedArrayBuffer(good.byteLength))
      block.set(good)
      for (let i = random.between(1, 4); i > 0; i--) {
        block[random.below(block.length)] = random.below(256)
      }
      const fault = snapshotFault(block)
      if (fault !== undefined) {
        refused++
        refuses('ERR_SNAPSHOT', () => rig.core.adopt(block))
        continue
      }
      rig.core.adopt(block)
      rig.core.inject([request(round), request(round, 'A')])
      // Verdicts may name slots that this block has no more.
      if (rig.core.poll(0) > 0) rig.core.resolve()
    }
    assert.ok(refused > 500 && refused < 2900, `${refused} refused`)
    rig.core.close()
  })

  it('are adopted between every two bursts', () => {
    const rig = makeRig()
    for (let generation = 2; generation < 200; generation++) {
      rig.core.inject([request(generation), request(generation - 1, 'A')])
      rig.burst()
      rig.adopt(blockOf(webConfig('direct', 1 + (generation % 5)), generation))
    }
    assert.equal(rig.totals().active, 198)
    rig.core.close()
  })
})

describe('boundary: misses and verdicts', () => {
  it('of 0, 1 and 64 flows', () => {
    const rig = makeRig()
    assert.equal(rig.burst(), 0)
    rig.core.inject([request(0)])
    assert.equal(rig.burst(), 1)
    rig.core.inject(Array.from({ length: 65 }, (_, i) => request(100 + i)))
    assert.deepEqual([rig.burst(), rig.burst(), rig.burst()], [64, 1, 0])
    assert.equal(rig.core.collect().length, 66)
    rig.core.close()
  })

  it('of one flow that fills a batch', () => {
    const rig = makeRig()
    rig.core.inject(Array.from({ length: 64 }, () => request(1)))
    assert.equal(rig.burst(), 1)
    assert.equal(rig.core.collect().length, 64)
    assert.deepEqual(rig.totals(), { active: 1, inactive: 0 })
    rig.core.close()
  })

  it('that name no destination are counted and dropped', () => {
    const rig = makeRig()
    const verdicts = new DataView(rig.blocks.misses.buffer, rig.blocks.misses.byteOffset)
    const at = offsetOf('miss', 'verdict')
    const nonsense = [2, 77, LIMITS.DESTINATIONS, 0x7fffffff, -5, -2147483648]
    nonsense.forEach((verdict, i) => {
      rig.core.inject([request(i)])
      assert.equal(rig.core.poll(0), 1)
      verdicts.setInt32(at, verdict, true)
      rig.core.resolve()
    })
    assert.equal(dropsOf(rig.blocks, 'scheduler_failed'), nonsense.length)
    assert.equal(rig.core.collect().length, 0)
    assert.deepEqual(rig.totals(), { active: 0, inactive: 0 })
    rig.core.close()
  })

  it('of a scheduler that throws drop the rest of the batch, not the next one', () => {
    const rig = makeRig()
    const original = Object.getOwnPropertyDescriptor(BoundServices.prototype, 'bound')
    assert.ok(original)
    let calls = 0
    const broken: Bound = {
      pick: () => {
        if (++calls === 3) throw new Error('a scheduler that throws')
        return 0
      },
    }
    BoundServices.prototype.bound = () => broken
    try {
      rig.core.inject(Array.from({ length: 5 }, (_, i) => request(i)))
      rig.burst()
    } finally {
      Object.defineProperty(BoundServices.prototype, 'bound', original)
    }
    assert.match(String(rig.schedule.lastError), /a scheduler that throws/)
    assert.equal(dropsOf(rig.blocks, 'scheduler_failed'), 3)
    assert.equal(rig.core.collect().length, 2)
    rig.core.inject([request(9)])
    assert.equal(rig.burst(), 1)
    assert.equal(rig.core.collect().length, 1)
    rig.core.close()
  })
})

describe('boundary: garbage collection', () => {
  it('in every turn takes nothing that the core borrows', () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const rig = makeRig()
    for (let turn = 0; turn < 30; turn++) {
      collect()
      rig.core.inject([request(turn), request(turn, 'A')])
      collect()
      const misses = rig.core.poll(0)
      collect()
      rig.schedule.run(misses, 0)
      rig.core.resolve()
      // The block before this one is garbage now.
      if (turn % 3 === 0) rig.core.adopt(blockOf(webConfig('direct', 2), turn + 2))
    }
    assert.equal(rig.core.collect().length, 60)
    rig.core.close()
    collect()
    assert.equal(Number(new CounterBlocks(rig.blocks).total().inPackets), 60)
    makeRig(rig.blocks).core.close()
  })
})
