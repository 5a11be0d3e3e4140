/** What the classifier, the announcer and FULLNAT's ports are told, from configuration and host. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { addressFromMapped } from '../../../src/control/model/address.js'
import type { Command } from '../../../src/control/model/commands.js'
import type { Config } from '../../../src/control/model/config.js'
import { PLAIN_TUNNEL, type Method, type Tunnel } from '../../../src/control/model/destination.js'
import { parseMarkWords, splitWords } from '../../../src/control/model/mark-parse.js'
import { NO_PAST } from '../../../src/control/model/past.js'
import { markServiceId, SERVICE_FLAGS } from '../../../src/control/model/service.js'
import {
  BY_ADDRESS,
  CLASSIFIER_KIND,
  ENTRY_BYTES,
  hostFacts,
  LOCAL_PORTS,
  SOURCE_FLAG,
  type Held,
  type HostView,
} from '../../../src/control/host/quiet.js'
import {
  addDestination,
  addService,
  configOf,
  deleteDestination,
  ip,
  PLAIN,
  serviceId,
  serviceIn,
  serviceOptions,
} from '../fixtures.js'

/** Interfaces in short: name -> addresses with prefix length. */
function interfaces(names: Record<string, readonly string[]>): HostView['interfaces'] {
  return Object.entries(names).map(([name, addresses], i) => ({
    ifindex: i + 1,
    name,
    up: true,
    mtu: 1500,
    isTunnel: false,
    addresses: addresses.map((text) => {
      const [address, bits] = text.split('/')
      return { address: ip(address), prefixBits: Number(bits) }
    }),
  }))
}

const HOST: HostView = {
  interfaces: interfaces({
    lo: ['127.0.0.1/8', '198.18.0.200/32'],
    eth0: ['198.18.0.254/24', '2001:db8::fe/64'],
    eth1: ['198.18.0.130/25', '198.18.7.1/24'],
  }),
  ports: ['eth0', 'eth1'],
  isServed: () => false,
  heldAddresses: [],
  ephemeralPorts: { first: 32768, last: 60999 },
  unprivilegedStart: 1024,
  localPorts: LOCAL_PORTS,
  announce: true,
}

/** Entries in words: kind, address, port, protocol, flags. */
function words(entries: Uint8Array): string[] {
  const names = Object.entries(CLASSIFIER_KIND)
  assert.equal(entries.length % ENTRY_BYTES, 0)
  return Array.from({ length: entries.length / ENTRY_BYTES }, (_, i) => {
    const record = entries.subarray(i * ENTRY_BYTES, (i + 1) * ENTRY_BYTES)
    const view = new DataView(record.buffer, record.byteOffset, ENTRY_BYTES)
    assert.equal(view.getUint32(20), 0)
    const kind = names.find(([, value]) => value === view.getUint8(19))?.[0]
    const { text } = addressFromMapped(record.subarray(0, 16))
    const rest = [view.getUint16(16), view.getUint8(18), view.getUint32(24, true)]
    return [kind, text, ...rest].join(' ')
  })
}

const entriesOf = (...args: Parameters<typeof hostFacts>): string[] =>
  words(hostFacts(...args).entries).filter((entry) => !entry.startsWith('HOST'))

/** Without the entries that parts of datagrams are looked up by. */
const wholePackets = (entries: readonly string[]): string[] =>
  entries.filter((entry) => !entry.startsWith('FRAGMENT_SOURCE'))

