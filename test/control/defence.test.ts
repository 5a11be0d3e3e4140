/** Load defences: the kernel's table of modes, written out anew, and who is told what and when. */
import assert from 'node:assert/strict'
import { Director } from '../../src/control/director.js'
import {
  availablePages,
  availablePagesOf,
  pageBytes,
  syncQueueMax,
  syncQueueMaxOf,
} from '../../src/control/host/memory.js'
import { defend } from '../../src/control/model/defence.js'
import { defaultSysctls } from '../../src/control/model/sysctls.js'
import { FakeClock, FakeDataplane, memoryLog } from '../support/fake-dataplane.js'
import { configOf } from './fixtures.js'

const DEFAULTS = defaultSysctls()

/** ip_vs_ctl.c, update_defense_level, statement by statement. */
function kernelLevel(mode: number, nomem: boolean): { mode: number; acts: boolean } {
  switch (mode) {
    case 0:
      return { mode, acts: false }
    case 1:
      return nomem ? { mode: 2, acts: true } : { mode, acts: false }
    case 2:
      return nomem ? { mode, acts: true } : { mode: 1, acts: false }
    default:
      return { mode, acts: true }
  }
}

describe('load defences', () => {
  it('follow the table of modes', () => {
    for (const mode of [0, 1, 2, 3]) {
      for (const pages of [0, 1, 500, 1023, 1024, 1025, 1e9]) {
        const { mode: wanted, acts } = kernelLevel(mode, pages < 1024)
        for (const name of ['drop_entry', 'drop_packet', 'secure_tcp'] as const) {
          const before = { ...DEFAULTS, [name]: mode }
          const { sysctls, dropRate, restarts } = defend(before, pages)
          assert.equal(sysctls[name], wanted)
          assert.equal(sysctls === before, wanted === mode)
          const rate = mode === 3 ? 10 : Math.floor(1024 / (1024 - pages))
          assert.equal(dropRate, name === 'drop_packet' && acts ? rate : 0)
          assert.equal(restarts, name === 'drop_packet' && wanted === 2)
        }
      }
    }
  })

  it('drop every new connection with no page left, and one of 1024 with one page missing', () => {
    const sysctls = { ...DEFAULTS, drop_packet: 1 }
    assert.equal(defend(sysctls, 0).dropRate, 1)
    assert.equal(defend(sysctls, 512).dropRate, 2)
    assert.equal(defend(sysctls, 1023).dropRate, 1024)
    assert.equal(defend({ ...sysctls, amemthresh: -5 }, 0).dropRate, 0)
  })

  it('count memory in pages', () => {
    const meminfo = 'MemTotal:  8000 kB\nMemFree:   4010 kB\nBuffers:     39 kB\nCached: 9 kB\n'
    assert.equal(availablePagesOf(meminfo, 4096), 1002 + 9)
    assert.equal(availablePagesOf(meminfo, 65536), 62)
    assert.throws(() => availablePagesOf('MemFree: 1 kB\n', 4096), /no line Buffers/)
    const auxv = new BigUint64Array([33n, 7n, 6n, 4096n, 0n, 0n])
    assert.equal(pageBytes(new Uint8Array(auxv.buffer)), 4096)
    assert.throws(() => pageBytes(new Uint8Array(16)), /no page size/)
    assert.ok(availablePages() > 0)
  })

  it('count a thirty-second of it for the queue of synchronisation', () => {
    const zone = (name: string, managed: number, high: number, pages: number) =>
      `Node 0, zone ${name}\n  pages free     ${pages}\n        high     ${high}\n` +
      `        managed  ${managed}\n        protection: (0, 1, 2)\n      nr_free_pages 9\n` +
      '  pagesets\n    cpu: 0\n              high:  375\n'
    const text = [
      zone('     DMA', 3840, 27, 3000),
      zone('   DMA32', 100, 5876, 50),
      zone('  Normal', 2555904, 19435, 1000),
      zone(' Movable', 640000, 32, 1000),
      zone('  Normal', 640, 0, 64).replace('Node 0', 'Node 1'),
    ].join('')
    assert.equal(syncQueueMaxOf(text), Math.floor((3840 - 27 + 2555904 - 19435 + 640) / 32))
    assert.ok(syncQueueMax() > 0)
  })
})

