/**
 * What a director that was killed leaves in the host's routing, and its removal at the next start.
 * (Quiet filters of a killed run: native/io/port_set.h. TUN devices and their routes go with the
 * process that held them.)
 */
import type { Family } from '../model/address.js'
import { runIp, type RunIp } from './command.js'
import { asArray, asRecord } from './json.js'
import { SavedSettings } from './settings.js'
import { cleanText, FAMILIES, type FoundRule, TABLE } from './tun-rules.js'

/**
 * The device of a director that lives: our table has a route only while its device exists. Its
 * rules must be left alone.
 */
export async function livingDevice(run: RunIp = runIp): Promise<string | undefined> {
  for (const family of FAMILIES) {
    const routes = parseJson(await listRoutes(family, run))
    const device = asArray(routes).map((item) => asRecord(item).dev)[0]
    if (typeof device === 'string') return device
  }
  return undefined
}

// A table that nobody has used yet is an error to ip, or nothing, depending on its version.
async function listRoutes(family: Family, run: RunIp): Promise<string> {
  return run([`-${family}`, '-j', 'route', 'show', 'table', String(TABLE)]).catch(() => '')
}

/** Removes rules of a killed director and puts settings back that it had changed. */
export async function cleanLeftovers(stateFile: string, run: RunIp = runIp): Promise<void> {
  for (const family of FAMILIES) await cleanRules(family, run)
  await (await SavedSettings.open(stateFile)).restore()
}

/** Removes all our rules of one family, and puts the local table back. */
export async function cleanRules(family: Family, run: RunIp = runIp): Promise<void> {
  const text = cleanText(parseRules(await listRules(family, run)))
  if (text !== '') await run([`-${family}`, '-batch', '-'], text)
}

// Without IPv6 in the kernel there are no rules either.
async function listRules(family: Family, run: RunIp): Promise<string> {
  const listing = run([`-${family}`, '-j', '-d', 'rule', 'show'])
  return family === 4 ? listing : listing.catch(() => '')
}

/** Takes the output of `ip -j -d rule show` apart. Pure. */
export function parseRules(text: string): FoundRule[] {
  return asArray(parseJson(text)).flatMap((item) => {
    const { priority, table, protocol } = asRecord(item)
    if (typeof priority !== 'number') return []
    const word = (value: unknown): string | undefined =>
      typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
    return [{ priority, table: word(table), protocol: word(protocol) }]
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return []
  }
}
