/** `uvs run` on a host of the lab, and the tools that talk to it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import type { Host, Program, Result } from '../../support/namespace.js'
import type { StatusView } from '../../../src/control/api/views.js'
import { waitFor } from '../../support/wait.js'
import {
  destinationAddress,
  DEVICE,
  endpoint,
  type Family,
  LOCAL_ADDRESSES,
  type Method,
  METHOD_WORDS,
} from './lab.js'
import { IPVSADM, UVS } from './paths.js'

const READY_LIMIT_MS = 20_000
const LAST_LINES = 40

export interface DirectorOptions {
  /** 1 unless given. */
  workers?: number
  io?: 'af_packet' | 'tun'
  /** FULLNAT's local addresses; the lab's unless given. */
  localAddresses?: readonly string[]
  /** More flags of `uvs run`. */
  flags?: readonly string[]
  /** Name of a folder that stays when the director ends: to start another one on its socket. */
  folder?: string
}

/** What one service should be; `addService` makes it. */
export interface ServicePlan {
  method: Method
  family: Family
  address: string
  port?: number
  protocol?: 'tcp' | 'udp'
  scheduler?: string
  /** One per real server, r1 first; [1, 1, 1] unless given. */
  weights?: readonly number[]
  /** More options of `ipvsadm -A`. */
  options?: readonly string[]
}

/** A destination line of `ipvsadm -L -n`. */
export interface DestinationLine {
  destination: string
  forward: string
  weight: number
  active: number
  inactive: number
}

// Folders to remove when this process is interrupted; the namespaces remove themselves.
const folders = new Set<string>()

function newFolder(): string {
  if (folders.size === 0) {
    // Before the test network's own handlers: those end the process.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.prependOnceListener(signal, removeFolders)
    }
    process.prependOnceListener('exit', removeFolders)
  }
  const folder = mkdtempSync(join(tmpdir(), 'uvs-test-'))
  folders.add(folder)
  return folder
}

function removeFolders(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}

/** A running director. */
export class Director {
  readonly host: Host
  readonly program: Program
  readonly folder: string
  private readonly ownsFolder: boolean

  private constructor(host: Host, program: Program, folder: string, ownsFolder: boolean) {
    this.host = host
    this.program = program
    this.folder = folder
    this.ownsFolder = ownsFolder
  }

  /** Starts one and waits for `uvs ready`; rejects with its log when it does not come. */
  static async start(host: Host, options: DirectorOptions = {}): Promise<Director> {
    const director = Director.spawn(host, options)
    try {
      await director.program.waitForOutput(/uvs ready/, READY_LIMIT_MS)
    } catch (error) {
      await director.stop()
      throw error
    }
    return director
  }

  /** Starts one without waiting: for tests of what it says when it cannot. */
  static spawn(host: Host, options: DirectorOptions = {}): Director {
    const folder = options.folder ?? newFolder()
    const flags = [
      ...['--io', options.io ?? 'af_packet', '--iface', DEVICE],
      ...['--workers', String(options.workers ?? 1), '--socket', join(folder, 'uvs.sock')],
      '--log-format',
      'text',
      ...['--lip', (options.localAddresses ?? LOCAL_ADDRESSES).join(',')],
      ...(options.flags ?? []),
    ]
    const program = host.spawn([UVS, 'run', ...flags])
    return new Director(host, program, folder, options.folder === undefined)
  }

  /** Everything the director has logged. */
  get log(): string {
    return this.program.stderr
  }

  /** The end of its log: for what to print when something failed. */
  get lastWords(): string {
    return this.log.trimEnd().split('\n').slice(-LAST_LINES).join('\n')
  }

  /** Runs `bin/ipvsadm` against it; rejects unless it ends with 0. */
  ipvsadm(...args: string[]): Promise<string> {
    return this.host.expect([IPVSADM, ...args], { env: this.environment() })
  }

  /** The same for `bin/uvs`. */
  uvs(...args: string[]): Promise<string> {
    return this.host.expect([UVS, ...args], { env: this.environment() })
  }

