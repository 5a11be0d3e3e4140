/**
 * (what is, what the file said before, what the file says now) -> commands. What somebody added by
 * hand is left alone; what the file no longer names is removed. Pure.
 */
import type { PublicCommand } from '../model/commands.js'
import { markRuleText } from '../model/mark-text.js'
import type { MarkRule } from '../model/mark-rule.js'
import { findService } from '../model/config.js'
import type { Config } from '../model/config.js'
import { destinationKey, sameDestination } from '../model/destination.js'
import type { Destination, DestinationOptions } from '../model/destination.js'
import { SERVICE_FLAGS, serviceKey } from '../model/service.js'
import type { Service, ServiceOptions } from '../model/service.js'
import type { DesiredService } from './native-service.js'

/** What not every forwarding method goes with (methods.ts). */
const METHOD_FLAGS = SERVICE_FLAGS.SYNPROXY | SERVICE_FLAGS.ONE_PACKET

/** Commands that bring `config` to `after`; none when nothing differs. */
export function reconcile(
  config: Config,
  before: readonly DesiredService[],
  after: readonly DesiredService[],
): PublicCommand[] {
  const wanted = new Set(after.map((service) => serviceKey(service.id)))
  const removed = before.filter(
    ({ id }) => !wanted.has(serviceKey(id)) && findService(config, id) !== undefined,
  )
  const earlier = new Map(before.map((service) => [serviceKey(service.id), service]))
  return [
    ...removed.map(({ id }): PublicCommand => ({ kind: 'deleteService', service: id })),
    ...after.flatMap((service) =>
      serviceCommands(
        findService(config, service.id),
        earlier.get(serviceKey(service.id)),
        service,
      ),
    ),
  ]
}

/**
 * The same for mark rules. Their order counts: when the file's rules have changed, those it had are
 * taken out where they still are, and all it has now are added behind what others have added.
 */
export function reconcileMarks(
  config: Config,
  before: readonly MarkRule[],
  after: readonly MarkRule[],
): PublicCommand[] {
  const texts = (rules: readonly MarkRule[]) => rules.map(markRuleText)
  if (texts(before).join('\n') === texts(after).join('\n')) return []
  const present = texts(config.markRules)
  const gone = before.filter((rule) => {
    const at = present.indexOf(markRuleText(rule))
    if (at >= 0) present.splice(at, 1)
    return at >= 0
  })
  return [
    ...(gone.length > 0 ? [{ kind: 'deleteMarkRules', rules: gone } as const] : []),
    ...(after.length > 0 ? [{ kind: 'addMarkRules', rules: after } as const] : []),
  ]
}

function serviceCommands(
  present: Service | undefined,
  before: DesiredService | undefined,
  wanted: DesiredService,
): PublicCommand[] {
  const { id: service, options } = wanted
  const parts = [
    ...localCommands(present, before, wanted),
    ...destinationCommands(present, before, wanted),
  ]
  if (present === undefined) return [{ kind: 'addService', service, options }, ...parts]
  if (sameOptions(present, options)) return parts
  const edit = (flags: number): PublicCommand => ({
    kind: 'editService',
    service,
    options: { ...options, flags },
  })
  // Flags that exclude a method: gone before a destination gets it, there after it has lost it.
  const late = options.flags & ~present.flags & METHOD_FLAGS
  if (late === 0) return [edit(options.flags), ...parts]
  return [edit(options.flags & ~late), ...parts, edit(options.flags)]
}

function sameOptions(present: Service, wanted: ServiceOptions): boolean {
  return (
    present.scheduler === wanted.scheduler &&
    present.flags === (wanted.flags | SERVICE_FLAGS.HASHED) &&
    present.persistentSec === wanted.persistentSec &&
    present.netmask === wanted.netmask &&
    present.engine === wanted.engine &&
    (wanted.proxyProtocol === undefined || present.proxyProtocol === wanted.proxyProtocol)
  )
}

function localCommands(
  present: Service | undefined,
  before: DesiredService | undefined,
  wanted: DesiredService,
): PublicCommand[] {
  const have = new Set(present?.localAddresses.map((a) => a.text))
  const want = new Set(wanted.localAddresses.map((a) => a.text))
  const { id: service } = wanted
  const gone = (before?.localAddresses ?? []).filter((a) => have.has(a.text) && !want.has(a.text))
  const added = wanted.localAddresses.filter((a) => !have.has(a.text))
  return [
    ...gone.map((address): PublicCommand => ({ kind: 'deleteLocalAddress', service, address })),
    ...added.map((address): PublicCommand => ({ kind: 'addLocalAddress', service, address })),
  ]
}

function destinationCommands(
  present: Service | undefined,
  before: DesiredService | undefined,
  wanted: DesiredService,
): PublicCommand[] {
  const { id: service } = wanted
  const have = new Map((present?.destinations ?? []).map((d) => [destinationKey(d), d]))
  const commands: PublicCommand[] = []
  for (const { id } of before?.destinations ?? []) {
    const kept = wanted.destinations.some((other) => sameDestination(other.id, id))
    if (kept || !have.has(destinationKey(id))) continue
    commands.push({ kind: 'deleteDestination', service, destination: id })
  }
  for (const { id: destination, options } of wanted.destinations) {
    const old = have.get(destinationKey(destination))
    if (old === undefined) commands.push({ kind: 'addDestination', service, destination, options })
    else if (!sameDestinationOptions(old, options)) {
      commands.push({ kind: 'editDestination', service, destination, options })
    }
  }
  return commands
}

function sameDestinationOptions(present: Destination, wanted: DestinationOptions): boolean {
  return (
    present.method === wanted.method &&
    present.weight === wanted.weight &&
    present.upperThreshold === wanted.upperThreshold &&
    present.lowerThreshold === wanted.lowerThreshold &&
    present.tunnel.type === wanted.tunnel.type &&
    present.tunnel.port === wanted.tunnel.port &&
    present.tunnel.checksum === wanted.tunnel.checksum
  )
}
