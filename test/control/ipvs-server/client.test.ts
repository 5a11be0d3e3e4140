/** One client of the IPVS socket: what is sent to it while it does not read. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from '../../../src/control/ipvs-server/client.js'
import { openRawSocket } from '../../../src/dataplane/native.js'
import type { NativeRawSocket } from '../../../src/dataplane/native.js'
import { waitFor } from '../../support/wait.js'

const PACKETS = 200
const PACKET_BYTES = 16384

describe('a client of the IPVS socket', () => {
  let folder: string
  let reader: NativeRawSocket
  let client: Client

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'uvs-test-'))
    const path = join(folder, 'socket')
    const listener = openRawSocket({ kind: 'listen', path, mode: 0o600 })
    reader = openRawSocket({ kind: 'connect', path })
    const { socket } = await waitFor('the client', () => listener.accept())
    listener.close()
    client = new Client(socket, () => Promise.resolve())
  })

  afterEach(() => {
    client.close()
    reader.close()
    rmSync(folder, { recursive: true })
  })

  const numbered = (n: number) => new Uint8Array(PACKET_BYTES).fill(n)
  const sendAll = () => Array.from({ length: PACKETS }, (_, n) => client.send(numbered(n)))

  it('gets everything in order when it begins to read late, whoever waits for what', async () => {
    let onTheirWay = 0
    const sends = sendAll().map((sent) => sent.then(() => onTheirWay++))
    await waitFor('a packet to be on its way', () => onTheirWay > 0)
    await new Promise(setImmediate)
    assert.ok(onTheirWay < PACKETS / 2, 'the socket holds too much to tell')
    for (let n = 0; n < PACKETS; n++) {
      const packet = await waitFor(`packet ${n}`, () => reader.receive())
      assert.deepEqual([packet.length, packet[0]], [PACKET_BYTES, n])
    }
    await Promise.all(sends)
    assert.equal(onTheirWay, PACKETS)
  })

  it('that goes ends every wait', async () => {
    const sends = sendAll()
    const verdicts = Promise.allSettled(sends)
    await sends[0]
    client.close()
    const refused = (await verdicts).filter(({ status }) => status === 'rejected')
    assert.ok(refused.length > PACKETS / 2)
    assert.ok(refused.every((one) => (one as { reason: { code: string } }).reason.code === 'EPIPE'))
  })
})
