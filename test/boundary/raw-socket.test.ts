/** RawSocket: message boundaries, credentials, readiness, misuse; it holds nothing alive. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { type NativeRawSocket, openRawSocket } from '../../src/dataplane/native.js'
import { waitFor } from '../support/wait.js'

const NETLINK_GENERIC = 16
/** nlmsghdr (NLM_F_REQUEST, type GENL_ID_CTRL) + genlmsghdr CTRL_CMD_GETFAMILY + name "nlctrl". */
const GET_NLCTRL = Uint8Array.from(
  Buffer.from('2000000010000100010000000000000003010000' + '0b0002006e6c6374726c0000', 'hex'),
)

describe('RawSocket', () => {
  let folder: string
  const open: NativeRawSocket[] = []
  const made = (socket: NativeRawSocket): NativeRawSocket => {
    open.push(socket)
    return socket
  }
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'uvs-raw-'))
  })
  afterEach(() => {
    while (open.length > 0) open.pop()!.close()
  })
  after(() => rmSync(folder, { recursive: true }))

  const pair = (name: string) => {
    const path = join(folder, name)
    const listener = made(openRawSocket({ kind: 'listen', path, mode: 0o640 }))
    const client = made(openRawSocket({ kind: 'connect', path }))
    const accepted = listener.accept()
    assert.ok(accepted !== undefined)
    return { path, listener, client, server: made(accepted.socket), accepted }
  }

  it('asks the kernel over generic netlink', () => {
    const socket = made(openRawSocket({ kind: 'netlink', protocol: NETLINK_GENERIC }))
    assert.equal(socket.receive(), undefined)
    assert.equal(socket.send(GET_NLCTRL), true)
    const answer = socket.receive()
    assert.ok(answer !== undefined)
    assert.ok(Buffer.from(answer).includes('nlctrl'))
    assert.equal(socket.receive(), undefined)
  })

  it('keeps message boundaries and says who the client is', () => {
    const { path, client, server, accepted, listener } = pair('a')
    assert.equal(statSync(path).mode & 0o777, 0o640)
    assert.equal(listener.accept(), undefined)
    const { pid, uid, gid } = accepted
    assert.deepEqual({ pid, uid, gid }, { pid: process.pid, uid: 0, gid: 0 })
    client.send(Uint8Array.of(1, 2, 3))
    client.send(new Uint8Array(100_000).fill(7))
    assert.deepEqual(server.receive(), Uint8Array.of(1, 2, 3))
    assert.equal(server.receive()?.length, 100_000)
    assert.equal(server.receive(), undefined)
    client.close()
    assert.deepEqual(server.receive(), new Uint8Array(0))
  })

  it('says when a message is there, and when there is room again', async () => {
    const { client, server } = pair('b')
    const got: Uint8Array[] = []
    server.onReadable(() => got.push(server.receive()!))
    client.send(Uint8Array.of(9))
    await waitFor('the message', () => got.length === 1)
    server.onReadable(undefined)
    let sent = 0
    while (client.send(new Uint8Array(50_000))) sent++
    assert.ok(sent > 0)
    let room = false
    client.onWritable(() => {
      room = true
      client.onWritable(undefined)
    })
    while (server.receive() !== undefined) sent--
    assert.equal(sent, 0)
    await waitFor('room', () => room)
  })

  it('may be closed by its own listener', async () => {
    const { client, server } = pair('c')
    let calls = 0
    server.onReadable(() => {
      calls++
      server.close()
    })
    client.send(Uint8Array.of(1))
    await waitFor('the call', () => calls === 1)
    assert.throws(() => client.send(Uint8Array.of(2)), { code: 'ECONNRESET' })
  })

  it('refuses misuse with a code', () => {
    const wrong = (options: unknown) => () => openRawSocket(options as never)
    assert.throws(wrong({ kind: 'bluetooth' }), { code: 'ERR_ARGUMENT' })
    assert.throws(wrong(undefined), { code: 'ERR_ARGUMENT' })
    assert.throws(wrong({ kind: 'connect', path: join(folder, 'none') }), { code: 'ENOENT' })
    assert.throws(wrong({ kind: 'listen', path: 'x'.repeat(200), mode: 0 }), { code: 'ERR_PATH' })
    assert.throws(wrong({ kind: 'packet', interface: 'no-such-if' }), { code: 'ENODEV' })
    const { path, server } = pair('d')
    assert.throws(wrong({ kind: 'listen', path, mode: 0o600 }), { code: 'EADDRINUSE' })
    assert.throws(() => server.send('text' as never), { code: 'ERR_ARGUMENT' })
    assert.throws(() => server.send(new Uint8Array((1 << 20) + 1)), { code: 'ERR_MESSAGE' })
    server.close()
    server.close()
    assert.throws(() => server.receive(), { code: 'ERR_CLOSED' })
    assert.throws(() => server.onReadable(() => undefined), { code: 'ERR_CLOSED' })
  })

  it('lets its thread end, also while it listens', async () => {
    const source = `
      const { openRawSocket } = await import(${JSON.stringify(
        new URL('../../src/dataplane/native.js', import.meta.url).href,
      )})
      const socket = openRawSocket({ kind: 'netlink', protocol: ${NETLINK_GENERIC} })
      socket.onReadable(() => undefined)
      process.exit(0)`
    const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`)
    const worker = new Worker(url)
    const [code] = (await once(worker, 'exit')) as [number]
    assert.equal(code, 0)
  })
})
