/** -L in all its forms: asks the daemon and prints the table (spec 10.7). */
import type { Address } from '../model/address.js'
import type { ConnectionView } from '../api/views.js'
import type { ListRequest } from './args.js'
import type { CliEnvironment } from './environment.js'
import {
  connectionLine,
  connectionTitle,
  daemonLine,
  formatTable,
  timeoutLine,
  versionLine,
} from './list.js'
import type { TableMode } from './list.js'
import { namedText, numericText } from './names.js'
import type { EndpointText } from './names.js'
import type { MatrixOption } from './options.js'
import type { Resolver } from './resolver.js'
import { shownConnection, shownService } from './shown.js'
import type { ShownConnection, ShownService } from './shown.js'

/** Prints what the request asks for. Throws ControlError. */
export async function runList(request: ListRequest, environment: CliEnvironment): Promise<void> {
  const { given } = request
  if (given.has('connection')) return listConnections(request, environment)
  if (given.has('timeout')) return listTimeouts(request, environment)
  if (given.has('daemon')) return listDaemons(request, environment)
  return listServices(request, environment)
}

const MODES: readonly (readonly [MatrixOption, TableMode])[] = [
  ['stats', 'stats'],
  ['rate', 'rate'],
  ['thresholds', 'thresholds'],
  ['persistent-conn', 'persistent'],
  ['tun-info', 'tunnel'],
]

async function listServices(request: ListRequest, environment: CliEnvironment): Promise<void> {
  const { given, service } = request
  const { client } = environment
  const views = await client.services(service)
  if (given.has('json')) return environment.out(`${JSON.stringify(views, null, 2)}\n`)
  const services = views.map(shownService)
  const head = service === undefined ? versionLine((await client.info()).tableSize) : ''
  const mode = MODES.find(([option]) => given.has(option))?.[1] ?? 'plain'
  const text = await endpointText(services, given.has('numeric'), environment.resolver)
  const table = formatTable(services, {
    mode,
    exact: given.has('exact'),
    sorted: !given.has('nosort'),
    text,
  })
  environment.out(head + table)
}

/** How endpoints of these services are written. */
export function endpointText(
  services: readonly ShownService[],
  numeric: boolean,
  resolver: Resolver,
): Promise<EndpointText> {
  if (numeric) return Promise.resolve(numericText)
  const addresses: Address[] = []
  for (const { id, destinations } of services) {
    if (id.fwmark === 0) addresses.push(id.address)
    addresses.push(...destinations.map((d) => d.address))
  }
  return namedText(addresses, resolver)
}

async function listTimeouts(request: ListRequest, environment: CliEnvironment): Promise<void> {
  const { timeouts } = await environment.client.info()
  const text = request.given.has('json')
    ? `${JSON.stringify(timeouts)}\n`
    : timeoutLine(timeouts.tcpSec, timeouts.tcpFinSec, timeouts.udpSec)
  environment.out(text)
}

async function listDaemons(request: ListRequest, environment: CliEnvironment): Promise<void> {
  const { daemons } = await environment.client.info()
  const json = request.given.has('json')
  environment.out(json ? `${JSON.stringify(daemons)}\n` : daemons.map(daemonLine).join(''))
}

/** Rows are printed as they arrive, so a large table never has to fit in memory. */
async function listConnections(request: ListRequest, environment: CliEnvironment): Promise<void> {
  const { given } = request
  const withEngine = given.has('persistent-conn')
  let title: string | undefined = given.has('json') ? '' : connectionTitle(withEngine)
  const printTitle = () => {
    if (title !== undefined) environment.out(title)
    title = undefined
  }
  await environment.client.connections({}, async (views: readonly ConnectionView[]) => {
    printTitle()
    if (given.has('json')) {
      environment.out(views.map((view) => `${JSON.stringify(view)}\n`).join(''))
      return
    }
    const rows = views.map(shownConnection)
    const text = await connectionText(rows, given.has('numeric'), environment.resolver)
    environment.out(rows.map((row) => connectionLine(row, withEngine, text)).join(''))
  })
  printTitle()
}

function connectionText(
  rows: readonly ShownConnection[],
  numeric: boolean,
  resolver: Resolver,
): Promise<EndpointText> {
  if (numeric) return Promise.resolve(numericText)
  const ends = rows.flatMap((row) => [row.client, row.virtual, row.destination])
  return namedText(
    ends.map((end) => end.address),
    resolver,
  )
}
