/**
 * The language of the differential tests: what is done to a director, as data. A scenario says
 * nothing about what must come out; the kernel's IPVS says that (run-scenario.ts, compare.ts).
 * README.md in this folder shows every word of it.
 *
 *   scenario('rr gives each real server its turn', (s) => {
 *     s.ipvsadm('-A -t $V1:80 -s rr')
 *     s.ipvsadm('-a -t $V1:80 -r $R1:80 -m')
 *     const c = s.tcp('$C1:40000', '$V1:80')
 *     c.open()
 *     s.connections()
 *   })
 */
import type { Icmp, Ip, IpPacket, Sctp, SctpChunk, Tcp } from '../support/packet-builder.js'

/** Something that happens. Addresses everywhere may be `$NAME`s (addresses.ts). */
export type Step =
  /** Both tools' output and exit status. `input` is for -R. */
  | { readonly kind: 'ipvsadm'; readonly line: string; readonly input: string }
  /** net.ipv4.vs.NAME; put back after the scenario. */
  | { readonly kind: 'sysctl'; readonly name: string; readonly value: string }
  /** A rule of mangle PREROUTING in the words of iptables; taken back after the scenario. */
  | { readonly kind: 'mark'; readonly rule: string }
  | { readonly kind: 'fromClient'; readonly packet: IpPacket }
  /** From the link address of real server `server` (1...) to the director. */
  | { readonly kind: 'fromServer'; readonly server: number; readonly packet: IpPacket }
  | { readonly kind: 'answer'; readonly flow: FlowId; readonly segment: Segment }
  | { readonly kind: 'icmpError'; readonly error: IcmpErrorStep }
  | { readonly kind: 'wait'; readonly sec: number }
  | { readonly kind: 'realClients'; readonly virtual: string; readonly count: number }

/** A flow as the client sees it. */
export interface FlowId {
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  readonly client: Endpoint
  readonly virtual: Endpoint
}

export interface Endpoint {
  readonly address: string
  readonly port: number
}

/** What a real server answers; addresses and ports come from the packet it got. */
export interface Segment {
  readonly tcp?: Omit<Tcp, 'source' | 'destination'>
  readonly sctp?: Omit<Sctp, 'source' | 'destination'>
  readonly ip?: Partial<Ip>
  readonly payload: string
}

/**
 * An ICMP error that quotes the last packet the director sent of this flow: to its real server
 * (`from` server) or to the client (`from` client). `source` is who complains.
 */
export interface IcmpErrorStep {
  readonly from: 'client' | 'server'
  readonly flow: FlowId
  readonly icmp: Omit<Icmp, 'checksum'>
  readonly source: string
  /** How much of the packet is quoted, from its IP header on. */
  readonly quotedBytes: number
  /** Nothing is sent about what direct routing forwarded. */
  readonly unlessDirect?: boolean
}

export interface Scenario {
  readonly name: string
  readonly steps: readonly Step[]
}

/** Parts of a packet a scenario may choose. */
export interface PacketOptions {
  readonly payload?: string
  readonly ip?: Partial<Ip>
  readonly tcp?: Partial<Omit<Tcp, 'source' | 'destination' | 'flags'>>
}

export interface TcpFlow extends FlowId {
  /** The client sends a segment; flags as in packet-builder.ts, sequence numbers follow. */
  send(flags: string, options?: PacketOptions): void
  /** The NAT real server that got the last segment sends one back through the director. */
  answer(flags: string, options?: PacketOptions): void
  /** S, SA, A. */
  open(): void
  /** The client ends first: FA, FA, A. */
  close(): void
}

export interface UdpFlow extends FlowId {
  send(payload?: string, options?: PacketOptions): void
  answer(payload?: string, options?: PacketOptions): void
}

/** Chunk types by the names of RFC 9260; any other number as its digits. */
export const CHUNK = {
  DATA: 0,
  INIT: 1,
  'INIT-ACK': 2,
  SACK: 3,
  HEARTBEAT: 4,
  'HEARTBEAT-ACK': 5,
  ABORT: 6,
  SHUTDOWN: 7,
  'SHUTDOWN-ACK': 8,
  ERROR: 9,
  'COOKIE-ECHO': 10,
  'COOKIE-ACK': 11,
  ECNE: 12,
  CWR: 13,
  'SHUTDOWN-COMPLETE': 14,
} as const

export interface SctpFlow extends FlowId {
  /** The client sends a packet of these chunks, `DATA+SACK`; their bodies are made up. */
  send(chunks: string, options?: PacketOptions): void
  /** The NAT real server that got the last packet sends one back through the director. */
  answer(chunks: string, options?: PacketOptions): void
}

