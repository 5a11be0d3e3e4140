/**
 * Our ipvsadm against what the real one printed: texts, exit status, and what it asked the kernel.
 */
import assert from 'node:assert/strict'
import type { CliEnvironment } from '../../src/control/cli/environment.js'
import { runIpvsadm } from '../../src/control/cli/ipvsadm.js'
import { parseServices } from '../../src/control/cli/resolver.js'
import type { Resolver } from '../../src/control/cli/resolver.js'
import { parseAddress } from '../../src/control/model/address.js'
import { ERRORS } from '../../src/control/model/errors.js'
import { recordedClient } from './recorded-client.js'
import { recordings } from './recorded.js'
import type { Recording } from './recorded.js'

/** What the recording machine knew: loopback, and these ports. */
const SERVICES = parseServices(
  'http 80/tcp www\ndomain 53/tcp\ndomain 53/udp\nftp 21/tcp\nhttp-alt 8080/tcp webcache\n',
)
const resolver: Resolver = {
  hostAddress: (name) =>
    Promise.resolve(name === 'localhost' ? parseAddress('127.0.0.1') : undefined),
  hostName: () => Promise.resolve(undefined),
  servicePort: (name, protocol) => SERVICES.ports.get(`${name}/${protocol}`),
  serviceName: (port, protocol) => SERVICES.names.get(`${port}/${protocol}`),
}

/** Errors the kernel does not have are shown with our own sentence instead. */
const OWN_TEXT = new Set(['EIO', 'ENOMEM', 'EOPNOTSUPP', 'EAFNOSUPPORT'])

async function runOurs(recording: Recording) {
  const client = recordedClient(recording.state, recording.errno)
  let [stdout, stderr] = ['', '']
  const environment: CliEnvironment = {
    program: 'ipvsadm',
    client,
    resolver,
    out: (text) => (stdout += text),
    err: (text) => (stderr += text),
    readInput: () => Promise.resolve(recording.input),
  }
  const status = await runIpvsadm(recording.argv, environment)
  return { status, stdout, stderr, calls: client.calls }
}

describe('ipvsadm 1.31, recorded', () => {
  const all = recordings()

  it('covers enough to mean something', () => {
    assert.ok(all.length > 400)
    assert.ok(all.some((r) => r.calls.length > 0) && all.some((r) => r.stderr !== ''))
  })

  for (const recording of all) {
    const { argv, errno, input } = recording
    const title = [argv.map((a) => JSON.stringify(a)).join(' '), errno, JSON.stringify(input)]
    it(title.join(' | '), async () => {
      const ours = await runOurs(recording)
      const { status, stdout, stderr, calls } = recording
      assert.deepEqual(ours.calls, calls)
      assert.equal(ours.stdout, stdout)
      assert.equal(ours.stderr, OWN_TEXT.has(errno) ? ours.stderr : stderr)
      assert.equal(ours.status, status)
    })
  }

  it('has an own sentence exactly where the kernel has no such error', () => {
    const own = Object.values(ERRORS).filter((e) => e.own)
    assert.ok(own.length > 0 && own.length < Object.keys(ERRORS).length)
  })
})
