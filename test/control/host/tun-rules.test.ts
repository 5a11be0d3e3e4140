/** Policy rules as data: which there are, in which order they change, and how leftovers go. */
import assert from 'node:assert/strict'
import { parseRules } from '../../../src/control/host/leftovers.js'
import {
  batchText,
  cleanText,
  LOCAL_BACK,
  NO_RULES,
  unroutable,
  wantedRules,
  type RuleOptions,
} from '../../../src/control/host/tun-rules.js'
import { parseMarkWords, splitWords } from '../../../src/control/model/mark-parse.js'
import { markServiceId, SERVICE_FLAGS, type ServiceId } from '../../../src/control/model/service.js'
import type { PublicCommand } from '../../../src/control/model/commands.js'
import { addDestination, addService, configOf, ip, serviceId } from '../fixtures.js'

const TUN: RuleOptions = {
  io: 'tun',
  tunName: 'uvs0',
  own: new Set(['198.18.0.254']),
  heldAddresses: [],
  localPorts: { first: 5000, last: 65534 },
  ftpDataFirst: 1024,
  tunnels: ['tunl0', 'gre1'],
}

const FRAME = [
  'pref 78 nop protocol 177',
  'pref 73 nop protocol 177',
  'pref 75 iif uvs0 goto 78 protocol 177',
  'pref 70 iif uvs0 goto 73 protocol 177',
]

function masquerade(address: string, destination: string): PublicCommand[] {
  const id = serviceId(address, 80)
  return [addService(id), addDestination(id, destination, {}, 8080)]
}

describe('routing rules', () => {
  it('of --io tun: requests, replies, and a way around for what uvs sends', () => {
    const wanted = wantedRules(configOf(masquerade('198.18.9.1', '198.18.0.21')), TUN)
    assert.deepEqual(wanted[4], {
      rules: [
        ...FRAME,
        'pref 72 to 198.18.9.1 ipproto 6 dport 80 lookup 7777 protocol 177',
        'pref 72 to 198.18.9.1 ipproto 1 lookup 7777 protocol 177',
        'pref 76 from 198.18.0.21 ipproto 6 sport 8080 lookup 7777 protocol 177',
      ],
      localMoved: false,
    })
    assert.deepEqual(wanted[6], NO_RULES[6])
  })

  it('bring AH and ESP to where their keys are exchanged', () => {
    const texts = (id: ServiceId, port: number): string[] => {
      const real = id.address.family === 4 ? '198.18.0.21' : '2001:db8::21'
      const config = configOf([addService(id), addDestination(id, real, {}, port)])
      const { rules } = wantedRules(config, TUN)[id.address.family]
      return rules.filter((one) => / ipproto 5[01] /.test(one))
    }
    const four = ['198.18.9.1', '198.18.0.21']
    const wanted = [50, 51].map(
      (n) => `pref 72 to ${four[0]} ipproto ${n} lookup 7777 protocol 177`,
    )
    const back = [50, 51].map(
      (n) => `pref 76 from ${four[1]} ipproto ${n} lookup 7777 protocol 177`,
    )
    assert.deepEqual(texts(serviceId(four[0], 500, 'udp'), 500), [...wanted, ...back])
    assert.deepEqual(texts(serviceId(four[0], 0, 'udp'), 0), [...wanted, ...back])
    // Behind another port the destination's ESP is nobody's.
    assert.deepEqual(texts(serviceId(four[0], 500, 'udp'), 5000), wanted)
    assert.deepEqual(texts(serviceId(four[0], 501, 'udp'), 500), back)
    assert.deepEqual(texts(serviceId(four[0], 500, 'tcp'), 500), [])
    const six = serviceId('2001:db8:9::1', 500, 'udp')
    assert.deepEqual(texts(six, 500), [
      'pref 72 to 2001:db8:9::1 ipproto 50 lookup 7777 protocol 177',
      'pref 76 from 2001:db8::21 ipproto 50 lookup 7777 protocol 177',
    ])
  })

  it('with ignore_tunneled: what came out of a tunnel goes past the services', () => {
    const config = configOf([
      ...masquerade('198.18.9.1', '198.18.0.21'),
      { kind: 'setSysctl', name: 'ignore_tunneled', value: '1' },
    ])
    const wanted = wantedRules(config, TUN)
    assert.deepEqual(wanted[4].rules.slice(FRAME.length, FRAME.length + 2), [
      'pref 70 iif tunl0 goto 73 protocol 177',
      'pref 70 iif gre1 goto 73 protocol 177',
    ])
    assert.deepEqual(wanted[6], NO_RULES[6])
    const plain = wantedRules(configOf(masquerade('198.18.9.1', '198.18.0.21')), TUN)
    assert.ok(!plain[4].rules.some((one) => one.includes('iif tunl0')))
  })

  it('of a persistent FTP service: the ports of its data too', () => {
    const id = serviceId('198.18.9.1', 21)
    const config = configOf([addService(id, { flags: SERVICE_FLAGS.PERSISTENT })])
    assert.deepEqual(wantedRules(config, TUN)[4].rules.slice(FRAME.length), [
      'pref 72 to 198.18.9.1 ipproto 6 dport 21 lookup 7777 protocol 177',
      'pref 72 to 198.18.9.1 ipproto 6 dport 20 lookup 7777 protocol 177',
      'pref 72 to 198.18.9.1 ipproto 6 dport 1024-65534 lookup 7777 protocol 177',
      'pref 72 to 198.18.9.1 ipproto 1 lookup 7777 protocol 177',
    ])
    const dataPorts = (ftpDataFirst: number): string[] =>
      wantedRules(config, { ...TUN, ftpDataFirst })[4].rules.flatMap(
        (one) => /dport (\d+-\d+)/.exec(one)?.[1] ?? [],
      )
    assert.deepEqual(dataPorts(2000), ['2000-65534'])
    assert.deepEqual(dataPorts(0), ['1-65534'])
    assert.deepEqual(dataPorts(65535), [])
  })

  it("move the local table behind them when a virtual address is the host's", () => {
    const wanted = wantedRules(configOf(masquerade('198.18.0.254', '198.18.0.21')), TUN)
    assert.deepEqual(wanted[4], {
      rules: [
        ...FRAME,
        'pref 74 lookup local protocol 177',
        'pref 72 to 198.18.0.254 ipproto 6 dport 80 lookup 7777 protocol 177',
        'pref 76 from 198.18.0.21 ipproto 6 sport 8080 lookup 7777 protocol 177',
      ],
      localMoved: true,
    })
  })

  it('of FULLNAT: replies by local address, and by destination where the host has it', () => {
    const id = serviceId('2001:db8:9::1', 53, 'udp')
    const config = configOf([
      addService(id),
      addDestination(id, '2001:db8::21', { method: 'fullnat' }, 5353),
      { kind: 'addLocalAddress', service: id, address: ip('2001:db8:9::f0') },
    ])
    const rules = (own: string): readonly string[] =>
      wantedRules(config, { ...TUN, own: new Set([own]) })[6].rules.filter((rule) =>
        rule.includes('2001:db8:9::f0'),
      )
    assert.deepEqual(rules('2001:db8::fe'), [
      'pref 72 to 2001:db8:9::f0 ipproto 17 dport 5000-65534 lookup 7777 protocol 177',
      'pref 72 to 2001:db8:9::f0 ipproto 58 lookup 7777 protocol 177',
    ])
    assert.deepEqual(rules('2001:db8:9::f0'), [
      'pref 72 from 2001:db8::21 ipproto 17 sport 5353 to 2001:db8:9::f0 dport 5000-65534 ' +
        'lookup 7777 protocol 177',
    ])
  })

  it('of --io af_packet: only for destinations on the director itself', () => {
    const options: RuleOptions = { ...TUN, io: 'af_packet' }
    const config = configOf([
      ...masquerade('198.18.0.100', '198.18.0.254'),
      ...masquerade('198.18.0.101', '198.18.0.21'),
    ])
    assert.deepEqual(wantedRules(config, options), {
      4: {
        rules: ['pref 72 iif lo from 198.18.0.254 ipproto 6 sport 8080 lookup 7777 protocol 177'],
        localMoved: false,
      },
      6: NO_RULES[6],
    })
  })
})

