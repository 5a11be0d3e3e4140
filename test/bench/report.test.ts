/** What the benchmark prints, and how it reads what other programs print. */
import assert from 'node:assert/strict'
import { requestsPerSec } from '../../bench/net/measures.js'
import { figureOf, markdownTable, readable } from '../../bench/report.js'

const WRK = `Running 1s test @ http://198.18.0.200:80/
  1 threads and 64 connections
  11703 requests in 1.01s, 1.69MB read
Requests/sec:  11589.10
Transfer/sec:      1.67MB
`

const errors = (timeout: number): string =>
  WRK.replace('Requests/sec', `Socket errors: connect 0, read 0, write 0, timeout ${timeout}\n$&`)

describe('benchmark report', () => {
  it('takes the middle of an odd number of values, the mean of two in an even one', () => {
    assert.equal(figureOf('a', 's', [9, 1, 5], {}).median, 5)
    const even = figureOf('a', 's', [4, 1, 2, 9], { seconds: 1 })
    assert.deepEqual(even, {
      name: 'a',
      unit: 's',
      median: 3,
      min: 1,
      max: 9,
      rounds: 4,
      params: { seconds: 1 },
    })
  })

  it('writes numbers and tables', () => {
    const numbers = [0, 0.01234, 0.5, 1.234, 123.4, 12_345, 12_345_678, 1_234_567_890]
    assert.deepEqual(numbers.map(readable), [
      '0.00',
      '0.0123',
      '0.500',
      '1.23',
      '123',
      '12.3 k',
      '12.35 M',
      '1.23 G',
    ])
    const lines = markdownTable([figureOf('net/plain/pps', 'packets/s', [1000], {})]).split('\n')
    assert.equal(lines.length, 3)
    assert.match(lines[2], /^\| net\/plain\/pps \| 1000 \|/)
  })

  it('reads what wrk counted', () => {
    assert.equal(requestsPerSec(WRK), 11589.1)
    // 11 of 11703 is within one in a thousand, 12 is not.
    assert.equal(requestsPerSec(errors(11)), 11589.1)
  })

  it('refuses a figure of requests that failed', () => {
    assert.throws(() => requestsPerSec(errors(12)), /12 of 11703 requests failed/)
    assert.throws(() => requestsPerSec('unable to connect'), /requests failed/)
    const bad = `${WRK}  Non-2xx or 3xx responses: 11703\n`
    assert.throws(() => requestsPerSec(bad), /11703 of 11703/)
  })
})
