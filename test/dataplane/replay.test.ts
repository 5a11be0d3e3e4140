/** The whole packet path over capture files; libpcap reads the result, not our own reader. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { configOf, snapshotOf } from '../../bench/support/config.js'
import { parseAddress, type Address } from '../../src/control/model/address.js'
import { PLAIN_TUNNEL, type Method } from '../../src/control/model/destination.js'
import { hostNetmask } from '../../src/control/model/service.js'
import { replay } from '../../src/dataplane/replay.js'
import { readCapture, writeCapture } from '../support/capture.js'
import { buildFrame } from '../support/packet-builder.js'
import { decodeFrame } from '../support/packet-decoder.js'

const CLIENT = '198.18.0.2'
const VIRTUAL = '198.18.0.100'
const FIRST = '198.18.1.11'
const SECOND = '198.18.1.12'
const LINK = { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' }

function address(text: string): Address {
  const parsed = parseAddress(text)
  assert.ok(parsed)
  return parsed
}

function snapshot(method: Method): Uint8Array {
  const service = { protocol: 'tcp', address: address(VIRTUAL), port: 80, fwmark: 0 } as const
  const options = {
    method,
    weight: 1,
    upperThreshold: 0,
    lowerThreshold: 0,
    tunnel: PLAIN_TUNNEL,
  }
  return snapshotOf(
    configOf([
      {
        kind: 'addService',
        service,
        options: {
          scheduler: 'rr',
          flags: 0,
          persistentSec: 0,
          netmask: hostNetmask(4),
          engine: '',
        },
      },
      ...[FIRST, SECOND].map(
        (text) =>
          ({
            kind: 'addDestination',
            service,
            destination: { address: address(text), port: 8080 },
            options,
          }) as const,
      ),
    ]),
  )
}

function fromClient(port: number, flags: string): Uint8Array {
  return buildFrame({
    ethernet: LINK,
    ip: { source: CLIENT, destination: VIRTUAL },
    tcp: { source: port, destination: 80, flags },
  })
}

describe('replay', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'uvs-replay-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const file = (name: string): string => join(folder, name)

  it('forwards a recorded exchange through masquerade, both directions', async () => {
    writeCapture(file('in.pcap'), [
      { atUs: 1_000_000, frame: fromClient(40000, 'S') },
      {
        atUs: 1_000_100,
        frame: buildFrame({
          ethernet: LINK,
          ip: { source: SECOND, destination: CLIENT },
          tcp: { source: 8080, destination: 40000, flags: 'SA' },
        }),
      },
      { atUs: 1_000_200, frame: fromClient(40000, 'A') },
      { atUs: 2_000_000, frame: fromClient(40001, 'S') },
    ])
    const result = replay(file('in.pcap'), file('out.pcap'), snapshot('masquerade'))
    // Newest destination first: the second one was added last.
    assert.deepEqual(result, { scheduled: 2, active: 2, inactive: 0 })
    const sent = await readCapture(file('out.pcap'))
    const ends = sent.map(({ frame }) => {
      const { ip, tcp } = decodeFrame(frame)
      assert.ok(ip && tcp)
      return `${ip.source}:${tcp.source} > ${ip.destination}:${tcp.destination}`
    })
    assert.deepEqual(ends, [
      `${CLIENT}:40000 > ${SECOND}:8080`,
      `${VIRTUAL}:80 > ${CLIENT}:40000`,
      `${CLIENT}:40000 > ${SECOND}:8080`,
      `${CLIENT}:40001 > ${FIRST}:8080`,
    ])
    assert.deepEqual(
      sent.map(({ atUs }) => atUs),
      [1_000_000, 1_000_100, 1_000_200, 2_000_000],
    )
    const checked = await readCapture(file('out.pcap'), 'tcp port 8080')
    assert.equal(checked.length, 3)
  })

  it('lets timers run on the time of the capture', async () => {
    writeCapture(file('in.pcap'), [
      { atUs: 1_000_000, frame: fromClient(40000, 'S') },
      // SYN_RECV lasts 60 s: the same flow 61 s later is a new connection.
      { atUs: 62_000_000, frame: fromClient(41000, 'S') },
      { atUs: 62_300_000, frame: fromClient(40000, 'S') },
    ])
    const result = replay(file('in.pcap'), file('out.pcap'), snapshot('direct'))
    assert.deepEqual(result, { scheduled: 3, active: 2, inactive: 0 })
    assert.equal((await readCapture(file('out.pcap'))).length, 3)
  })

  it('says what is wrong with a capture', () => {
    writeFileSync(file('bad.pcap'), 'not a capture at all, not at all')
    assert.throws(() => replay(file('bad.pcap'), '', snapshot('direct')), { code: /^ERR_PCAP_/ })
    assert.throws(() => replay(file('none.pcap'), '', snapshot('direct')), { code: 'ENOENT' })
  })
})
