/** Every command and every error code of spec 9.1 and 9.2, against a director. */
import assert from 'node:assert/strict'
import { PRIVATE } from '../../../src/control/ipvs-server/private-protocol.js'
import { AttributeWriter } from '../../../src/control/netlink/attributes.js'
import {
  CONTROL_COMMAND,
  CONTROL_FAMILY,
  packFamilyRequest,
  unpackFamily,
} from '../../../src/control/netlink/ctrl.js'
import { COMMAND, COMMAND_ATTR } from '../../../src/control/netlink/ipvs-attributes.js'
import type { CommandName } from '../../../src/control/netlink/ipvs-attributes.js'
import {
  packDaemonRequest,
  packDestinationRequest,
  packServiceRequest,
  packTimeouts,
  unpackCommand,
  unpackDaemonReply,
  unpackDestinationReply,
  unpackInfo,
  unpackServiceReply,
} from '../../../src/control/netlink/ipvs-messages.js'
import type { WireDaemon } from '../../../src/control/netlink/ipvs-types.js'
import { MESSAGE_FLAG, splitMessages } from '../../../src/control/netlink/message.js'
import type { GenericMessage } from '../../../src/control/netlink/message.js'
import { NO_TRAFFIC } from '../../support/fake-dataplane.js'
import { addDestination, addService, ip, serviceId, serviceIn } from '../fixtures.js'
import {
  ask,
  askNumber,
  PORT,
  rig,
  SEQUENCE,
  wireDestination,
  wireOptions,
  wireService,
} from './rig.js'
import type { Rig } from './rig.js'

const S = serviceId()
const DESTINATION = { address: ip('198.18.1.1'), port: 80 }
const full = packServiceRequest(wireService(), wireOptions())
const id = packServiceRequest(wireService())
const withDestination = (changes = {}, service = wireService(), destination = DESTINATION) =>
  packDestinationRequest(service, destination, wireDestination(changes))

const DAEMON: WireDaemon = {
  state: 1,
  interface: 'fake0',
  syncId: 7,
  maxLength: 0,
  group: undefined,
  port: 0,
  ttl: 0,
}

function unwrap<T>(result: { ok: true; value: T } | { ok: false; errno: number }): T {
  if (result.ok) return result.value
  throw new Error(`refused with ${result.errno}`)
}

const serviceOf = ({ attributes }: GenericMessage) =>
  unwrap(unpackServiceReply(unwrap(unpackCommand(attributes)).service))
const destinationOf = ({ attributes }: GenericMessage) =>
  unwrap(unpackDestinationReply(unwrap(unpackCommand(attributes)).destination, 4))

describe('IPVS over netlink: resolving the family', () => {
  const resolve = (on: Rig, request: { name?: string; id?: number }, options = {}) =>
    askNumber(on, CONTROL_COMMAND.getFamily, packFamilyRequest(request), {
      type: CONTROL_FAMILY,
      ...options,
    })

  it('names our number to everybody', async () => {
    for (const request of [{ name: 'IPVS' }, { id: PRIVATE.FAMILY_ID }]) {
      const { verdict, messages } = await resolve(rig(), request, { privileged: false })
      assert.equal(verdict, 'ok')
      const family = unwrap(unpackFamily(messages[0].attributes))
      assert.equal(family.id, PRIVATE.FAMILY_ID)
      assert.equal(family.name, 'IPVS')
      assert.ok(family.id < 1024 && family.id >= 0x10)
    }
    const { messages, verdict } = await resolve(rig(), { name: 'x' }, { dump: true })
    assert.deepEqual([messages.length, verdict], [1, 'ok'])
  })

  it('knows no other, and no other command', async () => {
    assert.equal((await resolve(rig(), { name: 'nlctrl' })).verdict, 'ENOENT')
    assert.equal((await resolve(rig(), { id: 99 })).verdict, 'ENOENT')
    assert.equal((await resolve(rig(), {})).verdict, 'EINVAL')
    const other = await askNumber(rig(), 10, undefined, { type: CONTROL_FAMILY })
    assert.equal(other.verdict, 'EOPNOTSUPP')
    assert.equal((await askNumber(rig(), 1, undefined, { type: 99 })).verdict, 'ENOENT')
  })
})

