/**
 * The test network itself, and with it the few things about the kernel the other tests rely on:
 *
 *   client eth0 198.18.0.1 --- br0 on switch --- eth0 198.18.0.2 real
 *          2001:db8::1                              2001:db8::2
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { type Host, requireNamespaces, TestNetwork } from '../support/namespace.js'

const ECHO = `require('net').createServer((s) => s.pipe(s)).listen(8080, '::')
  require('dgram').createSocket('udp4').bind(8081)
  console.log('listening')`

describe('test network', () => {
  let net: TestNetwork
  let client: Host
  let real: Host

  before(function () {
    requireNamespaces(this)
    net = new TestNetwork()
    client = net.host('client')
    real = net.host('real')
    const hub = net.host('switch')
    hub.bridge('br0')
    for (const [i, host] of [client, real].entries()) {
      const addresses = [`198.18.0.${i + 1}/24`, `2001:db8::${i + 1}/64`]
      net.cable({ host, device: 'eth0', addresses }, { host: hub, device: `p${i}`, bridge: 'br0' })
    }
  })

  after(() => net?.close())

  it('carries IPv4 and IPv6 from the first moment', async () => {
    await client.expect(['node', '-e', connectTo('198.18.0.2', 1)])
    await client.expect(['node', '-e', connectTo('2001:db8::2', 1)])
  })

  it('waits for programs by their sockets, runs others, and stops them', async () => {
    const program = real.spawn(['node', '-e', ECHO])
    await real.waitForTcp(8080)
    await real.waitForUdp(8081)
    await program.waitForOutput(/listening/)
    assert.equal(real.exec(['cat', `/proc/${program.pid}/comm`]), 'node\n')
    assert.deepEqual([...real.programs], [program])
    assert.equal(await program.stop(), 128)
    assert.equal(real.programs.size, 0)
  })

  it('says which command failed and what it wrote', async () => {
    const { status, stderr } = await client.run(['sh', '-c', 'cat >&2; exit 3'], { input: 'why' })
    assert.deepEqual({ status, stderr }, { status: 3, stderr: 'why' })
    await assert.rejects(client.expect(['sh', '-c', 'echo no; exit 4']), /ended with 4\nno/)
    await assert.rejects(client.run(['sleep', '60'], { limitMs: 50 }), /more than 50 ms/)
    await assert.rejects(client.waitForTcp(9, 30), /waited 30 ms for port 9/)
    const early = client.spawn(['true'])
    await assert.rejects(early.waitForOutput(/never/), /ended without/)
  })

  it('leaves nothing behind, even of a program that ignores SIGTERM', async () => {
    const other = new TestNetwork()
    const host = other.host('stubborn')
    const program = host.spawn(['sh', '-c', 'trap "" TERM; echo set; while :; do sleep 1; done'])
    await program.waitForOutput(/set/)
    const { pid } = program
    assert.equal(other.leftovers().length, 1)
    other.closeNow()
    assert.deepEqual(other.leftovers(), [])
    assert.equal(await program.ended(), 128)
    assert.throws(() => process.kill(pid, 0))
  })

  it('is removed when its process is interrupted or killed', () => {
    const url = new URL('../support/namespace.js', import.meta.url).href
    const code = (end: string): string => `
      import { TestNetwork } from '${url}'
      const net = new TestNetwork()
      net.host('short')
      console.log(process.pid, net.leftovers().length)
      process.kill(process.pid, '${end}')
      setInterval(() => undefined, 1000)`
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      const args = ['--input-type=module', '-e', code(signal)]
      const done = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 10_000 })
      assert.equal(done.signal, signal)
      const [pid, count] = done.stdout.trim().split(' ')
      assert.equal(count, '1', done.stderr)
      // After SIGKILL nobody could tidy up; the next network does.
      if (signal === 'SIGKILL') new TestNetwork().closeNow()
      const { stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' })
      assert.ok(!stdout.includes(`uvs-t${pid}-`))
    }
  })
})

/** A program that ends well when the peer answers at all: refused is an answer too. */
function connectTo(address: string, port: number): string {
  return `const s = require('net').connect(${port}, '${address}', () => process.exit(0))
    s.on('error', (error) => process.exit(error.code === 'ECONNREFUSED' ? 0 : 1))
    s.setTimeout(900, () => process.exit(2))`
}
