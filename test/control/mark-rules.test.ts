/** Mark rules: their words, what is refused, what they come to, and the commands about them. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { decodeCommand, encodeCommand } from '../../src/control/api/schema.js'
import { refusalOf, idleSentences } from '../../src/control/model/carried.js'
import { emptyConfig } from '../../src/control/model/config.js'
import { compileMarkRules, markSteps } from '../../src/control/model/mark-compile.js'
import { markedAddresses, selectedEnds } from '../../src/control/model/mark-ends.js'
import { MarkProblem, parseMarkWords, splitWords } from '../../src/control/model/mark-parse.js'
import { checkMarkRule, MARK_LIMITS, prefixesOf } from '../../src/control/model/mark-rule.js'
import { markRuleText, saveMarkRules } from '../../src/control/model/mark-text.js'
import { markServiceId } from '../../src/control/model/service.js'
import { parseNative } from '../../src/control/config/native-format.js'
import { reconcileMarks } from '../../src/control/config/reconcile.js'
import { LIMITS } from '../../src/dataplane/layout.js'
import { randomRules } from '../support/mark-model.js'
import { SeededRandom } from '../support/seeded-random.js'
import { addService, CAPACITY, configOf, ip, refusal } from './fixtures.js'

const read = (line: string) => parseMarkWords(splitWords(line))
const texts = (line: string) => read(line).map(markRuleText)

const RULE = '-d 198.18.0.200 -p tcp --dport 21 --set-mark 21'
const RULE_TEXT =
  '-A PREROUTING -4 -d 198.18.0.200/32 -p tcp -m tcp --dport 21 -j MARK --set-xmark 0x15/0xffffffff'

/** What is typed, and what iptables-save would print. */
const WORDS: readonly (readonly [typed: string, ...saved: string[]])[] = [
  [RULE, RULE_TEXT],
  [`-t mangle -A PREROUTING ${RULE.replace('--set', '-j MARK --set')}`, RULE_TEXT],
  [
    '-p tcp -d 198.18.0.200 --dport 10000:20000 -j MARK --set-mark 21',
    RULE_TEXT.replace('--dport 21', '--dport 10000:20000'),
  ],
  [
    '! -s 198.18.4.5/255.255.255.0 ! -i eth+ -p udp ! --sports 53,1024: --or-mark 0x10',
    '-A PREROUTING -4 ! -s 198.18.4.0/24 ! -i eth+ -p udp -m multiport ! --sports 53,1024:65535 ' +
      '-j MARK --set-xmark 0x10/0x10',
  ],
  [
    '-d ! 2001:DB8::7 --and-mark 0xff',
    '-A PREROUTING -6 ! -d 2001:db8::7/128 -j MARK --set-xmark 0x0/0xffffff00',
  ],
  [
    '-6 -p 17 --ports 53 --set-mark 0x1/0xf',
    '-A PREROUTING -6 -p udp -m multiport --ports 53 -j MARK --set-xmark 0x1/0xf',
  ],
  [
    '-m mark ! --mark 0x0/0xff -m comment --comment "say \\"hi\\"" --xor-mark 010',
    '-A PREROUTING -4 -m mark ! --mark 0x0/0xff -j MARK --set-xmark 0x8/0x0',
  ],
  [
    '-d 198.18.0.1,198.18.0.2 --set-xmark 3/2',
    '-A PREROUTING -4 -d 198.18.0.1/32 -j MARK --set-xmark 0x3/0x2',
    '-A PREROUTING -4 -d 198.18.0.2/32 -j MARK --set-xmark 0x3/0x2',
  ],
  [
    '-m iprange --dst-range 198.18.0.5-198.18.0.8 -j RETURN',
    '-A PREROUTING -4 -d 198.18.0.5/32 -j RETURN',
    '-A PREROUTING -4 -d 198.18.0.6/31 -j RETURN',
    '-A PREROUTING -4 -d 198.18.0.8/32 -j RETURN',
  ],
  ['-A LVS -d 0.0.0.0/0 -p all -i + -j WEB', '-A LVS -4 -j WEB'],
  ['-p tcp -j LOG'],
]

