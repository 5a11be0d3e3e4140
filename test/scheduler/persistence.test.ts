/** Persistence templates: keys, timers, unusable destinations, one-packet, full table (spec 4). */
import assert from 'node:assert/strict'
import {
  MISS_FLAG,
  offsetOf,
  RECORDS,
  TEMPLATE_STATE,
  VERDICT,
} from '../../src/dataplane/layout.js'
import { TemplateKey } from '../../src/scheduler/persistence/engine.js'
import { keyedHash } from '../../src/scheduler/persistence/keyed-hash.js'
import { allocateRigBlocks, ip, type MissSpec, SchedulerRig } from '../support/scheduler-rig.js'
import type { DestinationSpec, ServiceSpec, SnapshotSpec } from '../support/snapshot-block.js'

const TWO: DestinationSpec[] = [{ slot: 0 }, { slot: 1 }]
const from = (client: string, more: MissSpec = {}): MissSpec => ({ client: ip(client), ...more })

function rigFor(
  service: Partial<ServiceSpec> = {},
  more: Partial<SnapshotSpec> = {},
  capacity?: number,
): SchedulerRig {
  const rig = new SchedulerRig(allocateRigBlocks(1, capacity))
  const base: ServiceSpec = { scheduler: 'rr', destinations: TWO, persistentSec: 360 }
  rig.publish({ services: [{ ...base, ...service }], ...more })
  return rig
}

/** Ends the slaves of one burst, as the core does. */
function endAll(rig: SchedulerRig, count: number): void {
  for (let i = 0; i < count; i++) rig.endSlave(rig.templateRef(i))
}

