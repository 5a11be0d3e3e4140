/** A director over a fake data plane, asked in the messages of the family IPVS. */
import { Director } from '../../../src/control/director.js'
import { answerMessage } from '../../../src/control/ipvs-server/answer.js'
import { PRIVATE } from '../../../src/control/ipvs-server/private-protocol.js'
import { emptyConfig } from '../../../src/control/model/config.js'
import type { Command } from '../../../src/control/model/commands.js'
import { ERRNO } from '../../../src/control/netlink/errno.js'
import type { WireErrno } from '../../../src/control/netlink/errno.js'
import { COMMAND } from '../../../src/control/netlink/ipvs-attributes.js'
import type { CommandName } from '../../../src/control/netlink/ipvs-attributes.js'
import type {
  WireDestinationOptions,
  WireServiceId,
  WireServiceOptions,
} from '../../../src/control/netlink/ipvs-types.js'
import {
  MESSAGE_FLAG,
  MESSAGE_TYPE,
  outcomeOf,
  packGeneric,
  splitMessages,
  unpackGeneric,
} from '../../../src/control/netlink/message.js'
import type { GenericMessage } from '../../../src/control/netlink/message.js'
import { FakeClock, FakeDataplane, memoryLog } from '../../support/fake-dataplane.js'
import { CAPACITY, ip } from '../fixtures.js'

export interface Rig {
  readonly port: FakeDataplane
  readonly clock: FakeClock
  readonly director: Director
  /** Commands that must all succeed. */
  has(commands: readonly Command[]): Promise<void>
}

export function rig(capacity = CAPACITY): Rig {
  const port = new FakeDataplane()
  const clock = new FakeClock()
  const config = emptyConfig(capacity)
  const director = new Director({ port, config, clock, log: memoryLog(), version: '1' })
  director.start()
  return {
    port,
    clock,
    director,
    async has(commands) {
      for (const outcome of await director.execute(commands)) {
        if (!outcome.ok) throw new Error(outcome.message)
      }
    },
  }
}

export interface Asked {
  /** Name of the error, 'ok' for an acknowledgement or the end of a dump, 'none' for neither. */
  readonly verdict: string
  readonly messages: readonly GenericMessage[]
  readonly datagrams: readonly Uint8Array[]
}

export interface AskOptions {
  readonly dump?: boolean
  readonly privileged?: boolean
  readonly type?: number
  readonly flags?: number
}

const WANTED = MESSAGE_FLAG.request | MESSAGE_FLAG.ack
export const SEQUENCE = 4711
export const PORT = 815

/** One request with command number `command`, and what came back. */
export async function askNumber(
  { director }: Rig,
  command: number,
  attributes: Uint8Array = new Uint8Array(),
  { dump = false, privileged = true, type = PRIVATE.FAMILY_ID, flags = WANTED }: AskOptions = {},
): Promise<Asked> {
  const header = {
    type,
    flags: dump ? flags | MESSAGE_FLAG.dump : flags,
    sequence: SEQUENCE,
    port: PORT,
  }
  return askBytes(director, packGeneric(header, { command, version: 1, attributes }), privileged)
}

export async function askBytes(
  director: Director,
  request: Uint8Array,
  privileged = true,
): Promise<Asked> {
  const datagrams: Uint8Array[] = []
  for (const message of splitMessages(request)) {
    datagrams.push(...(await answerMessage(message, privileged, director)))
  }
  const messages: GenericMessage[] = []
  let verdict = 'none'
  for (const message of datagrams.flatMap(splitMessages)) {
    const outcome = outcomeOf(message)
    const generic = unpackGeneric(message)
    if (outcome !== undefined) verdict = nameOf(outcome)
    else if (message.type !== MESSAGE_TYPE.noop && generic !== undefined) messages.push(generic)
  }
  return { verdict, messages, datagrams }
}

export function ask(
  on: Rig,
  command: CommandName,
  attributes?: Uint8Array,
  options?: AskOptions,
): Promise<Asked> {
  return askNumber(on, COMMAND[command], attributes, options)
}

export function nameOf(errno: number): string {
  if (errno === 0) return 'ok'
  return (Object.keys(ERRNO) as WireErrno[]).find((name) => ERRNO[name] === errno) ?? `${errno}`
}

export function wireService(changes: Partial<WireServiceId> = {}): WireServiceId {
  const id = { family: 4, protocol: 6, address: ip('198.18.0.1'), port: 80, fwmark: 0 } as const
  return { ...id, ...changes }
}

export function wireOptions(changes: Partial<WireServiceOptions> = {}): WireServiceOptions {
  const plain = { scheduler: 'wlc', flags: 0, flagsMask: 0xffffffff, timeoutSec: 0 }
  return { ...plain, netmask: 0xffffffff, engine: '', ...changes }
}

export function wireDestination(
  changes: Partial<WireDestinationOptions> = {},
): WireDestinationOptions {
  const tunnel = { tunnelType: 0, tunnelPort: 0, tunnelFlags: 0 }
  return { method: 0, weight: 1, upperThreshold: 0, lowerThreshold: 0, ...tunnel, ...changes }
}