describe('IPVS over netlink: services', () => {
  it('adds, edits, gets, lists, deletes', async () => {
    const on = rig()
    assert.equal((await ask(on, 'newService', full)).verdict, 'ok')
    const edited = packServiceRequest(wireService(), wireOptions({ scheduler: 'rr' }))
    assert.equal((await ask(on, 'setService', edited)).verdict, 'ok')
    const one = await ask(on, 'getService', id)
    assert.equal(one.verdict, 'ok')
    assert.equal(one.datagrams.length, 2)
    const shown = serviceOf(one.messages[0])
    assert.deepEqual([shown.scheduler, shown.flags, shown.flagsMask], ['rr', 2, 0xffffffff])
    const list = await ask(on, 'getService', undefined, { dump: true })
    assert.deepEqual(list.messages.map(serviceOf), [shown])
    assert.equal((await ask(on, 'deleteService', id)).verdict, 'ok')
    assert.equal(on.director.config.services.size, 0)
  })

  it('lists in kernel order, a mark with its own attributes only', async () => {
    const on = rig()
    const mark = wireService({ fwmark: 7, family: 6, address: ip('::') })
    const options = wireOptions({ netmask: 128 })
    await ask(on, 'newService', packServiceRequest(mark, options))
    await ask(on, 'newService', full)
    const { messages } = await ask(on, 'getService', undefined, { dump: true })
    const services = messages.map(serviceOf)
    assert.deepEqual(
      services.map(({ fwmark, family, netmask }) => [fwmark, family, netmask]),
      [
        [0, 4, 0xffffffff],
        [7, 6, 128],
      ],
    )
  })

  it('changes only the flags of the mask', async () => {
    const on = rig()
    await on.has([addService(S, { flags: 0x1 | 0x8, persistentSec: 60 })])
    const edit = wireOptions({ flags: 0x10, flagsMask: 0x18, timeoutSec: 60 })
    await ask(on, 'setService', packServiceRequest(wireService(), edit))
    assert.equal(serviceIn(on.director.config, S).flags, 0x1 | 0x2 | 0x10)
  })

  it('keeps the flags that another program changes at the same time', async () => {
    const on = rig()
    await on.has([addService(S)])
    const edits = [0x8, 0x10].map((flag) => wireOptions({ flags: flag, flagsMask: flag }))
    await Promise.all(
      edits.map((options) => ask(on, 'setService', packServiceRequest(wireService(), options))),
    )
    assert.equal(serviceIn(on.director.config, S).flags, 0x2 | 0x8 | 0x10)
  })

  it('shows counters of the last estimator run, in 64 bits', async () => {
    const on = rig()
    await on.has([addService(S), addDestination(S, '198.18.1.1')])
    const { slot, destinations } = serviceIn(on.director.config, S)
    const traffic = { ...NO_TRAFFIC, connections: 2n ** 33n, inBytes: 5n }
    on.port.serviceTraffic.set(slot, traffic)
    on.port.destinationTraffic.set(destinations[0].slot, { ...traffic, outPackets: 3n })
    on.port.loadBySlot.set(destinations[0].slot, { active: 4, inactive: 5, persistent: 6 })
    const before = await ask(on, 'getService', id)
    assert.equal(serviceOf(before.messages[0]).stats.inBytes, 0n)
    await on.clock.advance(2000)
    const { stats } = serviceOf((await ask(on, 'getService', id)).messages[0])
    assert.deepEqual([stats.connections, stats.inBytes], [2n ** 33n, 5n])
    const listed = await ask(on, 'getDestination', id, { dump: true })
    const shown = destinationOf(listed.messages[0])
    assert.deepEqual([shown.active, shown.inactive, shown.persistent], [4, 5, 6])
    assert.equal(shown.stats.outPackets, 3n)
    await ask(on, 'zero')
    const zeroed = serviceOf((await ask(on, 'getService', id)).messages[0])
    assert.equal(zeroed.stats.inBytes, 0n)
  })

  it('dumps more than a datagram holds, none longer than a page', async () => {
    const on = rig({ services: 300, destinations: 8, localAddresses: 1 })
    await on.has(Array.from({ length: 300 }, (_, i) => addService(serviceId('198.18.0.1', i + 1))))
    const { messages, datagrams, verdict } = await ask(on, 'getService', undefined, { dump: true })
    assert.equal(verdict, 'ok')
    const ports = new Set(messages.map(serviceOf).map(({ port }) => port))
    assert.equal(ports.size, 300)
    assert.ok(datagrams.length > 1)
    for (const datagram of datagrams) assert.ok(datagram.length <= 3776)
    for (const message of datagrams.flatMap(splitMessages)) {
      assert.deepEqual([message.sequence, message.port], [SEQUENCE, PORT])
      assert.ok((message.flags & MESSAGE_FLAG.multi) !== 0)
    }
  })
})

