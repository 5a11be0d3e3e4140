/** FULLNAT in commands, files and listings, and what of it reaches the workers. */
import assert from 'node:assert/strict'
import { decodeCommand, encodeCommand } from '../../src/control/api/schema.js'
import { parseLine } from '../../src/control/cli/args.js'
import { systemResolver } from '../../src/control/cli/resolver.js'
import { parseNative } from '../../src/control/config/native-format.js'
import { reconcile } from '../../src/control/config/reconcile.js'
import { refusalOf } from '../../src/control/model/carried.js'
import type { Command, PublicCommand } from '../../src/control/model/commands.js'
import { effectiveLocalAddresses } from '../../src/control/model/config.js'
import type { Config } from '../../src/control/model/config.js'
import {
  FULLNAT_DEFAULTS,
  PROXY_PROTOCOLS,
  UOA_TRAIL_MAX,
} from '../../src/control/model/fullnat.js'
import type { ProxyProtocol } from '../../src/control/model/fullnat.js'
import { apply } from '../../src/control/model/apply.js'
import { SERVICE_FLAGS } from '../../src/control/model/service.js'
import { FULLNAT_FLAG, LIMITS, RECORDS, SERVICE_FLAG, UOA } from '../../src/dataplane/layout.js'
import { writeSnapshot } from '../../src/dataplane/snapshot-writer.js'
import { BARE_HOST } from '../support/bare-host.js'
import {
  PLAIN,
  addDestination,
  addService,
  configOf,
  ip,
  refusal,
  serviceId,
  serviceIn,
  serviceOptions,
} from './fixtures.js'

const S4 = serviceId()
const S6 = serviceId('2001:db8::1')
/** The flags of the only service, and the header's bytes about FULLNAT. */
function published(config: Config) {
  const block = writeSnapshot(config, 1, BARE_HOST)
  const view = new DataView(block.buffer)
  const { fields } = RECORDS.snapshotHeader
  const service = view.getUint32(fields.serviceOffset[1], true)
  return {
    flags: view.getUint32(service + RECORDS.service.fields.flags[1], true),
    fullnat: view.getUint8(fields.fullnatFlags[1]),
    uoa: view.getUint8(fields.uoaMode[1]),
    trail: view.getUint16(fields.uoaTrail[1], true),
  }
}

async function line(words: string): Promise<PublicCommand> {
  const parsed = await parseLine(words.split(' '), 'ipvsadm', systemResolver())
  assert.equal(parsed.kind, 'change')
  return (parsed as { change: PublicCommand }).change
}

