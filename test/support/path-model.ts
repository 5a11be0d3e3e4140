/**
 * A slow and obvious model of the packet path (spec 3, 5 and 7.1; FULLNAT 12): what must happen to
 * one packet. It chooses no destination: the core's choice is read from its table and judged.
 */
import type { Config } from '../../src/control/model/config.js'
import type { Destination, Method } from '../../src/control/model/destination.js'

const STATES = ['NO', 'ES', 'SS', 'SR', 'FW', 'TW', 'CL', 'CW', 'LA', 'LI', 'SA'] as const
type State = (typeof STATES)[number]

/** Names as listings show them. */
export const LISTED: Readonly<Record<State, string>> = {
  NO: 'NONE',
  ES: 'ESTABLISHED',
  SS: 'SYN_SENT',
  SR: 'SYN_RECV',
  FW: 'FIN_WAIT',
  TW: 'TIME_WAIT',
  CL: 'CLOSE',
  CW: 'CLOSE_WAIT',
  LA: 'LAST_ACK',
  LI: 'LISTEN',
  SA: 'SYNACK',
}

type Row = Readonly<Record<'S' | 'F' | 'A' | 'R', string>>
/** Spec 3.6, columns in the order of STATES. */
const NEXT: Readonly<Record<'input' | 'output' | 'inputOnly', Row>> = {
  input: {
    S: 'SR ES ES SR SR SR SR SR SR SR SR',
    F: 'CL CW SS TW TW TW CL CW LA LI TW',
    A: 'ES ES SS ES FW TW CL CW CL LI ES',
    R: 'CL CL CL SR CL CL CL CL LA LI SR',
  },
  output: {
    S: 'SS ES SS SR SS SS SS SS SS LI SR',
    F: 'TW FW SS TW FW TW CL TW LA LI TW',
    A: 'ES ES SS ES FW TW CL CW LA ES ES',
    R: 'CL CL SS CL CL TW CL CL CL CL CL',
  },
  inputOnly: {
    S: 'SR ES ES SR SR SR SR SR SR SR SR',
    F: 'CL FW SS TW FW TW CL CW LA LI TW',
    A: 'ES ES SS ES FW TW CL CW CL LI ES',
    R: 'CL CL CL SR CL CL CL CL LA LI CL',
  },
}
const TIMEOUT_SEC = [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120]
const FULLNAT_SEC = [2, 90, 3, 30, 7, 7, 3, 7, 7, 120, 30]
const UDP_SEC = 300
const ACTIVE: readonly State[] = ['ES', 'SS', 'SR', 'SA']
const TICKS_PER_SEC = 4

/** One side's address and port. */
export interface End {
  readonly address: string
  readonly port: number
}

export interface ModelPacket {
  readonly protocol: 'tcp' | 'udp'
  readonly source: End
  readonly destination: End
  /** Letters of S A F R. */
  readonly flags: string
  readonly ttl: number
  /** IP packet, in bytes. */
  readonly bytes: number
}

export interface ModelConnection {
  readonly protocol: 'tcp' | 'udp'
  readonly client: End
  readonly service: End
  readonly method: Method
  readonly slot: number
  readonly destination: End
  readonly local: End
  state: State
  noOutput: boolean
  dueTick: number
}

/** What must have happened. `create`: the core must have made a connection and forwarded. */
export type Outcome =
  | { readonly what: 'forward'; readonly connection: ModelConnection; readonly reply: boolean }
  | { readonly what: 'create'; readonly choices: readonly Destination[]; readonly method: Method }
  | { readonly what: 'reset' | 'unreachable' | 'nothing' }

export const flowKey = (protocol: string, from: End, to: End): string =>
  `${protocol} ${from.address} ${from.port} ${to.address} ${to.port}`

/** Connections and counters as they must be. */
export class PathModel {
  readonly connections = new Map<string, ModelConnection>()
  /** By destination slot. */
  readonly traffic = new Map<number, { in: number; out: number; inBytes: number; made: number }>()
  config: Config
  tick = 0

  constructor(config: Config) {
    this.config = config
  }

