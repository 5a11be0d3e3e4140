/** A comparer that cannot fail is a defect: seeded differences of every kind must be found. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../e2e/support/paths.js'
import { buildFrame, type Frame } from '../support/packet-builder.js'
import { CLIENTS, resolveNames, SCENARIOS_MAX, virtualAddresses } from './addresses.js'
import { compare, type Observation } from './compare.js'
import { DOCUMENTED, documentation } from './documented.js'
import { frameText, sentKey } from './frame-text.js'
import { scenario, stepText } from './language.js'
import { saidLines } from './listing.js'
import { QUICK, SCENARIOS } from './scenarios/index.js'
import { type Outcome, outcomeText, staleEntries, verdictOf } from './verdict.js'

describe('differential tests: comparing', () => {
  const titles = ['first', 'second']
  const recorded: Observation = [
    [{ text: 'to server: R1' }, { text: 'to server: R2' }],
    [{ text: 'TCP ESTABLISHED', leftSec: 890 }],
  ]
  const found = (other: Observation) => compare(titles, recorded, other)

  it('finds nothing in what is the same, timers within two seconds', () => {
    assert.deepEqual(found(recorded), [])
    assert.deepEqual(found([recorded[0], [{ text: 'TCP ESTABLISHED', leftSec: 888 }]]), [])
  })

  it('lets a template be late that was set anew each minute, and nothing else', () => {
    const differ = (text: string, left: number, other: number, sinceSec: number) =>
      compare(['list'], [[{ text, leftSec: left }]], [[{ text, leftSec: other }]], [sinceSec])
        .length > 0
    const template = 'TCP ASSURED [2001:db8::]:0 [2001:db8:2::1]:80 [2001:db8:1::2]:80'
    assert.equal(differ(template, 52, 49, 59), true)
    assert.equal(differ(template, 52, 49, 60), false)
    assert.equal(differ(template, 52, 47, 119), true)
    assert.equal(differ(template, 52, 40, 3600), false)
    assert.equal(differ(template, 53, 40, 3600), true)
    assert.equal(differ(template, 63, 60, 3600), true)
    assert.equal(differ('TCP ESTABLISHED 198.18.0.1:1 198.18.0.2:80 a', 52, 49, 3600), true)
  })

  it('takes an entry that is overdue in the kernel for one that has gone, and no other', () => {
    const texts = (kernel: Observation[0], uvs: Observation[0]) =>
      compare(['list'], [kernel], [uvs]).flatMap((one) => [...one.kernel, ...one.uvs])
    const gone = { text: 'TCP ESTABLISHED a', leftSec: 0 }
    const template = (leftSec: number) => ({ text: 'TCP ASSURED 198.18.0.1:0 v r', leftSec })
    assert.deepEqual(texts([gone], []), [])
    assert.deepEqual(texts([template(0)], [template(59)]), [])
    assert.deepEqual(texts([template(0), gone], [template(59)]), [])
    assert.equal(texts([{ ...gone, leftSec: 1 }], []).length, 1)
    assert.equal(texts([], [gone]).length, 1)
    assert.equal(texts([gone], [{ ...gone, leftSec: 59 }]).length, 1)
    assert.equal(texts([template(1)], [template(59)]).length, 2)
  })

  it('finds another destination, packets too many and too few, another order', () => {
    const [first, second] = recorded
    const onlyFirst = (lines: readonly string[]) => found([lines.map((text) => ({ text })), second])
    assert.deepEqual(onlyFirst(['to server: R1', 'to server: R3']), [
      { step: 0, title: 'first', kernel: ['to server: R2'], uvs: ['to server: R3'] },
    ])
    assert.deepEqual(onlyFirst(['to server: R1']), [
      { step: 0, title: 'first', kernel: ['to server: R2'], uvs: [] },
    ])
    const twice = onlyFirst(['to server: R1', 'to server: R2', 'to server: R2'])
    assert.deepEqual([twice[0].kernel, twice[0].uvs], [[], ['to server: R2']])
    const turned = onlyFirst(['to server: R2', 'to server: R1'])
    assert.deepEqual(turned[0].uvs, ['to server: R2', 'to server: R1'])
    assert.equal(found([first]).length, 1)
  })

  it('takes what timers of fragments send in any order', () => {
    const told = (id: number) => ({ text: `to client: director > C icmp 11/1 rest 0 quotes ${id}` })
    const other = { text: 'to client: director > C icmp 3/3 rest 0' }
    assert.deepEqual(
      compare(['wait'], [[told(2), other, told(1)]], [[told(1), other, told(2)]]),
      [],
    )
    assert.equal(compare(['wait'], [[told(2), other]], [[other, told(2)]]).length, 1)
    assert.equal(compare(['wait'], [[told(2)]], [[told(1)]]).length, 1)
  })

  it('finds a timer that is off, missing or of another state', () => {
    const timers = (text: string, leftSec?: number) =>
      found([recorded[0], [leftSec === undefined ? { text } : { text, leftSec }]])
    assert.deepEqual(timers('TCP ESTABLISHED', 887), [
      {
        step: 1,
        title: 'second',
        kernel: ['TCP ESTABLISHED (890 s left)'],
        uvs: ['TCP ESTABLISHED (887 s left)'],
      },
    ])
    assert.equal(timers('TCP ESTABLISHED').length, 1)
    assert.equal(timers('TCP FIN_WAIT', 890).length, 1)
  })

  it('gives a verdict, and says what a documented difference may look like', () => {
    const [difference] = found([recorded[0], [{ text: 'TCP NONE', leftSec: 890 }]])
    const outcome: Outcome = {
      name: 'one',
      differences: [difference],
      guestSec: 1,
      steps: 1,
      kernel: [],
    }
    const entry = { scenario: 'one', behaviour: 'states', kernel: /ESTABLISHED/, uvs: /NONE/ }
    assert.equal(verdictOf({ ...outcome, differences: [] }), 'equal')
    assert.equal(verdictOf(outcome, []), 'different')
    assert.equal(verdictOf(outcome, [entry]), 'documented')
    assert.equal(verdictOf(outcome, [{ ...entry, uvs: /CLOSE/ }]), 'different')
    assert.equal(verdictOf({ ...outcome, name: 'other' }, [entry]), 'different')
    assert.equal(verdictOf({ ...outcome, failure: 'died' }, [entry]), 'different')
    assert.deepEqual(staleEntries([outcome], [entry]), [])
    assert.deepEqual(staleEntries([{ ...outcome, differences: [] }], [entry]), [entry])
    assert.match(outcomeText(outcome), /step 2: second\n +kernel: .*ESTABLISHED.*\n +uvs +: .*NONE/)
  })

  it('has a line of docs/compat.md for every documented difference', () => {
    const compat = readFileSync(join(ROOT, 'docs/compat.md'), 'utf8').split('\n')
    for (const { scenario: name, behaviour } of DOCUMENTED) {
      const line = compat.find((text) => text.split('|')[1]?.trim() === behaviour)
      assert.ok(line?.includes('different'), `compat.md has no difference "${behaviour}"`)
      assert.ok(
        SCENARIOS.some((one) => one.name === name),
        `no scenario "${name}"`,
      )
    }
    assert.equal(documentation('one', { step: 0, title: '', kernel: [], uvs: [] }, []), undefined)
  })
})

describe('differential tests: what is seen', () => {
  const ethernet = { source: '02:00:00:00:00:50', destination: '02:00:00:00:01:0b' }
  const ip = { source: '198.19.0.1', destination: '198.18.1.11', identification: 7 }
  const tcp = { source: 40000, destination: 80, flags: 'S' }
  const textOf = (frame: Frame, sent: readonly string[] = [sentKey(6, 7)]) =>
    frameText(buildFrame(frame), new Set(sent))
  const plain = textOf({ ethernet, ip, tcp })

  it('names everything in a packet that a director may change', () => {
    assert.match(plain, /^director > R11 198\.19\.0\.1 > 198\.18\.1\.11 ttl 64 tos 0 id 7 tcp/)
    const others: Frame[] = [
      { ethernet: { ...ethernet, destination: '02:00:00:00:01:0c' }, ip, tcp },
      { ethernet, ip: { ...ip, destination: '198.18.1.12' }, tcp },
      { ethernet, ip: { ...ip, ttl: 63 }, tcp },
      { ethernet, ip: { ...ip, trafficClass: 1 }, tcp },
      { ethernet, ip: { ...ip, dontFragment: true }, tcp },
      { ethernet, ip: { ...ip, identification: 8 }, tcp },
      { ethernet, ip, tcp: { ...tcp, destination: 81 } },
      { ethernet, ip, tcp: { ...tcp, flags: 'SA' } },
      { ethernet, ip, tcp: { ...tcp, sequence: 1 } },
      { ethernet, ip, tcp: { ...tcp, window: 1 } },
      { ethernet, ip, tcp: { ...tcp, options: Uint8Array.of(1, 1, 1, 1) } },
      { ethernet, ip, tcp, payload: 'x' },
      { ethernet, ip, udp: tcp },
    ]
    for (const frame of others) assert.notEqual(textOf(frame), plain)
  })

  it('names a wrong checksum and tells long payloads apart', () => {
    assert.match(textOf({ ethernet, ip, tcp: { ...tcp, checksum: 1 } }), /WRONG tcp: checksum/)
    const long = 'x'.repeat(500)
    const [a, b] = [long, `${long.slice(1)}y`].map((payload) =>
      textOf({ ethernet, ip, tcp, payload }),
    )
    assert.notEqual(a, b)
  })

  it('passes over the identification of packets the director made', () => {
    const tunnel = (identification: number): Frame => ({
      ethernet,
      ip: { source: '198.18.1.254', destination: '198.18.1.11', identification },
      inner: { ip, tcp },
    })
    assert.equal(textOf(tunnel(1)), textOf(tunnel(2)))
    assert.match(textOf(tunnel(1)), /own id .*\[ 198\.19\.0\.1 .* id 7 /)
    assert.match(textOf({ ethernet, ip, tcp }, []), /own id/)
  })

  it('reads listings: exit status, errors, own connections sorted with their timers', () => {
    const said = {
      status: -1,
      stdout: 'IP Virtual Server version 1.2.1 (size=4096)\n',
      stderr: 'No\n',
    }
    assert.deepEqual(
      saidLines(said, []).map(({ text }) => text),
      ['exit status 255', 'IP Virtual Server version 1.2.1 (size=*)', 'stderr: No'],
    )
    const stdout = [
      'IPVS connection entries',
      'pro expire state       source             virtual            destination',
      'TCP 14:58  ESTABLISHED 198.19.0.2:40000   198.18.128.1:80    198.18.1.2:80',
      'UDP 01:05  UDP         198.19.0.9:5000    198.18.128.9:53    198.18.1.2:53',
      'TCP 00:57  SYN_RECV    198.19.0.1:40000   198.18.128.1:80    198.18.1.1:80',
      '',
    ].join('\n')
    const rows = saidLines({ status: 0, stdout, stderr: '' }, ['198.18.128.1']).slice(3)
    assert.deepEqual(rows, [
      { text: 'TCP ESTABLISHED 198.19.0.2:40000 198.18.128.1:80 198.18.1.2:80', leftSec: 898 },
      { text: 'TCP SYN_RECV 198.19.0.1:40000 198.18.128.1:80 198.18.1.1:80', leftSec: 57 },
    ])
  })
})

describe('differential tests: scenarios', () => {
  it('have names and addresses of their own', () => {
    const names = SCENARIOS.map(({ name }) => name)
    assert.equal(new Set(names).size, names.length)
    for (const name of QUICK) assert.ok(names.includes(name), name)
    // The last number is the warm-up's.
    assert.ok(SCENARIOS.length < SCENARIOS_MAX)
    const virtuals = [...SCENARIOS.keys()].flatMap(virtualAddresses)
    assert.equal(new Set(virtuals).size, virtuals.length)
    assert.equal(
      resolveNames('-t [$V2v6]:80 -r $R30:80', 3),
      '-t [2001:db8:2::e]:80 -r 198.18.1.30:80',
    )
    assert.throws(() => resolveNames(`$C${CLIENTS + 1}`, 0), RangeError)
  })

  it('follow sequence numbers and say their steps in words', () => {
    const { steps } = scenario('one', (s) => {
      const c = s.tcp('$C1:40000', '$V1:80')
      c.open()
      c.send('PA', { payload: 'four' })
      c.close()
    })
    const tcp = steps.map((step) =>
      step.kind === 'answer'
        ? step.segment.tcp
        : step.kind === 'fromClient'
          ? step.packet.tcp
          : undefined,
    )
    assert.deepEqual(
      tcp.map((one) => [
        one?.flags,
        (one?.sequence ?? 0) % 1000,
        (one?.acknowledgment ?? 0) % 1000,
      ]),
      [
        ['S', 0, 0],
        ['SA', 0, 1],
        ['A', 1, 1],
        ['PA', 1, 1],
        ['FA', 5, 1],
        ['FA', 1, 6],
        ['A', 6, 2],
      ],
    )
    assert.equal(stepText(steps[0]), 'client sends $C1:40000 > $V1:80 tcp S')
  })
})