describe('template keys', () => {
  it('meet in one bucket under one seed and not under another', () => {
    const rig = rigFor()
    const service = rig.services.service(0)
    assert.ok(service)
    const lowBits = (client: string, seed: number): number => {
      const key = new TemplateKey(Int32Array.of(seed, 5))
      rig.burst([from(client)])
      rig.misses.select(0)
      key.compute(rig.misses, service)
      return key.hash & 15
    }
    const clients = Array.from({ length: 200 }, (_, i) => `198.18.7.${i}`)
    const together = clients.filter((client) => lowBits(client, 1) === 3)
    assert.ok(together.length >= 4)
    assert.ok(new Set(together.map((client) => lowBits(client, 2))).size > 2)
  })

  // The vectors of the kernel's lib/siphash_kunit.c for 32-bit machines, of 0, 4 and 8 bytes.
  it('are hashed with HalfSipHash-1-3', () => {
    const words = Int32Array.of(0x03020100, 0x07060504)
    const hashes = [0, 1, 2].map((n) => keyedHash(words[0], words[1], words, n, n << 26) >>> 0)
    assert.deepEqual(hashes, [0x5814c896, 0x7e059ea6, 0x577999b1])
  })

  it('one template per client: same client, same destination', () => {
    const rig = rigFor()
    const a = from('198.18.0.1')
    const b = from('198.18.0.2')
    assert.deepEqual(rig.burst([a, b, a, a, b]), [0, 1, 0, 0, 1])
    assert.equal(rig.templates.usedCount, 2)
    const refs = [0, 1, 2, 3, 4].map((i) => rig.templateRef(i))
    assert.deepEqual(refs, [1, 2, 1, 1, 2])
    assert.deepEqual([rig.loadView.persistent(0), rig.loadView.persistent(1)], [1, 1])
  })

  it('masks IPv4 clients', () => {
    const rig = rigFor({ netmask: 0xffffff00 })
    assert.deepEqual(
      rig.burst([from('198.18.0.1'), from('198.18.0.200'), from('198.18.1.1')]),
      [0, 0, 1],
    )
    assert.deepEqual(
      rig
        .rows()
        .map((row) => row.clientAddress.slice(12).join('.'))
        .sort(),
      ['198.18.0.0', '198.18.1.0'],
    )
  })

  it('puts all clients in one template with mask 0.0.0.0', () => {
    const rig = rigFor({ netmask: 0 })
    assert.deepEqual(rig.burst([from('198.18.0.1'), from('198.19.255.1')]), [0, 0])
  })

  for (const [prefix, expected] of [
    [64, [0, 0, 1]],
    [128, [0, 1, 0]],
    [33, [0, 0, 0]],
  ] as const) {
    it(`masks IPv6 clients with /${prefix}`, () => {
      const rig = rigFor({ family: 6, netmask: prefix })
      const clients = ['2001:db8:0:1::1', '2001:db8:0:1:8000::1', '2001:db8:0:2::1']
      const misses = clients.map((client) => from(client, { family: 6 as const }))
      assert.deepEqual(rig.burst(misses), expected)
    })
  }

  it('masks with every netmask of both families', () => {
    for (let bits = 0; bits <= 128; bits++) {
      const family = bits <= 32 ? 4 : 6
      const first = family === 4 ? 12 : 0
      const client = new Uint8Array(16).fill(0xff)
      if (family === 4) client.fill(0, 0, 10)
      const netmask = family === 4 ? (bits === 0 ? 0 : (-1 << (32 - bits)) >>> 0) : bits
      const rig = rigFor({ family, netmask })
      rig.burst([{ client, family }])
      const masked = rig.rows()[0].clientAddress
      const ones = [...masked.subarray(first)].map((byte) => byte.toString(2).padStart(8, '0'))
      assert.equal(ones.join(''), ''.padStart(bits, '1').padEnd((16 - first) * 8, '0'), `/${bits}`)
    }
  })

  it('row 1: own port keeps port and destination port', () => {
    const rig = rigFor({ destinations: [{ slot: 0, port: 8080 }] })
    rig.burst([{}])
    const [row] = rig.rows()
    assert.deepEqual([row.virtualPort, row.destinationPort, row.protocol], [80, 8080, 6])
  })

  it('row 2 and 4: FTP control and data share one template', () => {
    const rig = rigFor({ port: 21, destinations: [{ slot: 0, port: 21 }, { slot: 1 }] })
    assert.deepEqual(rig.burst([{ virtualPort: 21 }, { virtualPort: 40001 }]), [0, 0])
    const rows = rig.rows()
    assert.equal(rows.length, 1)
    assert.deepEqual([rows[0].virtualPort, rows[0].destinationPort], [0, 0])
  })

  it('row 3: a fwmark service shares one template over addresses, ports and protocols', () => {
    const rig = rigFor({ fwmark: 21 })
    const mark = { fwmark: 21 }
    const misses: MissSpec[] = [
      { ...mark, virtual: ip('198.18.0.10'), virtualPort: 80 },
      { ...mark, virtual: ip('198.18.0.11'), virtualPort: 443 },
      { ...mark, virtual: ip('198.18.0.10'), virtualPort: 53, protocol: 17, flags: 0 },
    ]
    assert.deepEqual(rig.burst(misses), [0, 0, 0])
    const [row] = rig.rows()
    assert.equal(row.protocol, 0)
    assert.equal(row.fwmark, 21)
    assert.equal(row.virtualAddress.slice(12).join('.'), '0.0.0.21')
  })

  it('row 3 for IPv6: the mark in the first 32 bits', () => {
    const rig = rigFor({ fwmark: 0x01020304, family: 6 })
    rig.burst([{ family: 6, fwmark: 0x01020304 }])
    assert.deepEqual([...rig.rows()[0].virtualAddress], [1, 2, 3, 4, ...new Array(12).fill(0)])
  })

  it('row 1 for a marked packet to port 0', () => {
    const rig = rigFor({ fwmark: 21 })
    rig.burst([{ fwmark: 21, virtualPort: 0 }])
    assert.equal(rig.rows()[0].protocol, 6)
  })

  it('row 4: a port-0 service shares one template over all ports', () => {
    const rig = rigFor({ port: 0 })
    assert.deepEqual(rig.burst([{ virtualPort: 80 }, { virtualPort: 443 }]), [0, 0])
  })

  it('a port-0 service and an FTP service of one address share templates', () => {
    const any: ServiceSpec = { scheduler: 'rr', destinations: TWO, persistentSec: 360, port: 0 }
    const ftp: ServiceSpec = { ...any, slot: 1, port: 21, destinations: [{ slot: 2 }, { slot: 3 }] }
    const rig = rigFor({}, { services: [any, ftp] })
    const control = { virtualPort: 21, service: 1 }
    assert.deepEqual(rig.burst([control, { virtualPort: 80 }, { virtualPort: 443 }]), [2, 2, 2])
    assert.equal(rig.templates.usedCount, 1)
  })

  it('every row for UDP and for IPv6 has the protocol and family of the packet', () => {
    const client = ip('2001:db8::1')
    const virtual = ip('2001:db8::1:10')
    const rows = [
      { service: { port: 53 }, miss: { virtualPort: 53 }, key: [53, 17] },
      { service: { port: 21 }, miss: { virtualPort: 21 }, key: [0, 17] },
      { service: { fwmark: 9 }, miss: { virtualPort: 53, fwmark: 9 }, key: [0, 0] },
      { service: { port: 0 }, miss: { virtualPort: 53 }, key: [0, 17] },
    ] as const
    for (const { service, miss, key } of rows) {
      const rig = rigFor({ ...service, protocol: 17, family: 6, netmask: 128 })
      rig.burst([{ ...miss, client, virtual, protocol: 17, family: 6, flags: 0 }])
      const [row] = rig.rows()
      assert.deepEqual([row.virtualPort, row.protocol], key)
      assert.deepEqual([row.family, row.destinationPort], [6, 0])
      assert.deepEqual([row.clientAddress, row.connections], [client, 1])
    }
  })

  it('a port-0 service without persistence has no destination', () => {
    const rig = rigFor({ port: 0, persistentSec: 0 })
    assert.deepEqual(rig.burst([{ virtualPort: 80 }]), [VERDICT.NONE])
  })
})

