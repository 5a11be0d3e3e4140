/** The model: operations, error codes and their order (spec 1.3, 1.4), trash (1.6), invariants. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { sameAddress } from '../../src/control/model/address.js'
import { apply } from '../../src/control/model/apply.js'
import type { Command } from '../../src/control/model/commands.js'
import { emptyConfig } from '../../src/control/model/config.js'
import type { Config } from '../../src/control/model/config.js'
import { PLAIN_TUNNEL } from '../../src/control/model/destination.js'
import type { Destination, DestinationOptions } from '../../src/control/model/destination.js'
import { diff, virtualAddresses } from '../../src/control/model/diff.js'
import { enumerateServices, markServiceId, SERVICE_FLAGS } from '../../src/control/model/service.js'
import { releaseRetired, TRASH_IDLE_MS, trashDestinations } from '../../src/control/model/trash.js'
import {
  addDestination,
  addService,
  CAPACITY,
  configOf,
  deleteDestination,
  ip,
  PLAIN,
  refusal,
  serviceId,
  serviceIn,
  serviceOptions,
} from './fixtures.js'

const S = serviceId()
const V6 = serviceId('2001:db8::1')
const WITH_SERVICE = configOf([addService(S)])
const GUE = { type: 'gue', port: 0, checksum: 'nocsum' } as const

describe('services', () => {
  it('are refused in the order of the kernel', () => {
    assert.equal(refusal(WITH_SERVICE, addService(S, { scheduler: 'nope' })), 'SERVICE_EXISTS')
    const empty = emptyConfig(CAPACITY)
    const badAll = { scheduler: 'nope', engine: 'none', netmask: 0 }
    assert.equal(refusal(empty, addService(V6, badAll)), 'SCHEDULER_UNKNOWN')
    assert.equal(refusal(empty, addService(V6, { ...badAll, scheduler: 'rr' })), 'ENGINE_UNKNOWN')
    assert.equal(refusal(empty, addService(V6, { netmask: 0 })), 'NETMASK_BAD')
    assert.equal(refusal(empty, addService(V6, { netmask: 129 })), 'NETMASK_BAD')
  })

  it('carry the HASHED flag and replace all options on edit', () => {
    const persistent = { flags: SERVICE_FLAGS.PERSISTENT, persistentSec: 300 }
    const config = configOf([addService(S, persistent)])
    assert.equal(serviceIn(config, S).flags, 3)
    const edited = configOf(
      [{ kind: 'editService', service: S, options: serviceOptions(S) }],
      config,
    )
    const service = serviceIn(edited, S)
    assert.equal(service.flags, SERVICE_FLAGS.HASHED)
    assert.equal(service.persistentSec, 0)
    assert.equal(service.slot, serviceIn(config, S).slot)
  })

  it('unknown ones are ESRCH for everything', () => {
    const options = serviceOptions(V6, { scheduler: 'nope' })
    const commands: Command[] = [
      { kind: 'editService', service: V6, options },
      { kind: 'deleteService', service: V6 },
      { kind: 'zero', service: V6 },
      addDestination(V6, '198.18.1.1', { weight: -1 }),
      deleteDestination(V6, '198.18.1.1'),
      { kind: 'addLocalAddress', service: V6, address: ip('2001:db8::9') },
    ]
    for (const command of commands) assert.equal(refusal(WITH_SERVICE, command), 'SERVICE_UNKNOWN')
  })

  it('two marks of different families coexist; the same one does not', () => {
    const config = configOf([addService(markServiceId(5, 4)), addService(markServiceId(5, 6))])
    assert.equal(config.services.size, 2)
    assert.equal(refusal(config, addService(markServiceId(5, 4))), 'SERVICE_EXISTS')
  })

  it('are listed by bucket, newest first, marks last (spec 1.1)', () => {
    // 6 ^ address ^ port>>8 ^ port: ports 80 and 80+256*... chosen so that two share a bucket.
    const a = serviceId('198.18.0.1', 80)
    const sameBucket = serviceId('198.18.0.0', 81)
    const config = configOf([
      addService(markServiceId(1, 4)),
      addService(a),
      addService(sameBucket),
      addService(serviceId('198.18.0.5', 0x0301, 'udp')),
    ])
    const order = enumerateServices(config.services.values()).map(
      ({ id }) => `${id.fwmark}/${id.address.text}`,
    )
    const bucket = (n: number) => n & 255
    assert.equal(bucket(6 ^ 0xc6120001 ^ 80), bucket(6 ^ 0xc6120000 ^ 81))
    assert.deepEqual(order, ['0/198.18.0.5', '0/198.18.0.0', '0/198.18.0.1', '1/0.0.0.0'])
  })

  it('slots come back only after they were released', () => {
    const many = Array.from({ length: 8 }, (_, i) => addService(serviceId('198.18.0.1', i + 1)))
    const full = configOf(many)
    assert.equal(refusal(full, addService(serviceId('198.18.0.2'))), 'TABLE_FULL')
    const freed = configOf([{ kind: 'deleteService', service: serviceId('198.18.0.1', 3) }], full)
    assert.equal(refusal(freed, addService(serviceId('198.18.0.2'))), 'TABLE_FULL')
    const again = configOf([addService(serviceId('198.18.0.2'))], releaseRetired(freed))
    assert.equal(serviceIn(again, serviceId('198.18.0.2')).slot, 2)
  })
})

describe('destinations', () => {
  it('are refused in the order of the kernel', () => {
    const config = configOf([addDestination(S, '198.18.1.1')], WITH_SERVICE)
    const at = (changes: Parameters<typeof addDestination>[2], address = '198.18.1.1') =>
      refusal(config, addDestination(S, address, changes))
    assert.equal(at({ weight: -1, lowerThreshold: 1 }), 'WEIGHT_RANGE')
    assert.equal(at({ lowerThreshold: 1 }), 'THRESHOLD_RANGE')
    assert.equal(at({ upperThreshold: 2 ** 31 }), 'THRESHOLD_TOO_BIG')
    assert.equal(at({ tunnel: GUE }), 'TUNNEL_PORT_MISSING')
    assert.equal(at({}), 'DESTINATION_EXISTS')
    assert.equal(at({}, '224.0.0.1'), 'ADDRESS_NOT_UNICAST')
    assert.equal(at({ weight: -1 }, '2001:db8::9'), 'FAMILY_MIXED')
    assert.equal(at({ method: 'tunnel' }, '2001:db8::9'), undefined)
    const edit = (address: string): Command => ({
      kind: 'editDestination',
      service: S,
      destination: { address: ip(address), port: 80 },
      options: PLAIN,
    })
    assert.equal(refusal(config, edit('198.18.1.2')), 'DESTINATION_UNKNOWN')
    assert.equal(refusal(config, deleteDestination(S, '198.18.1.2')), 'DESTINATION_UNKNOWN')
    assert.equal(refusal(config, deleteDestination(S, '198.18.1.1', 81)), 'DESTINATION_UNKNOWN')
  })

  it('new ones are inserted at the head, edits keep their place', () => {
    const config = configOf(
      [1, 2, 3].map((n) => addDestination(S, `198.18.1.${n}`)),
      WITH_SERVICE,
    )
    const list = (c: Config) => serviceIn(c, S).destinations.map((d) => d.address.text)
    assert.deepEqual(list(config), ['198.18.1.3', '198.18.1.2', '198.18.1.1'])
    const edit: Command = {
      kind: 'editDestination',
      service: S,
      destination: { address: ip('198.18.1.2'), port: 80 },
      options: { ...PLAIN, weight: 0 },
    }
    assert.deepEqual(list(configOf([edit], config)), list(config))
  })

  it('lastWeight is kept by an edit to 0, and 0 after adding with 0 (spec 1.4)', () => {
    const edit = (weight: number): Command => ({
      kind: 'editDestination',
      service: S,
      destination: { address: ip('198.18.1.1'), port: 80 },
      options: { ...PLAIN, weight },
    })
    const weights = (commands: Command[]) => {
      const [d] = serviceIn(configOf(commands, WITH_SERVICE), S).destinations
      return [d.weight, d.lastWeight]
    }
    const add = addDestination(S, '198.18.1.1', { weight: 7 })
    assert.deepEqual(weights([add]), [7, 7])
    assert.deepEqual(weights([add, edit(0)]), [0, 7])
    assert.deepEqual(weights([add, edit(0), edit(3)]), [3, 3])
    const readd = addDestination(S, '198.18.1.1', { weight: 0 })
    assert.deepEqual(weights([add, deleteDestination(S, '198.18.1.1'), readd]), [0, 0])
  })
})

describe('what schedulers and searches are told', () => {
  const two = [addDestination(S, '198.18.1.1'), addDestination(S, '198.18.1.2')]
  const start = configOf(two, WITH_SERVICE)
  const edit = (address: string, changes: Partial<DestinationOptions> = {}): Command => {
    const destination = { address: ip(address), port: 80 }
    const options = { ...PLAIN, ...changes }
    return { kind: 'editDestination', service: S, destination, options }
  }
  const changesOf = (config: Config): number => serviceIn(config, S).changes
  const destination = (config: Config, address: string): Destination => {
    const found = serviceIn(config, S).destinations.find((d) => sameAddress(d.address, ip(address)))
    return found ?? assert.fail()
  }

  it('a destination was added, edited even to what it was, or deleted', () => {
    for (const command of [
      addDestination(S, '198.18.1.3'),
      edit('198.18.1.1'),
      deleteDestination(S, '198.18.1.1'),
    ]) {
      assert.ok(changesOf(configOf([command], start)) > changesOf(start), command.kind)
    }
    const options = serviceOptions(S, { persistentSec: 60 })
    const edited = configOf([{ kind: 'editService', service: S, options }], start)
    assert.equal(changesOf(edited), changesOf(start))
    const actions = diff(start, configOf([edit('198.18.1.1')], start))
    assert.deepEqual(
      actions.map(({ kind }) => kind),
      ['destinationChanged'],
    )
  })

  it('a destination of the trash is a new one in the list, with its slot', () => {
    const again = [deleteDestination(S, '198.18.1.1'), two[0]]
    const [old, revived] = [start, configOf(again, start)].map((c) => destination(c, '198.18.1.1'))
    assert.equal(revived.incarnation, old.incarnation)
    assert.ok(revived.inserted > destination(start, '198.18.1.2').inserted)
    assert.ok(revived.hashed > destination(start, '198.18.1.2').hashed)
  })

  it('a real server takes its place anew with its method and its tunnel', () => {
    const at = (config: Config): number => destination(config, '198.18.1.1').hashed
    const after = (changes: Partial<DestinationOptions>, config: Config): Config =>
      configOf([edit('198.18.1.1', changes)], config)
    assert.equal(at(after({ weight: 7, upperThreshold: 9 }, start)), at(start))
    const direct = after({ method: 'direct' }, start)
    const back = after({}, direct)
    assert.ok(at(direct) > destination(start, '198.18.1.2').hashed)
    assert.ok(at(back) > at(direct))
    const gue = { ...PLAIN_TUNNEL, type: 'gue', port: 6080 } as const
    const tunnel = after({ tunnel: gue }, start)
    assert.ok(at(tunnel) > at(start))
    assert.equal(at(after({ tunnel: { ...gue, checksum: 'csum' } }, tunnel)), at(tunnel))
    assert.ok(at(after({ tunnel: { ...gue, port: 6081 } }, tunnel)) > at(tunnel))
  })
})

describe('the trash', () => {
  const ADDED = configOf([addDestination(S, '198.18.1.1')], WITH_SERVICE)
  const REMOVED = configOf([deleteDestination(S, '198.18.1.1')], ADDED)
  const slotOf = (config: Config) => serviceIn(config, S).destinations[0].slot

  it('gives a destination that returns its slot and statistics', () => {
    assert.equal(REMOVED.trash.length, 1)
    const other = configOf([addDestination(S, '198.18.1.2')], REMOVED)
    assert.notEqual(slotOf(other), slotOf(ADDED))
    const back = configOf([addDestination(S, '198.18.1.1')], other)
    assert.equal(slotOf(back), slotOf(ADDED))
    assert.equal(back.trash.length, 0)
    assert.equal(
      serviceIn(back, S).destinations[0].statisticsEpoch,
      serviceIn(ADDED, S).destinations[0].statisticsEpoch,
    )
  })

  it('keeps the slot but not the statistics over a re-created service', () => {
    const remade = configOf(
      [{ kind: 'deleteService', service: S }, addService(S), addDestination(S, '198.18.1.1')],
      ADDED,
    )
    const [before] = serviceIn(ADDED, S).destinations
    const [after] = serviceIn(remade, S).destinations
    assert.equal(after.slot, before.slot)
    assert.equal(after.incarnation, before.incarnation)
    assert.notEqual(after.statisticsEpoch, before.statisticsEpoch)
  })

  it('does not give it to another service or port', () => {
    const other = serviceId('198.18.0.2')
    const config = configOf([addService(other), addDestination(other, '198.18.1.1')], REMOVED)
    assert.notEqual(serviceIn(config, other).destinations[0].slot, slotOf(ADDED))
    assert.equal(config.trash.length, 1)
  })

  it('revives without the address check', () => {
    // A configuration that had such an address before the check existed.
    const [entry] = REMOVED.trash
    const odd = { ...entry.destination, address: ip('224.0.0.1') }
    const config = trashDestinations(REMOVED, serviceIn(REMOVED, S), [odd])
    assert.equal(refusal(config, addDestination(S, '224.0.0.1')), undefined)
  })

  it('frees a slot after it was idle for two minutes, never while it is used', () => {
    const reap = (config: Config, nowMs: number, inUse: number[] = []) =>
      configOf([{ kind: 'reap', nowMs, slotsInUse: new Set(inUse) }], config)
    const idleSince = (config: Config) => config.trash.map((entry) => entry.idleSinceMs)
    const slot = slotOf(ADDED)
    let config = reap(REMOVED, 60_000, [slot])
    assert.deepEqual(idleSince(config), [0])
    config = reap(config, 120_000)
    assert.deepEqual(idleSince(config), [120_000])
    config = reap(config, 120_000 + TRASH_IDLE_MS - 1)
    assert.equal(config.trash.length, 1)
    config = reap(config, 120_000 + TRASH_IDLE_MS)
    assert.equal(config.trash.length, 0)
    assert.deepEqual(config.destinationSlots.free, [slot])
  })
})

describe('settings', () => {
  it('--set: 0 keeps, out of range changes nothing', () => {
    const set = (tcpSec: number, tcpFinSec: number, udpSec: number): Command => ({
      kind: 'setTimeouts',
      timeouts: { tcpSec, tcpFinSec, udpSec },
    })
    const config = configOf([set(100, 0, 7)])
    assert.deepEqual(config.timeouts, { tcpSec: 100, tcpFinSec: 120, udpSec: 7 })
    // What ipvsadm takes at most: 31 days.
    assert.equal(apply(config, set(5, 5, 2_678_400)).ok, true)
    assert.equal(refusal(config, set(5, -1, 5)), 'TIMEOUT_RANGE')
    assert.equal(refusal(config, set(5, 5, 2 ** 31)), 'TIMEOUT_RANGE')
  })

  it('sysctls have names, ranges and defaults (spec 11)', () => {
    const set = (name: string, value: string): Command => ({ kind: 'setSysctl', name, value })
    const empty = emptyConfig(CAPACITY)
    assert.equal(empty.sysctls.conn_reuse_mode, 1)
    assert.deepEqual(empty.sysctls.sync_threshold, [3, 50])
    assert.equal(configOf([set('expire_nodest_conn', '1')]).sysctls.expire_nodest_conn, 1)
    assert.deepEqual(configOf([set('sync_threshold', '0 0')]).sysctls.sync_threshold, [0, 0])
    assert.equal(refusal(empty, set('no_such', '1')), 'SYSCTL_UNKNOWN')
    for (const [name, value] of [
      ['drop_entry', '4'],
      ['drop_packet', '-1'],
      ['secure_tcp', 'x'],
      ['sync_version', '2'],
      ['sync_ports', '3'],
      ['sync_ports', '0'],
      ['sync_retries', '4'],
      ['sync_threshold', '5 5'],
      ['sync_threshold', '5'],
      ['conn_reuse_mode', ''],
    ]) {
      assert.equal(refusal(empty, set(name, value)), 'SYSCTL_VALUE', `${name}=${value}`)
    }
  })

  it('local addresses belong to a family and are unique', () => {
    const add = (address: string): Command => ({
      kind: 'addLocalAddress',
      service: S,
      address: ip(address),
    })
    const config = configOf([add('198.18.9.1')], WITH_SERVICE)
    assert.equal(refusal(config, add('198.18.9.1')), 'LOCAL_ADDRESS_EXISTS')
    assert.equal(refusal(config, add('2001:db8::9')), 'LOCAL_ADDRESS_FAMILY')
    const gone: Command = { kind: 'deleteLocalAddress', service: S, address: ip('198.18.9.2') }
    assert.equal(refusal(config, gone), 'LOCAL_ADDRESS_UNKNOWN')
    const full = configOf([add('198.18.9.2'), add('198.18.9.3'), add('198.18.9.4')], config)
    assert.equal(refusal(full, add('198.18.9.5')), 'TABLE_FULL')
  })
})

describe('diff', () => {
  it('names what changed, and nothing when nothing did', () => {
    const before = configOf([addDestination(S, '198.18.1.1')], WITH_SERVICE)
    const after = configOf(
      [deleteDestination(S, '198.18.1.1'), addDestination(S, '198.18.1.2'), addService(V6)],
      before,
    )
    assert.deepEqual(
      new Set(diff(before, after).map((action) => action.kind)),
      new Set(['destinationAdded', 'destinationRemoved', 'serviceAdded']),
    )
    assert.deepEqual(diff(after, after), [])
    assert.deepEqual(
      virtualAddresses(after)
        .map((a) => a.text)
        .sort(),
      ['198.18.0.1', '2001:db8::1'],
    )
  })
})

describe('mh and its table', () => {
  const edit = (scheduler: string): Command => ({
    kind: 'editService',
    service: serviceId(),
    options: serviceOptions(serviceId(), { scheduler }),
  })
  const withDestinations = (scheduler: string, count: number): Config =>
    configOf(
      [
        addService(serviceId(), { scheduler }),
        ...Array.from({ length: count }, (_, i) =>
          addDestination(serviceId(), `198.18.${1 + (i >> 7)}.${1 + (i & 127)}`),
        ),
      ],
      emptyConfig({ ...CAPACITY, destinations: 300, maglevIndex: 8 }),
    )

  it('does not start with more destinations than slots', () => {
    assert.ok(apply(withDestinations('rr', 251), edit('mh')).ok)
    const full = withDestinations('rr', 252)
    const result = apply(full, edit('mh'))
    assert.ok(!result.ok)
    assert.deepEqual([result.error.code, result.error.errno], ['DESTINATIONS_TOO_MANY', 'EINVAL'])
    assert.match(
      result.error.message,
      /at most 251 destinations: remove some of tcp 198\.18\.0\.1:80/,
    )
    assert.ok(apply(full, edit('sh')).ok)
  })

  it('takes more when it is there already', () => {
    const full = withDestinations('mh', 252)
    assert.equal(serviceIn(full, serviceId()).destinations.length, 252)
    assert.ok(apply(full, edit('mh')).ok)
  })
})

/** Random commands over few names, so that they meet. */
const anyCommand = fc.oneof(
  fc.constantFrom<Command>({ kind: 'flush' }, { kind: 'zero' }),
  fc.tuple(fc.nat(3), fc.nat(5), fc.nat(6), fc.nat(300_000)).map(([s, d, what, ms]): Command => {
    const service = s === 3 ? markServiceId(7, 4) : serviceId('198.18.0.1', s + 1)
    const address = `198.18.1.${d + 1}`
    switch (what) {
      case 0:
        return addService(service)
      case 1:
        return { kind: 'deleteService', service }
      case 2:
        return deleteDestination(service, address)
      case 3:
        return { kind: 'reap', nowMs: ms, slotsInUse: new Set([d]) }
      case 4:
        return {
          kind: 'editService',
          service,
          options: serviceOptions(service, { scheduler: 'rr' }),
        }
      default:
        return addDestination(service, address, { weight: d })
    }
  }),
)

