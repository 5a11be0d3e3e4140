/** Wire values against the words of the model and the API. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { DestinationView, ServiceView } from '../../../src/control/api/views.js'
import * as model from '../../../src/control/netlink/ipvs-model.js'
import { METHODS, TUNNEL_CHECKSUMS, TUNNEL_TYPES } from '../../../src/control/model/destination.js'
import { markServiceId } from '../../../src/control/model/service.js'
import { address, anyFamily, record, refusedWith, s32, u16, u32, valueOf } from './wire-samples.js'

const counter = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String)
const rate = fc.nat()
const statsView = record({
  connections: counter,
  inPackets: counter,
  outPackets: counter,
  inBytes: counter,
  outBytes: counter,
})
const ratesView = record({
  connections: rate,
  inPackets: rate,
  outPackets: rate,
  inBytes: rate,
  outBytes: rate,
})
const destinationView: fc.Arbitrary<DestinationView> = record({
  address: anyFamily.map(({ text }) => text),
  port: u16,
  method: fc.constantFrom(...METHODS),
  weight: s32,
  upperThreshold: u32,
  lowerThreshold: u32,
  tunnel: record({
    type: fc.constantFrom(...TUNNEL_TYPES),
    port: u16,
    checksum: fc.constantFrom(...TUNNEL_CHECKSUMS),
  }),
  active: u32,
  inactive: u32,
  persistent: u32,
  stats: statsView,
  rates: ratesView,
})
const identity = fc.oneof(
  record({
    protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'sctp' as const),
    address: anyFamily.map(({ text }) => text),
    port: u16,
    fwmark: fc.constant(0),
  }),
  record({
    protocol: fc.constant('tcp' as const),
    address: fc.constantFrom('0.0.0.0', '::'),
    port: fc.constant(0),
    fwmark: u32.filter((mark) => mark !== 0),
  }),
)
const options = record({
  scheduler: fc.constantFrom('rr', 'wlc'),
  flags: u32,
  persistentSec: u32,
  netmask: u32,
  engine: fc.constantFrom('', 'sip'),
  localAddresses: fc.constant([]),
  stats: statsView,
  rates: ratesView,
})
const serviceView: fc.Arbitrary<ServiceView> = fc
  .tuple(identity, options, fc.array(destinationView, { maxLength: 2 }))
  .map(([id, rest, destinations]) => ({ ...id, ...rest, destinations }))

const TCP = {
  family: 4,
  protocol: 6,
  address: address('198.18.0.1'),
  port: 80,
  fwmark: 0,
} as const

describe('netlink: the model', () => {
  it('reads back every service and destination it shows, fullnat as masquerade', () => {
    fc.assert(
      fc.property(serviceView, (view) => {
        const destinations = view.destinations.map((destination) =>
          valueOf(model.destinationViewFromWire(model.destinationViewToWire(destination))),
        )
        const shown = model.serviceViewToWire(view)
        assert.equal(shown.flags, view.flags)
        const expected = {
          ...view,
          destinations: view.destinations.map((destination) => ({
            ...destination,
            method: destination.method === 'fullnat' ? 'masquerade' : destination.method,
          })),
        }
        assert.deepEqual(valueOf(model.serviceViewFromWire(shown, destinations)), expected)
      }),
    )
  })

  it('knows three protocols; another cannot be added and is not there', () => {
    const numbers = { tcp: 6, udp: 17, sctp: 132 } as const
    for (const [protocol, number] of Object.entries(numbers)) {
      const id = valueOf(model.serviceIdFromWire({ ...TCP, protocol: number }, true))
      assert.deepEqual(id, { protocol, address: TCP.address, port: 80, fwmark: 0 })
      assert.deepEqual(model.serviceIdToWire(id), { ...TCP, protocol: number })
    }
    for (const protocol of [0, 1, 50, 65535]) {
      refusedWith(model.serviceIdFromWire({ ...TCP, protocol }, true), 'EPROTONOSUPPORT')
      refusedWith(model.serviceIdFromWire({ ...TCP, protocol }, false), 'ESRCH')
    }
  })

  it('names a mark service by mark and family alone', () => {
    const wire = { ...TCP, family: 6 as const, address: address('::'), protocol: 50, fwmark: 7 }
    assert.deepEqual(valueOf(model.serviceIdFromWire(wire, false)), markServiceId(7, 6))
  })

  it('replaces only the flags of the mask', () => {
    const wire = {
      scheduler: 'wlc',
      flags: 0x5,
      flagsMask: 0x1,
      timeoutSec: 300,
      netmask: 64,
      engine: '',
    }
    const { flags, persistentSec } = model.serviceOptionsFromWire(wire, 0x1a)
    assert.equal(flags, 0x1b)
    assert.equal(persistentSec, 300)
    const all = { ...wire, flags: 0xffffffff, flagsMask: 0xffffffff }
    assert.equal(model.serviceOptionsFromWire(all, 0).flags, 0xffffffff)
  })

  it('refuses methods and tunnels that no director has', () => {
    const wire = {
      method: 2,
      weight: 1,
      upperThreshold: 0,
      lowerThreshold: 0,
      tunnelType: 1,
      tunnelPort: 6080,
      tunnelFlags: 2,
    }
    const read = valueOf(model.destinationOptionsFromWire(wire))
    assert.equal(read.method, 'tunnel')
    assert.deepEqual(read.tunnel, { type: 'gue', port: 6080, checksum: 'remcsum' })
    assert.deepEqual(model.destinationOptionsToWire(read), wire)
    for (const bad of [{ method: 4 }, { method: 7 }, { tunnelType: 3 }, { tunnelFlags: 3 }]) {
      refusedWith(model.destinationOptionsFromWire({ ...wire, ...bad }), 'EINVAL')
    }
  })
})
