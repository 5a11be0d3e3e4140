/** The screens of `uvs status` and `uvs conns`. Pure. */
import type {
  ConnectionView,
  EndpointView,
  RatesView,
  ServiceView,
  StatusView,
} from '../api/views.js'

function endpoint({ address, port }: EndpointView): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** Rows of text in columns; the first row is the title. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)))
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `  ${line}\n`)
    .join('')
}

function ratesText(rates: RatesView): string {
  const { connections, inPackets, outPackets, inBytes, outBytes } = rates
  return (
    `${connections} connections/s, in ${inPackets} packets/s ${inBytes} bytes/s, ` +
    `out ${outPackets} packets/s ${outBytes} bytes/s`
  )
}

function serviceName(service: ServiceView): string {
  if (service.fwmark === 0) return `${service.protocol} ${endpoint(service)}`
  return `fwmark ${service.fwmark}${service.address.includes(':') ? ' ipv6' : ''}`
}

/** One screen: ports, workers, services, rates, drops by reason. */
export function formatStatus(status: StatusView, services: readonly ServiceView[]): string {
  const { io, interfaces, workers, drops, reasons } = status
  const ports = interfaces.length > 0 ? ` on ${interfaces.join(', ')}` : ''
  const parts = [
    `uvs ${status.version}, pid ${status.pid}, up ${status.uptimeSec} s, ${io}${ports}\n`,
    `${status.services} services, ${status.destinations} destinations (${status.trash} removed ` +
      `but kept), ${status.active} active and ${status.inactive} inactive connections\n`,
    `${ratesText(status.rates)}\n`,
    '\nports\n',
    table([
      ['name', 'frames in', 'frames out', 'bytes in', 'bytes out'],
      ...status.ports.map((p) => [p.name, p.rxFrames, p.txFrames, p.rxBytes, p.txBytes]),
    ]),
    '\nworkers\n',
    table([
      ['id', 'state', 'configuration', 'last seen', 'restarts'],
      ...workers.map((w) => [
        String(w.id),
        w.state.toLowerCase(),
        String(w.generation),
        `${w.heartbeatAgeMs} ms`,
        String(w.restarts),
      ]),
    ]),
  ]
  if (services.length > 0) parts.push('\nservices\n', serviceTable(services))
  const rows = Object.entries(drops).map(([name, count]) => [name, count, reasons[name]])
  if (rows.length > 0) {
    parts.push('\npackets not forwarded\n', table([['reason', 'packets', 'meaning'], ...rows]))
  }
  return parts.join('')
}

function serviceTable(services: readonly ServiceView[]): string {
  return table([
    ['service', 'scheduler', 'destinations', 'active', 'inactive', 'connections/s'],
    ...services.map((service) => {
      const sum = (read: (d: ServiceView['destinations'][number]) => number) =>
        String(service.destinations.reduce((total, d) => total + read(d), 0))
      return [
        serviceName(service),
        service.scheduler,
        String(service.destinations.length),
        sum((d) => d.active),
        sum((d) => d.inactive),
        String(service.rates.connections),
      ]
    }),
  ])
}

/** Rows of the connection table; fixed columns, since rows arrive bit by bit. */
export function formatConnections(rows: readonly ConnectionView[], title: boolean): string {
  const line = (cells: readonly string[]) =>
    `${cells
      .map((cell, i) => cell.padEnd(CONNECTION_WIDTHS[i]))
      .join(' ')
      .trimEnd()}\n`
  const lines = rows.map((row) =>
    line([
      row.protocol,
      row.template ? `${row.state} (template)` : row.state,
      `${row.expiresSec}s`,
      endpoint(row.client),
      endpoint(row.virtual),
      row.local === undefined ? '-' : endpoint(row.local),
      endpoint(row.destination),
      row.method,
    ]),
  )
  const titles = ['prot', 'state', 'expires', 'client', 'virtual', 'local', 'destination', 'method']
  return (title ? line(titles) : '') + lines.join('')
}

const CONNECTION_WIDTHS = [4, 18, 8, 22, 22, 22, 22, 10]