describe('classifier entries', () => {
  it('kinds and flags are those of native/io/classifier_program.h', () => {
    const url = new URL('../../../../native/io/classifier_program.h', import.meta.url)
    const header = readFileSync(url, 'utf8')
    for (const [name, value] of Object.entries(CLASSIFIER_KIND)) {
      const camel = name
        .toLowerCase()
        .replace(/(^|_)(\w)/g, (_, _dash, c: string) => c.toUpperCase())
      assert.match(header, new RegExp(`\\bk${camel} = ${value},`))
    }
    assert.match(header, new RegExp(`kEntryMasquerade = ${SOURCE_FLAG.MASQUERADE};`))
    assert.match(header, new RegExp(`kEntryFullnat = ${SOURCE_FLAG.FULLNAT};`))
    assert.match(header, new RegExp(`kEntryByAddress = ${BY_ADDRESS};`))
    assert.match(header, new RegExp(`sizeof\\(ClassifierEntry\\) == ${ENTRY_BYTES}\\)`))
  })

  it('an SCTP service', () => {
    const id = { ...serviceId('198.18.0.100', 2905), protocol: 'sctp' as const }
    const config = configOf([addService(id), addDestination(id, '198.18.0.21', {}, 2906)])
    assert.deepEqual(wholePackets(entriesOf(config, HOST)).slice(0, 3), [
      'SERVICE 198.18.0.100 2905 132 0',
      'SOURCE 198.18.0.21 2906 132 1',
      'VIRTUAL 198.18.0.100 0 0 0',
    ])
  })

  it('a masquerade service', () => {
    const id = serviceId('198.18.0.100', 80)
    const config = configOf([addService(id), addDestination(id, '198.18.0.21', {}, 8080)])
    assert.deepEqual(entriesOf(config, HOST), [
      'SERVICE 198.18.0.100 80 6 0',
      'SOURCE 198.18.0.21 8080 6 1',
      'FRAGMENT_SOURCE 198.18.0.21 0 0 1',
      'VIRTUAL 198.18.0.100 0 0 0',
      'ANNOUNCE 198.18.0.100 0 0 0',
    ])
  })

  it('direct and tunnel destinations answer clients themselves', () => {
    const id = serviceId('198.18.0.100', 53, 'udp')
    const config = configOf([
      addService(id),
      addDestination(id, '198.18.0.21', { method: 'direct' }),
      addDestination(id, '198.18.0.22', { method: 'tunnel' }),
    ])
    assert.ok(!entriesOf(config, HOST).some((entry) => entry.startsWith('SOURCE')))
  })

  it('errors about tunnel packets are recognised by where the tunnel ends, IPv4', () => {
    const id = serviceId('198.18.0.100', 53, 'udp')
    const to = (text: string, tunnel: Partial<Tunnel>, method: Method = 'tunnel') =>
      addDestination(id, text, { method, tunnel: { ...PLAIN_TUNNEL, ...tunnel } })
    const config = configOf([
      addService(id),
      to('198.18.0.21', {}),
      to('198.18.0.22', { type: 'gre', checksum: 'csum' }),
      to('198.18.0.23', { type: 'gue', port: 6080 }),
      to('2001:db8::21', {}),
      to('198.18.0.24', { type: 'gue', port: 6080 }, 'direct'),
    ])
    assert.deepEqual(
      entriesOf(config, HOST)
        .filter((entry) => entry.startsWith('TUNNEL'))
        .sort(),
      ['TUNNEL 198.18.0.21 0 4 0', 'TUNNEL 198.18.0.22 0 47 0', 'TUNNEL 198.18.0.23 6080 17 0'],
    )
  })

  it("GUE tunnels come from the host's ephemeral ports", () => {
    const ports = (first: number, last: number): number[] => {
      const facts = hostFacts(configOf([]), { ...HOST, ephemeralPorts: { first, last } })
      return [facts.ephemeralPortFirst, facts.ephemeralPortLast]
    }
    assert.deepEqual(ports(40000, 50000), [40000, 50000])
    assert.deepEqual(ports(65536, 0), [32768, 60999]) // the host says none
  })

  it('one destination in a masquerade and a FULLNAT service has both flags', () => {
    const one = serviceId('198.18.0.100', 80)
    const two = serviceId('198.18.0.101', 80)
    const config = configOf([
      addService(one),
      addService(two),
      addDestination(one, '198.18.0.21'),
      addDestination(two, '198.18.0.21', { method: 'fullnat' }),
      { kind: 'addLocalAddress', service: two, address: ip('198.18.0.240') },
    ])
    const entries = entriesOf(config, HOST)
    assert.deepEqual(
      entries.filter((entry) => entry.startsWith('SOURCE')),
      ['SOURCE 198.18.0.21 80 6 3'],
    )
    assert.ok(entries.includes('LOCAL_ADDRESS 198.18.0.240 0 0 0'))
    assert.ok(entries.includes('ANNOUNCE 198.18.0.240 0 0 0'))
  })

  it('removed destinations stay while connections may name them', () => {
    const id = serviceId('198.18.0.100', 80)
    const config = configOf([
      addService(id),
      addDestination(id, '198.18.0.21'),
      deleteDestination(id, '198.18.0.21'),
    ])
    assert.ok(entriesOf(config, HOST).includes('SOURCE 198.18.0.21 80 6 1'))
  })

  it('replies of connections from before an edit are taken, until none is left', () => {
    const id = serviceId('198.18.0.100', 80)
    const sources = (config: Config) =>
      entriesOf(config, HOST).filter((entry) => /^(SOURCE|TUNNEL|LOCAL)/.test(entry))
    const destination = { address: ip('198.18.0.21'), port: 80 }
    const to = (method: Method): Command => ({
      kind: 'editDestination',
      service: id,
      destination,
      options: { ...PLAIN, method },
    })
    const defaults = [ip('198.18.0.240')]
    const forget = (used: readonly number[]): Command => ({
      kind: 'forget',
      slotsInUse: new Set(used),
      lingers: false,
    })
    let config = configOf([
      { kind: 'setDefaultLocalAddresses', addresses: defaults },
      addService(id),
      addDestination(id, '198.18.0.21'),
      to('direct'),
    ])
    const masquerade = 'SOURCE 198.18.0.21 80 6 1'
    assert.deepEqual(sources(config), [masquerade])
    config = configOf([to('fullnat'), to('tunnel')], config)
    const all = [
      'SOURCE 198.18.0.21 80 6 3',
      'LOCAL_ADDRESS 198.18.0.240 0 0 0',
      'TUNNEL 198.18.0.21 0 4 0',
    ]
    assert.deepEqual(sources(config), all)
    const { slot } = serviceIn(config, id).destinations[0]
    // Used, idle, used again, idle, idle: only then is nobody left who needs it.
    for (const used of [[slot], [], [slot], []]) {
      config = configOf([forget(used)], config)
      assert.deepEqual(sources(config), all)
    }
    config = configOf([forget([])], config)
    assert.deepEqual(sources(config), ['TUNNEL 198.18.0.21 0 4 0'])
    // One that comes back from the trash may have connections too.
    config = configOf([to('masquerade'), deleteDestination(id, '198.18.0.21')], config)
    config = configOf([addDestination(id, '198.18.0.21', { method: 'direct' })], config)
    assert.ok(sources(config).includes(masquerade))
  })

  it('replies of other ports are taken after persistence has been turned off', () => {
    const id = serviceId('198.18.0.100', 21)
    const edit = (flags: number): Command => ({
      kind: 'editService',
      service: id,
      options: serviceOptions(id, { flags }),
    })
    const before = [
      addService(id, { flags: SERVICE_FLAGS.PERSISTENT }),
      addDestination(id, '198.18.0.21', {}, 21),
    ]
    const ports = (config: Config) =>
      entriesOf({ ...config, ftpPorts: [] }, HOST).filter((e) => /^(SOURCE|FTP)/.test(e))
    const persistent = ports(configOf(before))
    assert.ok(persistent.includes('FTP_DATA 198.18.0.100 0 6 4'))
    const edited = configOf([...before, edit(0)])
    assert.deepEqual(ports(edited), persistent)
    const none: Command = { kind: 'forget', slotsInUse: new Set(), lingers: false }
    assert.deepEqual(ports(configOf([none, none], edited)), ['SOURCE 198.18.0.21 21 6 5'])
  })

  it('local addresses that connections still have are taken and announced', () => {
    const id = serviceId('198.18.0.100', 80)
    const config = configOf([
      addService(id),
      addDestination(id, '198.18.0.21', { method: 'fullnat' }),
      { kind: 'addLocalAddress', service: id, address: ip('198.18.0.240') },
    ])
    const facts = hostFacts(config, { ...HOST, heldAddresses: [ip('198.18.0.241')] })
    const entries = words(facts.entries)
    for (const address of ['198.18.0.240', '198.18.0.241']) {
      assert.ok(entries.includes(`LOCAL_ADDRESS ${address} 0 0 0`), address)
      assert.ok(entries.includes(`ANNOUNCE ${address} 0 0 0`), address)
    }
    const texts = facts.held.localAddresses.map(({ text }) => text)
    assert.deepEqual(texts, ['198.18.0.240', '198.18.0.241'])
  })

  it('a destination that comes back as it was has no past', () => {
    const id = serviceId('198.18.0.100', 80)
    for (const flags of [0, SERVICE_FLAGS.PERSISTENT]) {
      const config = configOf([
        addService(id, { flags }),
        addDestination(id, '198.18.0.21'),
        deleteDestination(id, '198.18.0.21'),
        addDestination(id, '198.18.0.21'),
      ])
      assert.equal(serviceIn(config, id).destinations[0].past, NO_PAST)
    }
  })

  it('a service whose clients have a worker each goes on so, and no other becomes one', () => {
    const [one, two] = [serviceId('198.18.0.100', 80), markServiceId(5, 4)]
    const alone = configOf([addService(one), addDestination(one, '198.18.0.21')])
    const shared = configOf([addService(two), addDestination(two, '198.18.0.21')], alone)
    const ended = configOf(
      [
        { kind: 'deleteService', service: two },
        { kind: 'reap', nowMs: 1, slotsInUse: new Set() },
        { kind: 'reap', nowMs: 1_000_000, slotsInUse: new Set() },
      ],
      shared,
    )
    const service = 'SERVICE 198.18.0.100 80 6 '
    const flagsOf = (config: Config, before?: Held) =>
      words(hostFacts(config, HOST, before).entries).find((entry) => entry.startsWith(service))
    assert.equal(flagsOf(alone), `${service}0`)
    assert.equal(flagsOf(shared), `${service}4`)
    assert.equal(flagsOf(ended), `${service}0`)
    assert.equal(flagsOf(ended, hostFacts(shared, HOST).held), `${service}4`)
    // Only where it was there before, its connections may be with another worker.
    assert.equal(hostFacts(shared, HOST).held.moved, false)
    const before = hostFacts(alone, HOST).held
    assert.equal(hostFacts(shared, HOST, before).held.moved, false)
    const { slot } = serviceIn(alone, one).destinations[0]
    const served = { ...HOST, isServed: (asked: number) => asked === slot }
    const moved = hostFacts(shared, served, before).held
    assert.equal(moved.moved, true)
    assert.equal(hostFacts(ended, HOST, moved).held.moved, true)
    const removed = configOf([{ kind: 'deleteService', service: one }], ended)
    const gone = configOf([{ kind: 'reap', nowMs: 1, slotsInUse: new Set() }], removed)
    assert.equal(hostFacts(gone, HOST, hostFacts(ended, HOST).held).held.together.size, 0)
  })

  it('a service has the workers of one of all ports beside it', () => {
    const [one, all] = [serviceId('198.18.0.100', 80), serviceId('198.18.0.100', 0)]
    const persistent = { flags: SERVICE_FLAGS.PERSISTENT }
    const both = configOf([addService(all, persistent), addService(one)])
    assert.ok(entriesOf(both, HOST).includes('SERVICE 198.18.0.100 80 6 4'))
    const other = serviceId('198.18.0.100', 53, 'udp')
    const apart = configOf([addService(all, persistent), addService(other)])
    assert.ok(entriesOf(apart, HOST).includes('SERVICE 198.18.0.100 53 17 0'))
  })

  it('a service that a mark may take packets from has its workers', () => {
    const [one, two] = [serviceId('198.18.0.100', 80), markServiceId(5, 4)]
    const flagsWith = (rule: string) => {
      const rules = parseMarkWords(splitWords(`${rule} --set-mark 5`))
      const config = configOf([addService(one), addService(two), { kind: 'addMarkRules', rules }])
      return entriesOf(config, HOST).find((entry) => entry.startsWith('SERVICE 198.18.0.100 80'))
    }
    assert.equal(flagsWith('-d 198.18.0.100 -p tcp --dport 80'), 'SERVICE 198.18.0.100 80 6 4')
    assert.equal(flagsWith('-d 198.18.0.0/24'), 'SERVICE 198.18.0.100 80 6 4')
    for (const other of ['-p udp', '-p tcp --dport 81', '-d 198.18.1.0/24']) {
      assert.equal(flagsWith(other), 'SERVICE 198.18.0.100 80 6 0', other)
    }
  })

  it('data connections of a removed persistent FTP service are taken, and parts to it', () => {
    const id = serviceId('198.18.0.100', 21)
    const flags = SERVICE_FLAGS.PERSISTENT
    const removed = configOf([
      addService(serviceId('198.18.0.101', 80)),
      addService(id, { flags }),
      addDestination(id, '198.18.0.21', { method: 'direct' }, 21),
      { kind: 'deleteService', service: id },
    ])
    const entries = entriesOf({ ...removed, ftpPorts: [] }, HOST)
    assert.ok(entries.includes('FTP_DATA 198.18.0.100 0 6 4'))
    assert.ok(entries.includes('VIRTUAL 198.18.0.100 0 0 0'))
    assert.ok(!entries.includes('ANNOUNCE 198.18.0.100 0 0 0'))
  })

  it("a removed service's requests and replies stay, while its family has a service", () => {
    const id = serviceId('198.18.0.100', 80)
    const added = configOf([addService(id), addDestination(id, '198.18.0.21')])
    const gone = configOf([{ kind: 'deleteService', service: id }], added)
    assert.deepEqual(entriesOf(gone, HOST), [])
    const six = configOf([addService(serviceId('2001:db8::100', 80))], gone)
    assert.ok(!entriesOf(six, HOST).some((entry) => entry.includes('198.18.0')))
    const other = configOf([addService(serviceId('198.18.0.101', 80))], gone)
    assert.deepEqual(
      entriesOf(other, HOST).filter((entry) => /SERVICE|SOURCE/.test(entry)),
      [
        'SERVICE 198.18.0.101 80 6 0',
        'SERVICE 198.18.0.100 80 6 0',
        'SOURCE 198.18.0.21 80 6 1',
        'FRAGMENT_SOURCE 198.18.0.21 0 0 1',
      ],
    )
  })

  it('destination port 0 is the port of the service', () => {
    const id = serviceId('198.18.0.100', 8080)
    const config = configOf([addService(id), addDestination(id, '198.18.0.21', {}, 0)])
    assert.ok(entriesOf(config, HOST).includes('SOURCE 198.18.0.21 8080 6 1'))
  })

  it('a persistent FTP service takes data connections too, whose replies have any port', () => {
    const id = serviceId('198.18.0.100', 21)
    const entries = (flags: number, method: 'masquerade' | 'direct' | 'fullnat'): string[] =>
      wholePackets(
        entriesOf(
          configOf([addService(id, { flags }), addDestination(id, '198.18.0.21', { method }, 21)]),
          HOST,
        ),
      )
    const masqueraded = [
      'SERVICE 198.18.0.100 21 6 4',
      'FTP_DATA 198.18.0.100 0 6 4',
      'SOURCE 198.18.0.21 0 6 5',
      'SOURCE 198.18.0.21 21 6 5',
    ]
    const persistent = SERVICE_FLAGS.PERSISTENT
    assert.deepEqual(entries(persistent, 'masquerade').slice(0, 4), masqueraded)
    assert.deepEqual(entries(persistent, 'direct').slice(0, 2), masqueraded.slice(0, 2))
    // The helper expects data connections without persistence too.
    assert.deepEqual(entries(0, 'masquerade').slice(0, 4), masqueraded)
    assert.ok(!entries(0, 'direct').some((entry) => entry.startsWith('FTP_DATA')))
    assert.ok(!entries(0, 'fullnat').some((entry) => entry.startsWith('FTP_DATA')))
  })

  it('data connections begin where the host says, those of the helper at 1024', () => {
    const id = serviceId('198.18.0.100', 21)
    const flags = SERVICE_FLAGS.PERSISTENT
    const first = (unprivilegedStart: number, method: 'masquerade' | 'direct'): number[] => {
      const commands = [addService(id, { flags }), addDestination(id, '198.18.0.21', { method })]
      const facts = hostFacts(configOf(commands), { ...HOST, unprivilegedStart })
      return [facts.unprivilegedStart, facts.ftpDataFirst]
    }
    assert.deepEqual(first(80, 'direct'), [80, 80])
    assert.deepEqual(first(2000, 'direct'), [2000, 2000])
    // The rule of the workers is the host's; what the helper expects comes to them as well.
    assert.deepEqual(first(80, 'masquerade'), [80, 80])
    assert.deepEqual(first(2000, 'masquerade'), [2000, 1024])
  })

  it('the ports of the FTP helper are those of the configuration', () => {
    const id = serviceId('198.18.0.100', 2100)
    const commands = [addService(id), addDestination(id, '198.18.0.21', {}, 21)]
    const entries = (ftpPorts: number[]): string[] =>
      wholePackets(entriesOf({ ...configOf(commands), ftpPorts }, HOST)).slice(0, 4)
    assert.deepEqual(entries([21, 2100]), [
      'SERVICE 198.18.0.100 2100 6 4',
      'FTP_DATA 198.18.0.100 0 6 4',
      'SOURCE 198.18.0.21 0 6 5',
      'SOURCE 198.18.0.21 21 6 5',
    ])
    assert.deepEqual(entries([21]).slice(0, 2), [
      'SERVICE 198.18.0.100 2100 6 0',
      'SOURCE 198.18.0.21 21 6 1',
    ])
  })

  it('services that share the port of a destination with FTP have its workers, others not', () => {
    const ftp = serviceId('198.18.0.100', 21)
    const same = serviceId('198.18.0.101', 2100)
    const chained = serviceId('198.18.0.102', 80)
    const web = serviceId('198.18.0.100', 80)
    const entries = entriesOf(
      configOf([
        ...[ftp, same, chained, web].map((id) => addService(id)),
        addDestination(ftp, '198.18.0.21', {}, 21),
        addDestination(same, '198.18.0.21', {}, 21),
        addDestination(same, '198.18.0.22', {}, 8080),
        addDestination(chained, '198.18.0.22', {}, 8080),
        addDestination(web, '198.18.0.21', {}, 80),
      ]),
      HOST,
    )
    assert.deepEqual(wholePackets(entries.filter((entry) => /SERVICE|SOURCE/.test(entry))).sort(), [
      'SERVICE 198.18.0.100 21 6 4',
      'SERVICE 198.18.0.100 80 6 0',
      'SERVICE 198.18.0.101 2100 6 4',
      'SERVICE 198.18.0.102 80 6 4',
      'SOURCE 198.18.0.21 0 6 5',
      'SOURCE 198.18.0.21 21 6 5',
      'SOURCE 198.18.0.21 80 6 1',
      'SOURCE 198.18.0.22 8080 6 5',
    ])
  })

  it('services that share an address with one that replies from any port have its workers', () => {
    const web = serviceId('198.18.0.100', 80)
    const all = serviceId('198.18.0.101', 0)
    const far = serviceId('198.18.0.102', 80)
    const entries = entriesOf(
      configOf([
        addService(web),
        addService(all, { flags: SERVICE_FLAGS.PERSISTENT }),
        addService(far),
        addDestination(web, '198.18.0.21', {}, 80),
        addDestination(all, '198.18.0.21', {}, 0),
        addDestination(far, '198.18.0.22', {}, 80),
      ]),
      HOST,
    )
    assert.deepEqual(wholePackets(entries.filter((entry) => /SERVICE|SOURCE/.test(entry))).sort(), [
      'SERVICE 198.18.0.100 80 6 4',
      'SERVICE 198.18.0.101 0 6 4',
      'SERVICE 198.18.0.102 80 6 0',
      'SOURCE 198.18.0.21 0 6 5',
      'SOURCE 198.18.0.21 80 6 5',
      'SOURCE 198.18.0.22 80 6 1',
    ])
  })

  it('connections to a service of all ports keep their port, whatever the destination has', () => {
    const id = serviceId('198.18.0.100', 0)
    const add = addService(id, { flags: SERVICE_FLAGS.PERSISTENT })
    const config = configOf([add, addDestination(id, '198.18.0.21', {}, 8080)])
    assert.ok(entriesOf(config, HOST).includes('SOURCE 198.18.0.21 0 6 5'))
  })

  it("all of the host's addresses, IPv6 too", () => {
    const hosts = words(hostFacts(configOf([]), HOST).entries)
    assert.deepEqual(hosts, [
      'HOST 127.0.0.1 0 0 0',
      'HOST 198.18.0.200 0 0 0',
      'HOST 198.18.0.254 0 0 0',
      'HOST 2001:db8::fe 0 0 0',
      'HOST 198.18.0.130 0 0 0',
      'HOST 198.18.7.1 0 0 0',
    ])
  })

  it('default local addresses count where a FULLNAT destination of their family is', () => {
    const id = serviceId('2001:db8::100', 80)
    const defaults = [ip('198.18.0.240'), ip('2001:db8::f0')]
    const config = configOf([
      { kind: 'setDefaultLocalAddresses', addresses: defaults },
      addService(id),
      addDestination(id, '2001:db8::21', { method: 'fullnat' }),
    ])
    const local = entriesOf(config, HOST).filter((entry) => entry.startsWith('LOCAL_ADDRESS'))
    assert.deepEqual(local, ['LOCAL_ADDRESS 2001:db8::f0 0 0 0'])
  })
})