describe('IPVS over netlink: destinations, settings, daemons', () => {
  it('adds, edits, lists newest first, deletes', async () => {
    const on = rig()
    await on.has([addService(S)])
    assert.equal((await ask(on, 'newDestination', withDestination())).verdict, 'ok')
    const second = { address: ip('198.18.1.2'), port: 8080 }
    const tunnel = withDestination({ method: 2, weight: 9 }, wireService(), second)
    assert.equal((await ask(on, 'newDestination', tunnel)).verdict, 'ok')
    const edit = withDestination({ weight: 0, upperThreshold: 10, lowerThreshold: 5 })
    assert.equal((await ask(on, 'setDestination', edit)).verdict, 'ok')
    const { messages } = await ask(on, 'getDestination', id, { dump: true })
    assert.deepEqual(
      messages
        .map(destinationOf)
        .map((d) => [d.address.text, d.port, d.method, d.weight, d.upperThreshold]),
      [
        ['198.18.1.2', 8080, 2, 9, 0],
        ['198.18.1.1', 80, 0, 0, 10],
      ],
    )
    const remove = packDestinationRequest(wireService(), second)
    assert.equal((await ask(on, 'deleteDestination', remove)).verdict, 'ok')
    assert.equal(serviceIn(on.director.config, S).destinations.length, 1)
    assert.equal((await ask(on, 'flush')).verdict, 'ok')
    assert.equal(on.director.config.services.size, 0)
  })

  it('timeouts and info', async () => {
    const on = rig()
    const timeouts = { tcpSec: 5, tcpFinSec: 0, udpSec: 7 }
    assert.equal((await ask(on, 'setConfig', packTimeouts(timeouts))).verdict, 'ok')
    const config = (await ask(on, 'getConfig')).messages[0]
    assert.equal(config.command, COMMAND.setConfig)
    assert.deepEqual(unwrap(unpackCommand(config.attributes)).timeouts, {
      ...timeouts,
      tcpFinSec: 120,
    })
    const info = (await ask(on, 'getInfo')).messages[0]
    assert.equal(info.command, COMMAND.setInfo)
    assert.deepEqual(unwrap(unpackInfo(info.attributes)), { version: 0x010201, tableSize: 4096 })
  })

  it('starts, lists (master first) and stops daemons', async () => {
    const on = rig()
    const start = (changes: Partial<WireDaemon>) =>
      ask(on, 'newDaemon', packDaemonRequest({ ...DAEMON, ...changes }))
    assert.equal((await start({ state: 2, syncId: 0 })).verdict, 'ok')
    assert.equal((await start({})).verdict, 'ok')
    assert.equal((await start({})).verdict, 'EEXIST')
    const { messages } = await ask(on, 'getDaemon', undefined, { dump: true })
    const daemons = messages.map(({ attributes }) =>
      unwrap(unpackDaemonReply(unwrap(unpackCommand(attributes)).daemon)),
    )
    assert.deepEqual(
      daemons.map((d) => [d.state, d.interface, d.syncId, d.maxLength, d.group?.text, d.port]),
      [
        [1, 'fake0', 7, 1472, '224.0.0.81', 8848],
        [2, 'fake0', 0, 1472, '224.0.0.81', 8848],
      ],
    )
    assert.equal((await ask(on, 'deleteDaemon', packDaemonRequest(DAEMON))).verdict, 'ok')
    assert.equal((await ask(on, 'deleteDaemon', packDaemonRequest(DAEMON))).verdict, 'ESRCH')
  })

  it('refuses daemons that cannot be', async () => {
    const on = rig()
    const start = async (changes: Partial<WireDaemon>) =>
      (await ask(on, 'newDaemon', packDaemonRequest({ ...DAEMON, ...changes }))).verdict
    assert.equal(await start({ interface: 'gone0' }), 'ENODEV')
    assert.equal(await start({ state: 3 }), 'EINVAL')
    assert.equal(await start({ group: ip('198.18.0.1') }), 'EINVAL')
    assert.equal((await ask(on, 'newDaemon')).verdict, 'EINVAL')
    const badState = packDaemonRequest({ ...DAEMON, state: 9 })
    assert.equal((await ask(on, 'deleteDaemon', badState)).verdict, 'EINVAL')
    assert.equal((await ask(on, 'deleteDaemon')).verdict, 'EINVAL')
  })
})

