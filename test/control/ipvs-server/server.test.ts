/** The IPVS socket with real clients: packets in, packets out, who may come, what is left. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  ipvsSocketPath,
  PRIVATE,
  readPrivateRequest,
} from '../../../src/control/ipvs-server/private-protocol.js'
import { startIpvsServer } from '../../../src/control/ipvs-server/server.js'
import { atMostEvery } from '../../../src/control/log.js'
import { COMMAND } from '../../../src/control/netlink/ipvs-attributes.js'
import { packServiceRequest } from '../../../src/control/netlink/ipvs-messages.js'
import {
  outcomeOf,
  packMessage,
  packRequest,
  splitMessages,
} from '../../../src/control/netlink/message.js'
import type { Message } from '../../../src/control/netlink/message.js'
import { openRawSocket } from '../../../src/dataplane/native.js'
import type { NativeRawSocket } from '../../../src/dataplane/native.js'
import { FakeClock, memoryLog } from '../../support/fake-dataplane.js'
import type { MemoryLog } from '../../support/fake-dataplane.js'
import { waitFor } from '../../support/wait.js'
import { addService, serviceId } from '../fixtures.js'
import { nameOf, rig, wireOptions, wireService } from './rig.js'
import type { Rig } from './rig.js'

describe('IPVS socket', () => {
  let folder: string
  let path: string
  let on: Rig
  let log: MemoryLog
  let stop: (() => Promise<void>) | undefined
  const sockets: NativeRawSocket[] = []

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'uvs-test-'))
    path = ipvsSocketPath(join(folder, 'uvs.sock'))
    on = rig({ services: 2000, destinations: 8, localAddresses: 1 })
    log = memoryLog()
    stop = await start()
  })

  afterEach(async () => {
    sockets.splice(0).forEach((socket) => socket.close())
    await stop?.()
    rmSync(folder, { recursive: true })
  })

  const start = () => startIpvsServer({ path, director: on.director, port: on.port, log })

  function connect(): NativeRawSocket {
    const socket = openRawSocket({ kind: 'connect', path })
    sockets.push(socket)
    return socket
  }

  const packet = (socket: NativeRawSocket) => waitFor('a packet', () => socket.receive())

  /** Messages up to the one that says how it went. */
  async function answer(socket: NativeRawSocket): Promise<Message[]> {
    const messages: Message[] = []
    while (!messages.some((message) => outcomeOf(message) !== undefined)) {
      messages.push(...splitMessages(await packet(socket)))
    }
    return messages
  }

  const request = (command: number, attributes = new Uint8Array(), dump = false) =>
    packRequest(
      { family: PRIVATE.FAMILY_ID, command, version: 1, sequence: 9, port: 5 },
      attributes,
      dump,
    )
  const add = (port: number) =>
    request(
      COMMAND.newService,
      new Uint8Array(packServiceRequest(wireService({ port }), wireOptions())),
    )

  it('answers when the change is in force; several messages in a packet, in order', async () => {
    const socket = connect()
    socket.send(Buffer.concat([add(1), add(1), add(2)]))
    const verdicts: string[] = []
    while (verdicts.length < 3) {
      const [message] = splitMessages(await packet(socket))
      verdicts.push(nameOf(outcomeOf(message) ?? -1))
    }
    assert.deepEqual(verdicts, ['ok', 'EEXIST', 'ok'])
    assert.equal(on.port.published.length, 2)
  })

  it('serves many clients at once, each in its order', async () => {
    const clients = Array.from({ length: 20 }, connect)
    await Promise.all(
      clients.map(async (socket, client) => {
        for (let i = 0; i < 10; i++) {
          socket.send(add(client * 10 + i + 1))
          const [message] = await answer(socket)
          assert.equal(nameOf(outcomeOf(message) ?? -1), 'ok')
        }
      }),
    )
    assert.equal(on.director.config.services.size, 200)
  })

  it('a list that fills the socket waits for its reader, and others do not', async () => {
    await on.has(Array.from({ length: 2000 }, (_, i) => addService(serviceId('198.18.0.1', i + 1))))
    const slow = connect()
    for (let i = 0; i < 4; i++) slow.send(request(COMMAND.getService, undefined, true))
    const quick = connect()
    quick.send(request(COMMAND.getInfo))
    assert.equal((await answer(quick)).length, 2)
    let messages = 0
    for (let dumps = 0; dumps < 4; dumps++) messages += (await answer(slow)).length
    assert.equal(messages, 4 * 2001)
  })

  it('gives files in packets of bounded size', async () => {
    await on.has(Array.from({ length: 2000 }, (_, i) => addService(serviceId('198.18.0.1', i + 1))))
    const socket = connect()
    const header = { type: PRIVATE.READ_FILE, flags: 0, sequence: 0, port: 0 }
    socket.send(packMessage(header, Buffer.from('/proc/net/ip_vs')).subarray(0, 16 + 15))
    const [reply] = splitMessages(await packet(socket))
    assert.deepEqual([reply.type, reply.payload[0]], [PRIVATE.REPLY, 0])
    assert.equal(readPrivateRequest(reply), undefined)
    let text = ''
    for (let ended = false; !ended;) {
      const [data] = splitMessages(await packet(socket))
      assert.equal(data.type, PRIVATE.DATA)
      assert.ok(data.payload.length <= PRIVATE.DATA_MAX)
      text += Buffer.from(data.payload).toString()
      ended = data.payload.length === 0
    }
    assert.equal(text.split('\n').length, 2000 + 4)
  })

  it('garbage and sudden ends leave it as it was', async () => {
    const socket = connect()
    socket.send(Buffer.alloc(5, 0xff))
    socket.send(Buffer.alloc(100_000, 0xff))
    for (let i = 0; i < 50; i++) {
      const gone = connect()
      gone.send(request(COMMAND.getService, undefined, true))
      gone.close()
    }
    socket.send(request(COMMAND.getInfo))
    assert.equal(splitMessages(await packet(socket))[0].type, PRIVATE.FAMILY_ID)
  })

  const isRefused = (socket: NativeRawSocket) => {
    try {
      return socket.receive()?.length === 0
    } catch (error) {
      assert.match((error as NodeJS.ErrnoException).code ?? '', /ECONNRESET|EPIPE/)
      return true
    }
  }

  /** More clients than it takes; resolves when those above the bound are refused. */
  async function crowd(): Promise<NativeRawSocket[]> {
    const clients: NativeRawSocket[] = []
    while (clients.length < 300) {
      // More than the backlog holds: the listener gets a turn now and then.
      if (clients.length % 10 === 0) await new Promise(setImmediate)
      clients.push(connect())
    }
    const refused = () => clients.filter(isRefused).length
    await waitFor('those above the bound to be refused', () => refused() === 300 - 256)
    return clients
  }

  /** Resolves when a client is served again. */
  async function place(): Promise<void> {
    await waitFor('a place', async () => {
      const socket = connect()
      socket.send(request(COMMAND.getInfo))
      const first = await packet(socket).catch(() => new Uint8Array())
      socket.close()
      return first.length > 0
    })
  }

  it('takes a bounded number of clients, and again when some have gone', async () => {
    for (const socket of await crowd()) socket.close()
    await place()
  })

  it('says that it is full once in a minute, however often it is', async () => {
    for (let round = 0; round < 3; round++) {
      for (const socket of await crowd()) socket.close()
      await place()
    }
    assert.deepEqual(log.lines, ['warn the IPVS socket has all the clients it takes'])
    const said: string[] = []
    const clock = new FakeClock()
    const say = atMostEvery(60_000, (message) => void said.push(message), clock)
    for (const word of ['a', 'b', 'c', 'd', 'e']) {
      say(word)
      await clock.advance(30_000)
    }
    assert.deepEqual(said, ['a', 'c', 'e'])
  })

  it('leaves turns to others between the messages of a packet and between clients', async () => {
    let turn = 0
    const served = new Map<number, number>()
    const { director } = on
    const info = director.info.bind(director)
    director.info = () => {
      served.set(turn, (served.get(turn) ?? 0) + 1)
      return info()
    }
    const count = () => {
      turn++
      next = setImmediate(count)
    }
    let next = setImmediate(count)
    const most = () => Math.max(...served.values())
    try {
      const one = connect()
      one.send(Buffer.concat(Array.from({ length: 100 }, () => request(COMMAND.getInfo))))
      for (let answers = 0; answers < 100; answers++) await answer(one)
      assert.equal(most(), 1)
      served.clear()
      const many = Array.from({ length: 48 }, connect)
      for (const socket of many) socket.send(request(COMMAND.getInfo))
      for (const socket of many) await answer(socket)
      assert.ok(most() <= 16, `${most()} clients in one turn`)
    } finally {
      clearImmediate(next)
    }
  })

  it('is open to connect, replaces a leftover, refuses a file, goes away', async () => {
    assert.equal(statSync(path).mode & 0o777, 0o666)
    await assert.doesNotReject(async () => {
      // As a killed director leaves it: the file is there and nobody listens.
      await stop?.()
      const listener = openRawSocket({ kind: 'listen', path, mode: 0o666 })
      listener.close()
      assert.ok(existsSync(path))
      stop = await start()
    })
    await stop?.()
    stop = undefined
    assert.ok(!existsSync(path))
    writeFileSync(path, '')
    await assert.rejects(start(), /is not a socket/)
  })

  it('an end of the director ends its clients', async () => {
    const socket = connect()
    socket.send(request(COMMAND.getInfo))
    await answer(socket)
    await stop?.()
    stop = undefined
    const ended = await waitFor('the end', () => socket.receive())
    assert.equal(ended.length, 0)
  })
})
