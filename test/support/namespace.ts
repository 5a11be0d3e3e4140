/**
 * Network namespaces for tests: a small world of hosts and cables, removed at the end whatever
 * happens. Everything is named `uvs-t<pid>-...`, made inside namespaces of its own (never in the
 * machine's), and needs root.
 *
 *   const net = new TestNetwork()
 *   const client = net.host('client')
 *   const director = net.host('director')
 *   net.cable({ host: client, device: 'eth0', addresses: ['198.18.0.1/24'] },
 *             { host: director, device: 'eth0', addresses: ['198.18.0.254/24'] })
 *   await client.run(['ping', '-c1', '198.18.0.254'])
 *   await net.close()                     // in `after`, or `await using net = ...`
 *
 * An exit, an uncaught error, SIGINT and SIGTERM remove what is left too; what a killed test run
 * left behind is removed by the next one (removeLeftovers).
 */
import { execFileSync, spawnSync } from 'node:child_process'
import process from 'node:process'
import { Host, type Program } from './namespace-host.js'

export { Host, type Program, type Result } from './namespace-host.js'

const PREFIX = /^uvs-t(\d+)-/

/** One end of a cable. */
export interface CableEnd {
  host: Host
  device: string
  /** With prefix length, IPv4 or IPv6. */
  addresses?: string[]
  mac?: string
  mtu?: number
  /** The bridge of the host to plug this end into. */
  bridge?: string
}

// What must go when this process ends before its tests did. Tests are one thread and one owner.
const open = new Set<TestNetwork>()
let networksMade = 0

export class TestNetwork {
  private readonly prefix: string
  private readonly hosts: Host[] = []

  constructor() {
    watchForExit()
    removeLeftovers()
    networksMade += 1
    this.prefix = `uvs-t${process.pid}-${networksMade}-`
    open.add(this)
  }

  /** A new host: a namespace with loopback up, no IPv6 duplicate detection, nothing else. */
  host(name: string): Host {
    const host = new Host(name, `${this.prefix}${name}`)
    this.hosts.push(host)
    execFileSync('ip', ['netns', 'add', host.namespace])
    host.ip('link', 'set', 'lo', 'up')
    // Duplicate address detection would keep an address unusable for a second or two.
    for (const scope of ['all', 'default']) host.sysctl(`net.ipv6.conf.${scope}.accept_dad`, 0)
    return host
  }

  /** A veth pair between two hosts, both ends up and addressed. */
  cable(a: CableEnd, b: CableEnd): void {
    const end = (side: CableEnd): string[] => [side.device, 'netns', side.host.namespace]
    const args = ['link', 'add', ...end(a), 'type', 'veth', 'peer', 'name', ...end(b)]
    execFileSync('ip', args)
    for (const { host, device, mac, mtu, bridge, addresses = [] } of [a, b]) {
      if (mac !== undefined) host.ip('link', 'set', device, 'address', mac)
      if (mtu !== undefined) host.ip('link', 'set', device, 'mtu', String(mtu))
      if (bridge !== undefined) host.ip('link', 'set', device, 'master', bridge)
      host.ip('link', 'set', device, 'up')
      for (const address of addresses) host.address(address, device)
    }
  }

  /** The namespaces of this network that exist now; empty after close(). */
  leftovers(): string[] {
    return namespaces().filter((name) => name.startsWith(this.prefix))
  }

  /** Ends every program, waits for their end, removes every namespace. Safe to call twice. */
  async close(): Promise<void> {
    const programs = this.hosts.flatMap((host) => [...host.programs])
    await Promise.all(programs.map((program: Program) => program.stop()))
    this.closeNow()
  }

  /** The same without waiting for programs to end well: for exit handlers. */
  closeNow(): void {
    for (const name of this.leftovers()) removeNamespace(name)
    open.delete(this)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** Removes the namespaces of test runs whose process is gone, and the programs inside them. */
export function removeLeftovers(): void {
  for (const name of namespaces()) {
    const pid = Number(PREFIX.exec(name)?.[1])
    if (pid > 0 && !isAlive(pid)) removeNamespace(name)
  }
}

/**
 * For `before`: skips the suite, and says so loudly, where namespaces cannot be made. Under CI a
 * skipped test counts as failed (scripts/run-mocha.mjs).
 */
export function requireNamespaces(context: Mocha.Context): void {
  if (process.getuid?.() === 0) return
  console.error('SKIPPED: tests in network namespaces need root; run `sudo npm test`')
  context.skip()
}

function namespaces(): string[] {
  const { stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' })
  const names = stdout.split('\n').map((line) => line.split(' ')[0] as string)
  return names.filter((name) => PREFIX.test(name))
}

function removeNamespace(name: string): void {
  // A namespace lives on while a program runs in it, so the programs go first, one by one.
  const { stdout } = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' })
  for (const pid of stdout.split('\n').map(Number)) {
    if (pid > 0 && isAlive(pid)) process.kill(pid, 'SIGKILL')
  }
  spawnSync('ip', ['netns', 'delete', name])
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it exists and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

let watching = false

function watchForExit(): void {
  if (watching) return
  watching = true
  const closeAll = (): void => {
    for (const network of open) network.closeNow()
  }
  process.on('exit', closeAll)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      closeAll()
      // With our handler gone the signal has its usual effect.
      process.kill(process.pid, signal)
    })
  }
}
