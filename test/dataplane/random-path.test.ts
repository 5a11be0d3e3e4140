/**
 * Thousands of random packets of many flows, all methods and both families, through the real core
 * with the real schedulers, against the slow model of test/support/path-model.ts: states, timers,
 * loads, counters, and every packet that leaves.
 */
import assert from 'node:assert/strict'
import { configOf, snapshotOf } from '../../bench/support/config.js'
import { parseAddress, type Address } from '../../src/control/model/address.js'
import { apply } from '../../src/control/model/apply.js'
import type { Command } from '../../src/control/model/commands.js'
import { PLAIN_TUNNEL, type Method } from '../../src/control/model/destination.js'
import { hostNetmask, SERVICE_FLAGS, type ServiceId } from '../../src/control/model/service.js'
import { decodeConnections, type ConnectionRecord } from '../../src/dataplane/connections.js'
import { CounterBlocks } from '../../src/dataplane/counters.js'
import { RECORDS } from '../../src/dataplane/layout.js'
import { MemoryCore } from '../../src/dataplane/memory-core.js'
import { buildFrame } from '../support/packet-builder.js'
import { decodeFrame, type DecodedPacket } from '../support/packet-decoder.js'
import {
  flowKey,
  LISTED,
  PathModel,
  type End,
  type ModelConnection,
  type ModelPacket,
} from '../support/path-model.js'
import { SeededRandom } from '../support/seeded-random.js'
import { addressToText } from '../support/wire.js'

const CAPACITY = 4096
const STEPS = 4000
const LINK = { source: '02:00:00:00:00:02', destination: '02:00:00:00:00:01' }

interface Spec {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly port: number
  readonly method: Method
  readonly destinations: readonly string[]
  readonly destinationPort: number
  readonly onePacket?: boolean
}

const SERVICES: readonly Spec[] = [
  spec('tcp', '198.19.0.1', 80, 'masquerade', ['198.19.1.1', '198.19.1.2', '198.19.1.3'], 8080),
  spec('tcp', '198.19.0.2', 80, 'direct', ['198.19.2.1', '198.19.2.2'], 80),
  spec('tcp', '198.19.0.3', 80, 'tunnel', ['198.19.3.1', '2001:db8:1::31'], 80),
  spec('tcp', '198.19.0.4', 80, 'fullnat', ['198.19.4.1', '198.19.4.2'], 8081),
  spec('udp', '198.19.0.5', 53, 'masquerade', ['198.19.5.1', '198.19.5.2'], 5353),
  { ...spec('udp', '198.19.0.6', 53, 'direct', ['198.19.6.1'], 53), onePacket: true },
  spec('udp', '198.19.0.7', 53, 'fullnat', ['198.19.7.1'], 5353),
  spec('tcp', '2001:db8::f1', 80, 'masquerade', ['2001:db8:1::61', '2001:db8:1::62'], 8080),
  spec('tcp', '2001:db8::f2', 80, 'tunnel', ['198.19.8.1', '2001:db8:1::81'], 80),
  spec('tcp', '198.19.0.9', 80, 'direct', [], 80),
]

function spec(
  protocol: 'tcp' | 'udp',
  address: string,
  port: number,
  method: Method,
  destinations: readonly string[],
  destinationPort: number,
): Spec {
  return { protocol, address, port, method, destinations, destinationPort }
}

function address(text: string): Address {
  const parsed = parseAddress(text)
  if (parsed === undefined) throw new TypeError(`not an address: ${text}`)
  return parsed
}

const idOf = ({ protocol, address: text, port }: Spec): ServiceId => ({
  protocol,
  address: address(text),
  port,
  fwmark: 0,
})

function addDestination(service: Spec, text: string, weight: number): Command {
  return {
    kind: 'addDestination',
    service: idOf(service),
    destination: { address: address(text), port: service.destinationPort },
    options: {
      method: service.method,
      weight,
      upperThreshold: 0,
      lowerThreshold: 0,
      tunnel: PLAIN_TUNNEL,
    },
  }
}

