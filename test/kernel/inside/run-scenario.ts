/**
 * Carries out a scenario on both directors at once, step by step, and collects what they did. After
 * every step the tester waits until both are quiet; guest time costs nothing while they are.
 */
import { setTimeout as pause } from 'node:timers/promises'
import {
  DIRECTOR_MAC,
  GATEWAY,
  realServerMac,
  resolveNames,
  virtualAddresses,
} from '../addresses.js'
import type { Observation, Seen } from '../compare.js'
import { frameText, sentKey } from '../frame-text.js'
import type { FlowId, IcmpErrorStep, Scenario, Segment, Step } from '../language.js'
import { saidLines } from '../listing.js'
import { parseMarkWords, splitWords } from '../../../src/control/model/mark-parse.js'
import { buildFrame, type Ethernet, type IpPacket } from '../../support/packet-builder.js'
import { type DecodedFrame, decodeFrame } from '../../support/packet-decoder.js'
import { innermost } from '../tunnel-text.js'
import type { Side, Towards } from './side.js'
import { holdAddresses6 } from './world.js'

/** Nothing for so long is quiet. */
const QUIET_MS = 50
/** How long the slower one may take to do what the other has done already. */
const PATIENCE_MS = 2000
/** Longer than fragments wait for the others: IPV6_FRAG_TIMEOUT (include/net/ipv6.h). */
const FRAGMENTS_SEC = 61
const ETHERNET_BYTES = 14
/** Above those a scenario's other packets have. */
const ICMP_IDENTIFICATION = 60_000
/** The defaults of --set (spec 3.6.3). */
const DEFAULT_TIMEOUTS = ['--set', '900', '120', '300']

/** Commands that both directors have carried out when they answer: nothing follows by itself. */
const DONE_AT_ONCE = /^-[AaEeLS] /

export interface Pair {
  readonly kernel: Side
  readonly uvs: Side
}

const NOTHING: readonly Seen[] = [{ text: 'nothing to answer to' }]

/**
 * Both observations, one entry per step. Rejects when a step makes no sense on the kernel, unless
 * nobody thought it out (`isRandom`).
 */
export async function runScenario(
  scenario: Scenario,
  index: number,
  { kernel, uvs }: Pair,
  isRandom = false,
): Promise<{ kernel: Observation; uvs: Observation }> {
  const runs = [new Run(kernel, index), new Run(uvs, index)] as const
  const seen: { kernel: Seen[][]; uvs: Seen[][] } = { kernel: [], uvs: [] }
  for (const run of runs) run.prepare(scenario)
  try {
    for (const [number, step] of scenario.steps.entries()) {
      const done = await Promise.all(runs.map((run) => run.perform(step)))
      if (done[0] === undefined && !isRandom) {
        throw new Error(`step ${number + 1}: nothing to answer to`)
      }
      if (!isDoneAtOnce(step)) await settle(kernel, uvs)
      seen.kernel.push([...(done[0] ?? NOTHING), ...runs[0].collect()])
      seen.uvs.push([...(done[1] ?? NOTHING), ...runs[1].collect()])
    }
    // What is half there is given up, and told, while its addresses are still the host's.
    if (isRandom && hasFragments(scenario)) await pause(FRAGMENTS_SEC * 1000)
  } finally {
    for (const run of runs) await run.tidyUp()
    await settle(kernel, uvs)
    for (const run of runs) run.collect()
  }
  return seen
}

function hasFragments({ steps }: Scenario): boolean {
  return steps.some((step) => {
    if (step.kind !== 'fromClient') return false
    const { moreFragments = false, fragmentOffset = 0, extensions = [] } = step.packet.ip
    return moreFragments || fragmentOffset > 0 || extensions.length > 0
  })
}

function isDoneAtOnce(step: Step): boolean {
  return step.kind === 'ipvsadm' && DONE_AT_ONCE.test(step.line)
}

/** Waits until both directors have been quiet for a while, and for the slower of the two. */
async function settle(a: Side, b: Side): Promise<void> {
  const started = performance.now()
  for (let [before, now] = [-1, a.waiting + b.waiting]; ;) {
    if (now === before) {
      if (a.waiting === b.waiting || performance.now() - started > PATIENCE_MS) return
    }
    await pause(QUIET_MS)
    ;[before, now] = [now, a.waiting + b.waiting]
  }
}

/** A frame a director sent, and what it says. */
interface Emitted {
  readonly raw: Uint8Array
  readonly frame: DecodedFrame
}

/** One scenario on one director. */
class Run {
  readonly #side: Side
  readonly #index: number
  /** Keys of the packets the tester sent (frame-text.ts). */
  readonly #sent = new Set<string>()
  /** What the director has sent so far, newest last. */
  readonly #frames: Record<Towards, Emitted[]> = { client: [], server: [] }
  /** Settings as they were before the scenario. */
  readonly #settings = new Map<string, string>()
  #addresses6: readonly string[] = []
  #marked = false

  constructor(side: Side, index: number) {
    this.#side = side
    this.#index = index
  }

