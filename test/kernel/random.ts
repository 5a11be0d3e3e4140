/**
 * Random differential runs: lists of operations as a fast-check arbitrary, and the steps they come
 * to. What is drawn is small numbers, so that a failing list shrinks to the few operations that
 * matter; names and sequence numbers follow when the steps are made. Pure.
 *
 * Left out is what docs/compat.md says is different, and whatever is decided by chance (twos,
 * drop_entry).
 */
import fc from 'fast-check'
import {
  Builder,
  STATS_SEC,
  type PacketOptions,
  type Scenario,
  type TcpFlow,
  type UdpFlow,
} from './language.js'

type Family = 4 | 6

/** One thing that happens; indexes into the lists below, taken modulo their length. */
export type Operation =
  | { readonly kind: 'addService' | 'editService'; readonly at: At; readonly how: ServiceChoice }
  | { readonly kind: 'deleteService'; readonly at: At }
  | { readonly kind: 'setDestination'; readonly at: At; readonly how: DestinationChoice }
  | { readonly kind: 'deleteDestination'; readonly at: At; readonly server: number }
  | { readonly kind: 'client' | 'server'; readonly flow: FlowChoice; readonly what: number }
  | { readonly kind: 'open'; readonly flow: FlowChoice }
  | { readonly kind: 'close'; readonly flow: FlowChoice }
  | { readonly kind: 'icmp'; readonly flow: FlowChoice; readonly what: number }
  | { readonly kind: 'setting'; readonly what: number }
  | { readonly kind: 'timeouts'; readonly what: number }
  | { readonly kind: 'wait'; readonly sec: number }
  | { readonly kind: 'look'; readonly what: number }
  | { readonly kind: 'zero' }

/** A service: family, protocol, which of two ports. */
interface At {
  readonly family: Family
  readonly protocol: 'tcp' | 'udp'
  readonly port: number
}

interface ServiceChoice {
  readonly scheduler: number
  readonly persistence: number
}

interface DestinationChoice {
  readonly server: number
  readonly method: number
  readonly weight: number
  readonly thresholds: number
  /** -a or -e; either may be refused. */
  readonly isNew: boolean
}

interface FlowChoice {
  readonly at: At
  readonly client: number
}

// New ones at the end: an index that was drawn means what it meant.
const SCHEDULERS = [
  ...(['rr', 'wrr', 'lc', 'wlc', 'sed', 'nq', 'lblc', 'lblcr', 'dh', 'sh'] as const),
  ...(['fo', 'ovf', 'mh'] as const),
]
const SH_FLAGS = ['', ' -b sh-port', ' -b sh-fallback', ' -b sh-fallback,sh-port'] as const
const PERSISTENCE: Readonly<Record<Family, readonly string[]>> = {
  4: ['', '', ' -p 40', ' -p 300', ' -p 60 -M 255.255.255.0'],
  6: ['', '', ' -p 40', ' -p 300', ' -p 60 -M 112'],
}
const METHODS = ['-m', '-m', '-m', '-g', '-i'] as const
const WEIGHTS = [0, 1, 1, 2, 3, 10] as const
const THRESHOLDS = ['', '', '', ' -x 2', ' -x 4 -y 1', ' -y 3'] as const
const SERVERS = 5
const CLIENTS = 6
const PORTS = [80, 443] as const
const FLAGS = ['S', 'A', 'PA', 'FA', 'R', 'RA', 'SA', 'F', ''] as const
const SETTINGS = [
  ['expire_nodest_conn', 0],
  ['expire_nodest_conn', 1],
  ['expire_quiescent_template', 0],
  ['expire_quiescent_template', 1],
  ['conn_reuse_mode', 0],
  ['conn_reuse_mode', 1],
  ['conn_reuse_mode', 3],
  ['sloppy_tcp', 0],
  ['sloppy_tcp', 1],
  ['secure_tcp', 0],
  ['secure_tcp', 3],
] as const
const TIMEOUTS = ['0 0 0', '30 0 0', '0 5 0', '0 0 20', '900 120 300'] as const
const LOOKS = [
  '-L -n',
  '-L -n -c',
  '-L -n --thresholds',
  '-L -n --persistent-conn',
  '-S -n',
] as const
const ERRORS: Readonly<Record<Family, readonly (readonly [type: number, code: number])[]>> = {
  4: [
    [3, 1],
    [3, 3],
    [11, 0],
  ],
  6: [
    [1, 0],
    [1, 4],
    [3, 0],
  ],
}

