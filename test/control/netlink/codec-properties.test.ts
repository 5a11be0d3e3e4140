/**
 * Every pair of pack and unpack is one: unpack(pack(x)) = x. And no bytes at all make an unpack
 * function throw: random ones, cut ones, and good ones with a few bytes changed.
 */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { readArray, readAttributes } from '../../../src/control/netlink/attributes.js'
import * as ctrl from '../../../src/control/netlink/ctrl.js'
import { ERRNO } from '../../../src/control/netlink/errno.js'
import type { WireResult } from '../../../src/control/netlink/errno.js'
import * as ipvs from '../../../src/control/netlink/ipvs-messages.js'
import * as answers from '../../../src/control/netlink/legacy-answers.js'
import * as legacy from '../../../src/control/netlink/legacy-options.js'
import * as wire from '../../../src/control/netlink/message.js'
import * as any from './wire-samples.js'
import { record, valueOf } from './wire-samples.js'

const open = (stream: Uint8Array): ipvs.CommandAttributes => valueOf(ipvs.unpackCommand(stream))

/** Asserts that `read` gives back what `pack` packed, for every value. */
function isPair<T>(values: fc.Arbitrary<T>, roundTrip: (value: T) => WireResult<unknown>): void {
  fc.assert(
    fc.property(values, (value) => {
      assert.deepEqual(valueOf(roundTrip(value)), value)
    }),
  )
}

const fullService = fc
  .tuple(any.serviceId, any.serviceOptions)
  .map(([id, options]) => ({ ...id, ...options }))
const fullDestination = fc
  .tuple(any.destinationId, any.destinationOptions)
  .map(([id, options]) => ({ ...id, ...options }))

describe('netlink: pack and unpack are pairs', () => {
  it('for services', () => {
    isPair(any.serviceId, (id) => ipvs.unpackServiceId(open(ipvs.packServiceRequest(id)).service))
    isPair(fullService, (one) =>
      ipvs.unpackService(open(ipvs.packServiceRequest(one, one)).service),
    )
    isPair(any.service, (one) => ipvs.unpackServiceReply(open(ipvs.packServiceReply(one)).service))
  })

  it('for destinations', () => {
    const service = { ...fc.sample(any.serviceId, { numRuns: 1, seed: 1 })[0] }
    isPair(any.destinationId, (id) => {
      const request = open(ipvs.packDestinationRequest(service, id))
      assert.deepEqual(valueOf(ipvs.unpackServiceId(request.service)), service)
      return ipvs.unpackDestinationId(request.destination, 4)
    })
    isPair(fullDestination, (one) =>
      ipvs.unpackDestination(open(ipvs.packDestinationRequest(service, one, one)).destination, 6),
    )
    isPair(any.destination, (one) =>
      ipvs.unpackDestinationReply(open(ipvs.packDestinationReply(one)).destination, 4),
    )
  })

  it('for daemons, timeouts and the version', () => {
    isPair(any.daemon, (one) => ipvs.unpackDaemon(open(ipvs.packDaemonRequest(one)).daemon))
    isPair(any.daemon, (one) => ipvs.unpackDaemonReply(open(ipvs.packDaemonReply(one)).daemon))
    isPair(any.timeouts, (one) => {
      return { ok: true, value: open(ipvs.packTimeouts(one)).timeouts }
    })
    isPair(any.info, (one) => ipvs.unpackInfo(ipvs.packInfo(one)))
  })

  it('for families', () => {
    const name = fc.string({ maxLength: 15, unit: fc.constantFrom(...'IPVSabc_') })
    const operation = record({ id: any.u32, flags: any.u32 })
    const family = record({
      id: any.u16,
      name,
      version: any.u32,
      headerSize: any.u32,
      maxAttribute: any.u32,
      operations: fc.array(operation, { maxLength: 20 }),
    })
    isPair(family, (one) => ctrl.unpackFamily(ctrl.packFamily(one)))
    const request = fc.oneof(record({ name }), record({ id: any.u16 }))
    isPair(request, (one) => ctrl.unpackFamilyRequest(ctrl.packFamilyRequest(one)))
  })

  it('for messages, however many stand in a datagram', () => {
    const message = record({
      header: record({ type: any.u16, flags: any.u16, sequence: any.u32, port: any.u32 }),
      command: any.u8,
      version: any.u8,
      attributes: fc.uint8Array({ maxLength: 40 }),
    })
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), (list) => {
        const datagram = Buffer.concat(
          list.map(({ header, ...rest }) => wire.packGeneric(header, rest)),
        )
        const read = wire.splitMessages(new Uint8Array(datagram)).map((one) => {
          const { type, flags, sequence, port } = one
          return { header: { type, flags, sequence, port }, ...wire.unpackGeneric(one) }
        })
        assert.deepEqual(read, list)
      }),
    )
  })
})

