/** Configurations, packets and blocks for the tests of the boundary: one web service, by method. */
import { configOf } from '../../../bench/support/config.js'
import { parseAddress, type Address } from '../../../src/control/model/address.js'
import type { Command } from '../../../src/control/model/commands.js'
import type { Config } from '../../../src/control/model/config.js'
import { PLAIN_TUNNEL, type Method } from '../../../src/control/model/destination.js'
import { hostNetmask, type ServiceId } from '../../../src/control/model/service.js'
import { CounterBlocks } from '../../../src/dataplane/counters.js'
import { offsetOf, RECORDS } from '../../../src/dataplane/layout.js'
import { type ReasonName } from '../../../src/dataplane/reasons.js'
import { MemoryCore } from '../../../src/dataplane/memory-core.js'
import { laneOf, type SharedBlocks } from '../../../src/dataplane/memory.js'
import type { SyntheticPort } from '../../../src/dataplane/native.js'
import { writeSnapshot } from '../../../src/dataplane/snapshot-writer.js'
import { BARE_HOST } from '../../support/bare-host.js'
import { buildFrame } from '../../support/packet-builder.js'

export const SERVICE_ADDRESS = '198.19.0.1'
export const SERVICE_NUMBER = 0xc613_0001
export const SERVICE_PORT = 80
export const SYN = 0x02
export const ACK = 0x10

export function address(text: string): Address {
  const parsed = parseAddress(text)
  if (parsed === undefined) throw new TypeError(`not an address: ${text}`)
  return parsed
}

export const WEB: ServiceId = {
  protocol: 'tcp',
  address: address(SERVICE_ADDRESS),
  port: SERVICE_PORT,
  fwmark: 0,
}

/** One TCP service with `destinations` destinations of weight 1. */
export function webCommands(
  method: Method = 'direct',
  destinations = 2,
  scheduler = 'rr',
): Command[] {
  const options = {
    scheduler,
    flags: 0,
    persistentSec: 0,
    netmask: hostNetmask(4),
    engine: '',
  }
  const commands: Command[] = [{ kind: 'addService', service: WEB, options }]
  for (let i = 0; i < destinations; i++) {
    commands.push({
      kind: 'addDestination',
      service: WEB,
      destination: { address: address(`198.19.1.${i + 1}`), port: SERVICE_PORT },
      options: { method, weight: 1, upperThreshold: 0, lowerThreshold: 0, tunnel: PLAIN_TUNNEL },
    })
  }
  return commands
}

export function webConfig(method: Method = 'direct', destinations = 2): Config {
  return configOf(webCommands(method, destinations))
}

/** The snapshot block of a configuration. */
export function blockOf(config: Config, generation = 1): Uint8Array {
  return writeSnapshot(config, generation, BARE_HOST)
}

/** A TCP frame of client number `client` to the service. */
export function request(client: number, flags = 'S'): Uint8Array {
  return buildFrame({
    ethernet: { source: '02:00:00:00:00:02', destination: '02:00:00:00:00:01' },
    ip: { source: `198.18.0.${1 + (client >> 14)}`, destination: SERVICE_ADDRESS },
    tcp: { source: 1024 + (client & 0x3fff), destination: SERVICE_PORT, flags },
  })
}

export function dropsOf(blocks: SharedBlocks, reason: ReasonName): number {
  return Number(new CounterBlocks(blocks).drops().get(reason))
}

/** One control word of a worker. */
export function wordOf(
  blocks: SharedBlocks,
  worker: number,
  field: keyof (typeof RECORDS)['workerWords']['fields'],
): number {
  const lane = laneOf(blocks.words, worker, blocks.workers)
  const words = new Int32Array(lane.buffer, lane.byteOffset, lane.byteLength / 4)
  return Atomics.load(words, offsetOf('workerWords', field) / 4) >>> 0
}

/** A generator port that makes packets of `flows` flows, from the start when `packets` is given. */
export function generator(packets?: number, flows = 1, tcpFlags = ACK): SyntheticPort {
  const port = { kind: 'generator', address: SERVICE_NUMBER, port: SERVICE_PORT } as const
  return packets === undefined ? port : { ...port, packets, flows, tcpFlags }
}

/** Leaves `flows` established connections in a worker's table, as a worker before it would. */
export function fillTable(blocks: SharedBlocks, worker: number, config: Config, flows: number) {
  const rig = new MemoryCore([generator()], blocks.connections, false, blocks, worker)
  rig.adopt(blockOf(config))
  for (const flags of [SYN, ACK]) {
    rig.core.generate(flows, 0, flows, 1, flags)
    for (let sent = 0; sent < flows; sent += 64) rig.burst()
  }
  rig.core.close()
}
