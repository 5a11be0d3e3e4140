/** What this data plane refuses to be told. */
import assert from 'node:assert/strict'
import { refusalOf } from '../../src/control/model/carried.js'
import { emptyConfig, withService } from '../../src/control/model/config.js'
import { PLAIN_TUNNEL } from '../../src/control/model/destination.js'
import type { DestinationOptions } from '../../src/control/model/destination.js'
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

  for (const type of ['gre', 'gue'] as const) {
    it(`refuses ${type} tunnels, and only where the method is a tunnel`, () => {
      const tunnel = { ...PLAIN_TUNNEL, type, port: type === 'gue' ? 6080 : 0 }
      assert.match(
        refusalOf(having({ method: 'tunnel', tunnel }), 'af_packet')?.message ?? '',
        new RegExp(`^${type} tunnels are not forwarded yet`),
      )
      assert.equal(refusalOf(having({ tunnel }), 'af_packet'), undefined)
    })
  }

  it('refuses SCTP services', () => {
    const config = configOf([addService(S)])
    const sctp = withService(config, { ...serviceIn(config, S), id: { ...S, protocol: 'sctp' } })
    assert.match(refusalOf(sctp, 'af_packet')?.message ?? '', /SCTP services are not forwarded/)
  })
})
