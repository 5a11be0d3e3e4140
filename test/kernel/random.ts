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
  CHUNK,
  STATS_SEC,
  type PacketOptions,
  type Scenario,
  type SctpFlow,
  type Step,
  type TcpFlow,
  type UdpFlow,
} from './language.js'
import { sendInFragments } from './scenarios/fragments.js'

type Family = 4 | 6
type Protocol = 'tcp' | 'udp' | 'sctp'

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
  | { readonly kind: 'fragments'; readonly flow: FlowChoice; readonly what: number }
  | { readonly kind: 'setting'; readonly what: number }
  | { readonly kind: 'timeouts'; readonly what: number }
  | { readonly kind: 'wait'; readonly sec: number }
  | { readonly kind: 'look'; readonly what: number }
  | { readonly kind: 'zero' }

/** A service: family, protocol, which of the places. */
interface At {
  readonly family: Family
  readonly protocol: Protocol
  readonly place: number
}

interface ServiceChoice {
  readonly scheduler: number
  readonly persistence: number
  readonly onePacket: boolean
}

interface DestinationChoice {
  readonly server: number
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
/** With sh and mh: no flags, or some of NAME-port and NAME-fallback. */
const HASH_FLAGS = [[], ['port'], ['fallback'], ['fallback', 'port']] as const
const PERSISTENCE: Readonly<Record<Family, readonly string[]>> = {
  4: ['', '', ' -p 40', ' -p 300', ' -p 60 -M 255.255.255.0'],
  6: ['', '', ' -p 40', ' -p 300', ' -p 60 -M 112'],
}
const METHODS = ['-m', '-m', '-m', '-g', '-i'] as const
const WEIGHTS = [0, 1, 1, 2, 3, 10] as const
const THRESHOLDS = ['', '', '', ' -x 2', ' -x 4 -y 1', ' -y 3'] as const
const SERVERS = 5
const CLIENTS = 6
const MARK = 77
/** Where services are, and the ports that clients call there. A mark has one service for all. */
const PLACES = [
  { virtual: 1, port: 80, called: 80 },
  { virtual: 1, port: 443, called: 443 },
  { virtual: 1, port: 80, called: 80 },
  { virtual: 1, port: 21, called: 21 },
  { virtual: 1, port: 21, called: 5000 },
  { virtual: 1, port: 0, called: 7000 },
  { virtual: 2, mark: MARK, called: 80 },
  { virtual: 2, mark: MARK, called: 443 },
] as const
const FTP_PORT = 21
const FLAGS = ['S', 'A', 'PA', 'FA', 'R', 'RA', 'SA', 'F', ''] as const
/** The chunks that move a state are drawn more often. */
const CHUNKS = [
  ...Object.keys(CHUNK),
  ...['INIT', 'INIT-ACK', 'COOKIE-ECHO', 'COOKIE-ACK', 'DATA', 'SHUTDOWN', 'SHUTDOWN-ACK'],
  ...['DATA+SACK', 'SHUTDOWN-COMPLETE', 'ABORT'],
]
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
  ['sloppy_sctp', 0],
  ['sloppy_sctp', 1],
  ['nat_icmp_send', 0],
  ['nat_icmp_send', 1],
  ['schedule_icmp', 0],
  ['schedule_icmp', 1],
  ['pmtu_disc', 0],
  ['pmtu_disc', 1],
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
  protocol: fc.constantFrom<Protocol>('tcp', 'tcp', 'tcp', 'udp', 'udp', 'sctp'),
  place: fc.nat({ max: PLACES.length - 1 }),
})
const flow: fc.Arbitrary<FlowChoice> = fc.record({ at, client: fc.nat({ max: CLIENTS - 1 }) })
const service: fc.Arbitrary<ServiceChoice> = fc.record({
  scheduler: index,
  persistence: index,
  onePacket: fc.boolean(),
})
const destination: fc.Arbitrary<DestinationChoice> = fc.record({
  server: fc.nat({ max: SERVERS - 1 }),
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
  { weight: 2, arbitrary: fc.record({ kind: is('fragments'), flow, what: index }) },
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

/**
 * The same with every wait so many times as long. The kernel's timers may run out up to an eighth
 * late (docs/compat.md), so a list that looks at a connection in that time sees it on one side
 * only; what else differs does so with other waits too.
 */
export function slower({ name, steps }: Scenario, factor: number): Scenario {
  const longer = (step: Step): Step =>
    step.kind === 'wait' ? { ...step, sec: Math.ceil(step.sec * factor) } : step
  return { name: `${name}, ${factor} times slower`, steps: steps.map(longer) }
}

class Maker {
  readonly #s = new Builder()
  readonly #tcp = new Map<string, TcpFlow>()
  readonly #udp = new Map<string, UdpFlow>()
  readonly #sctp = new Map<string, SctpFlow>()
  /** Those whose last SYN was answered, if there was a real server to do so. */
  readonly #opened = new Set<TcpFlow>()
  #datagrams = 0
  #isSloppy = false

  constructor() {
    for (const virtual of ['$V2', '$V2v6']) this.#s.mark(`-d ${virtual} --set-mark ${MARK}`)
  }

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
        if (name === 'sloppy_tcp') this.#isSloppy = value === 1
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
    const method = methodOf(where, how.server)
    // Only masquerading maps ports.
    const port = method === '-m' && how.server % 2 === 1 ? 8080 : portOf(where)
    const server = serverText(where, how.server, port)
    const weight = pick(WEIGHTS, how.weight)
    const options = `${method} -w ${weight}${pick(THRESHOLDS, how.thresholds)}`
    this.#s.ipvsadm(`${how.isNew ? '-a' : '-e'} ${serviceText(where)} -r ${server} ${options}`)
  }

  #packet(one: Extract<Operation, { flow: FlowChoice }>): void {
    const { flow } = one
    if (one.kind === 'icmp') return this.#icmp(flow, one.what)
    if (one.kind === 'fragments') return this.#fragments(flow, one.what)
    const fromClient = one.kind === 'client' || one.kind === 'open'
    switch (flow.at.protocol) {
      case 'udp': {
        const udp = this.#udpFlow(flow)
        return fromClient ? udp.send() : udp.answer()
      }
      case 'sctp': {
        const sctp = this.#sctpFlow(flow)
        if (one.kind === 'open') return handshake(sctp)
        const chunks = one.kind === 'close' ? 'SHUTDOWN' : pick(CHUNKS, one.what)
        return fromClient || one.kind === 'close' ? sctp.send(chunks) : sctp.answer(chunks)
      }
      case 'tcp': {
        const tcp = this.#tcpFlow(flow)
        const isHigh = PLACES[flow.at.place].called > 1023
        if (one.kind === 'open' || (one.kind === 'close' && this.#isSloppy && isHigh)) {
          return this.#open(tcp)
        }
        // Different by docs/compat.md: what comes before the SYN-ACK, where a helper looks.
        const isEarly = PLACES[flow.at.place].called === FTP_PORT && !this.#opened.has(tcp)
        if (one.kind === 'close') {
          if (isEarly) this.#open(tcp)
          return tcp.close()
        }
        const drawn = pick(FLAGS, one.what)
        if (isEarly && fromClient && /^[^S]*A/.test(drawn)) return this.#open(tcp)
        if (fromClient && drawn === 'S') this.#opened.delete(tcp)
        // Different by docs/compat.md: an answer to the host's own connection, if anything.
        const begins = drawn === 'SA' || (this.#isSloppy && !drawn.includes('S'))
        const isHosts = fromClient && begins && isHigh
        const flags = isHosts ? 'S' : drawn
        const options: PacketOptions = flags.startsWith('P') ? { payload: 'payload' } : {}
        return fromClient ? tcp.send(flags, options) : tcp.answer(flags, options)
      }
    }
  }

  #open(tcp: TcpFlow): void {
    this.#opened.add(tcp)
    tcp.open()
  }

  /** From a router beside the real servers, about what the client sent last. */
  #icmp(choice: FlowChoice, what: number): void {
    const { family, protocol } = choice.at
    const { client, virtual } = this.#flow(choice)
    const [type, code] = pick(ERRORS[family], what)
    this.#s.icmpError({
      from: 'server',
      flow: { protocol, client, virtual },
      icmp: { type, code },
      source: family === 4 ? '$R30' : '$R30v6',
      quotedBytes: family === 4 ? 28 : 48,
      // Different by docs/compat.md: the host lets those pass.
      unlessDirect: true,
    })
  }

  /** A UDP datagram of three fragments, in an order that `what` says. */
  #fragments(choice: FlowChoice, what: number): void {
    const { client, virtual } = this.#udpFlow(choice)
    const ends = {
      source: client.address,
      destination: virtual.address,
      sourcePort: client.port,
      destinationPort: virtual.port,
    }
    const order = pick(
      [
        [0, 1, 2],
        [2, 1, 0],
        [1, 2, 0],
        [0, 2],
      ],
      what,
    )
    sendInFragments(this.#s, ends, 4000, ++this.#datagrams, order)
  }

  #flow(choice: FlowChoice): TcpFlow | UdpFlow | SctpFlow {
    switch (choice.at.protocol) {
      case 'tcp':
        return this.#tcpFlow(choice)
      case 'udp':
        return this.#udpFlow(choice)
      case 'sctp':
        return this.#sctpFlow(choice)
    }
  }

  #tcpFlow(choice: FlowChoice): TcpFlow {
    return remembered(this.#tcp, choice, (client, virtual) => this.#s.tcp(client, virtual))
  }

  #udpFlow(choice: FlowChoice): UdpFlow {
    return remembered(this.#udp, choice, (client, virtual) => this.#s.udp(client, virtual))
  }

  #sctpFlow(choice: FlowChoice): SctpFlow {
    return remembered(this.#sctp, choice, (client, virtual) => this.#s.sctp(client, virtual))
  }
}

