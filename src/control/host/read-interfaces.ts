/** The kernel's answer to which links and addresses this host has. */
import { hostInterfaces } from '../../dataplane/native.js'
import { parseAddress } from '../model/address.js'
import { ControlError } from '../model/errors.js'
import type { HostInterface } from './interfaces.js'

/** Reads all interfaces of the current network namespace. Throws a ControlError. */
export function readInterfaces(): HostInterface[] {
  try {
    return hostInterfaces().map((one) => ({
      ...one,
      addresses: one.addresses.flatMap(({ text, prefixBits }) => {
        const address = parseAddress(text)
        return address === undefined ? [] : [{ address, prefixBits }]
      }),
    }))
  } catch (error) {
    throw new ControlError('DATAPLANE_FAILED', (error as Error).message)
  }
}