/** name, command, attributes, the error; on the director of `before`. */
type Refusal = readonly [string, CommandName, Uint8Array | undefined, string]

const unknown = wireService({ port: 81 })
const unknownDestination = { address: ip('198.18.1.9'), port: 80 }
const v6 = { address: ip('2001:db8::1'), port: 80 }

/** A request with SERVICE of the known service and a DEST made by hand. */
function handMade(service: (writer: AttributeWriter) => void): Uint8Array {
  const writer = new AttributeWriter()
  return writer.nested(COMMAND_ATTR.service, service).finish()
}

const foreignFamily = handMade((writer) => writer.u16(1, 7).u32(5, 1))
const noFlags = handMade((writer) => writer.u16(1, 2).u32(5, 1).string(6, 'rr').u32(8, 0).u32(9, 0))

const REFUSALS: readonly Refusal[] = [
  ['no SERVICE', 'newService', undefined, 'EINVAL'],
  ['an incomplete SERVICE', 'newService', id, 'EINVAL'],
  ['no FLAGS', 'newService', noFlags, 'EINVAL'],
  ['a family that is neither', 'newService', foreignFamily, 'EAFNOSUPPORT'],
  ['an existing service', 'newService', full, 'EEXIST'],
  [
    'a protocol without services',
    'newService',
    packServiceRequest(wireService({ protocol: 50 }), wireOptions()),
    'EPROTONOSUPPORT',
  ],
  [
    'an unknown scheduler',
    'newService',
    packServiceRequest(unknown, wireOptions({ scheduler: 'mine' })),
    'ENOENT',
  ],
  [
    'an unknown engine',
    'newService',
    packServiceRequest(unknown, wireOptions({ engine: 'mine' })),
    'ENOENT',
  ],
  [
    'an IPv6 prefix of 0',
    'newService',
    packServiceRequest(wireService({ family: 6, ...v6 }), wireOptions({ netmask: 0 })),
    'EINVAL',
  ],
  ['an incomplete edit of an unknown one', 'setService', packServiceRequest(unknown), 'EINVAL'],
  ['an unknown one', 'setService', packServiceRequest(unknown, wireOptions()), 'ESRCH'],
  [
    'an unknown scheduler',
    'setService',
    packServiceRequest(wireService(), wireOptions({ scheduler: 'mine' })),
    'ENOENT',
  ],
  ['an unknown one', 'deleteService', packServiceRequest(unknown), 'ESRCH'],
  [
    'one of a foreign protocol',
    'deleteService',
    packServiceRequest(wireService({ protocol: 50 })),
    'ESRCH',
  ],
  ['no SERVICE', 'deleteService', undefined, 'EINVAL'],
  ['an unknown one', 'getService', packServiceRequest(unknown), 'ESRCH'],
  ['no SERVICE', 'getService', undefined, 'EINVAL'],
  ['an unknown one', 'zero', packServiceRequest(unknown), 'ESRCH'],
  ['an unknown service, no DEST', 'newDestination', packServiceRequest(unknown), 'ESRCH'],
  ['no DEST', 'newDestination', id, 'EINVAL'],
  ['no DEST', 'deleteDestination', id, 'EINVAL'],
  [
    'an incomplete DEST',
    'newDestination',
    packDestinationRequest(wireService(), DESTINATION),
    'EINVAL',
  ],
  ['an existing one', 'newDestination', withDestination(), 'EEXIST'],
  ['a negative weight', 'newDestination', withDestination({ weight: -1 }), 'ERANGE'],
  [
    'a lower threshold above the upper',
    'setDestination',
    withDestination({ lowerThreshold: 2, upperThreshold: 1 }),
    'ERANGE',
  ],
  [
    'an upper threshold above INT_MAX',
    'setDestination',
    withDestination({ upperThreshold: 0x80000000 }),
    'EINVAL',
  ],
  ['a gue tunnel without port', 'setDestination', withDestination({ tunnelType: 1 }), 'EINVAL'],
  ['a method nobody has', 'setDestination', withDestination({ method: 5 }), 'EINVAL'],
  [
    'an unknown one',
    'setDestination',
    withDestination({}, wireService(), unknownDestination),
    'ENOENT',
  ],
  [
    'an unknown one',
    'deleteDestination',
    packDestinationRequest(wireService(), unknownDestination),
    'ENOENT',
  ],
  [
    'another family without tunnel',
    'newDestination',
    withDestination({ weight: -1 }, wireService(), v6),
    'EINVAL',
  ],
  [
    'an address that is not unicast',
    'newDestination',
    withDestination({}, wireService(), { address: ip('224.0.0.1'), port: 80 }),
    'EINVAL',
  ],
  ['of another family', 'deleteDestination', packDestinationRequest(wireService(), v6), 'ENOENT'],
  [
    'a timeout out of range',
    'setConfig',
    packTimeouts({ tcpSec: 0x80000000, tcpFinSec: 0, udpSec: 0 }),
    'EINVAL',
  ],
  ['a short timeout', 'setConfig', new AttributeWriter().u8(4, 1).finish(), 'ERANGE'],
]

