/**
 * Kernel settings (sysctls) that uvs changes for as long as it runs. What they were is written to a
 * file before the first change, so that the next start can put them back after a kill.
 */
import { mkdir, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { asRecord } from './json.js'

const FOLDER = '/run/uvs'
const SYSCTL_ROOT = '/proc/sys'

/**
 * Where the values of one network namespace are kept: several directors may share a file system.
 */
export async function settingsFile(folder = FOLDER): Promise<string> {
  const namespace = await readlink('/proc/self/ns/net')
  return join(folder, `settings-${namespace.replace(/\D/g, '')}.json`)
}

/**
 * Reads a setting by its path below /proc/sys; undefined when this kernel has none of that name.
 */
export async function readSetting(name: string): Promise<string | undefined> {
  try {
    return (await readFile(join(SYSCTL_ROOT, name), 'utf8')).trim()
  } catch {
    return undefined
  }
}

/** Writes a setting; nothing happens when it does not exist or has that value already. */
export async function writeSetting(name: string, value: string): Promise<void> {
  const before = await readSetting(name)
  if (before !== undefined && before !== value) await writeFile(join(SYSCTL_ROOT, name), value)
}

/** Settings that are put back at the end. */
export class SavedSettings {
  readonly #file: string
  /** Name -> what it was before and what we made of it. */
  readonly #saved: Map<string, readonly [before: string, ours: string]>

  private constructor(file: string, saved: Map<string, readonly [string, string]>) {
    this.#file = file
    this.#saved = saved
  }

  /** Takes over what an earlier run, killed before it could tidy up, has noted. */
  static async open(file: string): Promise<SavedSettings> {
    return new SavedSettings(file, parseSaved(await readFile(file, 'utf8').catch(() => '')))
  }

  /** Changes a setting and remembers what it was the first time; false: nothing to change. */
  async change(name: string, value: string): Promise<boolean> {
    const before = await readSetting(name)
    if (before === undefined || before === value) return false
    this.#saved.set(name, [this.#saved.get(name)?.[0] ?? before, value])
    await mkdir(dirname(this.#file), { recursive: true })
    await writeFile(this.#file, JSON.stringify(Object.fromEntries(this.#saved)), { mode: 0o600 })
    await writeFile(join(SYSCTL_ROOT, name), value)
    return true
  }

  /** Puts everything back that still has our value, last change first, and removes the file. */
  async restore(): Promise<void> {
    for (const [name, [before, ours]] of [...this.#saved].reverse()) {
      if ((await readSetting(name)) === ours) await writeSetting(name, before)
    }
    this.#saved.clear()
    await rm(this.#file, { force: true })
  }
}

/** Pure: the file's text; whatever is damaged is as if it was not there. */
export function parseSaved(text: string): Map<string, readonly [string, string]> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return new Map()
  }
  const saved = new Map<string, readonly [string, string]>()
  for (const [name, value] of Object.entries(asRecord(json))) {
    const isPair = Array.isArray(value) && value.length === 2
    if (!isPair || !/^net\/ipv[46]\/[\w./:@-]+$/.test(name) || name.includes('..')) continue
    saved.set(name, [String(value[0]), String(value[1])])
  }
  return saved
}

/**
 * Makes the host forward packets of a family. With IPv6 a host that forwards stops believing router
 * advertisements (accept_ra 1), and would lose its own default route, so those become 2.
 */
export async function enableForwarding(family: 4 | 6, settings: SavedSettings): Promise<void> {
  if (family === 4) {
    await settings.change('net/ipv4/ip_forward', '1')
    return
  }
  if ((await readSetting('net/ipv6/conf/all/forwarding')) !== '0') return
  for (const name of await readdir(join(SYSCTL_ROOT, 'net/ipv6/conf')).catch(() => [])) {
    const path = `net/ipv6/conf/${name}/accept_ra`
    if (name !== 'all' && (await readSetting(path)) === '1') await settings.change(path, '2')
  }
  await settings.change('net/ipv6/conf/all/forwarding', '1')
}

/**
 * Lets the host accept what uvs writes into the TUN device: packets of clients that are reached by
 * other interfaces (rp_filter; the larger of `all` and the device's own counts) and of addresses
 * that the host has itself (accept_local). The settings go with the device.
 */
export async function openTunDevice(tunName: string): Promise<void> {
  const all = await readSetting('net/ipv4/conf/all/rp_filter')
  await writeSetting(`net/ipv4/conf/${tunName}/rp_filter`, all === '0' ? '0' : '2')
  await writeSetting(`net/ipv4/conf/${tunName}/accept_local`, '1')
}
