/** Rows of the connection table become words: states by protocol, as ipvsadm -Lc shows them. */
import assert from 'node:assert/strict'
import { decodeConnections } from '../../src/dataplane/connections.js'
import { offsetOf, RECORDS, SCTP_STATE, TCP_STATE } from '../../src/dataplane/layout.js'

function stateOf(protocol: number, state: number): string {
  const row = new Uint8Array(RECORDS.connectionRow.bytes)
  row[offsetOf('connectionRow', 'protocol')] = protocol
  row[offsetOf('connectionRow', 'state')] = state
  return decodeConnections(row)[0].state
}

describe('connection rows', () => {
  it('name SCTP states as the kernel does (spec 3.6.2)', () => {
    const shown = {
      NONE: 'NONE',
      INIT1: 'INIT1',
      INIT: 'INIT',
      COOKIE_SENT: 'C-SENT',
      COOKIE_REPLIED: 'C-REPLIED',
      COOKIE_WAIT: 'C-WAIT',
      COOKIE: 'COOKIE',
      COOKIE_ECHOED: 'C-ECHOED',
      ESTABLISHED: 'ESTABLISHED',
      SHUTDOWN_SENT: 'S-SENT',
      SHUTDOWN_RECEIVED: 'S-RECEIVED',
      SHUTDOWN_ACK_SENT: 'S-ACK-SENT',
      REJECTED: 'REJECTED',
      CLOSED: 'CLOSED',
    }
    assert.deepEqual(Object.keys(shown), Object.keys(SCTP_STATE))
    for (const [name, text] of Object.entries(shown)) {
      assert.equal(stateOf(132, SCTP_STATE[name as keyof typeof SCTP_STATE]), text)
    }
    assert.equal(stateOf(132, 14), 'BUG')
  })

  it('name TCP states, and one of UDP whatever it remembers', () => {
    for (const [name, state] of Object.entries(TCP_STATE)) assert.equal(stateOf(6, state), name)
    assert.equal(stateOf(6, 11), 'BUG')
    assert.equal(stateOf(17, 0), 'UDP')
    assert.equal(stateOf(17, 1), 'UDP')
  })
})