const ipv4Service = fc
  .tuple(any.ipv4, any.u16, any.u32, any.serviceOptions, fc.constantFrom(6, 17, 132))
  .map(([address, port, fwmark, options, protocol]) => {
    const rest = { ...options, flagsMask: 0xffffffff, engine: '' }
    return { family: 4 as const, protocol, address, port, fwmark, ...rest }
  })
const ipv4Destination = fc
  .tuple(any.ipv4, any.u16, any.destinationOptions)
  .map(([address, port, options]) => {
    const noTunnel = { tunnelType: 0, tunnelPort: 0, tunnelFlags: 0 }
    return { address, port, ...options, ...noTunnel }
  })
const daemonUser = any.daemon
  .filter((daemon) => daemon.interface !== '')
  .map((daemon) => ({ ...daemon, maxLength: 0, group: undefined, port: 0, ttl: 0 }))
const setRequest: fc.Arbitrary<legacy.SetRequest> = fc.oneof(
  record({
    option: fc.constantFrom('addService' as const, 'setService' as const, 'deleteService' as const),
    service: ipv4Service,
  }),
  record({
    option: fc.constantFrom('addDestination' as const, 'deleteDestination' as const),
    service: ipv4Service,
    destination: ipv4Destination,
  }),
  record({
    option: fc.constant('zero' as const),
    service: fc.option(
      ipv4Service.filter(({ port }) => port !== 0),
      { nil: undefined },
    ),
  }),
  record({ option: fc.constant('setTimeouts' as const), timeouts: any.timeouts }),
  record({
    option: fc.constantFrom('startDaemon' as const, 'stopDaemon' as const),
    daemon: daemonUser,
  }),
)
const ipv4ServiceId = ipv4Service.map(({ family, protocol, address, port, fwmark }) => {
  return { family, protocol, address, port, fwmark }
})
const room = fc.nat(5)
const getRequest: fc.Arbitrary<legacy.GetRequest> = fc.oneof(
  record({ option: fc.constantFrom('version', 'info', 'timeouts', 'daemons') }),
  record({ option: fc.constant('services' as const), room }),
  record({ option: fc.constant('service' as const), service: ipv4ServiceId }),
  record({ option: fc.constant('destinations' as const), service: ipv4ServiceId, room }),
)

describe('netlink: socket options are pairs', () => {
  it('as requests', () => {
    isPair(setRequest, (one) =>
      legacy.unpackSet(legacy.SET_OPTION[one.option], legacy.packSet(one)),
    )
    isPair(getRequest, (one) =>
      legacy.unpackGet(legacy.GET_OPTION[one.option], legacy.packGet(one)),
    )
  })

  it('as answers', () => {
    const entry = fc
      .tuple(ipv4Service, any.stats32, any.u32)
      .map(([service, stats, destinations]) => ({ service: { ...service, stats }, destinations }))
    const listed = fc
      .tuple(ipv4Destination, any.stats32, any.u32, any.u32, any.u32)
      .map(([one, stats, active, inactive, persistent]) => {
        return { ...one, active, inactive, persistent, stats }
      })
    const id = fc.sample(ipv4ServiceId, { numRuns: 1, seed: 1 })[0]
    isPair(entry, (one) => answers.unpackServiceEntry(answers.packServiceEntry(one)))
    isPair(fc.array(entry, { maxLength: 4 }), (list) =>
      answers.unpackServices(answers.packServices(4, list)),
    )
    isPair(fc.array(listed, { maxLength: 4 }), (list) =>
      answers.unpackDestinations(answers.packDestinations(id, 4, list)),
    )
    isPair(record({ version: any.u32, tableSize: any.u32, services: any.u32 }), (one) =>
      answers.unpackLegacyInfo(answers.packLegacyInfo(one)),
    )
    const version = fc.nat(0xffffff)
    isPair(record({ version, tableSize: any.u32 }), (one) =>
      answers.unpackVersion(answers.packVersion(one)),
    )
    isPair(any.timeouts, (one) => answers.unpackLegacyTimeouts(answers.packLegacyTimeouts(one)))
    const master = daemonUser.map((daemon) => ({ ...daemon, state: 1 }))
    isPair(fc.array(master, { maxLength: 1 }), (list) =>
      answers.unpackDaemons(answers.packDaemons(list)),
    )
  })
})

