/** drop_entry among templates: whom it takes, how often it looks (spec 3.11). */
import assert from 'node:assert/strict'
import {
  MISS_FLAG,
  offsetOf,
  RECORDS,
  SERVICE_FLAG,
  TEMPLATE_STATE,
} from '../../src/dataplane/layout.js'
import { DropTemplates } from '../../src/scheduler/persistence/drop-templates.js'
import { allocateRigBlocks, ip, SchedulerRig } from '../support/scheduler-rig.js'

const CLIENTS = 64

/** A persistent service with a template for each of `CLIENTS` clients, none with slaves. */
function rigFor(flags = 0) {
  const rig = new SchedulerRig(allocateRigBlocks(1))
  rig.publish({
    services: [
      { scheduler: 'rr', destinations: [{ slot: 0 }], persistentSec: 360, flags, protocol: 17 },
    ],
  })
  const missFlags = (flags & SERVICE_FLAG.ONE_PACKET) !== 0 ? MISS_FLAG.ONE_PACKET : 0
  for (let i = 1; i <= CLIENTS; i++) {
    rig.burst([{ client: ip(`198.18.0.${i}`), protocol: 17, flags: missFlags }])
    rig.endSlave(rig.templateRef(0))
  }
  assert.equal(rig.templates.usedCount, CLIENTS)
  const at = (ref: number, field: Parameters<typeof offsetOf<'template'>>[1]): number =>
    ((ref - 1) * RECORDS.template.bytes + offsetOf('template', field)) / 4
  const set = (ref: number, field: Parameters<typeof at>[1], value: number): void => {
    rig.templateBlocks.entries[at(ref, field)] = value
  }
  let next = 0
  /** Draws every reference in turn. */
  const drop = new DropTemplates(rig.templates, () => (next++ % CLIENTS) / CLIENTS)
  const minute = (nowSec: number): number => {
    let ended = 0
    for (let second = 0; second < 32; second++) ended += drop.run(rig.loadView.view, nowSec)
    return ended
  }
  return { rig, set, minute, drop }
}

describe('drop_entry among templates', () => {
  it('looks at a 32nd of them each second, and ends what no connection ever assured', () => {
    const { rig, set, drop, minute } = rigFor()
    assert.equal(drop.run(rig.loadView.view, 1), 2)
    rig.templates.sweep(1)
    assert.equal(rig.templates.usedCount, CLIENTS - 2)
    set(10, 'state', TEMPLATE_STATE.USED | TEMPLATE_STATE.ASSURED)
    set(11, 'connections', 1)
    set(12, 'state', TEMPLATE_STATE.USED | TEMPLATE_STATE.INVALID)
    assert.equal(minute(1), CLIENTS - 4)
    rig.templates.sweep(1)
    assert.equal(rig.templates.usedCount, 2)
    assert.equal(rig.loadView.persistent(0), 2)
    // What is free is nobody's any more.
    assert.equal(minute(1), 0)
  })

  it('draws lots for those of one-packet services, by packets, after a minute', () => {
    const { set, minute } = rigFor(SERVICE_FLAG.ONE_PACKET)
    for (let ref = 1; ref <= CLIENTS; ref++) {
      set(ref, 'packets', 4)
      set(ref, 'timeoutSec', 360)
      set(ref, 'expiresSec', 1000 + 360)
    }
    assert.equal(minute(1059), 0)
    assert.equal(minute(1060), CLIENTS / 4)
    for (let ref = 1; ref <= CLIENTS; ref++) set(ref, 'packets', ref % 2 === 0 ? 0 : 9)
    assert.equal(minute(5000), 0)
  })
})