describe('classifier entries of mark services', () => {
  const rules = ['-d 198.18.7.9 -p tcp --set-mark 5', '-d 198.18.7.0/24 --set-mark 5'].flatMap(
    (rule) => parseMarkWords(splitWords(rule)),
  )

  it('single addresses of rules are virtual and announced, networks are not', () => {
    const config = configOf([addService(markServiceId(5, 4)), { kind: 'addMarkRules', rules }])
    const { entries, announces } = hostFacts(config, HOST)
    assert.deepEqual(
      words(entries).filter((entry) => !entry.startsWith('HOST')),
      ['VIRTUAL 198.18.7.9 0 0 0', 'ANNOUNCE 198.18.7.9 0 0 0'],
    )
    assert.deepEqual(announces, [{ address: ip('198.18.7.9'), port: 1 }])
  })

  it('replies come from the port of the destination, with persistence from any', () => {
    const id = markServiceId(5, 4)
    const sources = (flags: number) => {
      const destination = addDestination(id, '198.18.1.1', {}, 8080)
      const { entries } = hostFacts(configOf([addService(id, { flags }), destination]), HOST)
      return words(entries).filter((entry) => entry.startsWith('SOURCE'))
    }
    // Steered by the client's address alone, as requests that a mark selects.
    assert.deepEqual(sources(0), [
      'SOURCE 198.18.1.1 8080 6 5',
      'SOURCE 198.18.1.1 8080 17 5',
      'SOURCE 198.18.1.1 8080 132 5',
    ])
    assert.deepEqual(sources(SERVICE_FLAGS.PERSISTENT), [
      'SOURCE 198.18.1.1 0 6 5',
      'SOURCE 198.18.1.1 0 17 5',
      'SOURCE 198.18.1.1 0 132 5',
    ])
  })
})

