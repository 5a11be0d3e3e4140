/** sipp, the SIP test tool, with its built-in scenarios: who takes calls and who makes them. */
import type { Host, Program } from '../../support/namespace.js'
import { endpoint } from './lab.js'

export const SIP_PORT = 5060

const CALLS_LIMIT_SEC = 20
const CALLS_PER_SEC = 50
/** Kept from reading keys and from files in the folder where the tests run. */
const QUIET = ['-nostdin', '-skip_rlimit']

/** Takes calls at an address (INVITE, ACK, BYE) until it is stopped. */
export async function takeCalls(host: Host, address: string, port = SIP_PORT): Promise<Program> {
  const own = ['-i', address, '-p', String(port)]
  const program = host.spawn(['sipp', '-sn', 'uas', ...own, ...QUIET])
  await host.waitForUdp(port)
  return program
}

export interface CallPlan {
  /** Own address and port. */
  from: string
  fromPort?: number
  to: string
  toPort?: number
  calls: number
  /** A port of its own for each call, instead of one for all. */
  portEach?: boolean
}

/** Makes calls, one after the other; rejects unless every one was answered, held and ended. */
export async function makeCalls(host: Host, plan: CallPlan): Promise<void> {
  const { from, fromPort = SIP_PORT, to, toPort = SIP_PORT, calls, portEach = false } = plan
  const own = ['-i', from, '-p', String(fromPort), '-t', portEach ? 'un' : 'u1']
  const amount = ['-m', String(calls), '-r', String(CALLS_PER_SEC)]
  const limit = ['-timeout', `${CALLS_LIMIT_SEC}s`, '-timeout_error']
  const command = ['sipp', '-sn', 'uac', endpoint(to, toPort), ...own, ...amount, ...limit]
  await host.expect([...command, ...QUIET], { limitMs: (CALLS_LIMIT_SEC + 5) * 1000 })
}