function commandsOf(service: Spec): Command[] {
  const { family } = address(service.address)
  const options = {
    scheduler: 'rr',
    flags: service.onePacket === true ? SERVICE_FLAGS.ONE_PACKET : 0,
    persistentSec: 0,
    netmask: hostNetmask(family),
    engine: '',
  }
  const local: Command = {
    kind: 'addLocalAddress',
    service: idOf(service),
    address: address('198.19.9.1'),
  }
  return [
    { kind: 'addService', service: idOf(service), options },
    ...(service.method === 'fullnat' ? [local] : []),
    ...service.destinations.map((text) => addDestination(service, text, 1)),
  ]
}

/** Text of a 16-byte address, IPv4 where it is mapped. */
function textOf(bytes: Uint8Array): string {
  const isMapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff
  return addressToText(isMapped ? bytes.subarray(12) : bytes)
}

const isSix = (text: string): boolean => text.includes(':')

/** A core and the model beside it. */
class World {
  readonly random: SeededRandom
  readonly rig = new MemoryCore([{ kind: 'memory' }], CAPACITY, true)
  readonly counters = new CounterBlocks(this.rig.blocks)
  config = configOf(SERVICES.flatMap(commandsOf))
  readonly model = new PathModel(this.config)
  #nowUs = 1_000_000_000
  #generation = 0
  readonly #rows = new Uint8Array(CAPACITY * RECORDS.connectionRow.bytes)
  readonly #next = new Uint32Array(1)