const CLIENT_ISN = 1_000_000
const SERVER_ISN = 5_000_000
/** Longer than two periods of the estimator: counters have stood still (spec 7.3). */
export const STATS_SEC = 5

/** Collects the steps of one scenario. */
export class Builder {
  readonly steps: Step[] = []
  #packets = 0

  /** One command line, without the program's name. */
  ipvsadm(line: string, input = ''): void {
    this.steps.push({ kind: 'ipvsadm', line, input })
  }

  /** A service with destinations: `service('-t $V1:80 -s rr', '-r $R1:80 -m', ...)`. */
  service(service: string, ...destinations: readonly string[]): void {
    this.ipvsadm(`-A ${service}`)
    const [kind, address] = service.split(' ')
    for (const destination of destinations) this.ipvsadm(`-a ${kind} ${address} ${destination}`)
  }

  /** Gives packets a firewall mark: `mark('-d $V1 -p tcp --dport 80 --set-mark 5')`. */
  mark(rule: string): void {
    this.steps.push({ kind: 'mark', rule })
  }

  sysctl(name: string, value: number | string): void {
    this.steps.push({ kind: 'sysctl', name, value: String(value) })
  }

  /** The clock goes on by so many seconds. */
  wait(sec: number): void {
    this.steps.push({ kind: 'wait', sec })
  }

  /** Services and destinations with weights and connection counts. */
  list(): void {
    this.ipvsadm('-L -n')
  }

  /** This scenario's connections and templates: states, timers, destinations. */
  connections(): void {
    this.ipvsadm('-L -n -c')
  }

  /** Counters, after a wait that lets the estimators catch up. */
  stats(): void {
    this.wait(STATS_SEC)
    this.ipvsadm('-L -n --stats --exact')
  }

  tcp(client: string, virtual: string): TcpFlow {
    const flow = flowId('tcp', client, virtual)
    const next = { client: CLIENT_ISN, server: SERVER_ISN }
    const segment = (sender: 'client' | 'server', flags: string, options: PacketOptions) => {
      const { payload = '', tcp } = options
      const [own, other] =
        sender === 'client' ? (['client', 'server'] as const) : (['server', 'client'] as const)
      const sequence = next[own]
      next[own] += payload.length + (/[SF]/.test(flags) ? 1 : 0)
      const acknowledgment = flags.includes('A') ? next[other] : 0
      return { flags, sequence, acknowledgment, ...tcp }
    }
    const send = (flags: string, options: PacketOptions = {}) =>
      this.#sendOf(flow, { tcp: segment('client', flags, options) }, options)
    const answer = (flags: string, options: PacketOptions = {}) =>
      this.#answerOf(flow, { tcp: segment('server', flags, options) }, options)
    const all = (...flags: readonly [client: string, server: string, client: string]) => {
      send(flags[0])
      answer(flags[1])
      send(flags[2])
    }
    const [open, close] = [() => all('S', 'SA', 'A'), () => all('FA', 'FA', 'A')]
    return { ...flow, send, answer, open, close }
  }

  udp(client: string, virtual: string): UdpFlow {
    const flow = flowId('udp', client, virtual)
    return {
      ...flow,
      send: (payload = 'question', options = {}) => this.#sendOf(flow, {}, { ...options, payload }),
      answer: (payload = 'answer', options = {}) =>
        this.#answerOf(flow, {}, { ...options, payload }),
    }
  }

  sctp(client: string, virtual: string): SctpFlow {
    const flow = flowId('sctp', client, virtual)
    return {
      ...flow,
      send: (chunks, options = {}) =>
        this.#sendOf(flow, { sctp: { tag: CLIENT_ISN, chunks: chunksOf(chunks) } }, options),
      answer: (chunks, options = {}) =>
        this.#answerOf(flow, { sctp: { tag: SERVER_ISN, chunks: chunksOf(chunks) } }, options),
    }
  }

  /**
   * `count` HTTP requests, one after the other, by a program on a kernel of its own, to port 80 of
   * `virtual` (IPv4). The real server that can answer is `$S`: web server, tunl0, `virtual` on it.
   */
  realClients(virtual: string, count: number): void {
    this.steps.push({ kind: 'realClients', virtual, count })
  }

  /** Any packet from the side of the clients. */
  fromClient(packet: IpPacket): void {
    this.steps.push({ kind: 'fromClient', packet })
  }