/** Reads bytes in every way there is. */
function readAll(bytes: Uint8Array): void {
  readArray(bytes)
  readAttributes(bytes, { 1: 'u64', 2: { string: 4 }, 3: { binary: 4 } })
  for (const message of wire.splitMessages(bytes)) {
    wire.unpackGeneric(message)
    wire.outcomeOf(message)
    wire.refusedHeader(message)
    wire.packError(message, 1, ERRNO.EINVAL)
  }
  const command = ipvs.unpackCommand(bytes)
  for (const part of command.ok ? Object.values(command.value) : []) {
    if (part instanceof Uint8Array) readContainer(part)
  }
  readContainer(bytes)
  ipvs.unpackInfo(bytes)
  ctrl.unpackFamily(bytes)
  ctrl.unpackFamilyRequest(bytes)
  for (let number = 1150; number < 1170; number++) {
    legacy.unpackSet(number, bytes)
    legacy.unpackGet(number, bytes)
  }
  answers.unpackVersion(bytes)
  answers.unpackLegacyInfo(bytes)
  answers.unpackServices(bytes)
  answers.unpackServiceEntry(bytes)
  answers.unpackDestinations(bytes)
  answers.unpackLegacyTimeouts(bytes)
  answers.unpackDaemons(bytes)
}

function readContainer(bytes: Uint8Array): void {
  ipvs.unpackService(bytes)
  ipvs.unpackServiceId(bytes)
  ipvs.unpackServiceReply(bytes)
  ipvs.unpackDestination(bytes, 4)
  ipvs.unpackDestinationId(bytes, 6)
  ipvs.unpackDestinationReply(bytes, 6)
  ipvs.unpackDaemon(bytes)
  ipvs.unpackDaemonStop(bytes)
  ipvs.unpackDaemonReply(bytes)
}

/** A good message or buffer of any kind. */
const packed: fc.Arbitrary<Uint8Array> = fc.oneof(
  any.service.map(ipvs.packServiceReply),
  any.destination.map(ipvs.packDestinationReply),
  any.daemon.map(ipvs.packDaemonReply),
  any.daemon.map(ipvs.packDaemonRequest),
  any.timeouts.map(ipvs.packTimeouts),
  fullService.map((one) => ipvs.packServiceRequest(one, one)),
  fc
    .tuple(fullService, fullDestination)
    .map(([service, one]) => ipvs.packDestinationRequest(service, one, one)),
  setRequest.map(legacy.packSet),
  getRequest.map(legacy.packGet),
)
const framed = packed.map((attributes) => {
  const head = { family: 0x1b, command: 5, version: 1, sequence: 1, port: 1 }
  return wire.packRequest(head, attributes)
})

describe('netlink: bad bytes', () => {
  it('at random never throw', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), readAll), { numRuns: 500 })
  })

  it('made from good ones never throw', () => {
    const change = record({ at: fc.nat(400), value: any.u8 })
    const changes = fc.array(change, { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(fc.oneof(packed, framed), changes, fc.nat(400), (good, list, cut) => {
        const bad = good.slice()
        for (const { at, value } of list) if (bad.length > 0) bad[at % bad.length] = value
        readAll(bad)
        readAll(bad.subarray(0, cut % (bad.length + 1)))
        readAll(bad.subarray(cut % (bad.length + 1)))
      }),
      { numRuns: 500 },
    )
  })

  it('cut anywhere are incomplete or say the same', () => {
    /** Cuts of the container's payload; `optional` bytes at the end may be missing. */
    const cuts = (
      whole: Uint8Array | undefined,
      read: (part: Uint8Array) => WireResult<object>,
    ) => {
      assert.ok(whole)
      const full = valueOf(read(whole))
      for (let length = 0; length < whole.length; length++) {
        const part = read(whole.subarray(0, length))
        if (part.ok) assert.deepEqual(part.value, full, `${length} of ${whole.length}`)
        else assert.equal(part.errno, ERRNO.EINVAL, `${length} of ${whole.length}`)
      }
    }
    fc.assert(
      fc.property(fullService, fullDestination, (service, one) => {
        const request = open(ipvs.packDestinationRequest(service, one, one, service))
        cuts(request.service, (part) => ipvs.unpackService(part))
        cuts(request.service, (part) => ipvs.unpackServiceId(part))
        cuts(request.destination, (part) => ipvs.unpackDestination(part, 4))
      }),
      { numRuns: 50 },
    )
  })

  it('cut inside a container lose the container', () => {
    fc.assert(
      fc.property(fullService, (service) => {
        const request = ipvs.packServiceRequest(service, service)
        for (let length = 0; length < request.length; length++) {
          const command = valueOf(ipvs.unpackCommand(request.subarray(0, length)))
          any.refusedWith(ipvs.unpackService(command.service), 'EINVAL')
        }
      }),
      { numRuns: 50 },
    )
  })
})
