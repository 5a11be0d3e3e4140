/** What this data plane refuses to be told. */
import assert from 'node:assert/strict'
import { refusalOf } from '../../src/control/model/carried.js'
import { emptyConfig, withService } from '../../src/control/model/config.js'
import { PLAIN_TUNNEL } from '../../src/control/model/destination.js'
import type { DestinationOptions } from '../../src/control/model/destination.js'
import { SCHEDULERS } from '../../src/control/model/service.js'
import { SCHEDULER_ID } from '../../src/dataplane/layout.js'
import { addDestination, addService, CAPACITY, configOf, serviceId, serviceIn } from './fixtures.js'

const S = serviceId()
const having = (changes: Partial<DestinationOptions>) =>
  configOf([addService(S), addDestination(S, '198.18.1.1', changes)])

describe('what is carried out', () => {
  it('takes what is forwarded', () => {
    assert.equal(refusalOf(emptyConfig(CAPACITY), 'tun'), undefined)
    for (const method of ['masquerade', 'local', 'tunnel', 'fullnat'] as const) {
      assert.equal(refusalOf(having({ method }), 'tun'), undefined, method)
    }
    assert.equal(refusalOf(having({ method: 'direct' }), 'af_packet'), undefined)
  })

  it('refuses direct routing without a link layer', () => {
    const refused = refusalOf(having({ method: 'direct' }), 'tun')
    assert.equal(refused?.code, 'DATAPLANE_FAILED')
    assert.match(refused.message, /direct routing to 198\.18\.1\.1 needs .*--io af_packet/)
  })

  it('takes every tunnel', () => {
    for (const type of ['ipip', 'gre', 'gue'] as const) {
      const tunnel = { ...PLAIN_TUNNEL, type, port: type === 'gue' ? 6080 : 0 }
      assert.equal(refusalOf(having({ method: 'tunnel', tunnel }), 'af_packet'), undefined, type)
    }
  })

  it('takes SCTP services', () => {
    const config = configOf([addService(S)])
    const sctp = withService(config, { ...serviceIn(config, S), id: { ...S, protocol: 'sctp' } })
    for (const io of ['af_packet', 'tun', 'kernel'] as const) {
      assert.equal(refusalOf(sctp, io), undefined)
    }
  })

  it('takes every scheduler and every engine', () => {
    for (const scheduler of SCHEDULERS) {
      const config = configOf([addService(S, { scheduler })])
      assert.equal(refusalOf(config, 'af_packet'), undefined, scheduler)
      assert.equal(refusalOf(config, 'kernel'), undefined, scheduler)
      assert.ok(Object.hasOwn(SCHEDULER_ID, scheduler), scheduler)
    }
    const sip = configOf([addService(S, { engine: 'sip' })])
    assert.equal(refusalOf(sip, 'tun'), undefined)
    assert.equal(refusalOf(sip, 'kernel'), undefined)
  })

  it('names what only the packet workers do when the kernel forwards', () => {
    const words = /FULLNAT, local addresses, TOA, PROXY protocol and SYNPROXY need the userspace/
    assert.match(refusalOf(having({ method: 'fullnat' }), 'kernel')?.message ?? '', words)
    const local = { kind: 'addLocalAddress', service: S, address: S.address } as const
    assert.match(refusalOf(configOf([addService(S), local]), 'kernel')?.message ?? '', words)
    const proxied = configOf([addService(S, { flags: 0x8000 })])
    assert.match(refusalOf(proxied, 'kernel')?.message ?? '', words)
    assert.equal(refusalOf(proxied, 'tun'), undefined)
    for (const method of ['masquerade', 'tunnel', 'direct', 'local'] as const) {
      assert.equal(refusalOf(having({ method }), 'kernel'), undefined, method)
    }
  })
})