  constructor(seed: number) {
    this.random = new SeededRandom(seed)
    this.rig.core.setTime(this.#nowUs)
    this.adopt([])
    this.pass(1)
  }

  adopt(commands: readonly Command[]): void {
    for (const command of commands) {
      const result = apply(this.config, command)
      // A destination that is there already, or gone already: nothing to change.
      if (result.ok) this.config = result.value
    }
    this.rig.adopt(snapshotOf(this.config, ++this.#generation))
    this.rig.burst()
    this.model.adopt(this.config)
  }

  /** Moves time and lets the timer wheel catch up: it looks at 256 entries in one poll. */
  pass(ms: number): void {
    this.#nowUs += ms * 1000
    this.rig.core.setTime(this.#nowUs)
    for (let ticks = 0; ticks <= ms / 250 + CAPACITY; ticks += 256) this.rig.burst()
    this.model.advance(Math.floor(this.#nowUs / 250_000))
  }

  /** Every connection of the table by flow. */
  table(): Map<string, ConnectionRecord> {
    let cursor = 0
    const found = new Map<string, ConnectionRecord>()
    while (cursor !== 0xffffffff) {
      const count = this.rig.core.readConnections(cursor, this.#rows, this.#next)
      const rows = this.#rows.subarray(0, count * RECORDS.connectionRow.bytes)
      for (const row of decodeConnections(rows)) found.set(keyOf(row), row)
      cursor = this.#next[0]
    }
    return found
  }

  /** Sends one packet and returns what left. */
  send(packet: ModelPacket): DecodedPacket[] {
    const { source, destination, flags, ttl } = packet
    const ends = { source: source.port, destination: destination.port }
    const frame = buildFrame({
      ethernet: LINK,
      ip: { source: source.address, destination: destination.address, ttl },
      ...(packet.protocol === 'tcp' ? { tcp: { ...ends, flags } } : { udp: ends }),
    })
    this.rig.core.inject([frame])
    this.rig.burst()
    return this.rig.core.collect().map((bytes) => {
      const decoded = decodeFrame(bytes)
      assert.deepEqual(decoded.problems, [])
      assert.ok(decoded.ip)
      return decoded as DecodedPacket
    })
  }
}

function keyOf(row: ConnectionRecord): string {
  const protocol = row.protocol === 6 ? 'tcp' : 'udp'
  const client = { address: textOf(row.clientAddress), port: row.clientPort }
  return flowKey(protocol, client, { address: textOf(row.virtualAddress), port: row.virtualPort })
}

/** The connection that the core made, as the model keeps it; its destination must be a choice. */
function madeFrom(packet: ModelPacket, method: Method, row: ConnectionRecord): ModelConnection {
  return {
    protocol: packet.protocol,
    client: packet.source,
    service: packet.destination,
    method,
    slot: row.destinationSlot,
    destination: { address: textOf(row.destinationAddress), port: row.destinationPort },
    local: { address: textOf(row.localAddress), port: row.localPort },
    state: 'NO',
    noOutput: method !== 'masquerade' && method !== 'fullnat',
    dueTick: 0,
  }
}

const endsOf = (packet: DecodedPacket): [End, End] => {
  const l4 = packet.tcp ?? packet.udp
  return [
    { address: packet.ip.source, port: l4?.source ?? 0 },
    { address: packet.ip.destination, port: l4?.destination ?? 0 },
  ]
}

/** What a forwarded packet must say when it leaves. */
function checkForwarded(
  packet: ModelPacket,
  sent: readonly DecodedPacket[],
  connection: ModelConnection,
  reply: boolean,
): void {
  assert.equal(sent.length, 1)
  const { client, service, destination, local, method } = connection
  let [out] = sent
  if (packet.ttl === 1) {
    assert.deepEqual([out.icmp?.type, out.icmp?.code], isSix(client.address) ? [3, 0] : [11, 0])
    return
  }
  if (method === 'tunnel') {
    assert.equal(out.ip.destination, destination.address)
    assert.ok(out.inner)
    out = out.inner
  }
  const towards: [End, End] =
    method === 'masquerade'
      ? [client, destination]
      : method === 'fullnat'
        ? [local, destination]
        : [client, service]
  assert.deepEqual(endsOf(out), reply ? [service, client] : towards)
  assert.equal(out.ip.ttl, packet.ttl - 1)
  if (packet.protocol === 'tcp') {
    assert.deepEqual([...(out.tcp?.flags ?? '')].sort(), [...packet.flags].sort())
  }
}

function checkAnswer(packet: ModelPacket, sent: readonly DecodedPacket[], what: string): void {
  assert.equal(sent.length, what === 'nothing' ? 0 : 1, what)
  if (what === 'nothing') return
  const [answer] = sent
  assert.equal(answer.ip.destination, packet.source.address)
  if (what === 'reset') {
    assert.match(answer.tcp?.flags ?? '', /R/)
    assert.deepEqual(endsOf(answer), [packet.destination, packet.source])
  } else {
    const six = isSix(packet.source.address)
    assert.deepEqual([answer.icmp?.type, answer.icmp?.code], six ? [1, 4] : [3, 3])
  }
}

/** One packet through both, compared. */
function step(world: World, packet: ModelPacket): void {
  const { model } = world
  const before = new Set(model.connections.keys())
  const outcome = model.receive(packet)
  const sent = world.send(packet)
  if (outcome.what === 'forward') {
    checkForwarded(packet, sent, outcome.connection, outcome.reply)
  } else if (outcome.what === 'create') {
    const key = flowKey(packet.protocol, packet.source, packet.destination)
    const row = world.table().get(key)
    const onePacket = SERVICES.some((s) => s.onePacket && s.address === packet.destination.address)
    if (onePacket) {
      assert.equal(row, undefined)
      const [choice] = outcome.choices
      const end = { address: choice.address.text, port: packet.destination.port }
      const made = madeFromChoice(packet, outcome.method, choice.slot, end)
      model.created(packet, made, true)
      checkForwarded(packet, sent, made, false)
      return
    }
    assert.ok(row, `no connection for ${key}`)
    const choice = outcome.choices.find(({ slot }) => slot === row.destinationSlot)
    assert.ok(choice, `slot ${row.destinationSlot} is no choice`)
    const made = madeFrom(packet, outcome.method, row)
    assert.deepEqual(made.destination, { address: choice.address.text, port: choice.port })
    model.created(packet, made, false)
    checkForwarded(packet, sent, made, false)
  } else {
    checkAnswer(packet, sent, outcome.what)
  }
  assert.ok(before.size <= CAPACITY)
}

function madeFromChoice(
  packet: ModelPacket,
  method: Method,
  slot: number,
  destination: End,
): ModelConnection {
  return {
    protocol: packet.protocol,
    client: packet.source,
    service: packet.destination,
    method,
    slot,
    destination,
    local: { address: '', port: 0 },
    state: 'NO',
    noOutput: true,
    dueTick: 0,
  }
}

/** The whole table and all loads, compared. */
function compareTables(world: World): void {
  const { model } = world
  const table = world.table()
  assert.deepEqual([...table.keys()].sort(), [...model.connections.keys()].sort())
  const slots = new Set<number>()
  for (const [key, row] of table) {
    const want = model.connections.get(key) as ModelConnection
    slots.add(row.destinationSlot)
    const got = [row.state, row.method, row.destinationSlot, row.expiresMs]
    const state = want.protocol === 'udp' ? 'UDP' : LISTED[want.state]
    const left = (want.dueTick - model.tick) * 250
    assert.deepEqual(got, [state, want.method, want.slot, left], key)
  }
  for (const slot of new Set([...slots, ...model.traffic.keys()])) {
    assert.deepEqual(world.counters.load(slot), { ...model.load(slot), persistent: 0 })
  }
}

const FLAGS = ['S', 'A', 'A', 'A', 'FA', 'R', 'SA', 'PA', '', 'RA', 'F'] as const

function randomRequest({ random }: World): ModelPacket {
  const service = random.pick(SERVICES)
  const six = isSix(service.address)
  const client = random.between(1, 2)
  const isTcp = service.protocol === 'tcp'
  const isStray = random.oneIn(40)
  return {
    protocol: service.protocol,
    source: {
      address: six ? `2001:db8::${client}` : `198.18.0.${client}`,
      port: 2000 + random.below(3),
    },
    destination: { address: service.address, port: service.port + (isStray ? 1 : 0) },
    flags: isTcp ? random.pick(FLAGS) : '',
    ttl: random.oneIn(30) ? 1 : random.between(2, 255),
    bytes: (six ? 40 : 20) + (isTcp ? 20 : 8),
  }
}

/** An answer to one of the connections there are; else a request. */
function randomPacket(world: World): ModelPacket {
  const { random, model } = world
  const open = [...model.connections.values()].filter(
    ({ method }) => method === 'masquerade' || method === 'fullnat',
  )
  if (open.length === 0 || random.oneIn(2)) return randomRequest(world)
  const one = random.pick(open)
  return {
    protocol: one.protocol,
    source: one.destination,
    destination: one.method === 'fullnat' ? one.local : one.client,
    flags: one.protocol === 'tcp' ? random.pick(['SA', ...FLAGS]) : '',
    ttl: random.oneIn(30) ? 1 : random.between(2, 255),
    bytes: (isSix(one.client.address) ? 40 : 20) + (one.protocol === 'tcp' ? 20 : 8),
  }
}

/** Mostly none, sometimes about a FULLNAT timeout, now and then a long one. */
function randomPause({ random }: World): number {
  if (random.oneIn(500)) return random.below(1_000_000)
  return random.oneIn(60) ? random.below(20_000) : 5
}

function randomChange({ random }: World): Command[] {
  const service = random.pick(SERVICES.filter(({ destinations }) => destinations.length > 0))
  const text = random.pick(service.destinations)
  const destination = { address: address(text), port: service.destinationPort }
  const add = addDestination(service, text, random.below(2))
  switch (random.below(5)) {
    case 0:
      return [{ kind: 'deleteDestination', service: idOf(service), destination }]
    case 1:
      return [add]
    case 2:
      return [{ ...add, kind: 'editDestination' } as Command]
    case 3:
      return [{ kind: 'setSysctl', name: 'conn_reuse_mode', value: String(random.below(4)) }]
    default: {
      const name = random.pick(['expire_nodest_conn', 'sloppy_tcp'])
      return [{ kind: 'setSysctl', name, value: String(random.below(2)) }]
    }
  }
}

describe('the whole packet path against a slow model', () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    it(`agrees on ${STEPS} random steps (seed ${seed})`, () => {
      const world = new World(seed)
      for (let number = 0; number < STEPS; number++) {
        try {
          world.pass(randomPause(world))
          if (world.random.oneIn(25)) world.adopt(randomChange(world))
          step(world, randomPacket(world))
          if (number % 2 === 0) compareTables(world)
        } catch (error) {
          throw new Error(`seed ${seed}, step ${number}`, { cause: error })
        }
      }
      compareTables(world)
      for (const [slot, want] of world.model.traffic) {
        const got = world.counters.destination(slot)
        const numbers = [got.inPackets, got.outPackets, got.inBytes, got.connections].map(Number)
        assert.deepEqual(numbers, [want.in, want.out, want.inBytes, want.made], `slot ${slot}`)
      }
      world.rig.core.close()
    })
  }
})
