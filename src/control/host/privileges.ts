/** Whether this process may do what a director does, and what it lacks, as one sentence. */
import { readFile } from 'node:fs/promises'
import type { IoKind } from '../dataplane-port.js'
import { ControlError } from '../model/errors.js'

/** Bits of the capability sets (linux/capability.h). */
const CAPABILITY = { NET_ADMIN: 12, NET_RAW: 13, SYS_ADMIN: 21, BPF: 39 } as const

/** The user ids of the initial user namespace: all of them, as they are. */
const ALL_IDS = /^\s*0\s+0\s+4294967295\s*$/

/**
 * The capabilities that are missing for `io`, by name. `status` is /proc/self/status, `uidMap`
 * /proc/self/uid_map. Pure. The kernel grants BPF only to holders of CAP_BPF (before Linux 5.8
 * CAP_SYS_ADMIN) in the initial user namespace, whatever a namespace of its own says it has.
 */
export function missingCapabilities(status: string, uidMap: string, io: IoKind): string[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/im.exec(status)?.[1] ?? '0'}`)
  const has = (bit: number): boolean => ((effective >> BigInt(bit)) & 1n) === 1n
  const initial = ALL_IDS.test(uidMap)
  const missing: string[] = []
  if (!has(CAPABILITY.NET_ADMIN)) missing.push('CAP_NET_ADMIN')
  if (io === 'af_packet' && !has(CAPABILITY.NET_RAW)) missing.push('CAP_NET_RAW')
  if (!initial || (!has(CAPABILITY.BPF) && !has(CAPABILITY.SYS_ADMIN))) missing.push('CAP_BPF')
  return missing
}

/** What to say about missing capabilities. Pure. */
export function privilegeSentence(missing: readonly string[]): string {
  const list = missing.join(', ')
  const what = missing.length === 1 ? 'the capability' : 'the capabilities'
  return `uvs run lacks ${what} ${list}: run it as root, outside of any user namespace`
}

/** Rejects with a ControlError when a capability is missing. */
export async function requirePrivileges(io: IoKind): Promise<void> {
  const status = await readFile('/proc/self/status', 'utf8')
  const uidMap = await readFile('/proc/self/uid_map', 'utf8')
  const missing = missingCapabilities(status, uidMap, io)
  if (missing.length > 0) throw new ControlError('PERMISSION', privilegeSentence(missing))
}
