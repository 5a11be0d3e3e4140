/** The IPVS socket options, against a director (spec 9.3). */
import assert from 'node:assert/strict'
import { getOption, setOption } from '../../../src/control/ipvs-server/legacy.js'
import { PRIVATE } from '../../../src/control/ipvs-server/private-protocol.js'
import * as answers from '../../../src/control/netlink/legacy-answers.js'
import {
  GET_OPTION,
  packGet,
  packSet,
  SET_OPTION,
} from '../../../src/control/netlink/legacy-options.js'
import type { GetRequest, SetRequest } from '../../../src/control/netlink/legacy-options.js'
import { addDestination, addService, ip, serviceId, serviceIn } from '../fixtures.js'
import { nameOf, rig, wireDestination, wireOptions, wireService } from './rig.js'
import type { Rig } from './rig.js'

const S = serviceId()
const service = { ...wireService(), ...wireOptions() }
const unknown = { ...service, port: 81 }
const destination = { address: ip('198.18.1.1'), port: 80, ...wireDestination() }
const daemon = {
  state: 1,
  interface: 'fake0',
  syncId: 7,
  maxLength: 0,
  group: undefined,
  port: 0,
  ttl: 0,
}

const set = async ({ director }: Rig, request: SetRequest, privileged = true) =>
  nameOf(await setOption(SET_OPTION[request.option], packSet(request), privileged, director))

function get({ director }: Rig, request: GetRequest) {
  const buffer = packGet(request)
  const input = buffer.subarray(0, PRIVATE.OPTION_INPUT_MAX)
  return getOption(GET_OPTION[request.option], buffer.length, input, true, director)
}

function unwrap<T>(result: { ok: true; value: T } | { ok: false; errno: number }): T {
  if (result.ok) return result.value
  throw new Error(`refused with ${nameOf(result.errno)}`)
}

describe('IPVS by socket options: setting', () => {
  it('changes what netlink changes', async () => {
    const on = rig()
    assert.equal(await set(on, { option: 'addService', service }), 'ok')
    assert.equal(await set(on, { option: 'addService', service }), 'EEXIST')
    const edited = { ...service, scheduler: 'rr' }
    assert.equal(await set(on, { option: 'setService', service: edited }), 'ok')
    assert.equal(serviceIn(on.director.config, S).scheduler, 'rr')
    const target = { service, destination }
    assert.equal(await set(on, { option: 'addDestination', ...target }), 'ok')
    assert.equal(await set(on, { option: 'addDestination', ...target }), 'EEXIST')
    const heavier = { service, destination: { ...destination, weight: 7 } }
    assert.equal(await set(on, { option: 'setDestination', ...heavier }), 'ok')
    assert.equal(serviceIn(on.director.config, S).destinations[0].weight, 7)
    assert.equal(await set(on, { option: 'zero', service }), 'ok')
    assert.equal(await set(on, { option: 'zero', service: undefined }), 'ok')
    assert.equal(await set(on, { option: 'deleteDestination', ...target }), 'ok')
    assert.equal(await set(on, { option: 'deleteDestination', ...target }), 'ENOENT')
    assert.equal(await set(on, { option: 'deleteService', service }), 'ok')
    const timeouts = { tcpSec: 1, tcpFinSec: 2, udpSec: 3 }
    assert.equal(await set(on, { option: 'setTimeouts', timeouts }), 'ok')
    assert.deepEqual(on.director.config.timeouts, timeouts)
    assert.equal(await set(on, { option: 'startDaemon', daemon }), 'ok')
    assert.equal(await set(on, { option: 'startDaemon', daemon }), 'EEXIST')
    assert.equal(await set(on, { option: 'stopDaemon', daemon }), 'ok')
    assert.equal(await set(on, { option: 'stopDaemon', daemon }), 'ESRCH')
    await on.has([addService(S)])
    assert.equal(await set(on, { option: 'flush' }), 'ok')
    assert.equal(on.director.config.services.size, 0)
  })

  it('refuses with the codes of the kernel', async () => {
    const on = rig()
    await on.has([addService(S)])
    const before = on.director.config
    const refused = (request: SetRequest) => set(on, request)
    assert.equal(await refused({ option: 'setService', service: unknown }), 'ESRCH')
    assert.equal(await refused({ option: 'deleteService', service: unknown }), 'ESRCH')
    assert.equal(await refused({ option: 'zero', service: unknown }), 'ESRCH')
    assert.equal(
      await refused({ option: 'addDestination', service: unknown, destination }),
      'ESRCH',
    )
    const foreign = { ...service, protocol: 50 }
    assert.equal(await refused({ option: 'addService', service: foreign }), 'EFAULT')
    assert.equal(
      await refused({ option: 'startDaemon', daemon: { ...daemon, state: 0 } }),
      'EINVAL',
    )
    const light = { ...destination, weight: -1 }
    assert.equal(await refused({ option: 'addDestination', service, destination: light }), 'ERANGE')
    assert.equal(await set(on, { option: 'flush' }, false), 'EPERM')
    for (const number of [1152, 1153, 1158, 1165, 1166]) {
      assert.equal(nameOf(await setOption(number, new Uint8Array(), true, on.director)), 'EINVAL')
    }
    for (const number of [1151, 1168]) {
      const errno = await setOption(number, new Uint8Array(), true, on.director)
      assert.equal(nameOf(errno), 'ENOPROTOOPT')
    }
    const long = new Uint8Array(45)
    assert.equal(nameOf(await setOption(SET_OPTION.addService, long, true, on.director)), 'EINVAL')
    assert.equal(on.director.config, before)
  })
})

