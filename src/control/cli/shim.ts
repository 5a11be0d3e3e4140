/**
 * `uvs shim COMMAND`: runs a program whose IPVS calls go to a director, by means of a preload
 * library (native/shim/ipvs_shim.c). `--env` prints the environment instead, for shells and units.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { ControlError } from '../model/errors.js'

export interface ShimRequest {
  readonly socket: string
  /** Print the environment instead of running something. */
  readonly printsEnvironment: boolean
  /** Program and arguments. */
  readonly command: readonly string[]
}

/**
 * Our own flags come before the command; everything after it is the program's. undefined where the
 * line is not one we know.
 */
export function parseShimLine(
  argv: readonly string[],
  defaultSocket: string,
): ShimRequest | undefined {
  let [socket, printsEnvironment] = [defaultSocket, false]
  let at = 0
  for (; at < argv.length && argv[at].startsWith('-'); at++) {
    const [flag, ...value] = argv[at].split('=')
    if (argv[at] === '--') {
      at++
      break
    }
    if (flag === '--env' && value.length === 0) printsEnvironment = true
    else if (flag === '--socket' && value.length > 0) socket = value.join('=')
    else if (flag === '--socket' && at + 1 < argv.length) socket = argv[++at]
    else return undefined
  }
  const command = argv.slice(at)
  if (socket === '' || command.length > 0 === printsEnvironment) return undefined
  return { socket, printsEnvironment, command }
}

/** The preload library of this installation. Throws ControlError when it has not been built. */
export function shimLibrary(): string {
  const path = fileURLToPath(
    new URL('../../../../native/build/Release/ipvs_shim.so', import.meta.url),
  )
  if (existsSync(path)) return path
  throw new ControlError('CONFIG_BAD', `${path} is missing; build it with "npm run build:native"`)
}

/** What a program needs to find the director; libraries that are preloaded already stay. */
export function shimEnvironment(
  library: string,
  socket: string,
  present: string | undefined,
): { LD_PRELOAD: string; UVS_SOCKET: string } {
  // ld.so takes blanks for colons; a colon needs no quotes.
  const libraries = [...(present ?? '').split(/[ :]+/), library].filter((path) => path !== '')
  return { LD_PRELOAD: libraries.join(':'), UVS_SOCKET: socket }
}

/** What `env $(...)`, a shell's assignment and systemd's EnvironmentFile all take as it is. */
const PLAIN = /^[\p{L}\p{M}\p{N}_@%+=:,./-]+$/u

/**
 * The environment as assignments, for `env $(...)` and systemd's EnvironmentFile. Throws
 * ControlError where a value would need quotes: these places do not agree on any.
 */
export function environmentLines(environment: Readonly<Record<string, string>>): string {
  return Object.entries(environment)
    .map(([name, value]) => {
      if (PLAIN.test(value)) return `${name}=${value}\n`
      const what = `--env cannot print ${name}: "${value}" has blanks or characters of shells`
      throw new ControlError('CONFIG_BAD', `${what}; choose another path, or use uvs shim COMMAND`)
    })
    .join('')
}

const FORWARDED: readonly NodeJS.Signals[] = ['SIGHUP', 'SIGTERM', 'SIGUSR1', 'SIGUSR2']
/** A terminal sends these to every program in front of it: the child has its own already. */
const FROM_TERMINALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT']

/** Exit statuses of shells: not found, not executable, 128 + signal. */
const EXIT = { NOT_FOUND: 127, NOT_EXECUTABLE: 126, SIGNAL: 128 } as const

/** Runs the program with our streams; resolves to the status that we should end with. */
export function runShimmed(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
  err: (text: string) => void,
): Promise<number> {
  const [program, ...args] = command
  const env = { ...process.env, ...environment }
  // Before the program runs: a signal at its first moment must not end us alone.
  const forward = (signal: NodeJS.Signals) => {
    if (process.stdin.isTTY && FROM_TERMINALS.includes(signal)) return
    child.kill(signal)
  }
  const signals = [...FORWARDED, ...FROM_TERMINALS]
  signals.forEach((signal) => process.on(signal, forward))
  const child = spawn(program, args, { stdio: 'inherit', env })
  return new Promise<number>((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      err(`uvs: cannot run ${program}: ${error.message}\n`)
      resolve(error.code === 'ENOENT' ? EXIT.NOT_FOUND : EXIT.NOT_EXECUTABLE)
    })
    child.once('exit', (code, signal) => {
      resolve(signal === null ? (code ?? 1) : EXIT.SIGNAL + constants.signals[signal])
    })
  }).finally(() => signals.forEach((signal) => process.off(signal, forward)))
}