const index = fc.nat({ max: 59 })
const at: fc.Arbitrary<At> = fc.record({
  family: fc.constantFrom<Family>(4, 4, 6),
  protocol: fc.constantFrom('tcp', 'tcp', 'udp'),
  port: fc.nat({ max: PORTS.length - 1 }),
})
const flow: fc.Arbitrary<FlowChoice> = fc.record({ at, client: fc.nat({ max: CLIENTS - 1 }) })
const service: fc.Arbitrary<ServiceChoice> = fc.record({ scheduler: index, persistence: index })
const destination: fc.Arbitrary<DestinationChoice> = fc.record({
  server: fc.nat({ max: SERVERS - 1 }),
  method: index,
  weight: index,
  thresholds: index,
  isNew: fc.boolean(),
})

const is = <K extends Operation['kind']>(kind: K): fc.Arbitrary<K> => fc.constant(kind)

/** Any operation; packets are the most frequent. */
export const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: is('addService'), at, how: service }) },
  { weight: 2, arbitrary: fc.record({ kind: is('editService'), at, how: service }) },
  { weight: 1, arbitrary: fc.record({ kind: is('deleteService'), at }) },
  { weight: 12, arbitrary: fc.record({ kind: is('setDestination'), at, how: destination }) },
  { weight: 3, arbitrary: fc.record({ kind: is('deleteDestination'), at, server: index }) },
  { weight: 24, arbitrary: fc.record({ kind: is('client'), flow, what: index }) },
  { weight: 12, arbitrary: fc.record({ kind: is('server'), flow, what: index }) },
  { weight: 12, arbitrary: fc.record({ kind: is('open'), flow }) },
  { weight: 5, arbitrary: fc.record({ kind: is('close'), flow }) },
  { weight: 3, arbitrary: fc.record({ kind: is('icmp'), flow, what: index }) },
  { weight: 3, arbitrary: fc.record({ kind: is('setting'), what: index }) },
  { weight: 1, arbitrary: fc.record({ kind: is('timeouts'), what: index }) },
  {
    weight: 5,
    arbitrary: fc.record({ kind: is('wait'), sec: fc.constantFrom(1, 2, 7, 30, 61, 130) }),
  },
  { weight: 5, arbitrary: fc.record({ kind: is('look'), what: index }) },
  { weight: 1, arbitrary: fc.record({ kind: is('zero') }) },
)

const pick = <T>(list: readonly T[], i: number): T => list[i % list.length]

/** The steps of a list of operations; looks at services and connections at the end. */
export function stepsOf(name: string, operations: readonly Operation[]): Scenario {
  const maker = new Maker()
  for (const one of operations) maker.add(one)
  maker.look()
  return { name, steps: maker.steps }
}

class Maker {
  readonly #s = new Builder()
  readonly #tcp = new Map<string, TcpFlow>()
  readonly #udp = new Map<string, UdpFlow>()

  get steps(): Scenario['steps'] {
    return this.#s.steps
  }

  look(): void {
    this.#s.list()
    this.#s.connections()
    this.#s.stats()
  }

  add(one: Operation): void {
    const s = this.#s
    switch (one.kind) {
      case 'addService':
        return s.ipvsadm(`-A ${serviceText(one.at)}${howText(one.at, one.how)}`)
      case 'editService':
        return s.ipvsadm(`-E ${serviceText(one.at)}${howText(one.at, one.how)}`)
      case 'deleteService':
        return s.ipvsadm(`-D ${serviceText(one.at)}`)
      case 'setDestination':
        return this.#setDestination(one.at, one.how)
      case 'deleteDestination':
        return s.ipvsadm(`-d ${serviceText(one.at)} -r ${serverText(one.at, one.server)}`)
      case 'setting': {
        const [name, value] = pick(SETTINGS, one.what)
        return s.sysctl(name, value)
      }
      case 'timeouts':
        return s.ipvsadm(`--set ${pick(TIMEOUTS, one.what)}`)
      case 'wait':
        return s.wait(one.sec)
      case 'look':
        return s.ipvsadm(pick(LOOKS, one.what))
      case 'zero':
        // What came since the estimator's last look counts again after it (spec 7.4).
        s.wait(STATS_SEC)
        return s.ipvsadm('-Z')
      default:
        return this.#packet(one)
    }
  }