/** The flow of a choice: the same each time. */
function remembered<F>(
  flows: Map<string, F>,
  choice: FlowChoice,
  make: (client: string, virtual: string) => F,
): F {
  const [client, virtual] = endsOf(choice)
  const key = `${client} ${virtual}`
  const flow = flows.get(key) ?? make(client, virtual)
  flows.set(key, flow)
  return flow
}

function handshake(sctp: SctpFlow): void {
  sctp.send('INIT')
  sctp.answer('INIT-ACK')
  sctp.send('COOKIE-ECHO')
  sctp.answer('COOKIE-ACK')
}

function name(letter: string, number: number, { family }: At): string {
  return family === 4 ? `$${letter}${number}` : `[$${letter}${number}v6]`
}

/** The port that a service and its destinations have; 0 where they have none of their own. */
function portOf({ place }: At): number {
  const at = PLACES[place]
  return 'port' in at ? at.port : 0
}

function serviceText(where: At): string {
  const at = PLACES[where.place]
  if ('mark' in at) return `-f ${at.mark}${where.family === 6 ? ' -6' : ''}`
  const kind = { tcp: '-t', udp: '-u', sctp: '--sctp-service' }[where.protocol]
  return `${kind} ${name('V', at.virtual, where)}:${at.port}`
}