describe('template timers', () => {
  it('lives for its timeout after the last new connection, if none is left', () => {
    const rig = rigFor()
    rig.burst([{}])
    endAll(rig, 1)
    rig.nowSec += 100
    rig.burst([{}])
    endAll(rig, 1)
    assert.equal(rig.sweeper.sweep(rig.nowSec + 359), 0)
    assert.equal(rig.rows().length, 1)
    assert.equal(rig.sweeper.sweep(rig.nowSec + 360), 1)
    assert.equal(rig.rows().length, 0)
    assert.equal(rig.loadView.persistent(0), 0)
  })

  it('survives in steps of 60 s while a slave lives, and keeps that timeout', () => {
    const rig = rigFor()
    rig.burst([{}])
    const ref = rig.templateRef(0)
    assert.equal(rig.sweeper.sweep(1362), 0)
    assert.deepEqual([rig.rows()[0].timeoutSec, rig.rows()[0].expiresSec], [60, 1420])
    rig.endSlave(ref)
    assert.equal(rig.sweeper.sweep(1419), 0)
    rig.nowSec = 1419
    rig.burst([{}])
    rig.endSlave(ref)
    assert.equal(rig.rows()[0].expiresSec, 1479, 'the new connection restarts 60 s, not 360')
    assert.equal(rig.sweeper.sweep(1479), 1)
  })

  it('ends with a slave that began with it and has as long', () => {
    const rig = rigFor()
    rig.burst([{}])
    for (const late of [0, 1]) {
      assert.equal(rig.sweeper.sweep(1360 + late), 0)
      assert.deepEqual([rig.rows()[0].timeoutSec, rig.rows()[0].expiresSec], [360, 1360])
    }
    endAll(rig, 1)
    assert.equal(rig.sweeper.sweep(1361), 1)
  })

  it('a connection that comes while it waits for its slave has it for a minute', () => {
    const rig = rigFor()
    rig.burst([{}])
    rig.nowSec = 1361
    assert.deepEqual(rig.burst([{}]), [0])
    assert.deepEqual([rig.rows()[0].timeoutSec, rig.rows()[0].expiresSec], [60, 1421])
  })

  it('a search postpones and frees like the sweep does', () => {
    const rig = rigFor()
    rig.burst([{}])
    rig.nowSec = 1000 + 360 + 130
    assert.deepEqual(rig.burst([{}]), [0], 'alive: 60 s steps')
    endAll(rig, 1)
    rig.endSlave(rig.templateRef(0))
    rig.nowSec += 60
    assert.deepEqual(rig.burst([{}]), [1], 'gone: a new template takes the next turn')
    assert.equal(rig.templates.usedCount, 1)
  })

  it('an edited service timeout is for new templates only', () => {
    const rig = rigFor()
    rig.burst([from('198.18.0.1')])
    rig.publish({ services: [{ scheduler: 'rr', destinations: TWO, persistentSec: 50 }] })
    rig.burst([from('198.18.0.1'), from('198.18.0.2')])
    assert.deepEqual(
      rig
        .rows()
        .map((row) => row.timeoutSec)
        .sort((a, b) => a - b),
      [50, 360],
    )
  })

  it('is gone at the next sweep when the core ends it early', () => {
    const rig = rigFor()
    rig.burst([{}])
    endAll(rig, 1)
    const at = (rig.templateRef(0) - 1) * (RECORDS.template.bytes / 4)
    Atomics.store(rig.templateBlocks.entries, at + offsetOf('template', 'expiresSec') / 4, 0)
    assert.equal(rig.sweeper.sweep(rig.nowSec), 1)
  })
})