  /** Any packet from real server `server` through the director. */
  fromServer(server: number, packet: IpPacket): void {
    this.steps.push({ kind: 'fromServer', server, packet })
  }

  icmpError(error: IcmpErrorStep): void {
    this.steps.push({ kind: 'icmpError', error })
  }

  /** Distinct, so that reports tell a forwarded packet from one the director made. */
  #identification(): number {
    this.#packets++
    return this.#packets
  }

  #ip(source: string, destination: string, options: PacketOptions): Ip {
    const identification = this.#identification()
    return { source, destination, identification, dontFragment: true, ...options.ip }
  }

  #sendOf(
    flow: FlowId,
    { tcp, sctp }: Pick<Segment, 'tcp' | 'sctp'>,
    options: PacketOptions,
  ): void {
    const ports = { source: flow.client.port, destination: flow.virtual.port }
    this.fromClient({
      ip: this.#ip(flow.client.address, flow.virtual.address, options),
      [flow.protocol]: { ...ports, ...tcp, ...sctp },
      payload: options.payload ?? '',
    })
  }

  #answerOf(flow: FlowId, own: Pick<Segment, 'tcp' | 'sctp'>, options: PacketOptions): void {
    const { protocol, client, virtual } = flow
    const ip = { identification: this.#identification(), dontFragment: true, ...options.ip }
    const segment = { ip, payload: options.payload ?? '', ...own }
    this.steps.push({ kind: 'answer', flow: { protocol, client, virtual }, segment })
  }
}

/** Writes a scenario down. Names are unique; --only finds by them. */
export function scenario(name: string, build: (s: Builder) => void): Scenario {
  const builder = new Builder()
  build(builder)
  return { name, steps: builder.steps }
}

function chunksOf(words: string): SctpChunk[] {
  return words.split('+').map((word) => {
    const type = Object.hasOwn(CHUNK, word) ? CHUNK[word as keyof typeof CHUNK] : Number(word)
    if (!Number.isInteger(type)) throw new TypeError(`no chunk ${word}`)
    return { type, body: new TextEncoder().encode(word) }
  })
}

function flowId(protocol: FlowId['protocol'], client: string, virtual: string): FlowId {
  return { protocol, client: endpoint(client), virtual: endpoint(virtual) }
}

/** `ADDRESS:PORT` or `[ADDRESS]:PORT`. */
function endpoint(text: string): Endpoint {
  const match = /^\[?([^\]]+?)\]?:(\d+)$/.exec(text)
  if (match === null) throw new TypeError(`not ADDRESS:PORT: ${text}`)
  return { address: match[1], port: Number(match[2]) }
}

/** A step in one line, for reports. */
export function stepText(step: Step): string {
  switch (step.kind) {
    case 'ipvsadm':
      return `ipvsadm ${step.line}`
    case 'sysctl':
      return `sysctl ${step.name}=${step.value}`
    case 'mark':
      return `mark ${step.rule}`
    case 'wait':
      return `wait ${step.sec} s`
    case 'realClients':
      return `${step.count} real clients connect to ${step.virtual}`
    case 'fromClient':
      return `client sends ${packetText(step.packet)}`
    case 'fromServer':
      return `real server ${step.server} sends ${packetText(step.packet)}`
    case 'answer': {
      const { protocol, client } = step.flow
      const { tcp, sctp, payload } = step.segment
      const what = tcp?.flags ?? (sctp && chunkText(sctp)) ?? `${payload.length} bytes`
      return `real server answers ${client.address}:${client.port} with ${protocol} ${what}`
    }
    case 'icmpError': {
      const { from, icmp, flow } = step.error
      const { address, port } = flow.client
      return `${from} sends ICMP ${icmp.type}/${icmp.code} about ${address}:${port}`
    }
  }
}

function chunkText({ chunks = [] }: Pick<Sctp, 'chunks'>): string {
  const names = Object.entries(CHUNK)
  return chunks
    .map(({ type }) => names.find(([, number]) => number === type)?.[0] ?? String(type))
    .join('+')
}

function packetText({ ip, tcp, udp, sctp, icmp }: IpPacket): string {
  const ports = tcp ?? udp ?? sctp
  const [from, to] = ports === undefined ? ['', ''] : [`:${ports.source}`, `:${ports.destination}`]
  const name = tcp
    ? `tcp ${tcp.flags ?? 'A'}`
    : udp
      ? 'udp'
      : sctp
        ? `sctp ${chunkText(sctp)}`
        : icmp
          ? `icmp ${icmp.type}`
          : 'ip'
  return `${ip.source}${from} > ${ip.destination}${to} ${name}`
}