  #setDestination(where: At, how: DestinationChoice): void {
    const method = pick(METHODS, how.method)
    // Only masquerading maps ports.
    const port = method === '-m' && how.server % 2 === 1 ? 8080 : PORTS[where.port]
    const server = serverText(where, how.server, port)
    const weight = pick(WEIGHTS, how.weight)
    const options = `${method} -w ${weight}${pick(THRESHOLDS, how.thresholds)}`
    this.#s.ipvsadm(`${how.isNew ? '-a' : '-e'} ${serviceText(where)} -r ${server} ${options}`)
  }

  #packet(one: Extract<Operation, { flow: FlowChoice }>): void {
    if (one.kind === 'icmp') return this.#icmp(one.flow, one.what)
    const fromClient = one.kind === 'client' || one.kind === 'open'
    if (one.flow.at.protocol === 'udp') {
      const udp = this.#udpFlow(one.flow)
      return fromClient ? udp.send() : udp.answer()
    }
    const tcp = this.#tcpFlow(one.flow)
    if (one.kind === 'open') return tcp.open()
    if (one.kind === 'close') return tcp.close()
    const flags = pick(FLAGS, one.what)
    const options: PacketOptions = flags.startsWith('P') ? { payload: 'payload' } : {}
    return fromClient ? tcp.send(flags, options) : tcp.answer(flags, options)
  }

  /** From a router beside the real servers, about what the client sent last. */
  #icmp(choice: FlowChoice, what: number): void {
    const { family, protocol } = choice.at
    const { client, virtual } = protocol === 'udp' ? this.#udpFlow(choice) : this.#tcpFlow(choice)
    const [type, code] = pick(ERRORS[family], what)
    this.#s.icmpError({
      from: 'server',
      flow: { protocol, client, virtual },
      icmp: { type, code },
      source: family === 4 ? '$R30' : '$R30v6',
      quotedBytes: family === 4 ? 28 : 48,
    })
  }

  #tcpFlow(choice: FlowChoice): TcpFlow {
    const [client, virtual] = endsOf(choice)
    const key = `${client} ${virtual}`
    const flow = this.#tcp.get(key) ?? this.#s.tcp(client, virtual)
    this.#tcp.set(key, flow)
    return flow
  }

  #udpFlow(choice: FlowChoice): UdpFlow {
    const [client, virtual] = endsOf(choice)
    const key = `${client} ${virtual}`
    const flow = this.#udp.get(key) ?? this.#s.udp(client, virtual)
    this.#udp.set(key, flow)
    return flow
  }
}

function name(letter: string, number: number, { family }: At): string {
  return family === 4 ? `$${letter}${number}` : `[$${letter}${number}v6]`
}

function virtualText(where: At): string {
  return `${name('V', 1, where)}:${PORTS[where.port]}`
}

function serviceText(where: At): string {
  return `${where.protocol === 'tcp' ? '-t' : '-u'} ${virtualText(where)}`
}

function serverText(where: At, server: number, port?: number): string {
  const number = (server % SERVERS) + 1
  // As setDestination() gives it, unless it is direct routing or a tunnel.
  return `${name('R', number, where)}:${port ?? (number % 2 === 0 ? 8080 : PORTS[where.port])}`
}

function howText(where: At, { scheduler, persistence }: ServiceChoice): string {
  const method = pick(SCHEDULERS, scheduler)
  const flags = method === 'sh' ? pick(SH_FLAGS, Math.floor(scheduler / SCHEDULERS.length)) : ''
  return ` -s ${method}${flags}${pick(PERSISTENCE[where.family], persistence)}`
}

function endsOf({ at: where, client }: FlowChoice): [client: string, virtual: string] {
  return [`${name('C', client + 1, where)}:${40_000 + where.port}`, virtualText(where)]
}
