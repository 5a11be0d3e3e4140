/** Random, cut and changed requests: no answer is an exception, no refusal leaves a trace. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Director } from '../../../src/control/director.js'
import { getOption, setOption } from '../../../src/control/ipvs-server/legacy.js'
import { PRIVATE, readPrivateRequest } from '../../../src/control/ipvs-server/private-protocol.js'
import { COMMAND } from '../../../src/control/netlink/ipvs-attributes.js'
import type { CommandName } from '../../../src/control/netlink/ipvs-attributes.js'
import {
  packDaemonRequest,
  packDestinationRequest,
  packServiceRequest,
  packTimeouts,
} from '../../../src/control/netlink/ipvs-messages.js'
import { MESSAGE_FLAG, packGeneric, splitMessages } from '../../../src/control/netlink/message.js'
import { packSet, SET_OPTION } from '../../../src/control/netlink/legacy-options.js'
import { addDestination, addService, ip, serviceId } from '../fixtures.js'
import { askBytes, rig, wireDestination, wireOptions, wireService } from './rig.js'
import type { Rig } from './rig.js'

const S = serviceId()
const GOOD = [
  packServiceRequest(wireService(), wireOptions()),
  packServiceRequest(wireService({ port: 8 }), wireOptions({ scheduler: 'rr' })),
  packDestinationRequest(wireService(), { address: ip('198.18.1.7'), port: 1 }, wireDestination()),
  packTimeouts({ tcpSec: 1, tcpFinSec: 2, udpSec: 3 }),
  packDaemonRequest({
    state: 1,
    interface: 'fake0',
    syncId: 1,
    maxLength: 0,
    group: undefined,
    port: 0,
    ttl: 0,
  }),
]

async function populated(): Promise<Rig> {
  const on = rig()
  await on.has([addService(S), addDestination(S, '198.18.1.1')])
  return on
}

/** Everything that a program can see of a configuration, without the counters of its making. */
const visible = ({ config }: Director) =>
  JSON.stringify([[...config.services.values()], config.timeouts, config.daemons, config.sysctls])

/** A good request with its family, cut and with some bytes changed. */
const mutated = fc
  .record({
    command: fc.integer({ min: 0, max: 18 }),
    attributes: fc.constantFrom(...GOOD),
    dump: fc.boolean(),
    keep: fc.double({ min: 0, max: 1, noNaN: true }),
    changes: fc.array(fc.tuple(fc.nat(4096), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
  })
  .map(({ command, attributes, dump, keep, changes }) => {
    const wanted = MESSAGE_FLAG.request | MESSAGE_FLAG.ack
    const flags = dump ? wanted | MESSAGE_FLAG.dump : wanted
    const header = { type: PRIVATE.FAMILY_ID, flags, sequence: 1, port: 1 }
    const whole = packGeneric(header, { command, version: 1, attributes })
    for (const [at, value] of changes) whole[at % whole.length] = value
    return whole.subarray(0, Math.ceil(whole.length * keep))
  })

describe('IPVS over netlink: garbage', function () {
  this.timeout(60_000)

  it('never throws, and what is refused changes nothing', async () => {
    const input = fc.oneof(mutated, fc.uint8Array({ maxLength: 200 }))
    await fc.assert(
      fc.asyncProperty(input, async (bytes) => {
        const on = await populated()
        const before = visible(on.director)
        const { verdict } = await askBytes(on.director, bytes)
        const sent = splitMessages(bytes)
        const isRefused = sent.length <= 1 && !['ok', 'none'].includes(verdict)
        if (isRefused) assert.equal(visible(on.director), before)
      }),
      { numRuns: 1500 },
    )
  })

  it('changes nothing at all for an unprivileged program', async () => {
    const on = await populated()
    const before = visible(on.director)
    await fc.assert(
      fc.asyncProperty(mutated, async (bytes) => {
        await askBytes(on.director, bytes, false)
        assert.equal(visible(on.director), before)
      }),
      { numRuns: 500 },
    )
  })

  it('a request that is cut anywhere inside is not carried out', async () => {
    const on = await populated()
    const before = visible(on.director)
    for (const name of Object.keys(COMMAND) as CommandName[]) {
      const header = { type: PRIVATE.FAMILY_ID, flags: 5, sequence: 1, port: 1 }
      const command = { command: COMMAND[name], version: 1, attributes: GOOD[1] }
      const whole = packGeneric(header, command)
      for (let cut = 0; cut < whole.length; cut++) {
        const { datagrams } = await askBytes(on.director, whole.subarray(0, cut))
        assert.equal(datagrams.length, 0)
      }
    }
    assert.equal(visible(on.director), before)
  })

  it('socket options: never throw, and what is refused changes nothing', async () => {
    const service = { ...wireService(), ...wireOptions() }
    const good = [
      packSet({ option: 'addService', service: { ...service, port: 9 } }),
      packSet({
        option: 'addDestination',
        service,
        destination: { address: ip('198.18.1.7'), port: 1, ...wireDestination() },
      }),
      new Uint8Array(12),
      new Uint8Array(24),
    ]
    const change = fc.tuple(fc.nat(4096), fc.integer({ min: 0, max: 255 }))
    const values = fc
      .tuple(fc.constantFrom(...good), fc.array(change, { maxLength: 4 }))
      .map(([bytes, changes]) => {
        const copy = bytes.slice()
        for (const [at, value] of changes) copy[at % copy.length] = value
        return copy
      })
    const option = fc.integer({ min: SET_OPTION.addService - 3, max: SET_OPTION.zero + 2 })
    await fc.assert(
      fc.asyncProperty(option, fc.oneof(values, fc.uint8Array()), async (number, value) => {
        const on = await populated()
        const before = visible(on.director)
        const errno = await setOption(number, value, true, on.director)
        if (errno !== 0) assert.equal(visible(on.director), before)
        const length = value.length > 3 ? value[0] * value[1] : value.length
        getOption(number, length, value, true, on.director)
      }),
      { numRuns: 800 },
    )
  })

  it('private requests are read from any bytes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 16 }), fc.uint8Array(), (type, payload) => {
        const message = { type, flags: 0, sequence: 0, port: 0, payload, bytes: payload }
        const request = readPrivateRequest(message)
        const isPrivate = type === 8 || type === 9 || type === 10
        assert.ok(isPrivate || request === undefined)
      }),
    )
  })
})