describe('IPVS by socket options: getting', () => {
  async function populated(): Promise<Rig> {
    const on = rig()
    await on.has([
      addService(S),
      addDestination(S, '198.18.1.1'),
      addDestination(S, '2001:db8::5', { method: 'tunnel' }),
      addService(serviceId('2001:db8::1')),
    ])
    return on
  }

  it('shows what is IPv4', async () => {
    const on = await populated()
    const version = unwrap(get(on, { option: 'version' }))
    assert.equal(new TextDecoder().decode(version), 'IP Virtual Server version 1.2.1 (size=4096)\0')
    const info = unwrap(answers.unpackLegacyInfo(unwrap(get(on, { option: 'info' }))))
    assert.deepEqual(info, { version: 0x010201, tableSize: 4096, services: 1 })
    const listed = unwrap(get(on, { option: 'services', room: 1 }))
    const [entry] = unwrap(answers.unpackServices(listed))
    assert.deepEqual([entry.service.address.text, entry.destinations], ['198.18.0.1', 2])
    const one = unwrap(
      answers.unpackServiceEntry(unwrap(get(on, { option: 'service', service: wireService() }))),
    )
    assert.deepEqual(one, entry)
    const destinations = get(on, { option: 'destinations', service: wireService(), room: 2 })
    assert.deepEqual(
      unwrap(answers.unpackDestinations(unwrap(destinations))).map((d) => d.address.text),
      ['198.18.1.1'],
    )
    const timeouts = answers.unpackLegacyTimeouts(unwrap(get(on, { option: 'timeouts' })))
    assert.deepEqual(unwrap(timeouts), { tcpSec: 900, tcpFinSec: 120, udpSec: 300 })
    assert.deepEqual(unwrap(answers.unpackDaemons(unwrap(get(on, { option: 'daemons' })))), [])
    assert.equal(
      await set(on, { option: 'startDaemon', daemon: { ...daemon, state: 2 } }),
      'EINVAL',
    )
  })

  it('shows a backup in the second place', async () => {
    const on = rig()
    assert.equal(await set(on, { option: 'startDaemon', daemon: { ...daemon, state: 2 } }), 'ok')
    const bytes = unwrap(get(on, { option: 'daemons' }))
    assert.ok(bytes.subarray(0, 24).every((byte) => byte === 0))
    assert.equal(unwrap(answers.unpackDaemons(bytes))[0].syncId, 7)
  })

  it('refuses with the codes of the kernel', async () => {
    const on = await populated()
    const errnoOf = (option: number, length: number, privileged = true) => {
      const value = getOption(option, length, new Uint8Array(), privileged, on.director)
      return value.ok ? 'ok' : nameOf(value.errno)
    }
    const other = wireService({ port: 81 })
    const missing = get(on, { option: 'service', service: other })
    assert.equal(missing.ok || nameOf(missing.errno), 'ESRCH')
    const nowhere = get(on, { option: 'destinations', service: other, room: 0 })
    assert.equal(nowhere.ok || nameOf(nowhere.errno), 'ESRCH')
    assert.equal(errnoOf(GET_OPTION.version, 63), 'EINVAL')
    assert.equal(errnoOf(GET_OPTION.services, 9), 'EINVAL')
    assert.equal(errnoOf(GET_OPTION.services, 0xffffffff), 'EINVAL')
    assert.equal(errnoOf(1157, 200), 'EINVAL')
    assert.equal(errnoOf(1160, 200), 'ENOPROTOOPT')
    assert.equal(errnoOf(GET_OPTION.version, 64, false), 'EPERM')
  })
})
