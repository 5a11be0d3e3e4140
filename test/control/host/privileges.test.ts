/** What is said when capabilities are missing, and which settings files are believed. */
import assert from 'node:assert/strict'
import { missingCapabilities, privilegeSentence } from '../../../src/control/host/privileges.js'
import { parseSaved } from '../../../src/control/host/settings.js'

const ROOT_IDS = '         0          0 4294967295\n'
const OWN_IDS = '         0       1000          1\n'

const status = (...bits: number[]): string => {
  const set = bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n)
  return `Name:\tnode\nCapPrm:\t0\nCapEff:\t${set.toString(16).padStart(16, '0')}\nCapBnd:\t0\n`
}

describe('privileges', () => {
  it('root has all, nobody has none', () => {
    const all = 'CapEff:\t000001ffffffffff\n'
    assert.deepEqual(missingCapabilities(all, ROOT_IDS, 'af_packet'), [])
    const none = missingCapabilities(status(), ROOT_IDS, 'af_packet')
    assert.deepEqual(none, ['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF'])
    assert.deepEqual(missingCapabilities('', '', 'tun'), ['CAP_NET_ADMIN', 'CAP_BPF'])
  })

  it('CAP_SYS_ADMIN stands in for CAP_BPF', () => {
    assert.deepEqual(missingCapabilities(status(12, 13, 39), ROOT_IDS, 'af_packet'), [])
    assert.deepEqual(missingCapabilities(status(12, 13, 21), ROOT_IDS, 'af_packet'), [])
    assert.deepEqual(missingCapabilities(status(12, 13), ROOT_IDS, 'af_packet'), ['CAP_BPF'])
  })

  it('a user namespace gives no CAP_BPF', () => {
    const all = 'CapEff:\t000001ffffffffff\n'
    assert.deepEqual(missingCapabilities(all, OWN_IDS, 'tun'), ['CAP_BPF'])
  })

  it('is one sentence', () => {
    assert.equal(
      privilegeSentence(['CAP_BPF']),
      'uvs run lacks the capability CAP_BPF: run it as root, outside of any user namespace',
    )
    assert.match(privilegeSentence(['CAP_A', 'CAP_B']), /capabilities CAP_A, CAP_B: /)
  })
})

describe('saved settings', () => {
  it('only settings of networking are believed', () => {
    const text = JSON.stringify({
      'net/ipv4/ip_forward': ['0', '1'],
      'net/ipv6/conf/eth0/accept_ra': ['1', '2'],
      'kernel/core_pattern': ['a', 'b'],
      'net/ipv4/../../kernel/core_pattern': ['a', 'b'],
      'net/ipv4/x': 'y',
    })
    assert.deepEqual(
      [...parseSaved(text).keys()],
      ['net/ipv4/ip_forward', 'net/ipv6/conf/eth0/accept_ra'],
    )
    assert.equal(parseSaved('').size, 0)
    assert.equal(parseSaved('[1]').size, 0)
  })
})