interface Rig {
  readonly director: Director
  readonly clock: FakeClock
  readonly log: ReturnType<typeof memoryLog>
  readonly heard: string[]
  readonly memory: { pages: number | undefined }
  set(name: string, value: number): Promise<unknown>
}

function rig(settings: Readonly<Record<string, number>> = {}): Rig {
  const port = new FakeDataplane()
  const heard: string[] = []
  const memory: { pages: number | undefined } = { pages: 5000 }
  port.defences = {
    availablePages() {
      if (memory.pages === undefined) throw new Error('no /proc')
      return memory.pages
    },
    dropPackets: (rate, restarts) => heard.push(`rate ${rate}${restarts ? ' anew' : ''}`),
    dropTemplates: () => heard.push('templates'),
  }
  const clock = new FakeClock()
  const log = memoryLog()
  const config = configOf(
    Object.entries(settings).map(([name, value]) => ({
      kind: 'setSysctl' as const,
      name,
      value: String(value),
    })),
  )
  const director = new Director({ port, config, clock, log, version: '1' })
  director.start()
  const set = (name: string, value: number) =>
    director.execute([{ kind: 'setSysctl', name, value: String(value) }])
  return { director, clock, log, heard, memory, set }
}

describe('the watch over memory', () => {
  it('looks at nothing while no defence is on', async () => {
    const { clock, heard, memory, director, log } = rig()
    memory.pages = undefined
    await clock.advance(5000)
    assert.deepEqual(heard, [])
    assert.deepEqual(log.lines, [])
    await director.stop()
  })

  it('lets the modes follow, and acts every second', async () => {
    const { clock, heard, memory, director, set } = rig({ amemthresh: 1000 })
    await set('drop_packet', 1)
    assert.deepEqual(heard.splice(0), ['rate 0'])
    memory.pages = 900
    await clock.advance(1000)
    assert.equal(director.config.sysctls.drop_packet, 2)
    assert.deepEqual(heard.splice(0), ['rate 10 anew'])
    memory.pages = 500
    await clock.advance(1000)
    assert.deepEqual(heard.splice(0), ['rate 2 anew'])
    memory.pages = 1000
    await clock.advance(1000)
    assert.equal(director.config.sysctls.drop_packet, 1)
    assert.deepEqual(heard.splice(0), ['rate 0'])
    await set('drop_packet', 0)
    assert.deepEqual(heard.splice(0), ['rate 0'])
    await clock.advance(3000)
    assert.deepEqual(heard, [])
    await director.stop()
  })

  it('acts at once when a mode is set, and from the start', async () => {
    const started = rig({ drop_packet: 3, am_droprate: 7, drop_entry: 3 })
    assert.deepEqual(started.heard.splice(0), ['rate 7'])
    await started.clock.advance(1000)
    assert.deepEqual(started.heard.splice(0), ['rate 7', 'templates'])
    await started.director.stop()
    const { memory, director, set } = rig()
    memory.pages = 1
    for (const value of [1, 2, 1]) {
      await set('secure_tcp', value)
      assert.equal(director.config.sysctls.secure_tcp, 2)
    }
    await director.stop()
  })

  it('stays idle, and says so once, where memory cannot be seen', async () => {
    const { clock, memory, director, log, heard } = rig({ secure_tcp: 1, drop_packet: 3 })
    memory.pages = undefined
    await clock.advance(3000)
    assert.equal(director.config.sysctls.secure_tcp, 1)
    assert.deepEqual(
      log.lines.filter((line) => line.startsWith('warn')),
      ['warn the automatic load defences stay idle: no /proc'],
    )
    assert.ok(heard.every((line) => line === 'rate 10'))
    await director.stop()
  })
})