function checkInvariants(config: Config): void {
  const live = [...config.services.values()].flatMap((s) => s.destinations)
  const used = [...live, ...config.trash.map((entry) => entry.destination)].map((d) => d.slot)
  assert.equal(new Set(used).size, used.length, 'a destination slot has two owners')
  const free = new Set(config.destinationSlots.free)
  assert.ok(used.every((slot) => !free.has(slot) && slot < config.destinationSlots.next))
  assert.equal(used.length + free.size, config.destinationSlots.next, 'a destination slot is lost')
  const services = [...config.services.values()].map((s) => s.slot)
  const all = [...services, ...config.retiredServiceSlots, ...config.serviceSlots.free]
  assert.equal(new Set(all).size, all.length, 'a service slot has two owners')
  assert.equal(all.length, config.serviceSlots.next, 'a service slot is lost')
}

describe('random commands', () => {
  it('never lose or share a slot, and never change the configuration they were given', () => {
    fc.assert(
      fc.property(fc.array(anyCommand, { maxLength: 60 }), (commands) => {
        let config = emptyConfig(CAPACITY)
        commands.forEach((command, i) => {
          const before = JSON.stringify([...config.services.values()])
          const result = apply(config, command)
          assert.equal(JSON.stringify([...config.services.values()]), before)
          if (result.ok) config = result.value
          if (i % 7 === 6) config = releaseRetired(config)
          checkInvariants(config)
        })
      }),
    )
  })
})
