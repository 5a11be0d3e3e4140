/** Zeroing beside other commands and failures: nobody waits for ever, nothing else is zeroed. */
import assert from 'node:assert/strict'
import type { TrafficBook } from '../../src/control/dataplane-port.js'
import { Director } from '../../src/control/director.js'
import type { Service } from '../../src/control/model/service.js'
import { FakeClock, FakeDataplane, memoryLog, NO_TRAFFIC } from '../support/fake-dataplane.js'
import { addService, configOf, serviceId } from './fixtures.js'

const S = serviceId()

/** A book that notes what is zeroed; `fails` makes it throw as a kernel may. */
class NotingDataplane extends FakeDataplane {
  readonly zeroed: string[] = []
  fails = false

  traffic(): TrafficBook {
    const reading = { stats: () => NO_TRAFFIC, rates: () => NO_TRAFFIC }
    return {
      total: reading,
      service: () => reading,
      destination: () => reading,
      zero: (_config, only?: Service) => {
        if (this.fails) throw new Error('ESRCH')
        this.zeroed.push(only === undefined ? 'everything' : only.id.address.text)
      },
    }
  }
}

function directorOf(port: FakeDataplane): Director {
  const config = configOf([addService(S)])
  return new Director({ port, config, clock: new FakeClock(), log: memoryLog(), version: '0' })
}

describe('director: zeroing', () => {
  it('is for the service alone, also when a later command removes it', async () => {
    const port = new NotingDataplane()
    const zero = { kind: 'zero', service: S } as const
    const outcomes = await directorOf(port).execute([zero, { kind: 'deleteService', service: S }])
    assert.deepEqual(outcomes, [{ ok: true }, { ok: true }])
    assert.deepEqual(port.zeroed, [])
    await directorOf(port).execute([zero])
    assert.deepEqual(port.zeroed, ['198.18.0.1'])
  })

  it('that fails is the outcome, and the next command gets its turn', async () => {
    const port = new NotingDataplane()
    port.fails = true
    const director = directorOf(port)
    const [outcome] = await director.execute([{ kind: 'zero', service: S }])
    assert.ok(!outcome.ok && outcome.message === 'ESRCH')
    assert.deepEqual(await director.execute([{ kind: 'flush' }]), [{ ok: true }])
  })
})

describe('director: an interface that cannot be looked at', () => {
  it('is an answer, and the next command gets its turn', async () => {
    const port = new FakeDataplane()
    port.interfaceMtu = () => {
      throw new Error('EAGAIN')
    }
    const director = directorOf(port)
    const none = { syncId: 0, maxLength: 0, group: undefined, port: 0, ttl: 0 }
    const daemon = { ...none, role: 'master', interface: 'eth0' } as const
    const [outcome] = await director.execute([{ kind: 'startDaemon', daemon }])
    assert.ok(!outcome.ok && outcome.code === 'INTERFACE_UNKNOWN')
    assert.deepEqual(await director.execute([{ kind: 'flush' }]), [{ ok: true }])
  })
})