  /** Runs `bin/ipvsadm` and gives what came out, whatever its status. */
  tryIpvsadm(...args: string[]): Promise<Result> {
    return this.host.run([IPVSADM, ...args], { env: this.environment() })
  }

  /** Applies many ipvsadm commands with one call; rejects when any was refused. */
  async restore(lines: readonly string[]): Promise<void> {
    const input = `${lines.join('\n')}\n`
    const options = { env: this.environment(), input }
    const { status, stderr } = await this.host.run([IPVSADM, '-R'], options)
    // `ipvsadm -R` goes on after a refused line and ends with the status of the last one.
    if (status !== 0 || stderr !== '') throw new Error(`ipvsadm -R: ${status} ${stderr}`)
  }

  /** Makes a service with a destination on each real server. */
  async addService(plan: ServicePlan): Promise<void> {
    await this.addServices([plan])
  }

  /** The same for many services, with one call. */
  async addServices(plans: readonly ServicePlan[]): Promise<void> {
    await this.restore(plans.flatMap(planLines))
  }

  /** The destinations of one service as `ipvsadm -L -n` prints them. */
  async destinations(kind: '-t' | '-u', service: string): Promise<DestinationLine[]> {
    return destinationLines(await this.ipvsadm('-L', '-n', kind, service))
  }

  /** Asks it to end in an orderly way; resolves to its exit status. */
  async stop(): Promise<number> {
    const status = await this.program.stop()
    if (this.ownsFolder) {
      rmSync(this.folder, { recursive: true, force: true })
    }
    return status
  }

  /** What `uvs status` knows. */
  async status(): Promise<StatusView> {
    return JSON.parse(await this.uvs('status', '--json')) as StatusView
  }

  /** Ends one worker's thread as a crash would, and waits until its replacement runs. */
  async killWorker(worker: number): Promise<void> {
    const { restarts } = (await this.status()).workers[worker]
    const words = ['-sS', '--fail', '--unix-socket', join(this.folder, 'uvs.sock')]
    const body = JSON.stringify({ worker })
    const target = ['-H', 'content-type: application/json', '-d', body]
    await this.host.expect(['curl', ...words, ...target, 'http://uvs/v1/restartWorker'])
    await waitFor(`worker ${worker} to be replaced`, async () => {
      const now = (await this.status()).workers[worker]
      return now.restarts > restarts && now.state === 'RUNNING'
    })
  }

  /** `kill -9`: no chance to tidy up. */
  async kill(): Promise<void> {
    this.program.signal('SIGKILL')
    await waitFor('the director to be dead', () => !this.program.running)
  }

  /** The environment in which the tools find this director. */
  environment(): NodeJS.ProcessEnv {
    return { ...process.env, UVS_SOCKET: join(this.folder, 'uvs.sock') }
  }
}

/** The ipvsadm commands of a plan. Added from the last real server to the first: the list order,
 * and so the schedulers', is then r1, r2, r3 (a new destination goes to the head). */
export function planLines(plan: ServicePlan): string[] {
  const { method, family, address, port = 80, protocol = 'tcp', weights = [1, 1, 1] } = plan
  const service = `${protocol === 'tcp' ? '-t' : '-u'} ${endpoint(address, port)}`
  const options = ['-s', plan.scheduler ?? 'rr', ...(plan.options ?? [])].join(' ')
  const destinations = weights.map((weight, index) => {
    const real = endpoint(destinationAddress(method, family, index + 1), port)
    return `-a ${service} -r ${real} ${METHOD_WORDS[method].option} -w ${weight}`
  })
  return [`-A ${service} ${options}`, ...destinations.reverse()]
}

/** Reads the destination lines of `ipvsadm -L -n`. */
export function destinationLines(text: string): DestinationLine[] {
  const lines = text.matchAll(/^ {2}-> (\S+) +([A-Z]\w+) +(\d+) +(\d+) +(\d+) *$/gm)
  return [...lines].map(([, destination, forward, weight, active, inactive]) => ({
    destination,
    forward,
    weight: Number(weight),
    active: Number(active),
    inactive: Number(inactive),
  }))
}
