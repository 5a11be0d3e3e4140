/**
 * What is compared: the director with each kind of I/O and each forwarding method, the plain
 * forwarder, and the kernel's own routing. Every start is a new process in a new network.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { controlClient } from '../../src/control/api/client.js'
import type { Program } from '../../test/support/namespace.js'
import {
  CLIENT_MAC,
  DESTINATION_MAC,
  DIRECT_ADDRESS,
  FAR,
  LOCAL_ADDRESSES,
  NEAR,
  NetLab,
  RETURNING_ADDRESS,
  VIRTUAL_ADDRESS,
} from './lab.js'
import { netTool, ROOT } from './tool.js'

export const ECHO_PORT = 7
export const FLOOD_PORT = 9000
export const WEB_PORT = 80
export const BULK_PORT = 5201

const READY_LIMIT_MS = 20_000
const UVS = join(ROOT, 'bin/uvs')

export type Io = 'af_packet' | 'tun'
export type Method = 'dr' | 'nat' | 'fullnat' | 'tun'

/** ipvsadm's options. */
const METHOD_OPTION: Readonly<Record<Method, string>> = {
  dr: '-g',
  nat: '-m',
  fullnat: '-b',
  tun: '-i',
}

export interface Contender {
  /** As in the names of figures. */
  readonly name: string
  start(): Promise<Running>
}

/** A contender at work in its network. */
export interface Running {
  readonly lab: NetLab
  /** Where the client sends its requests. */
  readonly target: string
  /** The address that programs on the destination answer from. */
  readonly service: string
  /** The process that forwards; undefined: the kernel, wherever frames arrive. */
  readonly forwarder: Program | undefined
  /** Garbage collections of all workers so far; undefined where there are no workers. */
  readonly collections: (() => Promise<number>) | undefined
  /** Ends it and removes its network. */
  stop(): Promise<void>
}

/** The kernel forwards between the two interfaces. */
export const ipForward: Contender = {
  name: 'ip_forward',
  start: () =>
    startInLab((lab) => {
      lab.forwardInKernel()
      return Promise.resolve(ROUTED)
    }),
}

/** A loop over the product's packet ports that only writes link addresses. */
export const plain: Contender = {
  name: 'plain',
  start: () =>
    startInLab(async (lab) => {
      const sides = [`from=${NEAR}`, `from-mac=${CLIENT_MAC}`, `to=${FAR}`]
      const command = [netTool(), 'plain', ...sides, `to-mac=${DESTINATION_MAC}`]
      const forwarder = lab.director.spawn(command)
      await forwarder.waitForOutput(/ready/)
      return { ...ROUTED, forwarder }
    }),
}

/** The director, one worker, one method. */
export function director(io: Io, method: Method): Contender {
  return {
    name: `${io}/${method}`,
    start: () => startInLab((lab, folder) => startDirector(lab, folder, io, method)),
  }
}

/** What a contender adds to its network. */
export type Started = Omit<Running, 'lab' | 'stop'>

/** Clients use the destination's own address; nothing of the forwarder's is a program. */
const ROUTED: Started = {
  target: RETURNING_ADDRESS,
  service: RETURNING_ADDRESS,
  forwarder: undefined,
  collections: undefined,
}

/**
 * Starts a contender in a new network, with a folder for its files. Both go when it is stopped, and
 * when `start` fails.
 */
export async function startInLab(
  start: (lab: NetLab, folder: string) => Promise<Started>,
): Promise<Running> {
  const lab = new NetLab()
  const folder = mkdtempSync(join(tmpdir(), 'uvs-bench-'))
  const stop = async (): Promise<void> => {
    await lab.close()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    return { lab, ...(await start(lab, folder)), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startDirector(
  lab: NetLab,
  folder: string,
  io: Io,
  method: Method,
): Promise<Started> {
  if (io === 'tun') lab.forwardInKernel()
  await lab.acceptVirtual(method)
  const straight = method === 'dr' || method === 'tun'
  const destination = straight ? DIRECT_ADDRESS : RETURNING_ADDRESS
  const rules = join(folder, 'rules')
  writeFileSync(rules, rulesFor(method, destination))
  const socket = join(folder, 'uvs.sock')
  const ports = io === 'tun' ? [] : ['--iface', `${NEAR},${FAR}`]
  const flags = ['--io', io, ...ports, '--workers', '1', '--socket', socket]
  const more = ['--rules', rules, '--lip', LOCAL_ADDRESSES]
  const forwarder = lab.director.spawn([UVS, 'run', ...flags, ...more])
  await forwarder.waitForOutput(/uvs ready/, READY_LIMIT_MS)
  const service = straight ? VIRTUAL_ADDRESS : destination
  const collections = (): Promise<number> => readCollections(socket)
  return { target: VIRTUAL_ADDRESS, service, forwarder, collections }
}

/** ipvsadm -S form: one service per program of the benchmark, one destination each. */
function rulesFor(method: Method, destination: string): string {
  const services = [
    ['-u', ECHO_PORT],
    ['-t', ECHO_PORT],
    ['-u', FLOOD_PORT],
    ['-t', WEB_PORT],
    ['-t', BULK_PORT],
  ] as const
  return services
    .flatMap(([protocol, port]) => {
      const service = `${protocol} ${VIRTUAL_ADDRESS}:${port}`
      const target = `-r ${destination}:${port} ${METHOD_OPTION[method]} -w 1`
      return [`-A ${service} -s rr\n`, `-a ${service} ${target}\n`]
    })
    .join('')
}

async function readCollections(socket: string): Promise<number> {
  const { workers } = await controlClient(socket).status()
  return workers.reduce((sum, worker) => sum + collectionsOf(worker), 0)
}

function collectionsOf(worker: object): number {
  const count = (worker as { garbageCollections?: unknown }).garbageCollections
  if (typeof count === 'number') return count
  throw new Error('the status of a worker lacks garbageCollections')
}
