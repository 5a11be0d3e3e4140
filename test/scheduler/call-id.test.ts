/**
 * Templates of the SIP engine (spec 4.5): one per client network, service and Call-ID; against a
 * slow model under random calls; what servers begin; what happens when no template is free.
 */
import assert from 'node:assert/strict'
import {
  LIMITS,
  MISS_FLAG,
  offsetOf,
  RECORDS,
  SERVICE_FLAG,
  VERDICT,
} from '../../src/dataplane/layout.js'
import { MissBatch, MISS_BLOCK_BYTES, MISS_TEXTS_BYTES } from '../../src/dataplane/miss-batch.js'
import type { TemplateRow } from '../../src/scheduler/persistence/templates.js'
import { allocateRigBlocks, ip, type MissSpec, SchedulerRig } from '../support/scheduler-rig.js'
import { SeededRandom } from '../support/seeded-random.js'
import type { ServiceSpec, SnapshotSpec } from '../support/snapshot-block.js'

const UDP = 17
const THREE = [{ slot: 0 }, { slot: 1 }, { slot: 2 }]
const SIP: ServiceSpec = {
  scheduler: 'rr',
  protocol: UDP,
  port: 5060,
  flags: SERVICE_FLAG.SIP,
  persistentSec: 100,
  destinations: THREE,
}

function rigFor(
  service: Partial<ServiceSpec> = {},
  more: Partial<SnapshotSpec> = {},
  capacity?: number,
): SchedulerRig {
  const rig = new SchedulerRig(allocateRigBlocks(1, capacity))
  rig.publish({ services: [{ ...SIP, ...service }], ...more })
  return rig
}

const call = (text: string, more: MissSpec = {}): MissSpec => ({
  protocol: UDP,
  virtualPort: 5060,
  flags: 0,
  text,
  ...more,
})

/** A message that server `slot` sends to a client of its own accord. */
const outbound = (text: string, slot: number, more: MissSpec = {}): MissSpec =>
  call(text, { flags: MISS_FLAG.OUTBOUND, verdict: slot, ...more })

const ENTRY_WORDS = RECORDS.template.bytes / 4
const BUCKET = offsetOf('template', 'bucket') / 4

const textOf = ({ text }: TemplateRow): string => Buffer.from(text).toString('latin1')

