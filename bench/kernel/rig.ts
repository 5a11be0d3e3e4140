/**
 * Runs a command where there is an IPVS in the kernel: on this machine if its own kernel has one,
 * otherwise in a small guest: Debian's kernel under QEMU without hardware acceleration, on this
 * machine's own file system (read-only, under an overlay in memory), so that this checkout and Node
 * run there as they are. It boots in some seconds; everything inside is about twenty times slower,
 * so only figures of one and the same run may be compared.
 *
 *   const { status, stdout } = await runWithIpvs('ipvsadm -L -n', { limitSec: 60 })
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { collect, untilSignal } from './collect.js'

const HERE = fileURLToPath(new URL('../../../bench/kernel', import.meta.url))
const MEMORY_MIB = 6144
const CONSOLE_LINES = 20

/**
 * Everything the emulator knows but fast string instructions: it carries them out byte by byte, so
 * that a kernel which believes in them would pay for clearing memory a hundred times what hardware
 * takes, and every comparison would be one of who clears less.
 */
const CPU = 'max,erms=off,fsrm=off'

/** QEMU's descriptors for what the guest's command says; its own 1 and 2 are diagnostics. */
const GUEST_STDOUT = 3
const GUEST_STDERR = 4

/**
 * `real`: two processors, time as on the wall. `warped`: one processor whose clock counts
 * instructions and jumps to the next timer when there is nothing to do, so that waiting a quarter
 * of an hour for a connection to expire takes seconds.
 */
export type GuestClock = 'real' | 'warped'

export interface RunOptions {
  /** Wall seconds after which the guest is switched off and the run rejects. */
  readonly limitSec: number
  readonly clock?: GuestClock
  /** Called with output as it comes; it is collected all the same. */
  readonly onOutput?: (text: string, stream: 'stdout' | 'stderr') => void
}

export interface KernelRun {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  /** `uname -r` of the kernel it ran on. */
  readonly kernel: string
  /** False: on this machine itself. */
  readonly guest: boolean
}

/** True when this machine's own kernel has IPVS, loading its module if need be. */
export function hostHasIpvs(): boolean {
  if (process.env.UVS_KERNEL === 'guest') return false
  if (existsSync('/proc/net/ip_vs')) return true
  spawnSync('modprobe', ['-q', 'ip_vs'])
  return existsSync('/proc/net/ip_vs')
}

/** Why no guest can be booted here; undefined when one can. */
export function guestProblem(): string | undefined {
  if (process.arch !== 'x64') return `the guest is an x86-64 machine; this is ${process.arch}`
  const missing = ['qemu-system-x86_64', 'busybox', 'modprobe'].filter(
    (name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0,
  )
  if (missing.length === 0) return undefined
  return `${missing.join(', ')} missing: run scripts/setup.sh test as root on Debian`
}

/**
 * Runs a bash command line and resolves with what it said. Rejects when the time is over, or when
 * the guest ends without a status; the message then holds the end of its console. A signal that
 * ends this process ends the command first.
 */
export async function runWithIpvs(command: string, options: RunOptions): Promise<KernelRun> {
  if (options.clock !== 'warped' && hostHasIpvs()) {
    const kernel = execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim()
    const { status, stdout, stderr } = await untilSignal((signal) =>
      collect('bash', ['-c', command], { ...options, signal }),
    )
    return { status, stdout, stderr, kernel, guest: false }
  }
  const problem = guestProblem()
  if (problem !== undefined) throw new Error(problem)
  const cache = execFileSync('bash', [join(HERE, 'prepare.sh')], { encoding: 'utf8' }).trim()
  return untilSignal((signal) => runInGuest(command, cache, options, signal))
}

async function runInGuest(
  command: string,
  cache: string,
  options: RunOptions,
  signal: AbortSignal,
): Promise<KernelRun> {
  const kernel = readFileSync(join(cache, 'version'), 'utf8').trim()
  const folder = mkdtempSync(join(tmpdir(), 'uvs-guest-'))
  try {
    copyFileSync(join(HERE, 'stage2.sh'), join(folder, 'stage2.sh'))
    packCheckout(join(folder, 'files.tar'))
    writeFileSync(join(folder, 'command'), `cd ${quoted(process.cwd())}\n${command}\n`)
    const words = qemuWords(cache, folder, options.clock ?? 'real')
    const ports = [GUEST_STDOUT, GUEST_STDERR] as const
    // setpriv: the guest must not outlive this process, also when that is killed.
    const run = await collect(
      'setpriv',
      ['--pdeathsig', 'KILL', ...words],
      { ...options, signal },
      ports,
    )
    const text = readIfThere(join(folder, 'status')).trim()
    if (!/^\d+$/.test(text)) {
      const tail = readIfThere(join(folder, 'console')).split('\n').slice(-CONSOLE_LINES)
      throw new Error(`the guest ended without a status\n${tail.join('\n')}${run.diagnostics}`)
    }
    return { status: Number(text), stdout: run.stdout, stderr: run.stderr, kernel, guest: true }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** This checkout as far as programs load it, with its names from the root folder on. */
function packCheckout(file: string): void {
  const root = fileURLToPath(new URL('../../..', import.meta.url))
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>
  }
  const packages = Object.entries(lock.packages).filter(([path, { dev }]) => path !== '' && !dev)
  const wanted = ['bin', 'dist', 'package.json', 'native/build/Release/uvs.node']
  const paths = [...wanted, 'native/build/Release/ipvs_shim.so', ...packages.map(([path]) => path)]
    .filter((path) => existsSync(join(root, path)))
    .map((path) => join(root, path).slice(1))
  execFileSync('tar', ['-cf', file, '-C', '/', ...paths])
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

function readIfThere(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

function qemuWords(cache: string, folder: string, clock: GuestClock): string[] {
  const port = (name: string, channel: string) => [
    ...['-chardev', `${channel},id=${name}`],
    ...['-device', `virtserialport,chardev=${name},name=${name}`],
  ]
  const processors =
    clock === 'real'
      ? ['-accel', 'tcg,thread=multi', '-smp', '2']
      : ['-accel', 'tcg,thread=single', '-icount', 'shift=1,sleep=off']
  const append = `console=ttyS0 panic=-1 uvs.modules=${cache}/modules uvs.run=${folder}`
  return [
    'qemu-system-x86_64',
    ...processors,
    ...['-cpu', CPU, '-m', String(MEMORY_MIB)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', `${cache}/vmlinuz`, '-initrd', `${cache}/initramfs`, '-append', append],
    ...['-serial', `file:${folder}/console`, '-device', 'virtio-serial'],
    ...port('stdout', `socket,fd=${GUEST_STDOUT}`),
    ...port('stderr', `socket,fd=${GUEST_STDERR}`),
    ...port('status', `file,path=${folder}/status`),
    ...['-fsdev', 'local,id=root,path=/,security_model=none,readonly=on,multidevs=remap'],
    ...['-device', 'virtio-9p-pci,fsdev=root,mount_tag=root'],
  ]
}
