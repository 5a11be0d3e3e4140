/**
 * The soak's ledger: what went in must have come out or be on the list of reasons. Reads the
 * director's own counters at two quiet moments and compares the differences.
 */
import { readdirSync, readFileSync } from 'node:fs'
import type { StatusView } from '../../src/control/api/views.js'
import type { ReasonName } from '../../src/dataplane/reasons.js'
import type { Director } from '../../test/e2e/support/director.js'
import { waitFor } from '../../test/support/wait.js'

/** A worker that dies may lose the burst it holds and the count of what it has just sent. */
const LOST_PER_RESTART = 64
/** Memory may grow by what the allocators of the restarted threads keep, not by connections. */
const MEMORY_GROWTH_MAX = 64 << 20
/** The estimator, and with it the statistics, moves this often (spec 7.2). */
const ESTIMATOR_SEC = 2
const STATISTICS_LIMIT_MS = 10_000

/** Counted after the packet has been counted as forwarded: it did not leave. */
const AFTER: readonly ReasonName[] = [
  'no_route',
  'neighbour_unresolved',
  'neighbour_queue_full',
  'ttl_exceeded',
  'too_big',
  'too_big_silent',
  'no_headroom',
  'method_unsupported',
  'tx_full',
  'tx_error',
]

/** Never a frame that was received. */
const BESIDE: readonly ReasonName[] = ['rx_overrun', 'icmp_limited', 'fragment_needed']

/** The director at one moment. */
export interface Reading {
  rx: number
  tx: number
  forwarded: number
  connections: number
  reasons: Readonly<Record<string, number>>
  restarts: number
  descriptors: number
  memoryBytes: number
}

/** One line of the table: a name, a figure, what it should be, and whether it is. */
export interface Sum {
  name: string
  value: number
  wanted: string
  good: boolean
}

/** Reads everything once nothing moves: the statistics say the same for longer than the estimator
 * takes. */
export async function readDirector(director: Director): Promise<Reading> {
  let last = ''
  let restedSec = 0
  const status = await waitFor(
    'the statistics to come to rest',
    async () => {
      const now = await director.status()
      const text = JSON.stringify([now.stats, now.ports, now.drops])
      if (text !== last) restedSec = now.uptimeSec + ESTIMATOR_SEC
      last = text
      return now.uptimeSec > restedSec && now
    },
    STATISTICS_LIMIT_MS,
  )
  return { ...counted(status), ...ofProcess(director.program.pid) }
}

function counted(status: StatusView): Omit<Reading, 'descriptors' | 'memoryBytes'> {
  const sum = (values: readonly (string | number)[]): number =>
    values.reduce<number>((total, value) => total + Number(value), 0)
  const reasons = Object.entries(status.drops).map(([name, n]): [string, number] => [
    name,
    Number(n),
  ])
  return {
    rx: sum(status.ports.map(({ rxFrames }) => rxFrames)),
    tx: sum(status.ports.map(({ txFrames }) => txFrames)),
    forwarded: sum([status.stats.inPackets, status.stats.outPackets]),
    connections: Number(status.stats.connections),
    reasons: Object.fromEntries(reasons),
    restarts: sum(status.workers.map(({ restarts }) => restarts)),
  }
}

function ofProcess(pid: number): Pick<Reading, 'descriptors' | 'memoryBytes'> {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kilobytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1])
  return { descriptors: readdirSync(`/proc/${pid}/fd`).length, memoryBytes: kilobytes * 1024 }
}

/** What is left in the director when all connections should have expired. */
export interface Leftovers {
  listed: number
  active: number
  inactive: number
}

/** ARP and neighbour discovery on behalf of addresses, which no packet counter has. */
export interface Announcements {
  /** Answers to a question. */
  answers: number
  /** Said to everybody without a question: at the start, and by the replacement of worker 0. */
  gratuitous: number
}

/** Draws the balance between two readings. */
export function balance(
  before: Reading,
  after: Reading,
  left: Leftovers,
  { answers, gratuitous }: Announcements,
): Sum[] {
  const reasons = Object.keys(after.reasons)
  const difference = (names: readonly string[]): number =>
    names.reduce((sum, name) => sum + (after.reasons[name] ?? 0) - (before.reasons[name] ?? 0), 0)
  const late = difference(AFTER)
  const early = difference(
    reasons.filter((name) => ![...AFTER, ...BESIDE].includes(name as ReasonName)),
  )
  const [rx, tx, forwarded] = [
    after.rx - before.rx,
    after.tx - before.tx,
    after.forwarded - before.forwarded,
  ]
  const slack = (after.restarts - before.restarts) * LOST_PER_RESTART
  const figure = (name: string, value: number): Sum => ({ name, value, wanted: '', good: true })
  const zero = (name: string, value: number): Sum => between(name, value, 0, 0)
  return [
    figure('connections made', after.connections - before.connections),
    zero('connections still listed', left.listed),
    zero('active connections still counted', left.active),
    zero('inactive connections still counted', left.inactive),
    figure('frames in', rx),
    figure('  forwarded', forwarded),
    figure('  not forwarded, by reason', early),
    figure('  questions for addresses, answered', answers),
    between('  unaccounted for', rx - forwarded - early - answers, 0, slack),
    figure('frames out', tx),
    figure('  forwarded but dropped on the way out', late),
    figure('  answers and announcements', answers + gratuitous),
    // An early reason may be answered (RST, ICMP) or the frame given to the host: at most one each.
    between('  beyond these', tx - forwarded + late - answers - gratuitous, -slack, early),
    zero('lost before the ring was read', difference(['rx_overrun'])),
    figure('worker restarts', after.restarts - before.restarts),
    between('descriptors gained', after.descriptors - before.descriptors, 0, 0),
    between(
      'bytes of memory gained',
      after.memoryBytes - before.memoryBytes,
      NaN,
      MEMORY_GROWTH_MAX,
    ),
  ]
}

/** `low` NaN: no lower bound. */
function between(name: string, value: number, low: number, high: number): Sum {
  const good = !(value < low) && value <= high
  const wanted = low === high ? String(low) : `${Number.isNaN(low) ? '' : `${low} `}to ${high}`
  return { name, value, wanted: wanted.trim(), good }
}

/** The balance as text, one line per sum, and the reasons that occurred. */
export function printBalance(sums: readonly Sum[], before: Reading, after: Reading): string {
  const rows = sums.map(({ name, value, wanted, good }) => [
    name,
    value.toLocaleString('en-US'),
    wanted === '' ? '' : `${good ? 'ok' : 'WRONG'} (${wanted})`,
  ])
  const reasons = Object.entries(after.reasons)
    .map(([name, n]): [string, number] => [name, n - (before.reasons[name] ?? 0)])
    .filter(([, n]) => n !== 0)
    .map(([name, n]) => [`    ${name}`, n.toLocaleString('en-US'), ''])
  const lines = [...rows, ['reasons', '', ''], ...reasons]
  return lines
    .map(([name, value, verdict]) =>
      `${name.padEnd(42)} ${value.padStart(14)}  ${verdict}`.trimEnd(),
    )
    .join('\n')
}
