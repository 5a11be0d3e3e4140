/** The `uvs` program: finds the command, runs it, returns the exit status. */
import { parseArgs } from 'node:util'
import { controlClient, DEFAULT_SOCKET } from '../api/client.js'
import { ControlError } from '../model/errors.js'
import type { CliEnvironment } from './environment.js'
import { runIpvsadm } from './ipvsadm.js'
import { MarkUsage, runMark } from './mark.js'
import { systemResolver } from './resolver.js'
import {
  environmentLines,
  parseShimLine,
  runShimmed,
  shimEnvironment,
  shimLibrary,
} from './shim.js'
import { formatConnections, formatStatus } from './status.js'
import { runSysctl } from './sysctl.js'
import { commandHelp, GENERAL_HELP } from './uvs-help.js'

/** Standard streams and the daemon behind `socket`. */
export function processEnvironment(socket: string): CliEnvironment {
  // Whoever reads the output may stop early (`ipvsadm -Lc | head`); that is no error of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(0)
  })
  return {
    program: 'ipvsadm',
    client: controlClient(socket),
    resolver: systemResolver(),
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    async readInput() {
      const chunks: Buffer[] = []
      for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
      return Buffer.concat(chunks).toString('utf8')
    },
  }
}

/** Where the daemon is, unless a command says otherwise. */
export function defaultSocket(): string {
  return process.env.UVS_SOCKET ?? DEFAULT_SOCKET
}

/** Wrong usage of one of our own commands: exit status 2. */
class WrongUsage extends Error {}

/** Commands that talk to a running daemon; `run` is elsewhere because it loads the data plane. */
export async function runUvs(
  argv: readonly string[],
  environmentFor: (socket: string) => CliEnvironment,
): Promise<number> {
  const [command, ...rest] = argv
  const environment = environmentFor(defaultSocket())
  try {
    switch (command) {
      case undefined:
      case 'help':
      case '--help':
      case '-h':
        return showHelp(rest[0], environment)
      case 'ipvsadm':
        return await runIpvsadm(rest, environment)
      case 'status':
        return await showStatus(rest, environmentFor)
      case 'conns':
        return await showConnections(rest, environmentFor)
      case 'sysctl': {
        const flags = flagsOf('sysctl', rest, {}, true)
        return await runSysctl(flags.words, flags.json, environmentFor(flags.socket))
      }
      case 'mark':
        return await mark(rest, environmentFor)
      case 'shim':
        return await runShim(rest, environment)
      default:
        throw new WrongUsage(`there is no command "${command}"; see "uvs help"`)
    }
  } catch (error) {
    if (!(error instanceof WrongUsage) && !(error instanceof ControlError)) throw error
    environment.err(`uvs: ${error.message}\n`)
    return error instanceof WrongUsage ? 2 : 1
  }
}

function showHelp(command: string | undefined, environment: CliEnvironment): number {
  if (command === undefined) {
    environment.out(GENERAL_HELP)
    return 0
  }
  const text = commandHelp(command)
  if (text === undefined) throw new WrongUsage(`there is no command "${command}"; see "uvs help"`)
  environment.out(text)
  return 0
}

type FlagTypes = Record<string, { type: 'string' | 'boolean' }>

/** Parses flags, and words where they are allowed; --socket and --json are common to all. */
function flagsOf(
  command: string,
  argv: readonly string[],
  own: FlagTypes,
  allowPositionals = false,
) {
  try {
    const options: FlagTypes = { ...own, socket: { type: 'string' }, json: { type: 'boolean' } }
    const { values, positionals: words } = parseArgs({
      args: [...argv],
      options,
      strict: true,
      allowPositionals,
    })
    const text = (name: string) => (typeof values[name] === 'string' ? values[name] : undefined)
    const socket = text('socket') ?? defaultSocket()
    return { text, words, json: values.json === true, socket }
  } catch (error) {
    const [sentence] = (error as Error).message.split('. ')
    throw new WrongUsage(`${sentence}; see "uvs help ${command}"`)
  }
}

async function showStatus(
  argv: readonly string[],
  environmentFor: (socket: string) => CliEnvironment,
): Promise<number> {
  const flags = flagsOf('status', argv, {})
  const environment = environmentFor(flags.socket)
  const status = await environment.client.status()
  const services = await environment.client.services()
  environment.out(
    flags.json
      ? `${JSON.stringify({ ...status, serviceList: services }, null, 2)}\n`
      : formatStatus(status, services),
  )
  return 0
}

const CONNECTION_FILTERS = ['protocol', 'client', 'virtual', 'destination', 'state'] as const

async function showConnections(
  argv: readonly string[],
  environmentFor: (socket: string) => CliEnvironment,
): Promise<number> {
  const own = Object.fromEntries(
    CONNECTION_FILTERS.map((name) => [name, { type: 'string' as const }]),
  )
  const flags = flagsOf('conns', argv, own)
  const environment = environmentFor(flags.socket)
  const filter: Record<string, string> = {}
  for (const name of CONNECTION_FILTERS) {
    const value = flags.text(name)
    if (value !== undefined) filter[name] = value
  }
  let first = true
  await environment.client.connections(filter, (rows) => {
    if (flags.json) return environment.out(rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
    environment.out(formatConnections(rows, first))
    first = false
  })
  if (first && !flags.json) environment.out(formatConnections([], true))
  return 0
}

/** The words of a rule are iptables'; --socket and --json are taken out of them. */
async function mark(
  argv: readonly string[],
  environmentFor: (socket: string) => CliEnvironment,
): Promise<number> {
  const words = [...argv]
  const at = words.indexOf('--socket')
  const [, socket] = at < 0 ? [] : words.splice(at, 2)
  if (at >= 0 && socket === undefined) throw new WrongUsage('--socket needs a path')
  const jsonAt = words.indexOf('--json')
  if (jsonAt >= 0) words.splice(jsonAt, 1)
  try {
    return await runMark(words, environmentFor(socket ?? defaultSocket()), jsonAt >= 0)
  } catch (error) {
    throw error instanceof MarkUsage ? new WrongUsage(error.message) : error
  }
}

async function runShim(argv: readonly string[], environment: CliEnvironment): Promise<number> {
  const request = parseShimLine(argv, defaultSocket())
  if (request === undefined) {
    environment.err(commandHelp('shim') ?? '')
    return 2
  }
  const { LD_PRELOAD: present } = process.env
  const preload = shimEnvironment(shimLibrary(), request.socket, present)
  if (request.printsEnvironment) {
    environment.out(environmentLines(preload))
    return 0
  }
  return await runShimmed(request.command, preload, environment.err)
}
