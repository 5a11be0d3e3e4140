/** The flags of `uvs run` and what they mean together with the configuration file. Pure. */
import { parseArgs } from 'node:util'
import { parseLocalRanges } from './config/local-ranges.js'
import { FOREIGN, IO_KINDS, OFFLOADS } from './config/native-format.js'
import type { Offload, Settings } from './config/native-format.js'
import type { ForeignServices, IoKind } from './dataplane-port.js'
import type { LogFormat } from './log.js'
import type { Address } from './model/address.js'
import { DEFAULT_FTP_PORTS, FTP_PORTS_MAX } from './model/config.js'
import { MAGLEV_INDEX_DEFAULT, MAGLEV_INDEX_MAX, MAGLEV_INDEX_MIN } from './model/maglev-size.js'

/** Wrong usage: one clear line, exit status 2. */
export class UsageError extends Error {}

export interface RunFlags {
  readonly config: string | undefined
  readonly rules: string | undefined
  readonly socket: string
  readonly http: { readonly host: string; readonly port: number } | undefined
  readonly logFormat: LogFormat | undefined
  readonly sysctls: readonly (readonly [name: string, value: string])[]
  readonly io: IoKind | undefined
  readonly interfaces: readonly string[] | undefined
  readonly workers: number | undefined
  readonly tun: string | undefined
  readonly announce: boolean | undefined
  readonly lip: string | undefined
  readonly ftpPorts: readonly number[] | undefined
  readonly offload: Offload | undefined
  readonly foreign: ForeignServices | undefined
  readonly maglevIndex: number | undefined
}

/** Flags override the file. */
export interface RunSettings {
  readonly io: IoKind
  readonly interfaces: readonly string[]
  readonly workers: number
  readonly tunName: string
  readonly announce: boolean
  readonly localAddresses: readonly Address[]
  /** Virtual ports of the FTP helper. */
  readonly ftpPorts: readonly number[]
  readonly offload: Offload
  readonly foreign: ForeignServices
  readonly maglevIndex: number
}

const FLAGS = {
  config: { type: 'string' },
  rules: { type: 'string' },
  socket: { type: 'string' },
  http: { type: 'string' },
  io: { type: 'string' },
  iface: { type: 'string', multiple: true },
  workers: { type: 'string' },
  tun: { type: 'string' },
  announce: { type: 'string' },
  lip: { type: 'string' },
  'ftp-ports': { type: 'string' },
  offload: { type: 'string' },
  foreign: { type: 'string' },
  'mh-index': { type: 'string' },
  set: { type: 'string', multiple: true },
  'log-format': { type: 'string' },
} as const

const WORKERS_MAX = 16
const TUN_NAME = 'uvs0'

/** Reads argv; throws UsageError with one sentence. */
export function parseRunFlags(argv: readonly string[], defaultSocket: string): RunFlags {
  const values = readFlags(argv)
  return {
    config: values.config,
    rules: values.rules,
    socket: values.socket ?? defaultSocket,
    http: values.http === undefined ? undefined : listenAddress(values.http),
    logFormat: choice('--log-format', values['log-format'], ['text', 'json']),
    sysctls: (values.set ?? []).map(assignment),
    io: choice('--io', values.io, IO_KINDS),
    interfaces: values.iface?.flatMap((list) => list.split(',')).filter((name) => name !== ''),
    workers: numberFrom('--workers', values.workers, 1, WORKERS_MAX),
    tun: values.tun,
    announce:
      values.announce === undefined
        ? undefined
        : choice('--announce', values.announce, ['on', 'off']) === 'on',
    lip: values.lip,
    ftpPorts: values['ftp-ports'] === undefined ? undefined : portList(values['ftp-ports']),
    offload: choice('--offload', values.offload, OFFLOADS),
    foreign: choice('--foreign', values.foreign, FOREIGN),
    maglevIndex: numberFrom('--mh-index', values['mh-index'], MAGLEV_INDEX_MIN, MAGLEV_INDEX_MAX),
  }
}

function readFlags(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: FLAGS, strict: true }).values
  } catch (error) {
    const [sentence] = (error as Error).message.split('. ')
    throw new UsageError(`${sentence}; see "uvs help run"`)
  }
}

function choice<T extends string>(
  flag: string,
  value: string | undefined,
  choices: readonly T[],
): T | undefined {
  if (value === undefined) return undefined
  const found = choices.find((name) => name === value)
  if (found !== undefined) return found
  throw new UsageError(`${flag} takes ${choices.join(' or ')}, not "${value}"`)
}

function numberFrom(
  flag: string,
  text: string | undefined,
  least: number,
  most: number,
): number | undefined {
  if (text === undefined) return undefined
  const number = Number(text)
  if (/^\d+$/.test(text) && number >= least && number <= most) return number
  throw new UsageError(`${flag} takes a number from ${least} to ${most}, not "${text}"`)
}

/** Nothing means no port: the helper is off. */
function portList(text: string): number[] {
  const words = text === '' ? [] : text.split(',')
  const good = words.every((word) => /^\d{1,5}$/.test(word) && +word >= 1 && +word <= 0xffff)
  if (good && words.length <= FTP_PORTS_MAX) return words.map(Number)
  throw new UsageError(`--ftp-ports takes at most ${FTP_PORTS_MAX} ports, not "${text}"`)
}

function assignment(text: string): readonly [string, string] {
  const equals = text.indexOf('=')
  if (equals > 0) return [text.slice(0, equals), text.slice(equals + 1)]
  throw new UsageError(`--set takes NAME=VALUE, not "${text}"`)
}

/** `ADDR:PORT`, `[V6]:PORT`. */
function listenAddress(text: string): { host: string; port: number } {
  const match = /^\[(.+)\]:(\d+)$/.exec(text) ?? /^([^:]+):(\d+)$/.exec(text)
  const port = Number(match?.[2])
  if (match !== null && port <= 0xffff) return { host: match[1], port }
  throw new UsageError(`--http takes ADDR:PORT, not "${text}"`)
}

/** Everything the data plane needs; throws ControlError or UsageError. */
export function mergeSettings(flags: RunFlags, file: Settings, cpus: number): RunSettings {
  const io = flags.io ?? file.io ?? 'af_packet'
  const interfaces = flags.interfaces ?? file.interfaces ?? []
  const lip = flags.lip ?? file.lip
  const local = lip === undefined ? undefined : parseLocalRanges(lip)
  if (local?.ok === false) throw local.error
  return {
    io,
    interfaces,
    workers: flags.workers ?? file.workers ?? Math.min(Math.max(1, cpus - 1), WORKERS_MAX),
    tunName: flags.tun ?? file.tun ?? TUN_NAME,
    announce: flags.announce ?? file.announce ?? true,
    localAddresses: local?.value ?? [],
    ftpPorts: flags.ftpPorts ?? file.ftpPorts ?? DEFAULT_FTP_PORTS,
    offload: flags.offload ?? file.offload ?? 'off',
    foreign: flags.foreign ?? file.foreign ?? 'leave',
    maglevIndex: flags.maglevIndex ?? file.maglevIndex ?? MAGLEV_INDEX_DEFAULT,
  }
}
