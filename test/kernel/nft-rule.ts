/** A mark rule in the words of nft, for the kernel's side: what the scenarios need. */
import type { Condition, MarkRule, PortRange } from '../../src/control/model/mark-rule.js'

/** Throws on what no scenario uses: user chains and ports of either end. */
export function nftRule(rule: MarkRule): string {
  const { source, destination, protocol, sourcePorts, destinationPorts, mark, action } = rule
  if (rule.chain !== 'PREROUTING' || rule.ports !== undefined || action.kind !== 'mark') {
    throw new TypeError('this rule has no translation for nft')
  }
  const ip = rule.family === 4 ? 'ip' : 'ip6'
  const prefix = ({ address, bits }: NonNullable<typeof source>['is']) => `${address.text}/${bits}`
  const ports = (is: readonly PortRange[]) =>
    `{ ${is.map(({ first, last }) => `${first}-${last}`).join(', ')} }`
  return [
    `meta nfproto ipv${rule.family}`,
    ...part(source, `${ip} saddr`, prefix),
    ...part(destination, `${ip} daddr`, prefix),
    ...part(rule.interface, 'iifname', (name) => `"${name.replace('+', '*')}"`),
    ...part(protocol, 'meta l4proto', String),
    ...part(sourcePorts, 'th sport', ports),
    ...part(destinationPorts, 'th dport', ports),
    ...part(mark, 'meta mark', ({ value, mask }) => `& ${mask} == ${value}`),
    `meta mark set meta mark & ${~action.clear >>> 0} ^ ${action.flip}`,
  ].join(' ')
}

function part<T>(
  condition: Condition<T> | undefined,
  words: string,
  text: (is: T) => string,
): string[] {
  if (condition === undefined) return []
  return [`${words}${condition.not ? ' !=' : ''} ${text(condition.is)}`]
}