describe('announced addresses', () => {
  const announced = (address: string, host: Partial<HostView> = {}): number | undefined => {
    const config = configOf([addService(serviceId(address, 80))])
    return hostFacts(config, { ...HOST, ...host }).announces[0]?.port
  }

  it('are announced on the port with the narrowest subnet', () => {
    assert.equal(announced('198.18.0.100'), 0)
    assert.equal(announced('198.18.0.140'), 1)
    assert.equal(announced('198.18.7.9'), 1)
    assert.equal(announced('2001:db8::1:1'), 0)
  })

  it('are not announced when the host has them, no subnet does, or it is turned off', () => {
    assert.equal(announced('198.18.0.200'), undefined)
    assert.equal(announced('198.19.0.1'), undefined)
    assert.equal(announced('198.18.0.100', { announce: false }), undefined)
    assert.equal(announced('198.18.0.100', { ports: [] }), undefined)
  })
})

describe('FULLNAT local ports', () => {
  const portsWith = (local: string, first = 32768, last = 60999): number[] => {
    const id = serviceId('198.18.0.100', 80)
    const config = configOf([
      addService(id),
      addDestination(id, '198.18.0.21', { method: 'fullnat' }),
      { kind: 'addLocalAddress', service: id, address: ip(local) },
    ])
    const facts = hostFacts(config, { ...HOST, ephemeralPorts: { first, last } })
    return [facts.localPortFirst, facts.localPortLast]
  }

  it('are all but the low ones', () => assert.deepEqual(portsWith('198.18.0.240'), [5000, 65535]))

  it("keep out of the host's own when the address is the host's too", () => {
    assert.deepEqual(portsWith('198.18.0.254'), [5000, 32767])
    assert.deepEqual(portsWith('198.18.0.254', 5000, 20000), [20001, 65535])
    assert.deepEqual(portsWith('198.18.0.254', 1024, 65535), [5000, 65535])
  })

  it('of connections from before a change are taken still', () => {
    const id = serviceId('198.18.0.100', 80)
    const config = (...texts: string[]) =>
      configOf([
        addService(id),
        addDestination(id, '198.18.0.21', { method: 'fullnat' }),
        ...texts.map((text): Command => ({
          kind: 'addLocalAddress',
          service: id,
          address: ip(text),
        })),
      ])
    const before = hostFacts(config('198.18.0.240'), HOST)
    assert.deepEqual(before.takenPorts, { first: 5000, last: 65535 })
    const own = config('198.18.0.240', '198.18.0.254')
    const after = hostFacts(own, HOST, before.held)
    assert.deepEqual([after.localPortFirst, after.localPortLast], [5000, 32767])
    assert.deepEqual(after.takenPorts, before.takenPorts)
    const fresh = hostFacts(own, HOST, hostFacts(configOf([]), HOST).held)
    assert.deepEqual(fresh.takenPorts, { first: 5000, last: 32767 })
  })
})