/** What is refused, with a part of the sentence. */
const REFUSED: readonly (readonly [typed: string, why: RegExp])[] = [
  ['--dport 80 --set-mark 1', /ports need a protocol/],
  ['! -p tcp --dport 80 --set-mark 1', /ports need a protocol/],
  ['-p tcp --dport ftp --set-mark 1', /names of services/],
  ['-p tcp --dport 90:80 --set-mark 1', /no range of ports/],
  ['-p tcp --dport 65536 --set-mark 1', /no range of ports/],
  ['-p tcp --dport 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31 --set-mark 1', /1 to 15 ports/],
  ['-d www.example.net --set-mark 1', /names of hosts/],
  ['-d 198.18.0.1/255.0.255.0 --set-mark 1', /no prefix length or mask/],
  ['-d 198.18.0.1/33 --set-mark 1', /no prefix length or mask/],
  ['! -d 198.18.0.1,198.18.0.2 --set-mark 1', /more than one rule can say/],
  ['-d 198.18.0.1 -s 2001:db8::1 --set-mark 1', /IPv6/],
  ['-6 -d 198.18.0.1 --set-mark 1', /IPv4/],
  ['-d 198.18.0.1 -d 198.18.0.2 --set-mark 1', /one condition of the destination/],
  ['-m state --state NEW --set-mark 1', /-m state is not supported/],
  ['-m conntrack --ctstate NEW --set-mark 1', /-m conntrack is not supported/],
  ['-p tcp --syn --set-mark 1', /--syn is not supported/],
  ['-j DROP', /-j DROP is not supported/],
  ['-j CONNMARK --restore-mark', /--restore-mark is not supported/],
  ['-j MARK', /MARK needs/],
  ['-j WEB --set-mark 1', /only MARK sets a mark/],
  ['--set-mark', /needs a value/],
  ['--set-mark 0x100000000', /no mark/],
  ['--set-mark -1', /no mark/],
  ['! --set-mark 1', /cannot be negated/],
  ['-t nat --set-mark 1', /table mangle/],
  ['-i much-too-long-a-name --set-mark 1', /no name of an interface/],
  ['-p tcp --set-mark 1 !', /must not end with !/],
  ['-d 198.18.0.9-198.18.0.1 --set-mark 1', /no address/],
  ['--src-range 198.18.0.9-198.18.0.1 --set-mark 1', /ends before it begins/],
  ['--set-mark 1 "', /not closed/],
]

describe('mark rules: words', () => {
  it('reads what iptables takes and prints what iptables-save prints', () => {
    for (const [typed, ...saved] of WORDS) assert.deepEqual(texts(typed), saved, typed)
  })

  it('refuses what it cannot express, with a sentence', () => {
    for (const [typed, why] of REFUSED) {
      assert.throws(
        () => read(typed),
        (error: unknown) => error instanceof MarkProblem && why.test(error.message),
        typed,
      )
    }
  })

  it('what is printed is read back as the same rule (seeds of fast-check)', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 63n }), (seed) => {
        for (const rule of randomRules(new SeededRandom(seed), 8)) {
          if (!checkMarkRule(rule).ok) continue
          const text = markRuleText(rule)
          const [back, ...others] = read(text)
          assert.deepEqual(others, [])
          assert.equal(markRuleText(back), text)
        }
      }),
    )
  })

  it('any words are read or refused, never anything else', () => {
    const option = fc.constantFrom(
      ...['-p', '-d', '-s', '!', '-i', '-m', '-j', 'tcp', 'multiport', '--dports', '--set-mark'],
      ...['198.18.0.1', '::/0', '1:2,3', '0x10/0xff', 'MARK', 'RETURN', '-A', '--mark', '/', '-'],
    )
    fc.assert(
      fc.property(fc.array(fc.oneof(option, fc.string()), { maxLength: 12 }), (words) => {
        try {
          for (const rule of parseMarkWords(words)) assert.ok(checkMarkRule(rule).ok)
        } catch (error) {
          assert.ok(error instanceof MarkProblem, String(error))
        }
      }),
    )
  })

  it('ranges become prefixes that are the range and nothing else', () => {
    const bounds = fc.tuple(fc.nat({ max: 4000 }), fc.nat({ max: 4000 }))
    fc.assert(
      fc.property(bounds, ([a, b]) => {
        const at = (n: number) => ip(`198.18.${n >> 8}.${n & 255}`)
        const [first, last] = [Math.min(a, b), Math.max(a, b)]
        const prefixes = prefixesOf(at(first), at(last))
        const sizes = prefixes.reduce((sum, { bits }) => sum + 2 ** (32 - bits), 0)
        assert.equal(sizes, last - first + 1)
        assert.equal(prefixes[0].address.text, at(first).text)
      }),
    )
  })
})