describe('the PROXY protocol of a service', () => {
  const flags: Record<ProxyProtocol, number> = {
    off: 0,
    v1: SERVICE_FLAG.PROXY_V1,
    v2: SERVICE_FLAG.PROXY_V2,
    'v1-insecure': SERVICE_FLAG.PROXY_V1 | SERVICE_FLAG.PROXY_INSECURE,
    'v2-insecure': SERVICE_FLAG.PROXY_V2 | SERVICE_FLAG.PROXY_INSECURE,
  }

  for (const proxyProtocol of PROXY_PROTOCOLS) {
    it(`is given as ${proxyProtocol} in every way there is`, async () => {
      const word = proxyProtocol === 'off' ? 'disable' : proxyProtocol
      const typed = await line(`-A -t 198.18.0.1:80 -s wlc --proxy-protocol ${word}`)
      const text = `services: [{ tcp: "198.18.0.1:80", proxy-protocol: ${proxyProtocol} }]`
      const file = parseNative(text, 'f')
      assert.ok(file.ok)
      const [written] = reconcile(configOf([]), [], file.value.services)
      const sent = decodeCommand(encodeCommand(typed))
      assert.ok(sent.ok)
      for (const command of [typed, written, sent.value]) {
        const config = configOf([command])
        assert.equal(serviceIn(config, S4).proxyProtocol, proxyProtocol)
        assert.equal((published(config).flags >>> 16) << 16, flags[proxyProtocol])
        // The file says the same again: nothing to do.
        assert.deepEqual(reconcile(config, file.value.services, file.value.services), [])
      }
    })
  }

  it('stays where an edit does not name it, and goes with -E', async () => {
    const config = configOf([addService(S4, { proxyProtocol: 'v2' })])
    const options = serviceOptions(S4, { scheduler: 'rr' })
    const edited = configOf([{ kind: 'editService', service: S4, options }], config)
    assert.equal(serviceIn(edited, S4).proxyProtocol, 'v2')
    const typed = configOf([await line('-E -t 198.18.0.1:80 -s rr')], config)
    assert.equal(serviceIn(typed, S4).proxyProtocol, 'off')
  })

  it('is refused where it cannot be', async () => {
    const udp = serviceId('198.18.0.1', 53, 'udp')
    const empty = configOf([])
    assert.equal(refusal(empty, addService(udp, { proxyProtocol: 'v1' })), 'PROXY_PROTOCOL_BAD')
    assert.equal(refusal(empty, addService(udp, { proxyProtocol: 'v2' })), undefined)
    for (const word of ['v3', 'off', '']) {
      await assert.rejects(
        line(`-A -t 198.18.0.1:80 --proxy-protocol ${word}`),
        /illegal proxy protocol/,
      )
    }
    const config = configOf([addService(S4, { proxyProtocol: 'v2' })])
    assert.equal(refusalOf(config, 'kernel')?.code, 'NOT_SUPPORTED')
  })
})

describe('FULLNAT settings', () => {
  it('have the defaults of DPVS', () => {
    const config = configOf([addService(S4)])
    assert.deepEqual(config.fullnat, FULLNAT_DEFAULTS)
    assert.deepEqual(published(config), {
      flags: 2,
      fullnat: FULLNAT_FLAG.TOA | FULLNAT_FLAG.RANDOMISE,
      uoa: UOA.HEADER,
      trail: 0,
    })
  })

  it('come from the file and reach the workers', () => {
    const text = 'fullnat: { toa: false, random-isn: false, uoa: ipo, uoa-trail: 5 }'
    const file = parseNative(text, 'f')
    assert.ok(file.ok)
    const command = { kind: 'setFullnat', fullnat: file.value.settings.fullnat ?? {} } as const
    const sent = decodeCommand(encodeCommand(command))
    assert.deepEqual(sent.ok && sent.value, command)
    const config = configOf([addService(S4), command])
    assert.deepEqual(published(config), { flags: 2, fullnat: 0, uoa: UOA.OPTION, trail: 5 })
    // What is left out stays.
    const again = configOf([{ kind: 'setFullnat', fullnat: { toa: true } }], config)
    assert.deepEqual(again.fullnat, { toa: true, randomIsn: false, uoa: 'ipo', uoaTrail: 5 })
  })

  it('have limits', () => {
    assert.equal(UOA_TRAIL_MAX, LIMITS.UOA_TRAIL)
    const empty = configOf([])
    const trail = (uoaTrail: number) =>
      refusal(empty, { kind: 'setFullnat', fullnat: { uoaTrail } })
    assert.equal(trail(UOA_TRAIL_MAX), undefined)
    assert.equal(trail(UOA_TRAIL_MAX + 1), 'REQUEST_BAD')
    for (const text of [
      'fullnat: { toa: 1 }',
      'fullnat: { uoa: x }',
      'fullnat: { uoa-trail: 99 }',
    ]) {
      assert.equal(parseNative(text, 'f').ok, false, text)
    }
    for (const fullnat of [{ toa: 1 }, { uoa: 'x' }, { uoaTrail: 99 }, { randomIsn: 'no' }]) {
      assert.equal(decodeCommand({ kind: 'setFullnat', fullnat }).ok, false)
    }
  })
})

