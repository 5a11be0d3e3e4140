/** docs/configuration.md: each key of the file is there, and what it says of them is so. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { parseNative } from '../../src/control/config/native-format.js'
import { reconcile, reconcileMarks } from '../../src/control/config/reconcile.js'
import type { PublicCommand } from '../../src/control/model/commands.js'
import { emptyConfig } from '../../src/control/model/config.js'
import {
  defaultSysctls,
  idleSettings,
  setSysctl,
  SYSCTL_NAMES,
} from '../../src/control/model/sysctls.js'
import { mergeSettings, parseRunFlags } from '../../src/control/run-options.js'
import { CAPACITY, configOf } from './fixtures.js'

const PAGE = readFileSync('docs/configuration.md', 'utf8')
const COLUMNS = ['key', 'type', 'limit', 'default', 'example'] as const
const NO_FLAGS = parseRunFlags([], '/run/x')

type Row = Readonly<Record<(typeof COLUMNS)[number], string>>

/** The table below a heading, without the quotes of Markdown. */
function tableOf(heading: string): Row[] {
  const [, section] = PAGE.split(`\n## ${heading}\n`)
  const [text] = section.split('\n## ')
  const lines = text.split('\n').filter((line) => line.startsWith('|'))
  const [titles, , ...rows] = lines.map((line) => line.split('|').map((cell) => cell.trim()))
  assert.deepEqual(titles.slice(1, 1 + COLUMNS.length), COLUMNS, heading)
  return rows.map((cells) => {
    const row = Object.fromEntries(COLUMNS.map((name, i) => [name, cells[i + 1]])) as Row
    return { ...row, key: unquoted(row.key), example: unquoted(row.example) }
  })
}

function unquoted(cell: string): string {
  return /^`(.*)`$/.exec(cell)?.[1] ?? cell
}

