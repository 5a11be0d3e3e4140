/** One director as the scenarios see it: its tool, its settings, its two cables. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { ControlClient } from '../../../src/control/api/client.js'
import { controlClient } from '../../../src/control/api/client.js'
import { runIpvsadm } from '../../../src/control/cli/ipvsadm.js'
import type { PublicCommand } from '../../../src/control/model/commands.js'
import type { MarkRule } from '../../../src/control/model/mark-rule.js'
import { systemResolver } from '../../../src/control/cli/resolver.js'
import { type NativeRawSocket, openRawSocket } from '../../../src/dataplane/native.js'
import { ROOT } from '../../e2e/support/paths.js'
import { waitFor } from '../../support/wait.js'
import { isOwnBusiness } from '../frame-text.js'
import type { Said } from '../listing.js'
import { nftRule } from '../nft-rule.js'
import { inside, NAMESPACES, realHost, type SideName, testerDevice } from './world.js'

/**
 * The real client's ports, so that its connections can be compared. Each is used once: those of
 * earlier scenarios are in TIME_WAIT.
 */
const FIRST_PORT = 40_000

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

/**
 * A shell in a network namespace that runs one command after the other: starting a
 * program from there costs a tenth of what it costs from a process as large as this one.
 */
class Shell {
  readonly #folder = mkdtempSync('/tmp/uvs-differential-')
  readonly #child
  readonly #lines
  /** Commands wait for one another. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(namespace: string) {
    this.#child = spawn('nsenter', [`--net=/run/netns/${namespace}`, 'bash'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  run(command: readonly string[], input = ''): Promise<Said> {
    const said = this.#last.then(() => this.#run(command, input))
    this.#last = said.catch(() => undefined)
    return said
  }

  async stop(): Promise<void> {
    this.#child.stdin.end()
    if (this.#child.exitCode === null) await once(this.#child, 'close')
  }

  async #run(command: readonly string[], input: string): Promise<Said> {
    const file = (name: string) => join(this.#folder, name)
    writeFileSync(file('in'), input)
    const words = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
    const streams = `<${file('in')} >${file('out')} 2>${file('err')}`
    this.#child.stdin.write(`${words} ${streams}; echo $?\n`)
    const { value } = (await this.#lines.next()) as { value?: string }
    const [stdout, stderr] = ['out', 'err'].map((name) => readFileSync(file(name), 'utf8'))
    return { status: Number(value), stdout, stderr }
  }
}

/** What is the same for both directors. */
export abstract class Side {
  readonly name: SideName
  readonly cables: Readonly<Record<Towards, Cable>>
  #client: Shell | undefined
  #port = FIRST_PORT

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

  /** Requests from the real client, one after the other; what it said to each. */
  async requests(virtual: string, count: number): Promise<Said[]> {
    this.#client ??= this.#startRealHosts()
    const server = realHost(this.name, 'server')
    inside(server, ['ip', 'address', 'replace', `${virtual}/32`, 'dev', 'tunl0'])
    const said: Said[] = []
    for (let i = 0; i < count; i++) {
      this.#port++
      const options = ['-sS', '--max-time', '10', '--local-port', String(this.#port)]
      said.push(await this.#client.run(['curl', ...options, `http://${virtual}/page`]))
    }
    inside(server, ['ip', 'address', 'del', `${virtual}/32`, 'dev', 'tunl0'])
    return said
  }

  #startRealHosts(): Shell {
    const folder = mkdtempSync('/tmp/uvs-differential-')
    writeFileSync(join(folder, 'page'), 'hello from a real server\n')
    // Without -f it goes on in the background, listening.
    inside(realHost(this.name, 'server'), ['busybox', 'httpd', '-p', '80', '-h', folder])
    return new Shell(realHost(this.name, 'client'))
  }

  abstract ipvsadm(words: readonly string[], input: string): Promise<Said>
  /** False: the value was refused. */
  abstract setSysctl(name: string, value: string): Promise<boolean>
  abstract sysctl(name: string): Promise<string>
  /** Adds rules behind the present ones; rejects when they are refused. */
  abstract mark(rules: readonly MarkRule[]): Promise<void>
  abstract clearMarks(): Promise<void>

  async stop(): Promise<void> {
    this.cables.client.close()
    this.cables.server.close()
    await this.#client?.stop()
  }
}

/** IPVS of the kernel and Debian's ipvsadm. */
export class KernelSide extends Side {
  readonly #shell = new Shell(NAMESPACES.kernel)

  constructor() {
    super('kernel')
  }

  override ipvsadm(words: readonly string[], input: string): Promise<Said> {
    return this.#shell.run(['ipvsadm', ...words], input)
  }

  override async setSysctl(name: string, value: string): Promise<boolean> {
    const { status } = await this.#shell.run(['sysctl', '-q', '-w', `net.ipv4.vs.${name}=${value}`])
    return status === 0
  }

  override async sysctl(name: string): Promise<string> {
    const { stdout } = await this.#shell.run(['cat', `/proc/sys/net/ipv4/vs/${name}`])
    return stdout.trim().replaceAll('\t', ' ')
  }

  override async mark(rules: readonly MarkRule[]): Promise<void> {
    const base = 'type filter hook prerouting priority mangle'
    const chain = `table inet marks {\nchain pre {\n${base}; policy accept;\n`
    await this.#nft(`${chain}${rules.map(nftRule).join('\n')}\n}\n}\n`)
  }

  override clearMarks(): Promise<void> {
    return this.#nft('flush ruleset\n')
  }

  async #nft(text: string): Promise<void> {
    const { status, stderr } = await this.#shell.run(['nft', '-f', '-'], text)
    if (status !== 0) throw new Error(`nft: ${stderr}`)
  }

  override async stop(): Promise<void> {
    await super.stop()
    await this.#shell.stop()
  }
}

const SOCKET = '/run/uvs-differential.sock'
/** Guest time: it runs ahead while the guest waits for a file of this machine. */
const READY_LIMIT_MS = 1_000_000

/** `bin/uvs run` and bin/ipvsadm, the latter without a process of its own. */
export class UvsSide extends Side {
  readonly #client: ControlClient = controlClient(SOCKET)
  readonly #resolver = systemResolver()
  readonly #child: ReturnType<typeof spawn>
  #log = ''

  private constructor() {
    super('uvs')
    const flags = ['--iface', 'cl0,sv0,rc0,rs0', '--workers', '1', '--socket', SOCKET]
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

  override mark(rules: readonly MarkRule[]): Promise<void> {
    return this.#execute({ kind: 'addMarkRules', rules })
  }

  override clearMarks(): Promise<void> {
    return this.#execute({ kind: 'replaceMarkRules', families: [4, 6], rules: [] })
  }

  async #execute(command: PublicCommand): Promise<void> {
    const [outcome] = await this.#client.execute([command])
    if (!outcome.ok) throw new Error(outcome.message)
  }

  override async stop(): Promise<void> {
    await super.stop()
    this.#child.kill('SIGTERM')
    await waitFor('the end of uvs', () => this.#child.exitCode !== null, READY_LIMIT_MS)
  }
}
