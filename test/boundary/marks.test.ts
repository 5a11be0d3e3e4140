/**
 * Firewall marks through all their stages: random rules, compiled, written into a snapshot and
 * walked through by the native core, against the same rules taken as netfilter takes them.
 */
import assert from 'node:assert/strict'
import { parseAddress } from '../../src/control/model/address.js'
import { emptyConfig } from '../../src/control/model/config.js'
import { selectedEnds } from '../../src/control/model/mark-ends.js'
import { contains, type MarkRule } from '../../src/control/model/mark-rule.js'
import { markServiceId, PROTOCOL_NUMBER } from '../../src/control/model/service.js'
import { MemoryCore } from '../../src/dataplane/memory-core.js'
import { MissBatch } from '../../src/dataplane/miss-batch.js'
import { writeSnapshot } from '../../src/dataplane/snapshot-writer.js'
import { addService, configOf } from '../control/fixtures.js'
import {
  INTERFACES,
  type MarkedPacket,
  markOf,
  randomPacket,
  randomRules,
} from '../support/mark-model.js'
import { BARE_HOST } from '../support/bare-host.js'
import { buildFrame } from '../support/packet-builder.js'
import { SeededRandom } from '../support/seeded-random.js'

const WORLDS = 60
const PACKETS = 60
const RULES = 24
/** Marks of services, in both families. */
const MARKS = [1, 2, 3, 4, 5, 6]

const SERVICES = configOf(
  MARKS.flatMap((mark) => [
    addService(markServiceId(mark, 4), { scheduler: 'rr' }),
    addService(markServiceId(mark, 6), { scheduler: 'rr' }),
  ]),
  emptyConfig({ services: 16, destinations: 16, localAddresses: 4 }),
)

function withRules(rules: readonly MarkRule[]) {
  return configOf([{ kind: 'addMarkRules', rules }], SERVICES)
}

function frameOf(packet: MarkedPacket): Uint8Array {
  const { source, destination, sourcePort, destinationPort } = packet
  const ports = { source: sourcePort, destination: destinationPort }
  return buildFrame({
    ethernet: { source: '02:00:00:00:00:02', destination: '02:00:00:00:00:01' },
    ip: { source, destination },
    ...(packet.protocol === 6 ? { tcp: { ...ports, flags: 'S' } } : { udp: ports }),
  })
}

describe('boundary: firewall marks', () => {
  it('native, compiled rules and netfilter agree (seed 21)', () => {
    const random = new SeededRandom(21)
    let marked = 0
    for (let world = 0; world < WORLDS; world++) {
      const rules = randomRules(random, RULES)
      const config = withRules(rules)
      const [first] = [random.pick(INTERFACES)]
      const rig = new MemoryCore([{ kind: 'memory' }], 256, true)
      rig.adopt(writeSnapshot(config, 1, { ...BARE_HOST, portNames: [first] }))
      const misses = new MissBatch(
        rig.blocks.misses.buffer as SharedArrayBuffer,
        rig.blocks.misses.byteOffset,
      )
      for (let i = 0; i < PACKETS; i++) {
        // Flows from port 20 are no business of services (spec 5.3).
        const drawn = { ...randomPacket(random), interface: first }
        const packet = drawn.sourcePort === 20 ? { ...drawn, sourcePort: 22 } : drawn
        const want = markOf(rules, packet)
        rig.core.inject([frameOf(packet)])
        const count = rig.core.poll(0)
        const what = JSON.stringify({ world, packet, want })
        assert.equal(count, MARKS.includes(want) ? 1 : 0, what)
        if (count === 0) continue
        marked++
        misses.select(0)
        assert.equal(misses.fwmark, want, what)
        const service = config.services.get(`fwmark ${want}${packet.family === 6 ? ' ipv6' : ''}`)
        assert.equal(misses.serviceSlot, service?.slot, what)
        assert.ok(isSelected(config, packet), `not selected: ${what}`)
        rig.schedule.run(count, 0)
        rig.core.resolve()
      }
      rig.core.close()
    }
    assert.ok(marked > (WORLDS * PACKETS) / 10, `only ${marked} packets got a mark`)
  })
})

function isSelected(config: ReturnType<typeof withRules>, packet: MarkedPacket): boolean {
  const address = parseAddress(packet.destination)!
  const prefix = { address, bits: packet.family === 4 ? 32 : 128 }
  return selectedEnds(config).some(
    (end) =>
      PROTOCOL_NUMBER[end.protocol] === packet.protocol &&
      end.first <= packet.destinationPort &&
      packet.destinationPort <= end.last &&
      contains(end, prefix),
  )
}
