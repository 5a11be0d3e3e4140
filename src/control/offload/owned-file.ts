/**
 * What a director has made in the kernel, and the timeouts it found, in a file: after `kill -9` they are still there
 * and must not look like somebody else's. The file also keeps a second director away from the
 * same network namespace.
 */
import { mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { asArray, asRecord } from '../host/interfaces.js'
import type { Timeouts } from '../model/config.js'
import { ControlError } from '../model/errors.js'

const FOLDER = '/run/uvs'

/** What the file says. */
export interface Owned {
  /** keysOf() what it was in the middle of, at most. */
  readonly names: ReadonlySet<string>
  /** Of the kernel before any of ours; undefined: not known yet. */
  readonly timeouts: Timeouts | undefined
  readonly pid: number
  /** Clock ticks since boot when that process started (proc(5), field 22): pids come again. */
  readonly started: string
}

/** One director's hold on the IPVS of its network namespace. */
export class Ownership {
  readonly #path: string
  readonly timeouts: Timeouts
  #names: ReadonlySet<string>

  private constructor(path: string, names: ReadonlySet<string>, timeouts: Timeouts) {
    this.#path = path
    this.#names = names
    this.timeouts = timeouts
  }

  /**
   * Takes over what a killed director left; throws ControlError when one is alive. `timeouts` are
   * the kernel's at this moment, to be put back at the end unless a killed director knew older ones.
   */
  static open(timeouts: Timeouts, folder = FOLDER): Ownership {
    const namespace = readlinkSync('/proc/self/ns/net').replace(/\D/g, '')
    const path = join(folder, `offload-${namespace}.json`)
    const found = parseOwned(readText(path))
    const alive = found.pid > 0 && found.pid !== process.pid && startOf(found.pid) === found.started
    if (alive) {
      throw new ControlError(
        'SOCKET_IN_USE',
        `another uvs (pid ${found.pid}) has the kernel's IPVS of this network namespace; stop it`,
      )
    }
    const owned = new Ownership(path, found.names, found.timeouts ?? timeouts)
    owned.set(found.names)
    return owned
  }

  get names(): ReadonlySet<string> {
    return this.#names
  }

  /** Written before the kernel is told, so that nothing of ours is ever unknown. */
  set(names: ReadonlySet<string>): void {
    this.#names = names
    mkdirSync(dirname(this.#path), { recursive: true })
    const started = startOf(process.pid)
    const owned = { pid: process.pid, started, timeouts: this.timeouts, names: [...names] }
    writeFileSync(this.#path, JSON.stringify(owned), { mode: 0o600 })
  }

  /** Nothing is ours any more. */
  remove(): void {
    rmSync(this.#path, { force: true })
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function startOf(pid: number): string {
  // The command's name, in brackets, may hold blanks.
  const fields = readText(`/proc/${pid}/stat`).replace(/^.*\)/s, '').trim().split(' ')
  return fields[19] ?? ''
}

/** The file's text; whatever is damaged is as if it was not there. Pure. */
export function parseOwned(text: string): Owned {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  const { names, timeouts, pid, started } = asRecord(json)
  return {
    names: new Set(asArray(names).filter((key) => typeof key === 'string')),
    timeouts: timeoutsOf(timeouts),
    pid: typeof pid === 'number' ? pid : 0,
    started: typeof started === 'string' ? started : '',
  }
}

function timeoutsOf(value: unknown): Timeouts | undefined {
  const { tcpSec, tcpFinSec, udpSec } = asRecord(value)
  const isSec = (one: unknown): one is number => typeof one === 'number' && one > 0
  if (!isSec(tcpSec) || !isSec(tcpFinSec) || !isSec(udpSec)) return undefined
  return { tcpSec, tcpFinSec, udpSec }
}