describe('SIP templates', () => {
  it('the calls of one client spread, the messages of a call stay', () => {
    const rig = rigFor()
    const ids = ['a@x', 'b@x', 'a@x', 'c@x', 'b@x', 'a@x']
    assert.deepEqual(rig.burst(ids.map((id) => call(id))), [0, 1, 0, 2, 1, 0])
    assert.deepEqual(rig.rows().map(textOf).sort(), ['a@x', 'b@x', 'c@x'])
    assert.deepEqual(
      rig.rows().map(({ virtualPort, protocol }) => [virtualPort, protocol]),
      THREE.map(() => [5060, UDP]),
    )
  })

  it('spreads clients that name one call over the buckets', () => {
    const rig = rigFor()
    rig.burst(
      Array.from({ length: 64 }, (_, i) => call('a@x', { client: ip(`198.18.1.${i + 1}`) })),
    )
    assert.equal(rig.rows().length, 64)
    const buckets = new Set(
      Array.from({ length: 64 }, (_, i) => rig.templateBlocks.entries[i * ENTRY_WORDS + BUCKET]),
    )
    assert.ok(buckets.size > 50, `${buckets.size} buckets`)
  })

  it('compares length and every byte', () => {
    const rig = rigFor()
    const ids = ['a', 'aa', 'aaa', 'aaaa', 'aaab', 'aaaaa', 'x'.repeat(255), `${'x'.repeat(254)}y`]
    const first = rig.burst(ids.map((id) => call(id)))
    assert.equal(rig.templates.usedCount, ids.length)
    const order = [...ids.keys()].reverse()
    assert.deepEqual(
      rig.burst(order.map((i) => call(ids[i]))),
      order.map((i) => first[i]),
    )
    assert.equal(rig.templates.usedCount, ids.length)
    assert.deepEqual(new Set(rig.rows().map(textOf)), new Set(ids))
  })

  it('a call of another client, or to another port, is another call', () => {
    const rig = rigFor({ netmask: 0xffffff00 })
    const misses = [
      call('a', { client: ip('198.18.0.1') }),
      call('a', { client: ip('198.18.0.9'), clientPort: 1 }),
      call('a', { client: ip('198.18.1.1') }),
      call('a', { client: ip('198.18.0.1'), virtual: ip('198.18.0.2') }),
      call('a', { client: ip('198.18.0.1'), virtualPort: 5061 }),
    ]
    assert.deepEqual(rig.burst(misses), [0, 0, 1, 2, 0])
    assert.equal(rig.templates.usedCount, 4)
  })

  it('a fwmark service keeps a call over addresses and ports', () => {
    const rig = rigFor({ fwmark: 5, port: 0 })
    const misses = [
      call('a', { fwmark: 5, virtual: ip('198.18.0.1') }),
      call('a', { fwmark: 5, virtual: ip('198.18.0.2'), virtualPort: 5070 }),
      call('b', { fwmark: 5, virtual: ip('198.18.0.1') }),
    ]
    assert.deepEqual(rig.burst(misses), [0, 0, 1])
    assert.deepEqual(
      rig.rows().map(({ protocol, virtualAddress }) => [protocol, virtualAddress[15]]),
      [
        [0, 5],
        [0, 5],
      ],
    )
  })

  it('counts one-packet messages in the template', () => {
    const rig = rigFor({ flags: SERVICE_FLAG.SIP | SERVICE_FLAG.ONE_PACKET })
    const flags = MISS_FLAG.ONE_PACKET
    rig.burst([call('a', { flags }), call('a', { flags, packets: 3 }), call('b', { flags })])
    rig.burst([outbound('a', 0, { flags: flags | MISS_FLAG.OUTBOUND })])
    const packets = Object.fromEntries(rig.rows().map((row) => [textOf(row), row.packets]))
    assert.deepEqual(packets, { a: 4, b: 1 })
    assert.equal(rig.loadView.total(0), 0)
  })

  it('a slot that had a text has none for a template without', () => {
    const dns: ServiceSpec = { ...SIP, slot: 1, port: 53, flags: 0, destinations: [{ slot: 3 }] }
    const rig = rigFor({}, { services: [SIP, dns] }, 1)
    rig.burst([call('a')])
    rig.endSlave(rig.templateRef(0))
    rig.sweeper.sweep(rig.nowSec + 100)
    const plain = call('', { virtualPort: 53, service: 1 })
    assert.deepEqual(rig.burst([plain, plain]), [3, 3])
    assert.deepEqual(rig.rows().map(textOf), [''])
    assert.notEqual(rig.templateRef(1), 0)
  })

  it('drops the connection when no template is free: there is no plain persistence', () => {
    const rig = rigFor({}, {}, 1)
    const { NO_TEMPLATE } = VERDICT
    assert.deepEqual(rig.burst([call('a'), call('b'), call('a')]), [0, NO_TEMPLATE, 0])
    assert.equal(rig.templateRef(1), 0)
    assert.deepEqual(rig.burst([outbound('c', 1)]), [NO_TEMPLATE])
    assert.equal(rig.batch.templateTableFullCount, 2)
  })

  it('a quiesced server keeps its calls, unless expire_quiescent_template', () => {
    const rig = rigFor()
    rig.burst([call('a')])
    const destinations = [{ slot: 0, weight: 0 }, { slot: 1 }]
    rig.publish({ services: [{ ...SIP, destinations }] })
    assert.deepEqual(rig.burst([call('a'), call('b')]), [0, 1])
    const sysctls = { expire_quiescent_template: 1 }
    rig.publish({ services: [{ ...SIP, destinations }], sysctls })
    assert.deepEqual(rig.burst([call('a'), call('a')]), [1, 1])
    assert.deepEqual(
      rig
        .rows()
        .filter((row) => textOf(row) === 'a')
        .map(({ virtualPort }) => virtualPort)
        .sort((a, b) => a - b),
      [5060, 65535],
    )
  })
})