  /** A new configuration acts at once; with expire_nodest_conn a removal sweeps the table. */
  adopt(config: Config): void {
    const before = [...this.config.services.values()].flatMap(({ destinations }) => destinations)
    this.config = config
    if (config.sysctls.expire_nodest_conn === 0) return
    if (before.every(({ slot }) => this.#listed(slot) !== undefined)) return
    for (const [key, { slot }] of this.connections) {
      if (this.#listed(slot) === undefined) this.connections.delete(key)
    }
  }

  /** Time has come to `tick`, and the table has noticed. */
  advance(tick: number): void {
    this.tick = tick
    for (const [key, { dueTick }] of this.connections) {
      if (dueTick <= tick) this.connections.delete(key)
    }
  }

  /** Judges one packet and, where it belongs to a known connection, moves that. */
  receive(packet: ModelPacket): Outcome {
    const key = flowKey(packet.protocol, packet.source, packet.destination)
    const known = this.connections.get(key)
    if (known !== undefined) {
      const listed = this.#listed(known.slot)
      if (!this.#startsOver(packet, known)) {
        if (listed !== undefined) return this.#track(packet, known, false)
        if (this.config.sysctls.expire_nodest_conn === 0) return { what: 'nothing' }
      }
      this.connections.delete(key)
    } else {
      const replied = [...this.connections.values()].find((one) => isReply(packet, one))
      if (replied !== undefined) return this.#track(packet, replied, true)
    }
    return this.#schedule(packet)
  }

  /** The core made this connection for `packet`. `onePacket`: and ended it at once. */
  created(packet: ModelPacket, connection: ModelConnection, onePacket: boolean): void {
    this.#trafficOf(connection.slot).made++
    this.#track(packet, connection, false)
    if (onePacket) return
    const key = flowKey(packet.protocol, packet.source, packet.destination)
    this.connections.set(key, connection)
  }

  /** Connections of a destination, spec 3.5. */
  load(slot: number): { active: number; inactive: number } {
    const all = [...this.connections.values()].filter((one) => one.slot === slot)
    const active = all.filter(isActive).length
    return { active, inactive: all.length - active }
  }

  #schedule(packet: ModelPacket): Outcome {
    const { address, port } = packet.destination
    const service = [...this.config.services.values()].find(
      ({ id }) =>
        id.protocol === packet.protocol && id.address.text === address && id.port === port,
    )
    if (service === undefined) return { what: 'nothing' }
    const isTcp = packet.protocol === 'tcp'
    if (isTcp && packet.flags.includes('R')) return { what: 'nothing' }
    if (isTcp && !packet.flags.includes('S') && this.config.sysctls.sloppy_tcp === 0) {
      return { what: 'reset' }
    }
    const choices = service.destinations.filter(({ weight }) => weight > 0)
    if (choices.length === 0) return { what: 'unreachable' }
    // Spec 12.8: FULLNAT begins with a plain SYN only.
    const isPlain = !packet.flags.includes('A') && !packet.flags.includes('F')
    if (isTcp && choices[0].method === 'fullnat' && !isPlain) return { what: 'nothing' }
    return { what: 'create', choices, method: choices[0].method }
  }

  #startsOver(packet: ModelPacket, connection: ModelConnection): boolean {
    if (packet.protocol !== 'tcp' || !packet.flags.includes('S')) return false
    const { expire_nodest_conn: expire, conn_reuse_mode: mode } = this.config.sysctls
    if (expire !== 0 && this.#weight(connection.slot) === 0) return true
    if (mode === 0) return false
    const { state, noOutput } = connection
    return state === 'TW' || state === 'CL' || ((mode & 2) !== 0 && state === 'FW' && noOutput)
  }

  #track(packet: ModelPacket, connection: ModelConnection, reply: boolean): Outcome {
    const isFullnat = connection.method === 'fullnat'
    const isTooFar = packet.ttl <= 1
    // The host forwards replies and refuses this one before it would be seen (ip_forward.c).
    if (reply && isTooFar) return { what: 'forward', connection, reply }
    if (this.#listed(connection.slot) !== undefined) {
      const traffic = this.#trafficOf(connection.slot)
      if (reply) traffic.out++
      else traffic.in++
      if (!reply) traffic.inBytes += packet.bytes
      // "Time exceeded" is a reply of the connection where its virtual address is recognised.
      if (!reply && isTooFar && !isFullnat && connection.method !== 'masquerade') traffic.out++
    }
    if (packet.protocol === 'udp') {
      connection.dueTick = this.tick + UDP_SEC * TICKS_PER_SEC
      return { what: 'forward', connection, reply }
    }
    if (reply) connection.noOutput = false
    const rows = reply ? NEXT.output : connection.noOutput ? NEXT.inputOnly : NEXT.input
    const event = ['R', 'S', 'F', 'A'].find((letter) => packet.flags.includes(letter))
    const column = STATES.indexOf(connection.state)
    let next = event === undefined ? 'CL' : rows[event as keyof Row].split(' ')[column]
    if (isFullnat && event === 'A' && connection.state === 'NO' && !reply) next = 'CL'
    connection.state = next as State
    const seconds = (isFullnat ? FULLNAT_SEC : TIMEOUT_SEC)[STATES.indexOf(connection.state)]
    connection.dueTick = this.tick + seconds * TICKS_PER_SEC
    return { what: 'forward', connection, reply }
  }

  #listed(slot: number): Destination | undefined {
    return [...this.config.services.values()]
      .flatMap(({ destinations }) => destinations)
      .find((one) => one.slot === slot)
  }

  #weight(slot: number): number {
    const trashed = [...this.config.trash].find(({ destination }) => destination.slot === slot)
    return (this.#listed(slot) ?? trashed?.destination)?.weight ?? -1
  }

  #trafficOf(slot: number): { in: number; out: number; inBytes: number; made: number } {
    const traffic = this.traffic.get(slot) ?? { in: 0, out: 0, inBytes: 0, made: 0 }
    this.traffic.set(slot, traffic)
    return traffic
  }
}

function isActive({ protocol, method, state }: ModelConnection): boolean {
  if (protocol === 'udp') return false
  return method === 'fullnat' ? state === 'ES' : ACTIVE.includes(state)
}

function sameEnd(a: End, b: End): boolean {
  return a.address === b.address && a.port === b.port
}

/** Spec 5.2: replies pass through the director where it rewrites, and nowhere else. */
function isReply(packet: ModelPacket, one: ModelConnection): boolean {
  if (one.method !== 'masquerade' && one.method !== 'fullnat') return false
  const back = one.method === 'fullnat' ? one.local : one.client
  return (
    packet.protocol === one.protocol &&
    sameEnd(packet.source, one.destination) &&
    sameEnd(packet.destination, back)
  )
}
