/** The report of a comparison (bench/compare/report.ts): figures in, files out. */
import assert from 'node:assert/strict'
import { comparisonReport, REPORT_FILE, type Machine } from '../../bench/compare/report.js'
import { type Figure, figureOf } from '../../bench/report.js'

const MACHINE: Machine = {
  processor: 'Example 9000',
  processors: 4,
  memoryGb: 16,
  kernel: '6.1.0',
  versions: [
    ['uvs', '0.1.0'],
    ['haproxy', '2.6.12'],
  ],
}

const WEB = { connections: 64, seconds: 4 }
const BULK = { streams: 1, seconds: 4 }

const HOST: readonly Figure[] = [
  figureOf('compare/host/uvs/cps', 'connections/s', [18_000, 20_000, 16_000], WEB),
  figureOf('compare/host/haproxy/cps', 'connections/s', [9_000, 10_000, 8_000], WEB),
  figureOf('compare/host/route/cps', 'connections/s', [15_000, 15_000, 15_000], WEB),
  figureOf('compare/host/haproxy/cps/ratio', 'ratio', [2, 2, 2], WEB),
  figureOf('compare/host/route/cps/ratio', 'ratio', [1.2, 1.33, 1.07], WEB),
  figureOf('compare/host/uvs/bulk', 'bytes/s', [1.5e9, 1e9, 2e9], BULK),
  figureOf('compare/host/nginx/bulk/ratio', 'ratio', [1, 0.9, 1.1], BULK),
  figureOf('compare/host/uvs/cpu-per-gb', 'cpu-s/GB', [1.2, 1.1, 1.3], BULK),
  figureOf('compare/host/uvs/own-cpu-per-gb', 'cpu-s/GB', [0.5, 0.4, 0.6], BULK),
  figureOf('compare/host/nft/cpu-per-gb', 'cpu-s/GB', [0.7, 0.6, 0.8], BULK),
]

const GUEST_PARAMS = { kernel: '6.1.0-cloud' }
const GUEST: readonly Figure[] = [
  figureOf('compare/guest/uvs/dr/pps-per-cpu', 'packets/cpu-s', [40_000], GUEST_PARAMS),
  figureOf('compare/guest/dr/pps-per-cpu/ratio', 'ratio', [0.7], GUEST_PARAMS),
  figureOf('compare/guest/new/wlc/ratio', 'ratio', [0.99], GUEST_PARAMS),
  figureOf('compare/guest/memory/ratio', 'ratio', [0.3], GUEST_PARAMS),
]

const markdown = (figures: readonly Figure[]): string =>
  comparisonReport(figures, MACHINE).get(REPORT_FILE) ?? ''