describe('mark rules: steps and what they select', () => {
  it('writes jumps out', () => {
    const rules = [
      '-d 198.18.0.1 -j WEB',
      '-A WEB -p udp -j RETURN',
      '-A WEB --set-mark 5',
    ].flatMap(read)
    const steps = markSteps([...rules, ...read('--set-mark 7')])
    assert.deepEqual(
      steps.map(({ skip, flip }) => [skip, flip]),
      [
        [1, 0],
        [2, 0],
        [1, 0],
        [0, 5],
        [0, 7],
      ],
    )
  })

  it('refuses circles and too many steps', () => {
    const circle = ['-j A', '-A A -j B', '-A B -j A'].flatMap(read)
    const result = compileMarkRules(circle)
    assert.match(result.ok ? '' : result.error.message, /chain A leads to itself/)
    // Each level doubles the one below.
    const names = Array.from({ length: 14 }, (_, i) => `C${i}`)
    const bomb = names.flatMap((name, i) =>
      [1, 2].flatMap(() => read(`-A ${i === 0 ? 'PREROUTING' : name} -j C${i + 1}`)),
    )
    const grown = compileMarkRules([...bomb, ...read('-A C14 --set-mark 1')])
    assert.match(grown.ok ? '' : grown.error.message, /more than 2048 steps/)
  })

  it('is as precise as destination, protocol and ports, through jumps', () => {
    const config = configOf([
      addService(markServiceId(5, 4)),
      {
        kind: 'addMarkRules',
        rules: [
          '-d 198.18.4.0/24 -p tcp -j WEB',
          '-A WEB -d 198.18.4.9 -p tcp ! --dport 80:442 --set-mark 5',
          '-A WEB -d 198.18.5.0/24 --set-mark 5',
          '-d 198.18.0.2 -p udp -m multiport --dports 53,54 --set-mark 5',
          '-d 198.18.0.3 -p tcp --dport 80 --set-mark 6',
          '-6 -d 2001:db8::1 -p tcp --dport 80 --set-mark 5',
        ].flatMap(read),
      },
    ])
    const ends = selectedEnds(config)
    assert.deepEqual(
      ends.map((e) => `${e.address.text}/${e.bits} ${e.protocol} ${e.first}-${e.last}`),
      ['198.18.4.9/32 tcp 0-79', '198.18.4.9/32 tcp 443-65535', '198.18.0.2/32 udp 53-54'],
    )
    assert.deepEqual(
      [...new Set(markedAddresses(ends).map(({ text }) => text))],
      ['198.18.4.9', '198.18.0.2'],
    )
  })

  it('takes every rule where bits are set one by one', () => {
    const rules = ['-d 198.18.0.1 --or-mark 1', '-d 198.18.0.1 --or-mark 4'].flatMap(read)
    const config = configOf([addService(markServiceId(5, 4)), { kind: 'addMarkRules', rules }])
    assert.deepEqual(new Set(selectedEnds(config).map(({ protocol }) => protocol)).size, 3)
  })
})