/** Every text between backquotes. */
function quoted(cell: string): string[] {
  return Array.from(cell.matchAll(/`([^`]*)`/g), ([, text]) => text)
}

/** Section -> a file with a mapping of this section in it. */
const SECTIONS: Readonly<Record<string, (mapping: string) => string>> = {
  'Top level': (mapping) => `{ ${mapping} }`,
  fullnat: (mapping) => `fullnat: { ${mapping} }`,
  timeouts: (mapping) => `timeouts: { ${mapping} }`,
  services: (mapping) => {
    const named = /^(tcp|udp|sctp|fwmark):|^zz:/.test(mapping)
    return `services: [{ ${named ? mapping : `fwmark: 5, ${mapping}`} }]`
  },
  destinations: (mapping) => {
    const named = mapping.startsWith('address:') ? mapping : `address: 198.18.1.1:80, ${mapping}`
    return `services: [{ fwmark: 5, destinations: [{ ${named} }] }]`
  },
  tunnel: (mapping) => {
    const tunnel = `method: tunnel, tunnel: { ${mapping} }`
    return `services: [{ fwmark: 5, destinations: [{ address: 198.18.1.1:80, ${tunnel} }] }]`
  },
}

/** What a file amounts to; throws why it is refused. */
function effect(text: string) {
  const file = parseNative(text, 'uvs.yaml')
  if (!file.ok) throw file.error
  const { settings, services, marks } = file.value
  const run = mergeSettings(NO_FLAGS, settings, 4)
  const empty = emptyConfig(CAPACITY)
  const sysctls = Object.entries(settings.sysctls)
  const commands: PublicCommand[] = [
    ...sysctls.map(([name, value]) => ({ kind: 'setSysctl', name, value }) as const),
    ...(settings.fullnat ? [{ kind: 'setFullnat', fullnat: settings.fullnat } as const] : []),
    ...(settings.timeouts ? [{ kind: 'setTimeouts', timeouts: settings.timeouts } as const] : []),
    ...reconcile(empty, [], services),
    ...reconcileMarks(empty, [], marks),
  ]
  return { run, config: configOf(commands), services }
}

/** Whether the file can be read: what must fit together is another matter. */
function isRead(text: string): boolean {
  const file = parseNative(text, 'uvs.yaml')
  if (!file.ok) assert.match(file.error.message, /^uvs\.yaml:1: [a-z]/)
  return file.ok
}

function bounds(limit: string): [number, number] | undefined {
  const match = /^(-?\d+) to (\d+)/.exec(limit)
  return match === null ? undefined : [Number(match[1]), Number(match[2])]
}

describe('docs/configuration.md', () => {
  for (const [section, fileWith] of Object.entries(SECTIONS)) {
    describe(section, () => {
      const rows = tableOf(section)

      it('has each key that can be read', () => {
        const refused = parseNative(fileWith('zz: 1'), 'uvs.yaml')
        assert.ok(!refused.ok)
        const [, known] = refused.error.message.split('known are: ')
        assert.deepEqual(rows.map(({ key }) => key).sort(), known.split(', ').sort())
      })

      for (const { key, type, limit, default: usual, example } of rows) {
        const reads = (value: string) => isRead(fileWith(`${key}: ${value}`))

        it(`${key}: ${example} can be read`, () => assert.ok(reads(example)))

        it(`${key}: ${limit === '' ? type : limit}`, () => {
          const range = type === 'integer' ? bounds(limit) : undefined
          if (type === 'integer') assert.ok(range)
          if (range) {
            const [low, high] = range
            const all = [low - 1, low, high, high + 1].map((value) => reads(String(value)))
            assert.deepEqual(all, [false, true, true, false])
          }
          const listed = type.startsWith('list')
          const inList = (value: string) => (listed ? `[${value}]` : value)
          if (type === 'one of' || type === 'list of') {
            for (const value of quoted(limit)) assert.ok(reads(inList(value)), value)
            assert.ok(!reads(inList('zz')))
          }
          if (type === 'boolean') {
            assert.deepEqual(['true', 'false', '1'].map(reads), [true, true, false])
          }
          if (listed) assert.ok(!reads('5'))
          if (key === 'tun') assert.ok(reads('x'.repeat(15)) && !reads('x'.repeat(16)))
          if (key === 'lip') assert.ok(!reads('198.18.9.2-198.18.9.1'))
          if (type === 'mapping') assert.ok(!reads('5') && !reads('[5]'))
        })

        const value = /^`(.*)`$/.exec(usual)?.[1]
        if (value === undefined) continue
        it(`${key}: ${value} is what it is without`, () => {
          assert.deepEqual(effect(fileWith(`${key}: ${value}`)), effect(fileWith('')))
        })
      }
    })
  }

  it('has each setting with its default, its limit and whether anything follows it', () => {
    const rows = tableOf('sysctls')
    assert.deepEqual(
      rows.map(({ key }) => key),
      SYSCTL_NAMES,
    )
    const usual = defaultSysctls()
    for (const { key, type, limit, default: shown, example } of rows) {
      const set = (text: string) => setSysctl(usual, key, text)
      const [value] = quoted(shown).map((text) => set(String(parse(text))))
      if (key === 'sync_qlen_max') assert.equal(value, undefined)
      else assert.deepEqual(value, { ok: true, value: usual }, key)
      const range = bounds(limit)
      assert.equal(range === undefined, type === 'text', key)
      if (range !== undefined) {
        const all = [range[0] - 1, range[0], range[1], range[1] + 1].map((n) => set(String(n)).ok)
        assert.deepEqual(all, [false, true, true, false], key)
      }
      if (type === 'power of two') assert.ok(!set('3').ok, key)
      const other = effect(`sysctls: { ${key}: ${example} }`).config.sysctls
      assert.notDeepEqual(other, usual, key)
      const line = PAGE.split('\n').find((text) => text.startsWith(`| \`${key}\` `))
      const followed = idleSettings(usual, other, usual).length === 0
      assert.ok(line?.endsWith(followed ? '| yes    |' : '| kept   |'), key)
    }
  })

  it('begins with a file that can be read', () => {
    const [, text] = /```yaml\n([^]*?)```/.exec(PAGE) ?? []
    const { run, config } = effect(text)
    assert.deepEqual(run.interfaces, ['eth0', 'eth1'])
    assert.equal(config.services.size, 3)
  })
})
