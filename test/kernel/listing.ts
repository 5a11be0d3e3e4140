/**
 * What an ipvsadm command said, as lines to compare. Normalised:
 *   `size=` in the title: the kernel's is its number of buckets, ours the capacity.
 *   connection entries: the kernel lists them in the order of its hash, so they are sorted; only
 *     the scenario's own are kept; the timer is a number of its own.
 */
import type { Seen } from './compare.js'

export interface Said {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

const CONNECTIONS_TITLE = 'IPVS connection entries'

/** `virtuals`: the scenario's virtual addresses. */
export function saidLines({ status, stdout, stderr }: Said, virtuals: readonly string[]): Seen[] {
  const errors = linesOf(stderr).map((text) => ({ text: `stderr: ${text}` }))
  const listing = stdout.startsWith(CONNECTIONS_TITLE)
    ? connectionLines(linesOf(stdout), virtuals)
    : linesOf(stdout).map((text) => ({ text: text.replace(/\(size=\d+\)/, '(size=*)') }))
  // The kernel has one byte for an exit status.
  return [{ text: `exit status ${status & 255}` }, ...listing, ...errors]
}

function connectionLines(lines: readonly string[], virtuals: readonly string[]): Seen[] {
  const [title, head, ...rows] = lines
  const own = rows.filter((row) => {
    const [, , , , virtual = ''] = row.trim().split(/\s+/)
    return virtuals.some((address) => endpointAddress(virtual) === address)
  })
  const seen = own.map((row) => {
    const [, before, minutes, seconds, after] = /^(\S+ +)(\d+):(\d+)( .*)$/.exec(row) ?? []
    if (before === undefined) return { text: row }
    const text = `${before.trim()} ${after.trim().replace(/ +/g, ' ')}`
    return { text, leftSec: Number(minutes) * 60 + Number(seconds) }
  })
  seen.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.leftSec! - b.leftSec!))
  return [{ text: title }, { text: head }, ...seen]
}

function endpointAddress(endpoint: string): string {
  return endpoint.replace(/:[^:]*$/, '').replace(/^\[|\]$/g, '')
}

function linesOf(text: string): string[] {
  return text === '' ? [] : text.replace(/\n$/, '').split('\n')
}
