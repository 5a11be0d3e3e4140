/** The preload library and the director agree on the private protocol. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  packData,
  packEnd,
  packReply,
  PRIVATE,
} from '../../../src/control/ipvs-server/private-protocol.js'
import { splitMessages } from '../../../src/control/netlink/message.js'
import { ROOT } from '../../support/tidy/tree.js'

/** `kSetOption` of the library is `SET_OPTION` here. */
function libraryConstants(): Record<string, number> {
  const text = readFileSync(join(ROOT, 'native/shim/ipvs_shim.c'), 'utf8')
  const block = /The private protocol\.[^{]*\{([^}]*)\}/.exec(text)?.[1] ?? ''
  const entries = [...block.matchAll(/k(\w+) = (\d+),/g)].map(([, name, value]) => [
    name.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase(),
    Number(value),
  ])
  return Object.fromEntries(entries) as Record<string, number>
}

describe('private protocol of the preload library', () => {
  it('has the same numbers on both sides', () => {
    assert.deepEqual(libraryConstants(), { ...PRIVATE })
  })

  it('splits data into packets and ends them', () => {
    const data = Buffer.alloc(2 * PRIVATE.DATA_MAX + 5, 7)
    const packets = [...packData(data)]
    assert.deepEqual(
      packets.map((packet) => packet.length - 16),
      [PRIVATE.DATA_MAX, PRIVATE.DATA_MAX, 5],
    )
    const payloads = packets.flatMap(splitMessages).map(({ payload }) => payload)
    assert.deepEqual(Buffer.concat(payloads), data)
    assert.equal(packEnd().length, 16)
    assert.equal([...packData(new Uint8Array())].length, 0)
    assert.equal(splitMessages(packReply(92))[0].payload[0], 92)
  })
})
