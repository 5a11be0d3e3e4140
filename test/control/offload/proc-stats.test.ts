/** What the kernel writes under /proc, and the file that says which services are ours. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { parseOwned } from '../../../src/control/offload/owned-file.js'
import { parseConnection, parseTotal } from '../../../src/control/offload/proc-stats.js'

const STATS = `   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
       A      1F4       FF       1FFFFFFFFF               10

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       1        2        3               A0               B0
`

describe('offload: files of the kernel', () => {
  it('reads totals and rates', () => {
    assert.deepEqual(Object.values(parseTotal(STATS)), [
      10n,
      500n,
      255n,
      0x1fffffffffn,
      16n,
      1n,
      2n,
      3n,
      160n,
      176n,
    ])
  })

  it('reads connections, templates and engine data of both families', () => {
    const v4 = 'TCP C6120001 C350 C61200C8 0050 C6120101 1F90 ESTABLISHED     899'
    assert.deepEqual(parseConnection(v4), {
      protocol: 'tcp',
      state: 'ESTABLISHED',
      expiresSec: 899,
      client: { address: '198.18.0.1', port: 50000 },
      virtual: { address: '198.18.0.200', port: 80 },
      destination: { address: '198.18.1.1', port: 8080 },
      method: '',
      flags: 0,
      template: false,
    })
    const v6 =
      'IP  [2001:0db8:0000:0000:0000:0000:0000:0001] 0000 00000007 0000 ' +
      '[2001:0db8:0000:0000:0000:0000:0000:0002] 0000 ASSURED         300 sip a b'
    const row = parseConnection(v6)
    assert.deepEqual([row?.protocol, row?.template, row?.virtual.address], ['ip', true, '0.0.0.7'])
    assert.deepEqual([row?.engine, row?.engineData], ['sip', 'a b'])
    assert.equal(row?.client.address, '2001:db8::1')
  })

  it('passes over everything else', () => {
    const title = 'Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData'
    assert.equal(parseConnection(title), undefined)
    fc.assert(fc.property(fc.string(), (line) => void parseConnection(line)))
    fc.assert(fc.property(fc.string(), (text) => void parseTotal(text)))
  })

  it('believes only whole ownership files', () => {
    const text = JSON.stringify({ boot: 'b', names: ['tcp 198.18.0.1:80', 3] })
    const owned = parseOwned(text)
    assert.equal(owned.boot, 'b')
    assert.deepEqual([...owned.names], ['tcp 198.18.0.1:80'])
    assert.equal(owned.timeouts, undefined)
    const timeouts = { tcpSec: 1, tcpFinSec: 2, udpSec: 3 }
    assert.deepEqual(parseOwned(JSON.stringify({ timeouts })).timeouts, timeouts)
    assert.equal(parseOwned('{"timeouts": {"tcpSec": 1}}').timeouts, undefined)
    fc.assert(fc.property(fc.string(), (damaged) => void parseOwned(damaged).names.size))
    assert.equal(parseOwned('{"names": 5}').names.size, 0)
  })
})