describe('routing rules of marks', () => {
  const marked = (...rules: string[]) =>
    configOf([
      addService(markServiceId(5, 4)),
      { kind: 'addMarkRules', rules: rules.flatMap((rule) => parseMarkWords(splitWords(rule))) },
    ])
  const own = (...rules: string[]) => wantedRules(marked(...rules), TUN)[4]

  it('say what the rules select, behind a way around for packets of the host', () => {
    const { rules, localMoved } = own(
      '-d 198.18.9.0/24 -p tcp --dport 10000:20000 --set-mark 5',
      '-p udp --dport 53 --set-mark 5',
      '-d 198.18.9.1 -p tcp --set-mark 5',
    )
    assert.deepEqual(rules.slice(FRAME.length), [
      'pref 74 lookup local protocol 177',
      'pref 72 nop protocol 177',
      'pref 70 iif lo goto 72 protocol 177',
      'pref 71 to 198.18.9.0/24 ipproto 6 dport 10000-20000 lookup 7777 protocol 177',
      'pref 71 ipproto 17 dport 53-53 lookup 7777 protocol 177',
      'pref 71 to 198.18.9.1/32 ipproto 6 lookup 7777 protocol 177',
      'pref 72 to 198.18.9.0/24 ipproto 1 lookup 7777 protocol 177',
      'pref 72 to 198.18.9.1/32 ipproto 1 lookup 7777 protocol 177',
      'pref 72 to 198.18.9.1 ipproto 1 lookup 7777 protocol 177',
    ])
    // The rule without destination is for the host's own address too.
    assert.ok(localMoved)
  })

  it('bring AH and ESP along where they bring the port of their keys', () => {
    const ipsec = (words: string) =>
      own(words).rules.filter((one) => one.includes('pref 71') && / ipproto 5[01] /.test(one))
    const wanted = [50, 51].map(
      (n) => `pref 71 to 198.18.9.1/32 ipproto ${n} lookup 7777 protocol 177`,
    )
    assert.deepEqual(ipsec('-d 198.18.9.1 -p udp --dport 500 --set-mark 5'), wanted)
    assert.deepEqual(ipsec('-d 198.18.9.1 -p udp --dport 400:600 --set-mark 5'), wanted)
    assert.deepEqual(ipsec('-d 198.18.9.1 -p udp --dport 501: --set-mark 5'), [])
    assert.deepEqual(ipsec('-d 198.18.9.1 -p tcp --dport 500 --set-mark 5'), [])
  })

  it('are none without a service of the mark, and never name port 0 or 65535', () => {
    assert.deepEqual(own('-d 198.18.9.1 -p tcp --dport 80 --set-mark 6'), NO_RULES[4])
    const high = '-d 198.18.9.1 -p tcp --dport 60000: --set-mark 5'
    assert.match(own(high).rules.join(), /dport 60000-65534 /)
    assert.deepEqual(unroutable(marked(high)), ['198.18.9.1:65535'])
  })
})

