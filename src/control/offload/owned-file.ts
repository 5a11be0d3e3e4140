/**
 * One director's hold on the IPVS of its network namespace. A name that the namespace has once
 * keeps a second director away. What this one has made in the kernel, and the timeouts that it has
 * changed, are in a file: after `kill -9` that is still there, and must not look like the work of
 * somebody else.
 */
import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { openRawSocket } from '../../dataplane/native.js'
import type { NativeRawSocket } from '../../dataplane/native.js'
import { asArray, asRecord } from '../host/json.js'
import type { Timeouts } from '../model/config.js'
import { ControlError } from '../model/errors.js'

const FOLDER = '/run/uvs'
const LOCK = '@uvs-offload'

/** What the file says. */
export interface Owned {
  /** keysOf() what was in the kernel, or about to be. */
  readonly names: ReadonlySet<string>
  /** Of the kernel before any of ours; undefined: none were ever set. */
  readonly timeouts: Timeouts | undefined
  /** Of the machine, when it was written. */
  readonly boot: string
}

/** See the top of this file. */
export class Ownership {
  readonly #lock: NativeRawSocket
  readonly #path: string
  #timeouts: Timeouts | undefined
  #names: ReadonlySet<string>

  private constructor(lock: NativeRawSocket, path: string, owned: Owned) {
    this.#lock = lock
    this.#path = path
    this.#timeouts = owned.timeouts
    this.#names = owned.names
  }

  /** Takes over what a killed director left; throws ControlError when one is alive. */
  static open(folder = FOLDER): Ownership {
    const lock = openLock()
    const path = join(folder, fileName(lock))
    const found = parseOwned(readText(path))
    const owned = found.boot === bootId() ? found : { ...found, names: NONE, timeouts: undefined }
    return new Ownership(lock, path, owned)
  }

  /** Whether a killed director has left something in this network namespace. */
  static isLeft(folder = FOLDER): boolean {
    let lock: NativeRawSocket
    try {
      lock = openLock()
    } catch {
      return false // its owner lives
    }
    const left = fs.existsSync(join(folder, fileName(lock)))
    lock.close()
    return left
  }

  get names(): ReadonlySet<string> {
    return this.#names
  }

  /** The kernel's before ours, to be put back at the end; undefined while it has its own. */
  get timeouts(): Timeouts | undefined {
    return this.#timeouts
  }

  /** Written before the kernel is told, so that nothing of ours is ever unknown. */
  set(names: ReadonlySet<string>): void {
    this.#names = names
    this.#write()
  }

  /** Before timeouts of ours are set for the first time: `found` are the kernel's. */
  keepTimeouts(found: Timeouts): void {
    this.#timeouts = found
    this.#write()
  }

  #write(): void {
    fs.mkdirSync(dirname(this.#path), { recursive: true })
    const owned = { boot: bootId(), timeouts: this.#timeouts, names: [...this.#names] }
    const next = `${this.#path}.new`
    fs.writeFileSync(next, JSON.stringify(owned), { mode: 0o600 })
    fs.renameSync(next, this.#path)
  }

  /** Lets go; what is in the kernel stays ours for the next director. */
  close(): void {
    this.#lock.close()
  }

  /** Nothing is ours any more. */
  remove(): void {
    fs.rmSync(this.#path, { force: true })
    this.#names = NONE
    this.#timeouts = undefined
    this.close()
  }
}

const NONE: ReadonlySet<string> = new Set()

function openLock(): NativeRawSocket {
  try {
    return openRawSocket({ kind: 'listen', path: LOCK, mode: 0 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    throw new ControlError(
      'SOCKET_IN_USE',
      "another uvs has the kernel's IPVS of this network namespace; stop it first",
    )
  }
}

function fileName(lock: NativeRawSocket): string {
  const cookie = lock.namespaceCookie()
  const inode = fs.readlinkSync('/proc/self/ns/net').replace(/\D/g, '')
  return `offload-${cookie === 0n ? inode : `${inode}-${cookie}`}.json`
}

function bootId(): string {
  return readText('/proc/sys/kernel/random/boot_id').trim()
}

function readText(path: string): string {
  try {
    return fs.readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** The file's text; whatever is damaged is as if it was not there. Pure. */
export function parseOwned(text: string): Owned {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  const { names, timeouts, boot } = asRecord(json)
  return {
    names: new Set(asArray(names).filter((key) => typeof key === 'string')),
    timeouts: timeoutsOf(timeouts),
    boot: typeof boot === 'string' ? boot : '',
  }
}

function timeoutsOf(value: unknown): Timeouts | undefined {
  const { tcpSec, tcpFinSec, udpSec } = asRecord(value)
  const isSec = (one: unknown): one is number => typeof one === 'number' && one > 0
  if (!isSec(tcpSec) || !isSec(tcpFinSec) || !isSec(udpSec)) return undefined
  return { tcpSec, tcpFinSec, udpSec }
}