describe('IPVS over netlink: refusals', () => {
  for (const [what, command, attributes, errno] of REFUSALS) {
    it(`${command}: ${what} gives ${errno} and changes nothing`, async () => {
      const on = rig()
      await on.has([addService(S), addDestination(S, '198.18.1.1')])
      const before = on.director.config
      const { verdict, messages } = await ask(on, command, attributes)
      assert.deepEqual([verdict, messages.length], [errno, 0])
      assert.equal(on.director.config, before)
    })
  }

  it('an unprivileged program gets EPERM for every command, read or change', async () => {
    const on = rig()
    await on.has([addService(S)])
    const dumps: readonly CommandName[] = ['getService', 'getDestination', 'getDaemon']
    for (const name of Object.keys(COMMAND) as CommandName[]) {
      if (name === 'setInfo') continue
      for (const dump of dumps.includes(name) ? [true] : [false]) {
        const { verdict, messages } = await ask(on, name, full, { dump, privileged: false })
        assert.deepEqual([name, verdict, messages.length], [name, 'EPERM', 0])
      }
    }
  })

  it('a command or a form that is not offered is EOPNOTSUPP, even without rights', async () => {
    const on = rig()
    for (const privileged of [true, false]) {
      for (const number of [0, COMMAND.setInfo, 18, 255]) {
        assert.equal((await askNumber(on, number, full, { privileged })).verdict, 'EOPNOTSUPP')
      }
      for (const name of ['getDestination', 'getDaemon'] as const) {
        assert.equal((await ask(on, name, id, { privileged })).verdict, 'EOPNOTSUPP')
      }
      const dump = await ask(on, 'getInfo', undefined, { dump: true, privileged })
      assert.equal(dump.verdict, 'EOPNOTSUPP')
    }
  })

  it('a dump of destinations of no service is empty', async () => {
    const on = rig()
    for (const attributes of [undefined, foreignFamily, packServiceRequest(unknown)]) {
      const { verdict, messages } = await ask(on, 'getDestination', attributes, { dump: true })
      assert.deepEqual([verdict, messages.length], ['ok', 0])
    }
  })

  it('says nothing to who wants no answer; what is no request is only acknowledged', async () => {
    const on = rig()
    const { request, ack } = MESSAGE_FLAG
    assert.equal((await ask(on, 'newService', full, { flags: request })).datagrams.length, 0)
    assert.equal(on.director.config.services.size, 1)
    assert.equal((await ask(on, 'newService', full, { flags: request })).verdict, 'EEXIST')
    assert.equal((await ask(on, 'flush', undefined, { flags: ack })).verdict, 'ok')
    assert.equal(on.director.config.services.size, 1)
    assert.equal((await askNumber(on, 1, undefined, { type: 3 })).verdict, 'ok')
    const quiet = await ask(on, 'getInfo', undefined, { flags: request })
    assert.deepEqual([quiet.verdict, quiet.messages.length], ['none', 1])
  })

  it('an error is returned with the whole request', async () => {
    const on = rig()
    const { datagrams } = await ask(on, 'deleteService', id)
    assert.equal(datagrams[0].length, 16 + 4 + 16 + 4 + id.length)
  })
})