/**
 * A destination keeps its method for a whole list: in the kernel connections of one method spoil
 * the route of those of another (docs/compat.md, "several methods at one destination").
 */
function methodOf(where: At, server: number): string {
  return pick(METHODS, server + where.place)
}

function serverText(where: At, server: number, port?: number): string {
  const number = (server % SERVERS) + 1
  // As setDestination() gives it, unless it is direct routing or a tunnel.
  return `${name('R', number, where)}:${port ?? (number % 2 === 0 ? 8080 : portOf(where))}`
}

function howText(where: At, { scheduler, persistence, onePacket }: ServiceChoice): string {
  const method = pick(SCHEDULERS, scheduler)
  const chosen = pick(HASH_FLAGS, Math.floor(scheduler / SCHEDULERS.length))
  const flags = chosen.map((flag) => `${method}-${flag}`).join(',')
  const hash = flags !== '' && (method === 'sh' || method === 'mh') ? ` -b ${flags}` : ''
  const ops = onePacket && where.protocol === 'udp' && !('mark' in PLACES[where.place]) ? ' -o' : ''
  return ` -s ${method}${hash}${ops}${pick(PERSISTENCE[where.family], persistence)}`
}

function endsOf({ at: where, client }: FlowChoice): [client: string, virtual: string] {
  const { virtual, called } = PLACES[where.place]
  const from = `${name('C', client + 1, where)}:${40_000 + where.place}`
  return [from, `${name('V', virtual, where)}:${called}`]
}
