/** Applying a configuration to the kernel by difference: fewest steps, only our own services. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Command } from '../../../src/control/model/commands.js'
import type { Config } from '../../../src/control/model/config.js'
import { applyEvery } from '../../../src/control/model/apply.js'
import { destinationKey } from '../../../src/control/model/destination.js'
import { SERVICE_FLAGS, serviceKey } from '../../../src/control/model/service.js'
import { statsOf } from '../../../src/control/netlink/wire-values.js'
import type {
  KernelDestination,
  KernelService,
  KernelState,
} from '../../../src/control/offload/kernel-state.js'
import { describeOperation, keysOf, plan, wantedOf } from '../../../src/control/offload/plan.js'
import type { Operation, PlanOptions } from '../../../src/control/offload/plan.js'
import { addDestination, addService, configOf, deleteDestination, serviceId } from '../fixtures.js'

const NO_STATS = statsOf(() => 0n)
const A = serviceId('198.18.0.1')
const B = serviceId('198.18.0.2')

/** A kernel that carries out steps as ip_vs_ctl.c does: new destinations go to the head. */
class ModelKernel {
  services = new Map<string, KernelService>()
  daemons: KernelState['daemons'] = []
  timeouts = { tcpSec: 900, tcpFinSec: 120, udpSec: 300 }

  read(): KernelState {
    return { services: new Map(this.services), strange: 0, ...this.#rest() }
  }

  #rest() {
    return { daemons: this.daemons, timeouts: this.timeouts }
  }

  perform(operations: readonly Operation[]): void {
    for (const operation of operations) this.#perform(operation)
  }

  #perform(operation: Operation): void {
    switch (operation.kind) {
      case 'newService':
      case 'setService': {
        const { service: id, options, kind } = operation
        const key = serviceKey(id)
        assert.equal(this.services.has(key), kind === 'setService', `${kind} ${key}`)
        const destinations = this.services.get(key)?.destinations ?? new Map()
        const flags = options.flags | SERVICE_FLAGS.HASHED
        this.services.set(key, {
          id,
          options: { ...options, flags },
          stats: NO_STATS,
          destinations,
        })
        return
      }
      case 'deleteService':
        return assert.ok(this.services.delete(serviceKey(operation.service)))
      case 'newDaemon':
        assert.ok(!this.daemons.some(({ role }) => role === operation.daemon.role))
        this.daemons = [...this.daemons, { ...operation.daemon, group: operation.daemon.group! }]
        return
      case 'deleteDaemon':
        this.daemons = this.daemons.filter(({ role }) => role !== operation.role)
        return
      case 'setTimeouts':
        this.timeouts = operation.timeouts
        return
      default:
        return this.#performOnDestination(operation)
    }
  }

  #performOnDestination(operation: Extract<Operation, { readonly destination: unknown }>): void {
    const service = this.services.get(serviceKey(operation.service))
    assert.ok(service !== undefined, `${operation.kind} without its service`)
    const key = destinationKey(operation.destination)
    const old = new Map(service.destinations)
    if (operation.kind === 'deleteDestination') {
      assert.ok(old.delete(key))
    } else {
      assert.equal(old.has(key), operation.kind === 'setDestination', `${operation.kind} ${key}`)
      const { destination, options } = operation
      old.set(key, {
        ...destination,
        options,
        active: 0,
        inactive: 0,
        persistent: 0,
        stats: NO_STATS,
      })
    }
    const isNew = operation.kind === 'newDestination'
    const entries = [...old]
    const destinations = new Map<string, KernelDestination>(
      isNew ? [entries.at(-1)!, ...entries.slice(0, -1)] : entries,
    )
    this.services.set(serviceKey(operation.service), { ...service, destinations })
  }
}

const options = (changes: Partial<PlanOptions> = {}): PlanOptions => ({
  owned: new Set(),
  removeForeign: false,
  setTimeouts: true,
  ...changes,
})

const words = (operations: readonly Operation[]): string[] => operations.map(describeOperation)

/** A kernel that has `config`, made by a plan. */
function kernelOf(config: Config): ModelKernel {
  const kernel = new ModelKernel()
  kernel.perform(plan(config, kernel.read(), options()))
  return kernel
}