  /** What the step showed at once; undefined when there is nothing it could refer to. */
  async perform(step: Step): Promise<Seen[] | undefined> {
    switch (step.kind) {
      case 'ipvsadm':
        return this.#ipvsadm(step.line, step.input)
      case 'sysctl':
        return this.#sysctl(step.name, step.value)
      case 'mark':
        this.#marked = true
        await this.#side.mark(parseMarkWords(splitWords(this.#named(step.rule))))
        return []
      case 'wait':
        await pause(step.sec * 1000)
        return []
      case 'realClients': {
        const said = await this.#side.requests(this.#named(step.virtual), step.count)
        return said.flatMap((one) => saidLines(one, []))
      }
      case 'fromClient':
        return this.#send('client', GATEWAY.mac, step.packet)
      case 'fromServer':
        return this.#send('server', realServerMac(step.server), step.packet)
      case 'answer':
        return this.#answer(step.flow, step.segment)
      case 'icmpError':
        return this.#icmpError(step.error)
    }
  }

  /** What left the director since the last call: by cable, in order. */
  collect(): Seen[] {
    return (['client', 'server'] as const).flatMap((towards) =>
      this.#side.cables[towards].take().map((frame) => {
        this.#frames[towards].push({ raw: frame, frame: decodeFrame(frame) })
        return { text: `to ${towards}: ${frameText(frame, this.#sent)}` }
      }),
    )
  }

  /** Makes the host ready for what the scenario uses. */
  prepare({ steps }: Scenario): void {
    if (JSON.stringify(steps).includes('v6')) {
      this.#addresses6 = virtualAddresses(this.#index).filter((address) => address.includes(':'))
      holdAddresses6(this.#side.name, 'add', this.#addresses6)
    }
  }

  /**
   * Leaves the director as a scenario expects to find it; connections run out by themselves.
   * Rejects when it refuses: what follows would be compared with leftovers.
   */
  async tidyUp(): Promise<void> {
    for (const words of [['-C'], DEFAULT_TIMEOUTS]) {
      const { status, stderr } = await this.#side.ipvsadm(words, '')
      if (status !== 0) throw new Error(`${this.#side.name}: ipvsadm ${words[0]}: ${stderr}`)
    }
    if (this.#marked) await this.#side.clearMarks()
    for (const [name, value] of this.#settings) await this.#side.setSysctl(name, value)
    if (this.#addresses6.length > 0) holdAddresses6(this.#side.name, 'del', this.#addresses6)
  }

  async #ipvsadm(line: string, input: string): Promise<Seen[]> {
    const words = this.#named(line)
      .split(' ')
      .filter((word) => word !== '')
    const said = await this.#side.ipvsadm(words, this.#named(input))
    return saidLines(said, virtualAddresses(this.#index))
  }

  async #sysctl(name: string, value: string): Promise<Seen[]> {
    if (!this.#settings.has(name)) this.#settings.set(name, await this.#side.sysctl(name))
    const isTaken = await this.#side.setSysctl(name, value)
    const now = await this.#side.sysctl(name)
    return [{ text: `${isTaken ? 'taken' : 'refused'}; ${name} is ${now}` }]
  }

  #send(towards: Towards, source: string, packet: IpPacket): Seen[] {
    const ethernet: Ethernet = { source, destination: DIRECTOR_MAC[towards] }
    const frame = buildFrame({ ethernet, ...this.#namedPacket(packet) })
    const { protocol = 0, identification = 0 } = decodeFrame(frame).ip ?? {}
    this.#sent.add(sentKey(protocol, identification))
    this.#side.cables[towards].send(frame)
    return []
  }

  #answer(flow: FlowId, { tcp, sctp, ip, payload }: Segment): Seen[] | undefined {
    const asked = this.#lastOf('server', flow)?.frame
    const ports = asked?.[flow.protocol]
    if (asked?.ip === undefined || ports === undefined) return undefined
    // A server of direct routing answers the client itself, not through the director.
    if (asked.ip.destination === this.#named(flow.virtual.address)) return undefined
    const answered = { source: ports.destination, destination: ports.source }
    return this.#send('server', asked.ethernet.destination, {
      ip: { ...ip, source: asked.ip.destination, destination: asked.ip.source },
      [flow.protocol]: { ...tcp, ...sctp, ...answered },
      payload,
    })
  }

  #icmpError(error: IcmpErrorStep): Seen[] | undefined {
    const { from, flow, icmp, source, quotedBytes } = error
    const quoted = this.#lastOf(from, flow)
    if (quoted?.frame.ip === undefined) return undefined
    const isDirect = quoted.frame.ip.destination === this.#named(flow.virtual.address)
    if (isDirect && error.unlessDirect === true) return undefined
    const mac = from === 'client' ? GATEWAY.mac : quoted.frame.ethernet.destination
    const ip = { source, destination: quoted.frame.ip.source, identification: ICMP_IDENTIFICATION }
    const payload = quoted.raw.slice(ETHERNET_BYTES, ETHERNET_BYTES + quotedBytes)
    return this.#send(from, mac, { ip, icmp, payload })
  }

  /** The last packet of a flow that the director sent towards the clients or the real servers. */
  #lastOf(towards: Towards, flow: FlowId): Emitted | undefined {
    const address = this.#named(flow.client.address)
    return this.#frames[towards].findLast(({ frame }) => {
      const packet = innermost(frame)
      const ports = packet[flow.protocol]
      const end = towards === 'server' ? 'source' : 'destination'
      return packet.ip?.[end] === address && ports?.[end] === flow.client.port
    })
  }

  #named(text: string): string {
    return resolveNames(text, this.#index)
  }

  #namedPacket(packet: IpPacket): IpPacket {
    const { ip, inner } = packet
    const [source, destination] = [this.#named(ip.source), this.#named(ip.destination)]
    return {
      ...packet,
      ip: { ...ip, source, destination },
      ...(inner === undefined ? {} : { inner: this.#namedPacket(inner) }),
    }
  }
}
