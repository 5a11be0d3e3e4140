/**
 * Which services of the kernel a director has made, in a file: after `kill -9` they are still there
 * and must not look like somebody else's. The file also keeps a second director away from the
 * same network namespace.
 */
import { mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { asArray, asRecord } from '../host/interfaces.js'
import { ControlError } from '../model/errors.js'

const FOLDER = '/run/uvs'

/** What the file says. */
export interface Owned {
  /** serviceKey of each. */
  readonly services: ReadonlySet<string>
  readonly pid: number
  /** Clock ticks since boot when that process started (proc(5), field 22): pids come again. */
  readonly started: string
}

/** One director's hold on the IPVS of its network namespace. */
export class OwnedServices {
  readonly #path: string
  #services: ReadonlySet<string>

  private constructor(path: string, services: ReadonlySet<string>) {
    this.#path = path
    this.#services = services
  }

  /** Takes over what a killed director left; throws ControlError when one is alive. */
  static open(folder = FOLDER): OwnedServices {
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
    const owned = new OwnedServices(path, found.services)
    owned.set(found.services)
    return owned
  }

  get services(): ReadonlySet<string> {
    return this.#services
  }

  /** Written before the kernel is told, so that nothing of ours is ever unknown. */
  set(services: ReadonlySet<string>): void {
    this.#services = services
    mkdirSync(dirname(this.#path), { recursive: true })
    const started = startOf(process.pid)
    const text = JSON.stringify({ pid: process.pid, started, services: [...services] })
    writeFileSync(this.#path, text, { mode: 0o600 })
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
  const { services, pid, started } = asRecord(json)
  return {
    services: new Set(asArray(services).filter((key) => typeof key === 'string')),
    pid: typeof pid === 'number' ? pid : 0,
    started: typeof started === 'string' ? started : '',
  }
}
