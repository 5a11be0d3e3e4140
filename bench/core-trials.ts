/**
 * Trials of `npm run bench -- core`: one core, in memory, no I/O. Each runs in a process of its own
 * and prints one number (run-trial.ts).
 */
import type { Command } from '../src/control/model/commands.js'
import { parseAddress, type Address } from '../src/control/model/address.js'
import { hostNetmask, SERVICE_FLAGS, type ServiceId } from '../src/control/model/service.js'
import { PLAIN_TUNNEL, type Method } from '../src/control/model/destination.js'
import { offsetOf } from '../src/dataplane/layout.js'
import { MemoryCore } from '../src/dataplane/memory-core.js'
import { reasonIndex } from '../src/dataplane/reasons.js'
import { configOf, snapshotOf } from './support/config.js'

const SYN = 0x02
const ACK = 0x10
const BURST = 64
const VIRTUAL = 0xc613_0001 // 198.19.0.1
const PORT = 80
const MISSES = offsetOf('workerWords', 'misses') / 8

const METHODS: Readonly<Record<string, Method>> = {
  dr: 'direct',
  tun: 'tunnel',
  nat: 'masquerade',
  fullnat: 'fullnat',
}

function address(text: string): Address {
  const parsed = parseAddress(text)
  if (parsed === undefined) throw new Error(`not an address: ${text}`)
  return parsed
}

/** 198.19.1.1 and on; beside the FULLNAT addresses, 198.19.2.1 and on. */
function destinationAddress(i: number): Address {
  return address(`198.19.${1 + 16 * Math.floor(i / 254)}.${1 + (i % 254)}`)
}

/** One service with `destinations` destinations of one method, and FULLNAT addresses for it. */
export function oneService(
  method: Method,
  scheduler: string,
  destinations: number,
  flags = 0,
): Command[] {
  const service: ServiceId = {
    protocol: 'tcp',
    address: address('198.19.0.1'),
    port: PORT,
    fwmark: 0,
  }
  const commands: Command[] = [
    {
      kind: 'addService',
      service,
      options: { scheduler, flags, persistentSec: 0, netmask: hostNetmask(4), engine: '' },
    },
  ]
  for (let i = 0; i < destinations; i++) {
    commands.push({
      kind: 'addDestination',
      service,
      destination: { address: destinationAddress(i), port: PORT },
      options: {
        method,
        weight: 1 + (i % 4),
        upperThreshold: 0,
        lowerThreshold: 0,
        tunnel: PLAIN_TUNNEL,
      },
    })
  }
  for (let i = 0; method === 'fullnat' && i < 64; i++) {
    commands.push({ kind: 'addLocalAddress', service, address: address(`198.19.2.${i + 1}`) })
  }
  return commands
}

function makeCore(method: string, scheduler: string, connections: number): MemoryCore {
  const rig = new MemoryCore([{ kind: 'generator', address: VIRTUAL, port: PORT }], connections)
  rig.adopt(snapshotOf(configOf(oneService(METHODS[method], scheduler, 32))))
  return rig
}

/** Sends `count` packets through and returns seconds. */
function drive(rig: MemoryCore, count: number): number {
  const start = process.hrtime.bigint()
  for (let i = 0; i < count; i += BURST) rig.burst()
  return Number(process.hrtime.bigint() - start) / 1e9
}

/** Opens connections 0 .. count - 1 and establishes them. */
function establish(rig: MemoryCore, count: number): void {
  rig.core.generate(count, 0, count, 1, SYN)
  drive(rig, count)
  rig.core.generate(count, 0, count, 1, ACK)
  drive(rig, count)
}

/** Packets/s of established flows, visited as if at random. */
export function hit(method: string, connections: number, quick: boolean): number {
  const rig = makeCore(method, 'rr', connections + BURST)
  establish(rig, connections)
  const count = quick ? 2_000_000 : 20_000_000
  const stride = Math.floor(connections * 0.618) | 1
  rig.core.generate(count, 0, connections, stride, ACK)
  const seconds = drive(rig, count)
  rig.core.close()
  return count / seconds
}

const PAGE_BYTES = 4096

/** Gives a block its memory: what the system takes for clearing pages is not the director's. */
function pageIn(block: Uint8Array): void {
  for (let i = 0; i < block.length; i += PAGE_BYTES) block[i] ^= 0
}

/** New connections/s, TypeScript scheduler included, over 32 destinations. */
export function fresh(scheduler: string, quick: boolean): number {
  const warm = 200_000
  const count = quick ? 300_000 : 1_500_000
  const rig = makeCore('dr', scheduler, warm + count + BURST)
  rig.blocks.tables.forEach(pageIn)
  rig.core.generate(warm, 0, warm, 1, SYN)
  drive(rig, warm)
  rig.core.generate(count, warm, count, 1, SYN)
  const seconds = drive(rig, count)
  rig.core.close()
  return count / seconds
}

/**
 * Spoofed SYNs/s answered by SYNPROXY, each from another client. Fails unless each was answered and
 * none of them cost a connection or a question to TypeScript.
 */
export function synFlood(quick: boolean): number {
  const rig = new MemoryCore(
    [{ kind: 'generator', address: VIRTUAL, port: PORT, options: true }],
    1000,
  )
  const commands = oneService('fullnat', 'rr', 32, SERVICE_FLAGS.SYNPROXY)
  rig.adopt(snapshotOf(configOf(commands)))
  const warm = 200_000
  const count = quick ? 2_000_000 : 20_000_000
  const { words } = rig.blocks
  rig.core.generate(warm, 0, warm, 1, SYN)
  drive(rig, warm)
  rig.core.generate(count, warm, count, 1, SYN)
  const seconds = drive(rig, count)
  const misses = Number(new BigUint64Array(words.buffer, words.byteOffset)[MISSES])
  const { buffer, byteOffset } = rig.blocks.reasons
  const answered = new BigUint64Array(buffer, byteOffset)[reasonIndex('synproxy_answered')]
  const { active, inactive } = rig.totals()
  rig.core.close()
  if (answered !== BigInt(warm + count)) throw new Error(`only ${answered} SYNs were answered`)
  if (active + inactive + misses !== 0) throw new Error('the flood made connections')
  return count / seconds
}

/**
 * Bytes per connection: what the process grows by more when a larger table is filled to its last
 * entry, for there is memory in the block that most connections never touch. What a core has once,
 * however many connections there are, and compiled code cancel out.
 */
export function memory(method: string, quick: boolean): number {
  const [less, more] = quick ? [100_000, 300_000] : [200_000, 1_200_000]
  fill(method, 20_000)
  return (fill(method, more) - fill(method, less)) / (more - less)
}

// Alive until the end: what one gave back would be missing in the growth by the next.
const filled: MemoryCore[] = []

/** Bytes that the process grew by. */
function fill(method: string, connections: number): number {
  const before = process.memoryUsage.rss()
  const rig = makeCore(method, 'rr', connections)
  rig.core.generate(connections, 0, connections, 1, SYN)
  drive(rig, connections)
  filled.push(rig)
  const grown = process.memoryUsage.rss() - before
  const { active, inactive } = rig.totals()
  if (active + inactive !== connections) throw new Error('the table did not take them all')
  return grown
}
