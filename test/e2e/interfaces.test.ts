/** The interfaces of a host, as the addon reads them, beside what iproute2 says of the same. */
import assert from 'node:assert/strict'
import type { HostInterface } from '../../src/control/host/interfaces.js'
import { asArray, asRecord } from '../../src/control/host/json.js'
import { requireNamespaces, TestNetwork } from '../support/namespace.js'

const MODULE = new URL('../../src/control/host/read-interfaces.js', import.meta.url)
const PROGRAM = `
  import { readInterfaces } from ${JSON.stringify(MODULE.href)}
  const bigint = (_, value) => (typeof value === 'bigint' ? value.toString() : value)
  console.log(JSON.stringify(readInterfaces(), bigint))`

/** What `ip -j address show` prints, in the words of readInterfaces(). */
function fromIproute(text: string): unknown[] {
  return asArray(JSON.parse(text)).map((item) => {
    const { ifindex, ifname, flags, mtu, addr_info } = asRecord(item)
    const addresses = asArray(addr_info).map(asRecord)
    return {
      ...{ ifindex, mtu, name: ifname, up: asArray(flags).includes('UP'), isTunnel: false },
      addresses: addresses.map(({ local, prefixlen }) => `${String(local)}/${String(prefixlen)}`),
    }
  })
}

describe("the host's interfaces", () => {
  before(function () {
    requireNamespaces(this)
  })

  it('are the same as iproute2 lists, up and down, with and without addresses', async () => {
    await using network = new TestNetwork()
    const [a, b] = [network.host('a'), network.host('b')]
    network.cable(
      { host: a, device: 'eth0', addresses: ['198.18.0.1/24', '2001:db8::1/64'], mtu: 1400 },
      { host: b, device: 'eth0' },
    )
    a.bridge('br0')
    a.ip('address', 'add', '198.18.1.1', 'peer', '198.18.1.2/30', 'dev', 'br0')
    a.ip('link', 'add', 'a-name-of-15-ch', 'type', 'veth', 'peer', 'name', 'down0')
    a.ip('address', 'add', '198.18.2.1/32', 'dev', 'down0')
    // More than fits into one message of the kernel's.
    const many = Array.from({ length: 600 }, (_, i) => `198.19.${i >> 8}.${i & 255}`)
    await a.expect(['ip', '-batch', '-'], {
      input: many.map((address) => `address add ${address}/16 dev eth0\n`).join(''),
    })
    const node = [process.execPath, '--input-type=module', '-e', PROGRAM]
    const read = JSON.parse(await a.expect(node)) as HostInterface[]
    const inWords = read.map(({ addresses, ...rest }) => ({
      ...rest,
      addresses: addresses.map(({ address, prefixBits }) => `${address.text}/${prefixBits}`),
    }))
    const wanted = fromIproute(a.ip('-j', 'address', 'show'))
    assert.equal(wanted.length, 5)
    assert.deepEqual(inWords, wanted)
  })
})
