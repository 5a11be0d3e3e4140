/** -S and the line splitting of -R (spec 10.8). Pure. */
import { hostNetmask, SERVICE_FLAGS } from '../model/service.js'
import { netmaskText } from './list.js'
import type { EndpointText } from './names.js'
import { schedulerFlagNames } from './rules.js'
import { compareDestinations, compareServices, mergeSort } from './sort.js'
import type { ShownDestination, ShownService } from './shown.js'

/** Commands that make the same services again; thresholds are not saved, as in ipvsadm. */
export function saveText(services: readonly ShownService[], text: EndpointText): string {
  return mergeSort(services, compareServices)
    .map((service) => saveService(service, text))
    .join('')
}

function saveService(service: ShownService, text: EndpointText): string {
  const name = serviceText(service, text)
  const destinations = mergeSort(service.destinations, compareDestinations)
  return [
    `-A ${name} -s ${service.scheduler}${optionsText(service)}\n`,
    ...service.localAddresses.map((address) => `-P ${name} -z ${address.text}\n`),
    ...destinations.map((d) => `-a ${name} ${destinationText(d, service.id.protocol, text)}\n`),
  ].join('')
}

function serviceText({ id }: ShownService, text: EndpointText): string {
  if (id.fwmark !== 0) return `-f ${id.fwmark | 0}${id.address.family === 6 ? ' -6' : ''}`
  const option = { tcp: '-t', udp: '-u', sctp: '--sctp-service' }[id.protocol]
  return `${option} ${text(id.address, id.port, id.protocol)}`
}

function optionsText(service: ShownService): string {
  const { flags, id, netmask } = service
  let text = ''
  if (flags & SERVICE_FLAGS.PERSISTENT) {
    text += ` -p ${service.persistentSec}`
    if (netmask !== hostNetmask(id.address.family)) text += ` -M ${netmaskText(id, netmask)}`
    if (service.engine !== '') text += ` --pe ${service.engine}`
  }
  if (flags & SERVICE_FLAGS.ONE_PACKET) text += ' -o'
  if (flags & SERVICE_FLAGS.SYNPROXY) text += ' -j enable'
  if (service.proxyProtocol !== undefined) text += ` --proxy-protocol ${service.proxyProtocol}`
  const names = schedulerFlagNames(flags, service.scheduler)
  return names.length > 0 ? `${text} -b ${names.join(',')}` : text
}

const METHOD_OPTION = {
  masquerade: '-m',
  tunnel: '-i',
  direct: '-g',
  local: '-g',
  fullnat: '-b',
} as const

function destinationText(d: ShownDestination, protocol: string, text: EndpointText): string {
  const end = text(d.address, d.port, protocol)
  const tunnel = d.method === 'tunnel' ? tunnelText(d) : ''
  return `-r ${end} ${METHOD_OPTION[d.method]} -w ${d.weight}${tunnel}`
}

function tunnelText({ tunnel }: ShownDestination): string {
  const port = tunnel.type === 'gue' ? ` --tun-port ${tunnel.port}` : ''
  const checksum = tunnel.type === 'ipip' ? '' : ` --tun-${tunnel.checksum}`
  return ` --tun-type ${tunnel.type}${port}${checksum}`
}

/** The words of each non-empty line of restored text; the word `ipvsadm` is dropped. */
export function restoreLines(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.split(/[ \t]+/).filter((word) => word !== '' && word !== 'ipvsadm'))
    .filter((words) => words.length > 0)
}