/** The rows of the table below a line, as their cells. */
function tableBelow(text: string, line: RegExp): string[][] {
  const lines = text.split('\n')
  const start = lines.findIndex((words) => line.test(words))
  assert.ok(start >= 0, `no line ${line}`)
  const first = lines.findIndex((words, i) => i > start && words.startsWith('|'))
  const end = lines.findIndex((words, i) => i > first && !words.startsWith('|'))
  return lines.slice(first, end).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

describe('comparison report', () => {
  it('names the machine, the versions and the rounds', () => {
    const text = markdown(HOST)
    assert.match(text, /^# Comparison\n/)
    assert.match(text, /^- Machine: Example 9000, 4 processors, 16 GB$/m)
    assert.match(text, /^- Kernel: Linux 6\.1\.0$/m)
    assert.match(text, /^- Versions: uvs 0\.1\.0, haproxy 2\.6\.12$/m)
    assert.match(text, /^- Rounds: 3$/m)
    assert.doesNotMatch(text, /guest/)
  })

  it('has a row per contender, with the ratio beside the peer', () => {
    const rows = tableBelow(markdown(HOST), /^### New connections: connections\/s, more is better/)
    assert.deepEqual(rows, [
      ['', 'median', 'min – max', 'uvs / it', 'min – max'],
      ['---', '---', '---', '---', '---'],
      ['uvs NAT', '18.0 k', '16.0 k – 20.0 k', '', ''],
      ['HAProxy', '9000', '8000 – 10.0 k', '2.00', '2.00 – 2.00'],
      ['routing', '15.0 k', '15.0 k – 15.0 k', '1.20', '1.07 – 1.33'],
    ])
  })

  it('shows bytes as GB, and the own time of those that are programs', () => {
    const text = markdown(HOST)
    const bulk = tableBelow(text, /^### Bulk/)
    assert.deepEqual(bulk.slice(2), [['uvs NAT', '1.50', '1.00 – 2.00', '', '']])
    const time = tableBelow(text, /^### Processor time of one GB/)
    assert.deepEqual(time.slice(2), [
      ['uvs NAT', '1.20', '1.10 – 1.30', '0.500', '', ''],
      ['nftables DNAT', '0.700', '0.600 – 0.800', '', '', ''],
    ])
  })

  it('says which targets were reached, and no others', () => {
    const rows = tableBelow(markdown([...HOST, ...GUEST]), /^## Targets/).slice(2)
    const seen = rows.map(([name, target, median, , reached]) => [name, target, median, reached])
    assert.deepEqual(seen, [
      ['`compare/guest/dr/pps-per-cpu/ratio`', '0.7 or more', '0.700', 'yes'],
      ['`compare/guest/new/wlc/ratio`', '1 or more', '0.990', 'no'],
      ['`compare/host/haproxy/cps/ratio`', 'more than 1', '2.00', 'yes'],
      ['`compare/host/nginx/bulk/ratio`', 'more than 1', '1.00', 'no'],
    ])
  })

  it('writes exactly the charts that it shows', () => {
    const files = comparisonReport([...HOST, ...GUEST], MACHINE)
    const shown = [...(files.get(REPORT_FILE) ?? '').matchAll(/!\[[^\]]+\]\(([^)]+)\)/g)]
    const charts = [
      'compare-cps.svg',
      'compare-bulk.svg',
      'compare-cpu-per-gb.svg',
      'compare-guest-more.svg',
      'compare-guest-less.svg',
    ]
    assert.deepEqual(
      shown.map(([, file]) => file),
      charts,
    )
    assert.deepEqual([...files.keys()], [REPORT_FILE, ...charts])
    for (const file of charts) assert.match(files.get(file) ?? '', /^<svg /)
    assert.match(files.get('compare-cps.svg') ?? '', /class="strong"/)
  })

  it('describes only the loads that ran', () => {
    const text = markdown(HOST)
    assert.match(text, /\*\*New connections\*\*: wrk with 64 connections at a time/)
    assert.match(text, /\*\*Bulk\*\*: one iperf3 stream from client to destination for 4 s/)
    assert.match(text, /share the machine's processors/)
    assert.doesNotMatch(text, /\*\*Round trip\*\*/)
    assert.doesNotMatch(text, /undefined|NaN/)
  })

  it('adds the guest part when it has figures, with its kernel', () => {
    const text = markdown(GUEST)
    assert.match(text, /^- Kernel of the guest: Linux 6\.1\.0-cloud$/m)
    assert.doesNotMatch(text, /## On the host/)
    const rows = tableBelow(text, /^## In one guest/).slice(2)
    assert.deepEqual(rows[0], [
      '`compare/guest/uvs/dr/pps-per-cpu`',
      '40.0 k',
      '40.0 k – 40.0 k',
      'packets/cpu-s',
    ])
    assert.equal(rows.length, GUEST.length)
    const files = comparisonReport(GUEST, MACHINE)
    assert.match(files.get('compare-guest-more.svg') ?? '', />dr\/pps-per-cpu</)
    assert.match(files.get('compare-guest-less.svg') ?? '', />memory</)
  })
})