describe('one-packet scheduling and FULLNAT', () => {
  const dns = serviceId('198.18.0.1', 53, 'udp')
  const D = '198.18.1.1'
  const flags = SERVICE_FLAGS.ONE_PACKET
  const masked = { destination: { address: ip(D), port: 53 }, service: dns }
  const edit = (method: 'masquerade' | 'fullnat'): Command => {
    return { kind: 'editDestination', ...masked, options: { ...PLAIN, method } }
  }
  const serviceEdit = (to: number): Command => {
    return { kind: 'editService', service: dns, options: serviceOptions(dns, { flags: to }) }
  }
  const withOne = (to: number, method: 'masquerade' | 'fullnat') =>
    configOf([addService(dns, { flags: to }), addDestination(dns, D, { method }, 53)])

  it('exclude each other, whichever comes second', () => {
    const oneByOne = configOf([addService(dns, { flags })])
    const refused: [Config, Command][] = [
      [oneByOne, addDestination(dns, D, { method: 'fullnat' }, 53)],
      [withOne(flags, 'masquerade'), edit('fullnat')],
      [withOne(0, 'fullnat'), serviceEdit(flags)],
    ]
    for (const [config, command] of refused) {
      const result = apply(config, command)
      assert.ok(!result.ok)
      assert.equal(result.error.code, 'NOT_SUPPORTED')
      assert.match(result.error.message, /198\.18\.1\.1:53 of udp .* FULLNAT: .* take -o off/)
    }
  })

  it('follow each other', () => {
    for (const [config, command] of [
      [withOne(flags, 'masquerade'), serviceEdit(0)],
      [withOne(0, 'fullnat'), edit('masquerade')],
      [withOne(0, 'masquerade'), serviceEdit(flags)],
      [withOne(0, 'masquerade'), edit('fullnat')],
    ] as const) {
      assert.equal(refusal(config, command), undefined)
    }
  })
})

describe('IPv6 in front of IPv4', () => {
  const method = 'fullnat'

  it('is for FULLNAT, in one direction', async () => {
    const config = configOf([addService(S4), addService(S6)])
    assert.equal(refusal(config, addDestination(S6, '198.18.1.1', { method })), undefined)
    assert.equal(refusal(config, addDestination(S6, '198.18.1.1')), 'FAMILY_MIXED')
    assert.equal(refusal(config, addDestination(S4, '2001:db8::9', { method })), 'FAMILY_MIXED')
    const sctp = serviceId('2001:db8::1', 80, 'sctp')
    const served = configOf([addService(sctp)])
    assert.equal(refusal(served, addDestination(sctp, '198.18.1.1', { method })), 'FAMILY_MIXED')
    configOf([addDestination(sctp, '2001:db8::9', { method })], served)
    const typed = await line('-a -t [2001:db8::1]:80 -r 198.18.1.1:80 --fullnat')
    assert.equal(refusal(config, typed), undefined)
    await assert.rejects(line('-a -t [2001:db8::1]:80 -r 198.18.1.1:80 -m'), /address family/)
    await assert.rejects(line('-a -t 198.18.0.1:80 -r [2001:db8::9]:80 -b'), /address family/)
  })

  it('takes local addresses of both families', () => {
    const local = (service: typeof S4, text: string): PublicCommand => ({
      kind: 'addLocalAddress',
      service,
      address: ip(text),
    })
    const config = configOf([addService(S4), addService(S6)])
    assert.equal(refusal(config, local(S6, '198.18.2.1')), undefined)
    assert.equal(refusal(config, local(S4, '2001:db8::9')), 'LOCAL_ADDRESS_FAMILY')
    const addresses = [ip('198.18.2.1'), ip('2001:db8::9')]
    const shared = configOf([{ kind: 'setDefaultLocalAddresses', addresses }], config)
    const used = (of: Config) => effectiveLocalAddresses(of, serviceIn(of, S6)).map((a) => a.text)
    assert.deepEqual(used(shared), ['2001:db8::9'])
    const mixed = configOf([addDestination(S6, '198.18.1.1', { method })], shared)
    assert.deepEqual(used(mixed), ['198.18.2.1', '2001:db8::9'])
  })
})
