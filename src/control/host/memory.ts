/** How much memory the host has, in pages, as IPVS counts it (spec 3.11, 11). */
import { readFileSync } from 'node:fs'

/** Type of the page size in the auxiliary vector (getauxval(3), elf.h AT_PAGESZ). */
const AT_PAGESZ = 6n

/** Bytes of a page of memory, from the auxiliary vector of a process (proc(5)). */
export function pageBytes(auxv: Uint8Array): number {
  const view = new DataView(auxv.buffer, auxv.byteOffset, auxv.byteLength)
  for (let at = 0; at + 16 <= auxv.byteLength; at += 16) {
    if (view.getBigUint64(at, true) === AT_PAGESZ) return Number(view.getBigUint64(at + 8, true))
  }
  throw new Error('the auxiliary vector names no page size')
}

/** Free pages and pages of block-device buffers, from the text of /proc/meminfo. */
export function availablePagesOf(meminfo: string, bytesPerPage: number): number {
  const kilobytes = (name: string): number => {
    const found = new RegExp(`^${name}:\\s*(\\d+) kB$`, 'm').exec(meminfo)
    if (found === null) throw new Error(`/proc/meminfo has no line ${name}`)
    return Number(found[1])
  }
  const pagesOf = (name: string): number => Math.floor((kilobytes(name) * 1024) / bytesPerPage)
  return pagesOf('MemFree') + pagesOf('Buffers')
}

/** The same of this host, now. Kernel: si_meminfo(), freeram + bufferram. */
export function availablePages(): number {
  return availablePagesOf(
    readFileSync('/proc/meminfo', 'utf8'),
    pageBytes(readFileSync('/proc/self/auxv')),
  )
}

/** Zones that memory of processes comes from where all memory is mapped (gfp_zone of GFP_USER). */
const BUFFER_ZONES: ReadonlySet<string> = new Set(['DMA', 'DMA32', 'Normal'])

/** The default of sync_qlen_max, from the text of /proc/zoneinfo. Kernel: nr_free_buffer_pages. */
export function syncQueueMaxOf(zoneinfo: string): number {
  let pages = 0
  for (const zone of zoneinfo.split(/^Node +\d+, +zone +/m)) {
    if (!BUFFER_ZONES.has(/^\S*/.exec(zone)![0])) continue
    const field = (name: string): number =>
      Number(new RegExp(`^ +${name} +(\\d+)$`, 'm').exec(zone)?.[1] ?? 0)
    pages += Math.max(0, field('managed') - field('high'))
  }
  return Math.floor(pages / 32)
}

/** The same of this host; 0 where a container hides the file: nothing follows the setting yet. */
export function syncQueueMax(): number {
  try {
    return syncQueueMaxOf(readFileSync('/proc/zoneinfo', 'utf8'))
  } catch {
    return 0
  }
}
