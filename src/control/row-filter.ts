/** Which rows of the connection table a listing wants. Pure. */
import type { ConnectionRow, Endpoint, RowFilter } from './dataplane-port.js'
import { formatEndpoint, parseAddress } from './model/address.js'

function matchesEnd(end: Endpoint, wanted: string | undefined): boolean {
  if (wanted === undefined) return true
  const bare = parseAddress(wanted)
  if (bare !== undefined) return bare.text === end.address
  const address = parseAddress(end.address)
  return address !== undefined && formatEndpoint(address, end.port) === wanted
}

/** True if every given part of the filter holds. */
export function matchesFilter(row: ConnectionRow, filter: RowFilter): boolean {
  return (
    (filter.protocol === undefined || filter.protocol.toLowerCase() === row.protocol) &&
    (filter.state === undefined || filter.state.toUpperCase() === row.state) &&
    matchesEnd(row.client, filter.client) &&
    matchesEnd(row.virtual, filter.virtual) &&
    matchesEnd(row.destination, filter.destination)
  )
}
