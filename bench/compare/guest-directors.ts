/** The two directors of the guest's part: uvs, and the kernel's IPVS set up by its ipvsadm. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DIRECT_ADDRESS, FAR, NEAR, RETURNING_ADDRESS } from '../net/lab.js'
import { ROOT } from '../net/tool.js'
import { GuestLab, ipBatch, MANY_DESTINATIONS, VIRTUAL } from './guest-lab.js'
import { type DirectorName, type Method, METHODS, SCHEDULERS, slabBytes } from './guest-plan.js'

export const ECHO_PORT = 7
export const FLOOD_PORT = 9000

const READY_LIMIT_MS = 60_000
const SLAB = '/sys/kernel/slab/ip_vs_conn'
const METHOD_OPTION: Readonly<Record<Method, string>> = { dr: '-g', tun: '-i', nat: '-m' }

/** A director at work in a network of its own. */
export interface Running {
  readonly lab: GuestLab
  /** uvs: resident memory of its process. IPVS: the slabs with its connections. */
  memoryBytes(): number
  stop(): Promise<void>
}

/** The port of the service with this scheduler, over MANY_DESTINATIONS in direct routing. */
export function schedulerPort(scheduler: string): number {
  return 8000 + SCHEDULERS.findIndex((name) => name === scheduler)
}

/** Starts a director with every service of the comparison. */
export async function startDirector(name: DirectorName): Promise<Running> {
  const lab = new GuestLab()
  try {
    return name === 'uvs' ? await startUvs(lab) : startKernel(lab)
  } catch (error) {
    await lab.close()
    throw error
  }
}

async function startUvs(lab: GuestLab): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), 'uvs-bench-'))
  const rules = join(folder, 'rules')
  writeFileSync(rules, rulesText())
  const flags = ['--io', 'af_packet', '--iface', `${NEAR},${FAR}`, '--workers', '1']
  const files = ['--socket', join(folder, 'uvs.sock'), '--rules', rules]
  const uvs = lab.director.spawn([join(ROOT, 'bin/uvs'), 'run', ...flags, ...files])
  await uvs.waitForOutput(/uvs ready/, READY_LIMIT_MS)
  return {
    lab,
    memoryBytes: () => residentBytes(uvs.pid),
    stop: async () => {
      await lab.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function startKernel(lab: GuestLab): Running {
  const { director } = lab
  ipBatch(
    director,
    Object.values(VIRTUAL).map((address) => `address add ${address}/32 dev lo`),
  )
  director.exec(['sysctl', '-q', '-w', 'net.ipv4.ip_forward=1', 'net.ipv4.vs.conntrack=0'])
  execFileSync('ip', ['netns', 'exec', director.namespace, 'ipvsadm', '-R'], {
    input: rulesText(),
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  return { lab, memoryBytes: kernelBytes, stop: () => lab.close() }
}

/** All services, in the form of ipvsadm -S. */
function rulesText(): string {
  const methods = METHODS.flatMap((method) =>
    [ECHO_PORT, FLOOD_PORT].flatMap((port) => {
      const service = `-u ${VIRTUAL[method]}:${port}`
      const address = method === 'nat' ? RETURNING_ADDRESS : DIRECT_ADDRESS
      const destination = `-r ${address}:${port} ${METHOD_OPTION[method]} -w 1`
      return [`-A ${service} -s rr`, `-a ${service} ${destination}`]
    }),
  )
  const schedulers = SCHEDULERS.flatMap((scheduler) => {
    const port = schedulerPort(scheduler)
    const service = `-t ${VIRTUAL.dr}:${port}`
    const destinations = MANY_DESTINATIONS.map((to) => `-a ${service} -r ${to}:${port} -g -w 1`)
    return [`-A ${service} -s ${scheduler}`, ...destinations]
  })
  return [...methods, ...schedulers, ''].join('\n')
}

/** Resident memory of a process: the second field of statm, in pages. */
function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * pageBytes()
}

/** All slabs of the cache that IPVS has its connections in, whether it shares it or not. */
function kernelBytes(): number {
  const [slabs, order] = ['slabs', 'order'].map((name) => readFileSync(`${SLAB}/${name}`, 'utf8'))
  return slabBytes(slabs, order, pageBytes())
}

function pageBytes(): number {
  return Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' }))
}
