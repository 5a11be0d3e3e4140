/**
 * Which text a path of the kernel's has (proc-files.ts), piece by piece, so that a large connection
 * table never has to fit in memory.
 */
import type { ConnectionView } from '../api/views.js'
import type { RowFilter, TrafficCounters } from '../dataplane-port.js'
import type { RateBook } from '../metrics/rates.js'
import type { IpvsDirector } from './answer.js'
import {
  APPLICATION_FILE,
  CONNECTION_TITLE,
  connectionLine,
  perCpuStatsFile,
  serviceFile,
  statsFile,
  SYNC_CONNECTION_TITLE,
  syncConnectionLine,
  sysctlFile,
} from './proc-files.js'

/** What files are made of. */
export interface FileSource extends IpvsDirector {
  readonly rates: RateBook
  connections(
    filter: RowFilter,
    onBatch: (rows: readonly ConnectionView[]) => void | Promise<void>,
  ): Promise<void>
}

/** Gives the text of a file to `write`, in order. */
export type FileText = (write: (text: string) => Promise<void>) => Promise<void>

const SYSCTL_FOLDER = '/proc/sys/net/ipv4/vs/'

/** How to read the file at `path`; undefined where a kernel with IPVS has none. */
export function fileAt(
  path: string,
  director: FileSource,
  live: () => TrafficCounters,
): FileText | undefined {
  if (path.startsWith(SYSCTL_FOLDER)) {
    const { sysctls } = director.config
    const text = sysctlFile(sysctls, path.slice(SYSCTL_FOLDER.length))
    return text === undefined ? undefined : (write) => write(text)
  }
  const { total } = director.rates
  switch (path) {
    case '/proc/net/ip_vs':
      return (write) => {
        const services = director.services()
        return write(serviceFile(services.ok ? services.value : [], director.info().tableSize))
      }
    case '/proc/net/ip_vs_conn':
      return connectionText(director, CONNECTION_TITLE, connectionLine)
    case '/proc/net/ip_vs_conn_sync':
      return connectionText(director, SYNC_CONNECTION_TITLE, syncConnectionLine)
    case '/proc/net/ip_vs_stats':
      return (write) => write(statsFile(total.stats(), total.rates()))
    case '/proc/net/ip_vs_stats_percpu':
      return (write) => write(perCpuStatsFile(live(), total.stats(), total.rates()))
    case '/proc/net/ip_vs_app':
      return (write) => write(APPLICATION_FILE)
    default:
      return undefined
  }
}

function connectionText(
  director: FileSource,
  title: string,
  line: (row: ConnectionView) => string,
): FileText {
  return async (write) => {
    await write(title)
    await director.connections({}, (rows) => write(rows.map(line).join('')))
  }
}