describe('offload: the plan', () => {
  const both = configOf([
    addService(A),
    addDestination(A, '198.18.1.1'),
    addDestination(A, '198.18.1.2'),
    addService(B),
  ])

  it('makes everything in an empty kernel, destinations in their order', () => {
    const kernel = kernelOf(both)
    const listed = kernel.services.get(serviceKey(A))!.destinations
    const wanted = both.services.get(serviceKey(A))!.destinations
    assert.deepEqual([...listed.keys()], wanted.map(destinationKey))
    assert.deepEqual(plan(both, kernel.read(), options()), [])
  })

  it('changes only what differs', () => {
    const kernel = kernelOf(both)
    const after = applyEvery(both, [
      { ...addDestination(A, '198.18.1.1', { weight: 7 }), kind: 'editDestination' } as Command,
      deleteDestination(A, '198.18.1.2'),
      { kind: 'setTimeouts', timeouts: { tcpSec: 1, tcpFinSec: 0, udpSec: 0 } },
    ])
    assert.ok(after.ok)
    const steps = plan(after.value, kernel.read(), options({ before: both }))
    assert.deepEqual(words(steps), [
      'remove the destination 198.18.1.2:80 of tcp 198.18.0.1:80',
      'change the destination 198.18.1.1:80 of tcp 198.18.0.1:80',
      'set the timeouts',
    ])
  })

  it('leaves services of others alone, removes its own, or all when told to', () => {
    const kernel = kernelOf(both)
    const onlyA = configOf([addService(A)])
    const gone = (changes: Partial<PlanOptions>) =>
      plan(onlyA, kernel.read(), options(changes)).filter((o) => o.kind === 'deleteService').length
    assert.equal(gone({}), 0)
    assert.equal(gone({ owned: new Set([serviceKey(B)]) }), 1)
    assert.equal(gone({ removeForeign: true }), 1)
  })

  it('leaves the kernel’s timeouts alone when nobody has set any', () => {
    const kernel = kernelOf(both)
    kernel.timeouts = { tcpSec: 3600, tcpFinSec: 60, udpSec: 60 }
    assert.deepEqual(plan(both, kernel.read(), options({ setTimeouts: false })), [])
    assert.deepEqual(words(plan(both, kernel.read(), options())), ['set the timeouts'])
  })

  it('comes back to what the kernel had', () => {
    const kernel = kernelOf(both)
    const before = kernel.read()
    const other = configOf([addService(A, { scheduler: 'rr' }), addDestination(A, '198.18.1.9')])
    const touched = options({ owned: new Set(keysOf(other)) })
    kernel.perform(plan(other, kernel.read(), touched))
    assert.notDeepEqual(kernel.read(), before)
    kernel.perform(plan(wantedOf(before), kernel.read(), touched))
    assert.deepEqual(kernel.read().services, before.services)
  })

  it('makes anew what was removed and added in one change', () => {
    const kernel = kernelOf(both)
    const again = applyEvery(both, [{ kind: 'deleteService', service: A }, addService(A)])
    assert.ok(again.ok)
    assert.deepEqual(words(plan(again.value, kernel.read(), options({ before: both }))), [
      'remove the service tcp 198.18.0.1:80',
      'add the service tcp 198.18.0.1:80',
    ])
  })

  it('repairs whatever somebody else does, with any configuration', () => {
    const command = fc.oneof(
      fc.constantFrom(A, B).map((s) => addService(s)),
      fc.constantFrom(A, B).map((service) => ({ kind: 'deleteService', service }) as Command),
      fc
        .record({ s: fc.constantFrom(A, B), n: fc.integer({ min: 1, max: 4 }), w: fc.nat(3) })
        .map(({ s, n, w }) => addDestination(s, `198.18.1.${n}`, { weight: w })),
      fc
        .record({ s: fc.constantFrom(A, B), n: fc.integer({ min: 1, max: 4 }) })
        .map(({ s, n }) => deleteDestination(s, `198.18.1.${n}`)),
    )
    const commands = fc.array(command, { maxLength: 12 })
    fc.assert(
      fc.property(commands, commands, (wantedCommands, otherCommands) => {
        const wanted = lenient(wantedCommands)
        const kernel = kernelOf(lenient(otherCommands))
        const all = options({ removeForeign: true })
        kernel.perform(plan(wanted, kernel.read(), all))
        assert.deepEqual(plan(wanted, kernel.read(), all), [])
        assert.deepEqual([...kernel.services.keys()].sort(), [...wanted.services.keys()].sort())
      }),
    )
  })
})

/** Commands one after the other, refused ones passed over. */
function lenient(commands: readonly Command[]): Config {
  let config = configOf([])
  for (const command of commands) {
    const next = applyEvery(config, [command])
    if (next.ok) config = next.value
  }
  return config
}