describe('SIP templates of calls that servers begin', () => {
  it('the client answers to the server that called', () => {
    const rig = rigFor()
    assert.deepEqual(rig.burst([outbound('a', 2)]), [2])
    assert.equal(rig.rows()[0].connections, 1)
    assert.equal(rig.rows()[0].expiresSec, rig.nowSec + 100)
    // Its next message comes from another port: the template is what leads it.
    assert.deepEqual(rig.burst([call('a', { clientPort: 9 })]), [2])
    assert.equal(rig.templates.usedCount, 1)
  })

  it('follows a template that leads to it, replaces one that leads elsewhere', () => {
    const rig = rigFor()
    assert.deepEqual(rig.burst([call('a'), outbound('a', 0)]), [0, 0])
    assert.equal(rig.templates.usedCount, 1)
    assert.deepEqual(rig.burst([outbound('a', 1), call('a')]), [1, 1])
    assert.equal(rig.templates.usedCount, 2)
    assert.deepEqual(
      rig
        .rows()
        .map((row) => [row.virtualPort, row.destinationSlot])
        .sort(([a], [b]) => a - b),
      [
        [5060, 1],
        [65535, 0],
      ],
    )
  })

  it('masks the client', () => {
    const rig = rigFor({ netmask: 0 })
    const from = (client: string) => ({ client: ip(client) })
    const misses = [outbound('a', 1, from('198.18.0.1')), call('a', from('198.19.0.1'))]
    assert.deepEqual(rig.burst(misses), [1, 1])
  })

  it('needs no template without persistence, and no turn of the scheduler', () => {
    const rig = rigFor({ persistentSec: 0 })
    assert.deepEqual(
      rig.burst([outbound('', 2), call(''), outbound('', 1), call('')]),
      [2, 0, 1, 1],
    )
    assert.equal(rig.templates.usedCount, 0)
  })
})

/** A template as the model has it. */
interface Known {
  destination: number
  expiresSec: number
}

describe('SIP templates against a slow model', () => {
  it('under random calls, clients and time', () => {
    const random = new SeededRandom(4)
    const rig = rigFor({ netmask: 0xffffff00 })
    const model = new Map<string, Known>()
    let turn = 0
    const ids = Array.from({ length: 40 }, (_, i) => 'id'.repeat(i * 3).slice(i) + String(i % 20))
    for (let step = 0; step < 4000; step++) {
      rig.nowSec += random.below(5) === 0 ? random.below(90) : 0
      const text = ids[random.below(ids.length)]
      const host = random.below(4)
      const client = ip(`198.18.${host >> 1}.${host & 1}`)
      const key = `${host >> 1} ${text}`
      let known = model.get(key)
      if (known !== undefined && known.expiresSec <= rig.nowSec) known = undefined
      const speaks = random.below(8) === 0 ? random.below(3) : undefined
      if (speaks !== undefined) {
        if (known?.destination !== speaks) known = { destination: speaks, expiresSec: 0 }
      } else {
        known ??= { destination: turn++ % 3, expiresSec: 0 }
      }
      known.expiresSec = rig.nowSec + 100
      model.set(key, known)
      const miss =
        speaks === undefined ? call(text, { client }) : outbound(text, speaks, { client })
      assert.deepEqual(rig.burst([miss]), [known.destination], `step ${step}`)
      rig.endSlave(rig.templateRef(0))
    }
    rig.sweeper.sweep(rig.nowSec)
    const alive = [...model].filter(([, { expiresSec }]) => expiresSec > rig.nowSec)
    const listed = rig.rows().filter(({ virtualPort }) => virtualPort === 5060)
    assert.deepEqual(
      listed.map((row) => `${row.clientAddress[14]} ${textOf(row)}`).sort(),
      alive.map(([key]) => key).sort(),
    )
  })
})

describe('texts of the miss block', () => {
  it('are found where the record is', () => {
    const texts = new Uint8Array(new SharedArrayBuffer(MISS_TEXTS_BYTES + 64), 64)
    const misses = new MissBatch(new SharedArrayBuffer(MISS_BLOCK_BYTES), 0, texts)
    misses.select(LIMITS.BURST - 1)
    texts[(LIMITS.BURST - 1) * LIMITS.TEXT_SLOT] = 7
    assert.equal(misses.texts[misses.textAt], 7)
    assert.equal(misses.textAt, ((LIMITS.BURST - 1) * LIMITS.TEXT_SLOT) / 4)
  })
})