describe('mark rules: commands', () => {
  const one = read(RULE)
  const config = configOf([{ kind: 'addMarkRules', rules: one }])

  it('adds behind, deletes the first that is equal, replaces a family', () => {
    const two = configOf([{ kind: 'addMarkRules', rules: read('-6 --set-mark 3') }], config)
    assert.equal(two.markRules.length, 2)
    assert.deepEqual(
      configOf([{ kind: 'deleteMarkRules', rules: one }], two).markRules.map((r) => r.family),
      [6],
    )
    assert.deepEqual(
      configOf([{ kind: 'replaceMarkRules', families: [6], rules: [] }], two).markRules,
      config.markRules,
    )
    assert.equal(
      refusal(config, { kind: 'deleteMarkRules', rules: read('--set-mark 1') }),
      'MARK_RULE_UNKNOWN',
    )
    assert.equal(
      refusal(config, { kind: 'replaceMarkRules', families: [6], rules: one }),
      'MARK_RULE_BAD',
    )
    const many = Array.from({ length: MARK_LIMITS.rules }, () => one[0])
    assert.equal(refusal(config, { kind: 'addMarkRules', rules: many }), 'TABLE_FULL')
  })

  it('travels as text', () => {
    const command = { kind: 'replaceMarkRules', families: [4, 6], rules: one } as const
    const wire = encodeCommand(command) as { rules: string[] }
    assert.deepEqual(wire.rules, [RULE_TEXT])
    assert.deepEqual(decodeCommand(JSON.parse(JSON.stringify(wire))), { ok: true, value: command })
    for (const rules of [undefined, [7], ['-j DROP'], ['x'.repeat(2000)]]) {
      assert.equal(decodeCommand({ kind: 'addMarkRules', rules }).ok, false)
    }
    assert.equal(decodeCommand({ ...wire, families: [5] }).ok, false)
  })

  it('stands in our configuration file, with the line of a mistake', () => {
    const good = parseNative(`marks:\n  - ${RULE}\n`, 'f')
    assert.deepEqual(good.ok && good.value.marks, one)
    const bad = parseNative(`marks:\n  - ${RULE}\n  - -j DROP\n`, 'f')
    assert.match(bad.ok ? '' : bad.error.message, /^f:3: marks\[2\] is no mark rule: -j DROP/)
  })

  it('a changed file takes back its own rules only', () => {
    const byHand = configOf([{ kind: 'addMarkRules', rules: read('--set-mark 9') }], config)
    assert.deepEqual(reconcileMarks(byHand, one, one), [])
    const after = configOf(reconcileMarks(byHand, one, read('--set-mark 2')), byHand)
    assert.deepEqual(
      after.markRules.map(({ action }) => action.kind === 'mark' && action.flip),
      [9, 2],
    )
  })

  it('is for packet workers, and warns about interfaces that are no ports', () => {
    assert.equal(refusalOf(config, 'kernel')?.code, 'NOT_SUPPORTED')
    assert.equal(refusalOf(config, 'tun'), undefined)
    const named = configOf([{ kind: 'addMarkRules', rules: read('-i eth1 --set-mark 1') }])
    assert.deepEqual(idleSentences(undefined, named, ['eth0']), [
      'mark rules name the interface eth1, but packets come from eth0',
    ])
    assert.deepEqual(idleSentences(named, named, ['eth0']), [])
    assert.deepEqual(idleSentences(undefined, named, ['eth1']), [])
  })

  it('the limits are those of the snapshot', () => {
    const { steps, ports, ends } = MARK_LIMITS
    const { MARK_RULES, MARK_PORTS, MARK_ENDS } = LIMITS
    assert.deepEqual([steps, ports, ends], [MARK_RULES, MARK_PORTS, MARK_ENDS])
  })

  it('saves both families in one table', () => {
    const rules = ['-6 -j WEB', RULE].flatMap(read)
    assert.equal(
      saveMarkRules(rules),
      `# Generated by uvs mark save
*mangle
:PREROUTING ACCEPT [0:0]
:WEB - [0:0]
${RULE_TEXT}
-A PREROUTING -6 -j WEB
COMMIT
`,
    )
    assert.equal(emptyConfig(CAPACITY).markRules.length, 0)
  })
})