describe('templates and unusable destinations', () => {
  const quiesced: DestinationSpec[] = [{ slot: 0, weight: 0 }, { slot: 1 }]
  const service = (destinations: DestinationSpec[]): ServiceSpec => ({
    scheduler: 'rr',
    destinations,
    persistentSec: 360,
  })

  it('a quiesced destination keeps its clients', () => {
    const rig = rigFor()
    rig.burst([{}])
    rig.publish({ services: [service(quiesced)] })
    assert.deepEqual(rig.burst([{}, from('198.18.0.9')]), [0, 1])
  })

  it('unless expire_quiescent_template says otherwise', () => {
    const rig = rigFor()
    rig.burst([{}])
    const first = rig.templateRef(0)
    rig.publish({ services: [service(quiesced)], sysctls: { expire_quiescent_template: 1 } })
    assert.deepEqual(rig.burst([{}, {}]), [1, 1])
    assert.notEqual(rig.templateRef(0), first)
    const old = rig.rows().find((row) => (row.state & TEMPLATE_STATE.INVALID) !== 0)
    assert.deepEqual([old?.virtualPort, old?.destinationPort], [65535, 65535])
    assert.equal(old?.connections, 1, 'its slave lives on')
    assert.deepEqual([rig.loadView.persistent(0), rig.loadView.persistent(1)], [1, 1])
    rig.endSlave(first)
    rig.sweeper.sweep(1360)
    assert.equal(rig.loadView.persistent(0), 0)
    assert.equal(rig.rows().length, 1)
  })

  it('end with their destination where that is asked for, once no connection follows them', () => {
    const rig = rigFor()
    rig.burst([from('198.18.0.1'), from('198.18.0.2')])
    rig.publish({ services: [service([{ slot: 1 }])] })
    assert.equal(rig.sweeper.sweepGone(rig.loadView.view), 0)
    endAll(rig, 2)
    assert.equal(rig.sweeper.sweepGone(rig.loadView.view), 1)
    assert.deepEqual(
      rig.rows().map(({ destinationSlot }) => destinationSlot),
      [1],
    )
    assert.equal(rig.loadView.persistent(0), 0)
  })

  it('an overloaded destination keeps its clients', () => {
    const rig = rigFor({ destinations: [{ slot: 0, upperThreshold: 1 }, { slot: 1 }] })
    assert.deepEqual(rig.burst([{}]), [0])
    rig.setLoad(0, 1, 0)
    assert.deepEqual(rig.burst([{}, from('198.18.0.9'), from('198.18.0.10')]), [0, 1, 1])
  })

  it('a removed destination loses them; revived within the trash time it has the rest', () => {
    const rig = rigFor()
    assert.deepEqual(rig.burst([{}, from('198.18.0.2')]), [0, 1])
    rig.publish({ services: [service([{ slot: 0 }])], trash: [{ slot: 1 }] })
    rig.publish({ services: [service([{ slot: 1 }, { slot: 0 }])] })
    assert.deepEqual(rig.burst([from('198.18.0.2')]), [1], 'nobody came in between')
    rig.publish({ services: [service([{ slot: 0 }])], trash: [{ slot: 1 }] })
    assert.deepEqual(rig.burst([from('198.18.0.2')]), [0])
    rig.publish({ services: [service([{ slot: 1 }, { slot: 0 }])] })
    assert.deepEqual(rig.burst([from('198.18.0.2')]), [0], 'the new template stays')
  })

  it('a slot given to another destination does not inherit them', () => {
    const rig = rigFor({ destinations: [{ slot: 0 }] })
    rig.burst([{}])
    rig.publish({ services: [service([{ slot: 0, incarnation: 2 }])] })
    assert.deepEqual(rig.burst([{}]), [0])
    assert.equal(rig.rows().length, 2)
  })
})

