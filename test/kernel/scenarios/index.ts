/**
 * Every scenario. A scenario's number gives it its addresses, so new files go to the end: what
 * hashes addresses then chooses as before.
 */
import type { Scenario } from '../language.js'
import { BASICS } from './basics.js'
import { COMMANDS } from './commands.js'
import { FTP } from './ftp.js'
import { FRAGMENTS } from './fragments.js'
import { ICMP } from './icmp.js'
import { IPSEC } from './ipsec.js'
import { KEYS } from './keys.js'
import { LATER_SCHEDULERS } from './later-schedulers.js'
import { MARKS } from './marks.js'
import { METHODS } from './methods.js'
import { PERSISTENCE } from './persistence.js'
import { REMOVAL } from './removal.js'
import { SCHEDULERS } from './schedulers.js'
import { SCTP } from './sctp.js'
import { SIP } from './sip.js'
import { STATES } from './states.js'
import { TUNNELS } from './tunnels.js'

export const SCENARIOS: readonly Scenario[] = [
  ...BASICS,
  ...SCHEDULERS,
  ...PERSISTENCE,
  ...REMOVAL,
  ...METHODS,
  ...STATES,
  ...ICMP,
  ...COMMANDS,
  ...LATER_SCHEDULERS,
  ...FTP,
  ...SCTP,
  ...TUNNELS,
  ...MARKS,
  ...FRAGMENTS,
  ...SIP,
  ...IPSEC,
  ...KEYS,
]

/** Minutes on the clock are seconds even where it jumps. */
const SLOW: readonly string[] = ['UDP: a connection and its end after five minutes']

/** Those that `npm test` runs: most features in little time. */
export const QUICK: ReadonlySet<string> = new Set(
  BASICS.map(({ name }) => name).filter((name) => !SLOW.includes(name)),
)
