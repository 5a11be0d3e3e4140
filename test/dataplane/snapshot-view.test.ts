/** Reading snapshot blocks: fields, holes, trash, and what stays the same object (layout.ts). */
import assert from 'node:assert/strict'
import { SCHEDULER_ID } from '../../src/dataplane/layout.js'
import { SnapshotView } from '../../src/dataplane/snapshot-view.js'
import { buildSnapshot, type ServiceSpec } from '../support/snapshot-block.js'

const A: ServiceSpec = {
  slot: 0,
  scheduler: 'wlc',
  persistentSec: 360,
  netmask: 0xffffff00,
  destinations: [
    { slot: 3, weight: 5, port: 8080, upperThreshold: 10, lowerThreshold: 4, incarnation: 7 },
    { slot: 1, weight: 0 },
  ],
}
const B: ServiceSpec = { slot: 2, scheduler: 'rr', fwmark: 21, family: 6, destinations: [] }

describe('SnapshotView', () => {
  const block = buildSnapshot({
    generation: 9,
    services: [A, B],
    trash: [{ slot: 4, weight: 2 }],
    sysctls: { expire_quiescent_template: 1 },
  })
  const view = new SnapshotView(block)

  it('reads services in list order', () => {
    const [a, hole, b] = view.services
    assert.ok(a && b)
    assert.equal(hole, undefined)
    assert.deepEqual([...a.slots], [3, 1])
    assert.deepEqual([...a.weights], [5, 0])
    assert.deepEqual([...a.ports], [8080, 0])
    assert.deepEqual([a.schedulerId, a.port, a.family], [SCHEDULER_ID.wlc, 80, 4])
    assert.deepEqual([a.persistentSec, a.netmask], [360, 0xffffff00])
    assert.deepEqual([b.fwmark, b.family, b.protocol, b.slots.length], [21, 6, 0, 0])
  })

  it('reads destinations by slot, trash and holes included', () => {
    assert.deepEqual([view.weight(3), view.incarnation(3)], [5, 7])
    assert.deepEqual([view.upperThreshold(3), view.lowerThreshold(3)], [10, 4])
    assert.equal(view.destinationPort(3), 8080)
    assert.deepEqual(
      [3, 1, 4, 0, 99].map((slot) => view.available(slot)),
      [true, true, false, false, false],
    )
    assert.equal(view.weight(4), 2)
    assert.equal(view.weight(99), 0)
    assert.equal(view.sysctl('expire_quiescent_template'), 1)
    assert.equal(view.sysctl('lblc_expiration'), 86400)
  })

  it('keeps the object of a service that did not change, and only that', () => {
    const same = new SnapshotView(buildSnapshot({ generation: 10, services: [A, B] }), view)
    assert.equal(same.services[0], view.services[0])
    for (const changed of [
      { ...A, netmask: 0xffff0000 },
      { ...A, scheduler: 'rr' as const },
      { ...A, incarnation: 2 },
      { ...A, changes: 1 },
      { ...A, destinations: [...A.destinations].reverse() },
      { ...A, destinations: [A.destinations[0], { slot: 1, weight: 1 }] },
      { ...A, destinations: [A.destinations[0], { slot: 1, weight: 0, upperThreshold: 5 }] },
    ]) {
      const next = new SnapshotView(buildSnapshot({ generation: 11, services: [changed, B] }), view)
      assert.notEqual(next.services[0], view.services[0])
      assert.equal(next.services[2], view.services[2])
    }
  })

  it('refuses a block that is no snapshot', () => {
    assert.throws(() => new SnapshotView(new Uint8Array(256)), /magic/)
  })
})