describe('templates, other', () => {
  it('makes none when there is no destination', () => {
    const rig = rigFor({ destinations: [] })
    assert.deepEqual(rig.burst([{}]), [VERDICT.NONE])
    assert.deepEqual([rig.templateRef(0), rig.templates.usedCount], [0, 0])
  })

  it('counts one-packet traffic in the template and not in the load', () => {
    const rig = rigFor({ protocol: 17, flags: 4 })
    const packet: MissSpec = { protocol: 17, flags: MISS_FLAG.ONE_PACKET, packets: 3 }
    rig.burst([packet, packet])
    assert.equal(rig.rows()[0].packets, 6)
    assert.equal(rig.loadView.total(0), 0)
  })

  it('goes without a template when the table is full, and with one when there is room', () => {
    const rig = rigFor({}, {}, 2)
    const clients = [1, 2, 3].map((i) => from(`198.18.0.${i}`))
    assert.deepEqual(rig.burst(clients), [0, 1, 0])
    assert.equal(rig.batch.templateTableFullCount, 1)
    assert.equal(rig.templateRef(2), 0)
    rig.endSlave(rig.templateRef(0))
    rig.sweeper.sweep(1360)
    assert.ok(rig.burst([clients[2]])[0] >= 0)
    assert.notEqual(rig.templateRef(0), 0)
  })

  it('that a worker keeps hold main up for a moment only', () => {
    const rig = rigFor()
    rig.burst([{}])
    endAll(rig, 1)
    const service = rig.services.service(0)
    assert.ok(service)
    const key = rig.templates.newKey()
    rig.misses.select(0)
    key.compute(rig.misses, service)
    const bucket = rig.templates.lock(key)
    assert.equal(rig.sweeper.sweep(rig.nowSec + 1000), 0)
    assert.equal(rig.rows().length, 0)
    rig.templates.unlock(bucket)
    assert.equal(rig.rows().length, 1)
    assert.equal(rig.sweeper.sweep(rig.nowSec + 1000), 1)
  })

  it('that a worker was putting a template into when it died are swept all the same', () => {
    const rig = rigFor()
    rig.burst([{}])
    endAll(rig, 1)
    const key = rig.templates.newKey()
    const service = rig.services.service(0)
    assert.ok(service)
    rig.misses.select(0)
    key.compute(rig.misses, service)
    const bucket = rig.templates.lock(key)
    // In use, and not yet in its chain.
    rig.templateBlocks.index[bucket + 1] = 0
    rig.templates.unlock(bucket)
    assert.equal(rig.sweeper.sweep(rig.nowSec + 1000), 0)
    rig.burst([{}])
    endAll(rig, 1)
    assert.equal(rig.sweeper.sweep(rig.nowSec + 1000), 1)
  })

  it('frees the locks of a dead lane', () => {
    const rig = rigFor()
    rig.burst([{}])
    const dead = 0
    rig.state.lock(0)
    assert.throws(() => rig.state.lock(0), /already holds/)
    assert.equal(rig.mainState.releaseLocks(dead), 1)
    rig.mainState.lock(0)
    rig.mainState.unlock(0)
    const key = rig.templates.newKey()
    const service = rig.services.service(0)
    assert.ok(service)
    rig.misses.select(0)
    key.compute(rig.misses, service)
    const bucket = rig.templates.lock(key)
    assert.equal(rig.sweeper.releaseLocks(dead), 1)
    assert.equal(Atomics.load(rig.templateBlocks.index, bucket), 0)
  })
})

describe('a scheduler that throws', () => {
  it('drops the rest of the burst and leaves no lock behind', () => {
    const rig = rigFor({ scheduler: 'wrr' })
    const clients = [1, 2, 3, 4].map((i) => from(`198.18.0.${i}`))
    const bound = rig.services.bound(0)
    assert.ok(bound)
    const pick = bound.pick.bind(bound)
    let calls = 0
    Object.assign(bound, {
      pick: (...args: Parameters<typeof pick>) => {
        if (++calls === 3) throw new Error('deliberate')
        return pick(...args)
      },
    })
    const verdicts = rig.burst(clients)
    assert.ok(verdicts[0] >= 0 && verdicts[1] >= 0)
    assert.deepEqual(verdicts.slice(2), [VERDICT.DROP, VERDICT.DROP])
    assert.match(String(rig.batch.lastError), /deliberate/)
    assert.ok(rig.burst(clients).every((verdict) => verdict >= 0))
  })

  it('says how many it dropped', () => {
    const rig = rigFor()
    rig.burst([{ service: 0 }])
    assert.equal(rig.batch.run(1, rig.nowSec), 0)
    rig.burst([{}, { service: 7 }, {}])
    assert.equal(rig.batch.run(3, rig.nowSec), 2)
  })
})
