/** Programs of the rig: what they say, and that none of them is left. */
import { spawn } from 'node:child_process'
import { Readable } from 'node:stream'

/** What ends a process on request; its default is to end it at once. */
const ENDING: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']

export interface Said {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  /** What the program said on descriptors of its own besides these. */
  readonly diagnostics: string
}

export interface CollectOptions {
  /** Wall seconds after which the program and its children are killed and the run rejects. */
  readonly limitSec: number
  /** Called with output as it comes; it is collected all the same. */
  readonly onOutput?: (text: string, stream: 'stdout' | 'stderr') => void
  /** Ends the program and its children early; the run then rejects with its reason. */
  readonly signal?: AbortSignal
}

/**
 * Runs a program to its end: until it has ended and nobody holds its output any more. `out` and
 * `error` are the descriptors that count as standard output and error.
 */
export function collect(
  program: string,
  words: readonly string[],
  { limitSec, onOutput, signal }: CollectOptions,
  [out, error]: readonly [number, number] = [1, 2],
): Promise<Said> {
  return new Promise((resolve, reject) => {
    // Pipes of Node are Unix sockets, which is what QEMU takes as a descriptor of its own.
    const pipes = ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'] as const
    const stdio = pipes.slice(0, Math.max(out, error) + 1)
    // A process group of its own: its children hold its pipes, and must end with it.
    const child = spawn(program, words, { stdio, detached: true })
    const said = { stdout: '', stderr: '', diagnostics: '' }
    child.stdio.forEach((stream, fd) => {
      if (!(stream instanceof Readable)) return
      const name = fd === out ? 'stdout' : fd === error ? 'stderr' : 'diagnostics'
      stream.setEncoding('utf8').on('data', (text: string) => {
        said[name] += text
        if (name !== 'diagnostics') onOutput?.(text, name)
      })
    })
    let end: (() => Error) | undefined
    const stop = (reason: () => Error) => {
      end ??= reason
      if (child.pid !== undefined) killGroup(child.pid)
    }
    const onLimit = () =>
      stop(() => new Error(`not done after ${limitSec} s\n${said.stdout}${said.stderr}`))
    const onAbort = () => stop(() => signal?.reason as Error)
    const limit = setTimeout(onLimit, limitSec * 1000)
    signal?.addEventListener('abort', onAbort)
    if (signal?.aborted) onAbort()
    const settle = (settled: () => void) => {
      clearTimeout(limit)
      signal?.removeEventListener('abort', onAbort)
      settled()
    }
    child.once('error', (failure) => settle(() => reject(failure)))
    child.once('close', (code) =>
      settle(() => (end === undefined ? resolve({ status: code ?? 1, ...said }) : reject(end()))),
    )
  })
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch (error) {
    // All of it has ended by itself in this moment.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/**
 * Does `work`. A signal that would end this process aborts the work instead, and ends the process
 * when the work has cleaned up.
 */
export async function untilSignal<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  let got: NodeJS.Signals | undefined
  const onSignal = (name: NodeJS.Signals) => {
    got ??= name
    controller.abort(new Error(`ended by ${got}`))
  }
  ENDING.forEach((name) => process.on(name, onSignal))
  try {
    return await work(controller.signal)
  } finally {
    ENDING.forEach((name) => process.off(name, onSignal))
    if (got !== undefined) process.kill(process.pid, got)
  }
}