describe('port 65535', () => {
  it('is left out, because no rule can name it, and told', () => {
    const id = serviceId('198.18.9.1', 65535)
    const config = configOf([addService(id), addDestination(id, '198.18.0.21', {}, 80)])
    const { rules } = wantedRules(config, TUN)[4]
    assert.ok(rules.every((rule) => !rule.includes('port 65535')))
    assert.ok(!rules.includes('pref 72 to 198.18.9.1 ipproto 6 lookup 7777 protocol 177'))
    assert.deepEqual(unroutable(config), ['198.18.9.1:65535'])
  })
})

describe('changes of rules', () => {
  const one = wantedRules(configOf(masquerade('198.18.0.254', '198.18.0.21')), TUN)[4]
  const two = wantedRules(configOf(masquerade('198.18.9.1', '198.18.0.22')), TUN)[4]
  const none = NO_RULES[4]

  it('nothing changes nothing', () => {
    assert.equal(batchText(one, one, 'uvs0'), '')
    assert.equal(batchText(none, none, 'uvs0'), '')
  })

  it('the local table is never missing', () => {
    for (const [before, after] of [
      [none, one],
      [one, two],
      [two, one],
      [one, none],
    ]) {
      let tables = 1
      for (const line of batchText(before, after, 'uvs0').trim().split('\n')) {
        if (line.includes('lookup local')) tables += line.startsWith('rule add') ? 1 : -1
        assert.ok(tables >= 1, line)
      }
      assert.equal(tables, 1)
    }
  })

  it('each line undoes or does exactly what differs', () => {
    const apply = (state: Set<string>, text: string): Set<string> => {
      for (const line of text.split('\n').filter((l) => l.includes('protocol 177'))) {
        if (line.startsWith('rule add ')) {
          assert.ok(!state.has(line.slice(9)), line)
          state.add(line.slice(9))
        } else if (line.startsWith('rule del ')) assert.ok(state.delete(line.slice(9)), line)
      }
      return state
    }
    const state = apply(new Set(), batchText(none, one, 'uvs0'))
    assert.deepEqual([...state].sort(), [...one.rules].sort())
    apply(state, batchText(one, two, 'uvs0'))
    assert.deepEqual([...state].sort(), [...two.rules].sort())
    assert.equal(apply(state, batchText(two, none, 'uvs0')).size, 0)
  })

  it('the route comes with the first rule', () => {
    const route = 'route replace default dev uvs0 table 7777 protocol 177\n'
    assert.ok(batchText(none, one, 'uvs0').startsWith(route))
    assert.ok(!batchText(two, one, 'uvs0').includes('route'))
  })
})

describe('leftover rules', () => {
  const OTHERS = [
    { priority: 0, src: 'all', table: 'local', protocol: 'kernel' },
    { priority: 72, src: 'all', table: '100' },
    { priority: 32766, src: 'all', table: 'main', protocol: 'kernel' },
  ]
  const ours = (priority: number, table = '7777') => ({ priority, table, protocol: '177' })

  it('of others stay', () => {
    assert.equal(cleanText(parseRules(JSON.stringify(OTHERS))), '')
    assert.equal(cleanText(parseRules('nonsense')), '')
  })

  it('of ours go one by one', () => {
    const text = cleanText(parseRules(JSON.stringify([...OTHERS, ours(72), ours(72), ours(78)])))
    assert.deepEqual(text.trim().split('\n'), [
      'rule del pref 72 protocol 177',
      'rule del pref 72 protocol 177',
      'rule del pref 78 protocol 177',
    ])
  })

  it('the local table goes back first', () => {
    const text = cleanText(parseRules(JSON.stringify([...OTHERS.slice(1), ours(74, 'local')])))
    assert.deepEqual(text.trim().split('\n'), [LOCAL_BACK, 'rule del pref 74 protocol 177'])
  })
})
