/** One director as the scenarios see it: its tool, its settings, its two cables. */
import { spawn, spawnSync } from 'node:child_process'
import type { ControlClient } from '../../../src/control/api/client.js'
import { controlClient } from '../../../src/control/api/client.js'
import { runIpvsadm } from '../../../src/control/cli/ipvsadm.js'
import { systemResolver } from '../../../src/control/cli/resolver.js'
import { type NativeRawSocket, openRawSocket } from '../../../src/dataplane/native.js'
import { ROOT } from '../../e2e/support/paths.js'
import { waitFor } from '../../support/wait.js'
import { isOwnBusiness } from '../frame-text.js'
import type { Said } from '../listing.js'
import { inside, NAMESPACES, type SideName, testerDevice } from './world.js'

export type Towards = 'client' | 'server'

/** Frames of one cable, in and out. */
class Cable {
  readonly #socket: NativeRawSocket
  #frames: Uint8Array[] = []

  constructor(device: string) {
    this.#socket = openRawSocket({ kind: 'packet', interface: device })
    this.#socket.onReadable(() => this.#read())
  }

  send(frame: Uint8Array): void {
    if (!this.#socket.send(frame)) throw new Error('no room on the cable')
  }

  get waiting(): number {
    this.#read()
    return this.#frames.length
  }

  /** What the director sent since the last call. */
  take(): Uint8Array[] {
    this.#read()
    const frames = this.#frames
    this.#frames = []
    return frames
  }

  close(): void {
    this.#socket.close()
  }

  #read(): void {
    for (let frame = this.#socket.receive(); frame; frame = this.#socket.receive()) {
      if (!isOwnBusiness(frame)) this.#frames.push(frame)
    }
  }
}

/** What is the same for both directors. */
export abstract class Side {
  readonly name: SideName
  readonly cables: Readonly<Record<Towards, Cable>>

  constructor(name: SideName) {
    this.name = name
    this.cables = {
      client: new Cable(testerDevice(name, 'client')),
      server: new Cable(testerDevice(name, 'server')),
    }
  }

  /** Frames that nobody has taken yet. */
  get waiting(): number {
    return this.cables.client.waiting + this.cables.server.waiting
  }

  abstract ipvsadm(words: readonly string[], input: string): Promise<Said>
  /** False: the value was refused. */
  abstract setSysctl(name: string, value: string): Promise<boolean>
  abstract sysctl(name: string): Promise<string>

  async stop(): Promise<void> {
    this.cables.client.close()
    this.cables.server.close()
  }
}

/** IPVS of the kernel and Debian's ipvsadm. */
export class KernelSide extends Side {
  constructor() {
    super('kernel')
  }

  override ipvsadm(words: readonly string[], input: string): Promise<Said> {
    return new Promise((resolve, reject) => {
      const net = `--net=/run/netns/${NAMESPACES.kernel}`
      const child = spawn('nsenter', [net, 'ipvsadm', ...words], { stdio: 'pipe' })
      const said = { stdout: '', stderr: '' }
      child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text))
      child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text))
      // A command that reads nothing may be gone before its input is written.
      child.stdin.on('error', () => undefined).end(input)
      child.once('error', reject)
      child.once('close', (code) => resolve({ status: code ?? 1, ...said }))
    })
  }

  override setSysctl(name: string, value: string): Promise<boolean> {
    const command = ['sysctl', '-q', '-w', `net.ipv4.vs.${name}=${value}`]
    const { status } = spawnSync('nsenter', [`--net=/run/netns/${NAMESPACES.kernel}`, ...command])
    return Promise.resolve(status === 0)
  }

  override sysctl(name: string): Promise<string> {
    const text = inside(NAMESPACES.kernel, ['cat', `/proc/sys/net/ipv4/vs/${name}`])
    return Promise.resolve(text.trim().replaceAll('\t', ' '))
  }
}

const SOCKET = '/run/uvs-differential.sock'
const READY_LIMIT_MS = 60_000

/** `bin/uvs run` and bin/ipvsadm, the latter without a process of its own. */
export class UvsSide extends Side {
  readonly #client: ControlClient = controlClient(SOCKET)
  readonly #resolver = systemResolver()
  readonly #child: ReturnType<typeof spawn>
  #log = ''

  private constructor() {
    super('uvs')
    const flags = ['--iface', 'cl0,sv0', '--workers', '1', '--socket', SOCKET]
    const command = [`${ROOT}/bin/uvs`, 'run', ...flags, '--log-format', 'text']
    this.#child = spawn('ip', ['netns', 'exec', NAMESPACES.uvs, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.#log += text))
    }
  }

  static async start(): Promise<UvsSide> {
    const side = new UvsSide()
    const isReady = () => {
      if (side.#child.exitCode !== null) throw new Error(`uvs has ended:\n${side.#log}`)
      return side.#log.includes('uvs ready')
    }
    await waitFor('uvs ready', isReady, READY_LIMIT_MS)
    return side
  }

  /** All that uvs has said. */
  get log(): string {
    return this.#log
  }

  override async ipvsadm(words: readonly string[], input: string): Promise<Said> {
    const said = { stdout: '', stderr: '' }
    const status = await runIpvsadm(words, {
      program: 'ipvsadm',
      client: this.#client,
      resolver: this.#resolver,
      out: (text) => void (said.stdout += text),
      err: (text) => void (said.stderr += text),
      readInput: () => Promise.resolve(input),
    })
    return { status, ...said }
  }

  override async setSysctl(name: string, value: string): Promise<boolean> {
    const [outcome] = await this.#client.execute([{ kind: 'setSysctl', name, value }])
    return outcome.ok
  }

  override async sysctl(name: string): Promise<string> {
    const value = (await this.#client.info()).sysctls[name]
    return typeof value === 'object' ? value.join(' ') : String(value)
  }

  override async stop(): Promise<void> {
    await super.stop()
    this.#child.kill('SIGTERM')
    await waitFor('the end of uvs', () => this.#child.exitCode !== null, READY_LIMIT_MS)
  }
}
