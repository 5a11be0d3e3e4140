/** Bar charts of the comparison's report (bench/compare/chart.ts): text out of numbers. */
import assert from 'node:assert/strict'
import { barChart, type Chart } from '../../bench/compare/chart.js'

const CHART: Chart = {
  title: 'New connections',
  note: 'connections/s, more is better',
  bars: [
    { label: 'uvs NAT', median: 18_000, min: 16_000, max: 20_000, strong: true },
    { label: 'HAProxy', median: 9_000, min: 9_000, max: 9_000 },
  ],
}

/** What stands between the style and the end, one element a line. */
function elements(chart: Chart): string[] {
  const lines = barChart(chart).split('\n')
  const style = lines.findIndex((line) => line.includes('</style>'))
  return lines.slice(style + 1, lines.indexOf('</svg>')).map((line) => line.trim())
}

const ticksOf = (chart: Chart): string[] =>
  elements(chart).flatMap((line) => /text-anchor="middle">(.*)<\/text>/.exec(line)?.[1] ?? [])

describe('bar chart', () => {
  it('draws bars, whiskers, labels and values where they belong', () => {
    assert.deepEqual(elements(CHART), [
      '<rect class="page" width="720" height="160" rx="6"/>',
      '<text class="text" x="16" y="26" font-size="16" font-weight="bold">New connections</text>',
      '<text class="faint" x="16" y="46">connections/s, more is better</text>',
      '<line class="grid" x1="160" y1="64" x2="160" y2="128"/>',
      '<text class="faint" x="160" y="146" text-anchor="middle">0</text>',
      '<line class="grid" x1="270" y1="64" x2="270" y2="128"/>',
      '<text class="faint" x="270" y="146" text-anchor="middle">5 k</text>',
      '<line class="grid" x1="380" y1="64" x2="380" y2="128"/>',
      '<text class="faint" x="380" y="146" text-anchor="middle">10 k</text>',
      '<line class="grid" x1="490" y1="64" x2="490" y2="128"/>',
      '<text class="faint" x="490" y="146" text-anchor="middle">15 k</text>',
      '<line class="grid" x1="600" y1="64" x2="600" y2="128"/>',
      '<text class="faint" x="600" y="146" text-anchor="middle">20 k</text>',
      '<text class="text" x="150" y="84" text-anchor="end">uvs NAT</text>',
      '<rect class="strong" x="160" y="71" width="396" height="18"/>',
      '<line class="whisker" x1="512" y1="80" x2="600" y2="80"/>',
      '<line class="whisker" x1="512" y1="76" x2="512" y2="84"/>',
      '<line class="whisker" x1="600" y1="76" x2="600" y2="84"/>',
      '<text class="text" x="612" y="84">18.0 k</text>',
      '<text class="text" x="150" y="116" text-anchor="end">HAProxy</text>',
      '<rect class="bar" x="160" y="103" width="198" height="18"/>',
      '<line class="whisker" x1="358" y1="112" x2="358" y2="112"/>',
      '<line class="whisker" x1="358" y1="108" x2="358" y2="116"/>',
      '<line class="whisker" x1="358" y1="108" x2="358" y2="116"/>',
      '<text class="text" x="612" y="116">9000</text>',
    ])
  })

  it('is an image of its own: labelled, for light and dark, without scripts or fonts', () => {
    const svg = barChart(CHART)
    assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" width="720" height="160" /)
    assert.match(svg, /role="img" aria-label="New connections \(connections\/s, more is better\)"/)
    assert.match(svg, /@media \(prefers-color-scheme: dark\)/)
    assert.deepEqual(svg.match(/font-family="[^"]*"/g), ['font-family="sans-serif"'])
    assert.doesNotMatch(svg, /<script|href|url\(/)
    assert.match(svg, /<\/svg>\n$/)
  })

  it('chooses round ticks that reach the largest value', () => {
    const ticks = (max: number): string[] =>
      ticksOf({ ...CHART, bars: [{ label: '', median: 0, min: 0, max }] })
    assert.deepEqual(ticks(0), ['0', '1'])
    assert.deepEqual(ticks(1), ['0', '0.2', '0.4', '0.6', '0.8', '1'])
    assert.deepEqual(ticks(1.01), ['0', '0.5', '1', '1.5'])
    assert.deepEqual(ticks(0.0031), ['0', '0.001', '0.002', '0.003', '0.004'])
    assert.deepEqual(ticks(9_999), ['0', '2 k', '4 k', '6 k', '8 k', '10 k'])
    assert.deepEqual(ticks(2_400_000), ['0', '0.5 M', '1 M', '1.5 M', '2 M', '2.5 M'])
  })

  it('keeps a reference inside the plot, also beyond all bars', () => {
    const bars = [{ label: 'dr', median: 0.2, min: 0.1, max: 0.3 }]
    const lines = elements({ ...CHART, bars, reference: 1 })
    assert.equal(lines.at(-1), '<line class="reference" x1="600" y1="64" x2="600" y2="96"/>')
  })

  it('escapes what XML would read as its own', () => {
    const label = '<a & "b">'
    const bars = [{ label, median: 1, min: 1, max: 1 }]
    const svg = barChart({ title: label, note: label, bars })
    assert.equal(svg.match(/&lt;a &amp; &quot;b&quot;&gt;/g)?.length, 5)
    assert.doesNotMatch(svg, /<a &/)
  })
})
