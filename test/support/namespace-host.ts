/** One host of a test network (namespace.ts): its addresses, routes, settings and programs. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { waitFor } from './wait.js'

/** How long a program may take to end after SIGTERM before it is killed. */
const STOP_LIMIT_MS = 5000
const RUN_LIMIT_MS = 60_000

export interface Result {
  status: number
  stdout: string
  stderr: string
}

export interface RunOptions {
  input?: string
  env?: NodeJS.ProcessEnv
  /** After this the program is killed and run() rejects; a minute unless given. */
  limitMs?: number
}

export class Host {
  readonly name: string
  /** The namespace's name, for `ip netns exec`. */
  readonly namespace: string
  /** Programs that were spawned and have not ended. */
  readonly programs = new Set<Program>()

  constructor(name: string, namespace: string) {
    this.name = name
    this.namespace = namespace
  }

  /** `ip ARGS` inside; throws with ip's own words when it fails. */
  ip(...args: string[]): string {
    return execFileSync('ip', ['-n', this.namespace, ...args], { encoding: 'utf8', stdio: 'pipe' })
  }

  /** Forgets neighbours one by one: `ip neigh flush` gives up when the kernel learns faster. */
  forgetNeighbours(): void {
    const known = JSON.parse(this.ip('-j', 'neigh', 'show')) as { dst: string; dev: string }[]
    for (const { dst, dev } of known) {
      try {
        this.ip('neigh', 'del', dst, 'dev', dev)
      } catch {
        // It has gone by itself meanwhile.
      }
    }
  }

  /** Adds an address with prefix length; an IPv6 one is usable at once (`nodad`). */
  address(address: string, device: string): void {
    const flags = address.includes(':') ? ['nodad'] : []
    this.ip('address', 'add', address, 'dev', device, ...flags)
  }

  /** Adds a route, in ip's words: `route('default via 198.18.0.254')`. */
  route(words: string): void {
    const family = words.includes(':') ? ['-6'] : []
    this.ip(...family, 'route', 'add', ...words.split(' '))
  }

  /** Makes a bridge that forwards from the first moment (no spanning tree, no snooping). */
  bridge(device: string): void {
    const settings = ['forward_delay', '0', 'stp_state', '0', 'mcast_snooping', '0']
    this.ip('link', 'add', device, 'type', 'bridge', ...settings)
    this.ip('link', 'set', device, 'up')
  }

  /** Sets a sysctl by its dotted name; use `/` for dots inside a device name. */
  sysctl(name: string, value: number | string): void {
    this.exec(['sysctl', '-q', '-w', `${name}=${value}`])
  }

  /** Runs a short command to its end, without letting anything else happen; returns its output. */
  exec(command: readonly string[]): string {
    const args = ['netns', 'exec', this.namespace, ...command]
    return execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe', timeout: RUN_LIMIT_MS })
  }

  /** Runs a command to its end; resolves whatever its status is, rejects when it is too slow. */
  async run(command: readonly string[], options: RunOptions = {}): Promise<Result> {
    const { limitMs = RUN_LIMIT_MS, ...rest } = options
    const program = this.spawn(command, rest)
    const status = await program.ended(limitMs)
    return { status, stdout: program.stdout, stderr: program.stderr }
  }

  /** Like run(), but a status other than 0 rejects with what the command said; gives its stdout. */
  async expect(command: readonly string[], options: RunOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(command, options)
    if (status === 0) return stdout
    throw new Error(`${this.name}: ${command.join(' ')} ended with ${status}\n${stdout}${stderr}`)
  }

  /** Starts a program that keeps running; it ends with the network at the latest. */
  spawn(command: readonly string[], options: Omit<RunOptions, 'limitMs'> = {}): Program {
    const program = new Program(this, command, options)
    this.programs.add(program)
    return program
  }

  /** Waits until something listens on a TCP port here. */
  async waitForTcp(port: number, limitMs?: number): Promise<void> {
    await this.waitForSocket('-ltn', port, limitMs)
  }

  /** Waits until something is bound to a UDP port here. */
  async waitForUdp(port: number, limitMs?: number): Promise<void> {
    await this.waitForSocket('-lun', port, limitMs)
  }

  // Looks at the socket table rather than connecting: a probe would be a connection of its own in
  // the very tables the tests count.
  private async waitForSocket(kind: string, port: number, limitMs?: number): Promise<void> {
    const listening = async (): Promise<boolean> =>
      (await this.expect(['ss', '-H', kind, `sport = :${port}`])).trim() !== ''
    await waitFor(`port ${port} (ss ${kind}) on ${this.name}`, listening, limitMs)
  }
}

/** A program running on a host. */
export class Program {
  /** All it has written so far. */
  stdout = ''
  stderr = ''
  private readonly child: ChildProcess
  private readonly label: string
  private readonly end: Promise<number>

  constructor(host: Host, command: readonly string[], options: Omit<RunOptions, 'limitMs'>) {
    this.label = `${host.name}: ${command.join(' ')}`
    // `ip netns exec` becomes the command, so the child's pid is the program's own.
    this.child = spawn('ip', ['netns', 'exec', host.namespace, ...command], {
      env: options.env ?? process.env,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text))
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    // A program may end without reading its input; that is its own business.
    this.child.stdin?.on('error', () => undefined).end(options.input)
    this.end = new Promise((resolve, reject) => {
      this.child.once('error', reject)
      this.child.once('close', (code, signal) => {
        host.programs.delete(this)
        resolve(code ?? (signal === null ? 1 : 128))
      })
    })
    // Whoever awaits `end` sees the error; nobody awaiting it must not crash the test run.
    this.end.catch(() => host.programs.delete(this))
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`${this.label} did not start`)
    return this.child.pid
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** Resolves to the exit status (128 after a signal); kills it and rejects after `limitMs`. */
  async ended(limitMs = RUN_LIMIT_MS): Promise<number> {
    let timer: NodeJS.Timeout | undefined
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.child.kill('SIGKILL')
        reject(
          new Error(`${this.label} took more than ${limitMs} ms\n${this.stdout}${this.stderr}`),
        )
      }, limitMs)
    })
    try {
      return await Promise.race([this.end, limit])
    } finally {
      clearTimeout(timer)
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** Asks it to end (SIGTERM), insists after five seconds; resolves to its exit status. */
  async stop(): Promise<number> {
    if (this.running) this.child.kill('SIGTERM')
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_LIMIT_MS)
    try {
      return await this.end
    } finally {
      clearTimeout(timer)
    }
  }

  /** Waits for text on stdout or stderr; rejects when the program ends without it. */
  async waitForOutput(pattern: RegExp, limitMs?: number): Promise<RegExpExecArray> {
    const find = (): RegExpExecArray | undefined => {
      const found = pattern.exec(this.stdout) ?? pattern.exec(this.stderr)
      if (found !== null) return found
      if (this.running) return undefined
      throw new Error(`${this.label} ended without ${pattern}\n${this.stdout}${this.stderr}`)
    }
    return waitFor(`${pattern} from ${this.label}`, find, limitMs)
  }
}
