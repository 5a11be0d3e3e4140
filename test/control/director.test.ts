/** The director: order, batches, refusals of the data plane, timers. */
import assert from 'node:assert/strict'
import { Director } from '../../src/control/director.js'
import { emptyConfig } from '../../src/control/model/config.js'
import { FakeClock, FakeDataplane, memoryLog, NO_TRAFFIC } from '../support/fake-dataplane.js'
import {
  addDestination,
  addService,
  CAPACITY,
  deleteDestination,
  PLAIN,
  serviceId,
  serviceIn,
} from './fixtures.js'

const S = serviceId()
const OK = { ok: true }

function rig() {
  const port = new FakeDataplane()
  const clock = new FakeClock()
  const log = memoryLog()
  const config = emptyConfig(CAPACITY)
  const director = new Director({ port, config, clock, log, version: '1' })
  director.start()
  return { port, clock, log, director }
}

describe('director', () => {
  it('publishes what it applied, in order, and answers each command', async () => {
    const { director, port, log } = rig()
    const outcomes = await director.execute([
      addService(S),
      addService(S),
      addDestination(S, '198.18.1.1'),
    ])
    assert.deepEqual(
      outcomes.map((o) => (o.ok ? 'ok' : o.code)),
      ['ok', 'SERVICE_EXISTS', 'ok'],
    )
    assert.equal(port.published.length, 1)
    assert.equal(serviceIn(director.config, S).destinations.length, 1)
    assert.ok(log.lines.some((line) => line.includes('service tcp 198.18.0.1:80 added')))
  })

  it('publishes commands that wait together as one change', async () => {
    const { director, port } = rig()
    const all = await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        director.execute([addService(serviceId('198.18.0.1', i + 1))]),
      ),
    )
    assert.deepEqual(
      all.flat(),
      Array.from({ length: 6 }, () => OK),
    )
    assert.ok(port.published.length <= 2, `${port.published.length} changes`)
    assert.equal(director.config.services.size, 6)
  })

  it('changes nothing when the data plane refuses, and blames only the one at fault', async () => {
    const { director, port } = rig()
    port.check = (config) => {
      if (config.services.has('tcp 198.18.0.66:80')) throw new Error('too odd')
    }
    const outcomes = await director.execute([
      addService(S),
      addService(serviceId('198.18.0.66')),
      addService(serviceId('198.18.0.3')),
    ])
    assert.deepEqual(
      outcomes.map((o) => o.ok),
      [true, false, true],
    )
    assert.ok(!outcomes[1].ok && outcomes[1].message.includes('too odd'))
    assert.deepEqual([...director.config.services.keys()].sort(), [
      'tcp 198.18.0.1:80',
      'tcp 198.18.0.3:80',
    ])
  })

  it('keeps everything as it was when the data plane refuses an atomic change', async () => {
    const { director, port } = rig()
    await director.execute([addService(S), addDestination(S, '198.18.1.1')])
    const before = director.config
    port.check = (config) => {
      if (config.services.has('tcp 198.18.0.66:80')) throw new Error('too odd')
    }
    const outcomes = await director.execute(
      [
        deleteDestination(S, '198.18.1.1'),
        addService(serviceId('198.18.0.66')),
        addService(serviceId('198.18.0.3')),
      ],
      { atomic: true },
    )
    assert.equal(outcomes.length, 3)
    for (const outcome of outcomes) assert.ok(!outcome.ok && outcome.message.includes('too odd'))
    assert.equal(port.published.length, 1)
    const { nextIncarnation } = director.config
    assert.deepEqual({ ...director.config, nextIncarnation: before.nextIncarnation }, before)
    assert.equal(director.config.services, before.services)
    assert.equal(director.config.trash, before.trash)
    assert.ok(nextIncarnation > before.nextIncarnation)
  })

  it('asks the data plane nothing when one atomic command is refused', async () => {
    const { director, port } = rig()
    const before = director.config
    const outcomes = await director.execute([addService(S), addService(S)], { atomic: true })
    assert.deepEqual(
      outcomes.map((o) => (o.ok ? 'ok' : o.code)),
      ['SERVICE_EXISTS', 'SERVICE_EXISTS'],
    )
    assert.equal(director.config, before)
    assert.equal(port.published.length, 0)
  })

  it('makes an atomic change apart from the commands that wait with it', async () => {
    const { director, port } = rig()
    const odd = addService(serviceId('198.18.0.66'))
    port.check = (config) => {
      if (config.services.has('tcp 198.18.0.66:80')) throw new Error('too odd')
    }
    const [first, whole, last] = await Promise.all([
      director.execute([addService(S)]),
      director.execute([addService(serviceId('198.18.0.2')), odd], { atomic: true }),
      director.execute([addService(serviceId('198.18.0.3'))]),
    ])
    assert.deepEqual([first, last], [[OK], [OK]])
    assert.deepEqual(
      whole.map((o) => o.ok),
      [false, false],
    )
    const done = await director.execute([{ kind: 'zero' }, addService(serviceId('198.18.0.4'))], {
      atomic: true,
    })
    assert.deepEqual(done, [OK, OK])
    assert.deepEqual([...director.config.services.keys()].sort(), [
      'tcp 198.18.0.1:80',
      'tcp 198.18.0.3:80',
      'tcp 198.18.0.4:80',
    ])
  })

  it('never hands out the incarnation of a refused change again', async () => {
    const { director, port } = rig()
    const seen: number[] = []
    port.check = (config) => {
      seen.push(...[...config.services.values()].map((service) => service.incarnation))
      throw new Error('not now')
    }
    await director.execute([addService(S)])
    await director.execute([addService(S)], { atomic: true })
    port.check = () => undefined
    await director.execute([addService(S)])
    seen.push(serviceIn(director.config, S).incarnation)
    assert.equal(seen.length, 3)
    assert.equal(new Set(seen).size, 3, `incarnations ${seen.join(', ')}`)
  })

  it('gives slots of deleted services to new ones, also within one batch', async () => {
    const { director } = rig()
    const many = Array.from({ length: CAPACITY.services }, (_, i) =>
      addService(serviceId('198.18.0.1', i + 1)),
    )
    await director.execute(many)
    const outcomes = await director.execute([{ kind: 'flush' }, ...many])
    assert.deepEqual(
      outcomes,
      Array.from({ length: many.length + 1 }, () => OK),
    )
  })

  it('samples every two seconds, and not while run_estimation is 0', async () => {
    const { director, port, clock } = rig()
    await director.execute([addService(S)])
    const conns = () => {
      const services = director.services()
      assert.ok(services.ok)
      return services.value[0].stats.connections
    }
    port.serviceTraffic.set(serviceIn(director.config, S).slot, { ...NO_TRAFFIC, connections: 9n })
    await clock.advance(1999)
    assert.equal(conns(), '0')
    await clock.advance(1)
    assert.equal(conns(), '9')
    await director.execute([{ kind: 'zero', service: S }])
    assert.equal(conns(), '0')
    await director.execute([{ kind: 'setSysctl', name: 'run_estimation', value: '0' }])
    port.serviceTraffic.set(serviceIn(director.config, S).slot, { ...NO_TRAFFIC, connections: 20n })
    await clock.advance(10_000)
    assert.equal(conns(), '0')
  })

  it('frees the slot of a removed destination two minutes after it fell idle', async () => {
    const { director, port, clock } = rig()
    await director.execute([addService(S), addDestination(S, '198.18.1.1')])
    const { slot } = serviceIn(director.config, S).destinations[0]
    port.loadBySlot.set(slot, { active: 0, inactive: 1, persistent: 0 })
    await director.execute([deleteDestination(S, '198.18.1.1')])
    await clock.advance(600_000)
    assert.equal(director.config.trash.length, 1)
    port.loadBySlot.set(slot, { active: 0, inactive: 0, persistent: 0 })
    await clock.advance(120_000)
    assert.equal(director.config.trash.length, 1)
    await clock.advance(60_000)
    assert.equal(director.config.trash.length, 0)
    assert.deepEqual(director.config.destinationSlots.free, [slot])
  })

  it('forgets what a destination was before an edit once no connection is left', async () => {
    const { director, port, clock, log } = rig()
    await director.execute([addService(S), addDestination(S, '198.18.1.1')])
    const { slot, address, port: number } = serviceIn(director.config, S).destinations[0]
    const past = () => serviceIn(director.config, S).destinations[0].past.methods
    port.loadBySlot.set(slot, { active: 0, inactive: 1, persistent: 0 })
    const destination = { address, port: number }
    const options = { ...PLAIN, method: 'direct' } as const
    await director.execute([{ kind: 'editDestination', service: S, destination, options }])
    await clock.advance(600_000)
    assert.deepEqual(past(), ['masquerade'])
    port.loadBySlot.set(slot, { active: 0, inactive: 0, persistent: 0 })
    await clock.advance(60_000)
    assert.deepEqual(past(), ['masquerade'])
    const said = log.lines.length
    await clock.advance(60_000)
    assert.deepEqual(past(), [])
    assert.equal(log.lines.length, said)
  })

  it('looks at the trash from the first removal on, while there is any', async () => {
    const { director, clock } = rig()
    const left = () => director.config.trash.length
    const both = [addDestination(S, '198.18.1.1'), addDestination(S, '198.18.1.2')]
    await director.execute([addService(S), ...both])
    await clock.advance(59_000)
    await director.execute([deleteDestination(S, '198.18.1.1')])
    await clock.advance(126_000)
    assert.equal(left(), 1)
    await clock.advance(53_999)
    assert.equal(left(), 1)
    await clock.advance(1)
    assert.equal(left(), 0)

    await clock.advance(30_000)
    await director.execute([deleteDestination(S, '198.18.1.2')])
    await clock.advance(100_000)
    await director.execute([addDestination(S, '198.18.1.2')])
    assert.equal(left(), 0)
    await director.execute([deleteDestination(S, '198.18.1.2')])
    await clock.advance(179_999)
    assert.equal(left(), 1)
    await clock.advance(1)
    assert.equal(left(), 0)
  })

  it('looks at the trash again after it could not, and not once stopped', async () => {
    const { director, port, clock, log } = rig()
    await director.execute([addService(S), addDestination(S, '198.18.1.1')])
    await director.execute([deleteDestination(S, '198.18.1.1')])
    const { slotsInUse } = port
    port.slotsInUse = () => Promise.reject(new Error('no answer'))
    await clock.advance(60_000)
    assert.match(log.lines.at(-1) ?? '', /^warn removed destinations keep their slots for now: /)
    port.slotsInUse = slotsInUse
    await clock.advance(120_000)
    assert.equal(director.config.trash.length, 1)
    await director.stop()
    await clock.advance(60_000)
    assert.equal(director.config.trash.length, 1)
  })

  it('ends connections of removed destinations only with expire_nodest_conn', async () => {
    const { director, port } = rig()
    const add = addDestination(S, '198.18.1.1')
    await director.execute([addService(S), add])
    const { slot } = serviceIn(director.config, S).destinations[0]
    await director.execute([deleteDestination(S, '198.18.1.1')])
    assert.deepEqual(port.expired, [])
    await director.execute([{ kind: 'setSysctl', name: 'expire_nodest_conn', value: '1' }, add])
    const remove = deleteDestination(S, '198.18.1.1')
    await director.execute([remove])
    assert.deepEqual(port.expired, [slot])
    await director.execute([add, remove])
    assert.deepEqual(port.expired, [slot, slot])
    await director.execute([addService(serviceId('198.18.0.2'))])
    assert.deepEqual(port.expired, [slot, slot])
  })
})
