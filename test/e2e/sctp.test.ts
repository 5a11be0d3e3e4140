/**
 * SCTP through every method, IPv4 and IPv6, one and two workers, over the ring and over TUN:
 * packets by hand (support/sctp-end.cc), because a kernel need not have the sctp module. The
 * network is drawn in support/lab.ts.
 */
import assert from 'node:assert/strict'
import { requireNamespaces } from '../support/namespace.js'
import { compiled } from './support/compiled.js'
import { Director } from './support/director.js'
import {
  destinationAddress,
  directorAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  type Method,
  METHODS,
  METHOD_WORDS,
  virtualAddress,
} from './support/lab.js'

const PORT = 2905
/** Where the method translates ports: another one, so that the checksum must follow. */
const REAL_PORT = 2906

/** INIT, COOKIE ECHO, DATA, SHUTDOWN, and SHUTDOWN COMPLETE without waiting. */
const LIFE = ['1', '10', '0', '7', '-14']
/** INIT ACK, COOKIE ACK, SACK, SHUTDOWN ACK. */
const ANSWERS = '2 11 3 8'

const ROUTED: Record<Family, string> = { 4: '198.18.9.0/24', 6: '2001:db8:0:9::/64' }
const routedAddress = (family: Family, n: number): string =>
  family === 4 ? `198.18.9.${n}` : `2001:db8:0:9::${n}`

interface Setup {
  readonly io: 'af_packet' | 'tun'
  readonly workers: number
  readonly methods: readonly Method[]
}

const SETUPS: readonly Setup[] = [
  { io: 'af_packet', workers: 1, methods: METHODS },
  { io: 'af_packet', workers: 2, methods: METHODS },
  { io: 'tun', workers: 2, methods: ['nat', 'tun', 'fullnat'] },
]

for (const { io, workers, methods } of SETUPS) {
  describe(`SCTP, ${io}, ${workers} worker${workers === 1 ? '' : 's'}`, function () {
    this.timeout(60_000)
    let lab: Lab
    let director: Director
    let ownPort = 40_000

    const addressOf = (family: Family, n: number): string =>
      io === 'tun' ? routedAddress(family, n) : virtualAddress(family, n)

    before(async function () {
      requireNamespaces(this)
      lab = new Lab({ reals: 2 })
      const program = compiled('sctp-end')
      for (const real of lab.reals) {
        await real.spawn([program, 'server']).waitForOutput(/ready/)
      }
      if (io === 'tun') {
        for (const family of FAMILIES) {
          lab.router.route(`${ROUTED[family]} via ${directorAddress(family)}`)
        }
      }
      director = await Director.start(lab.director, {
        io,
        workers,
        ...(io === 'tun'
          ? { localAddresses: ['198.18.9.240-198.18.9.241', '2001:db8:0:9::f0-2001:db8:0:9::f1'] }
          : {}),
      })
      for (const [index, method] of methods.entries()) {
        for (const family of FAMILIES) await addService(method, family, index + 1)
      }
    })

    after(async () => {
      await director?.stop()
      await lab?.close()
    })

    afterEach(function () {
      if (this.currentTest?.state === 'failed') console.log(director.lastWords)
    })

    async function addService(method: Method, family: Family, n: number): Promise<void> {
      const address = addressOf(family, n)
      await lab.acceptVirtual(method, address)
      const service = `--sctp-service ${endpoint(address, PORT)}`
      const port = method === 'nat' || method === 'fullnat' ? REAL_PORT : PORT
      const destinations = lab.reals.map((_, i) => {
        const real = endpoint(destinationAddress(method, family, i + 1), port)
        return `-a ${service} -r ${real} ${METHOD_WORDS[method].option}`
      })
      await director.restore([`-A ${service} -s rr`, ...destinations])
    }

    function client(address: string, port: number, chunks: readonly string[]): Promise<string> {
      const words = [address, String(port), String(++ownPort), ...chunks]
      return lab.client.expect([compiled('sctp-end'), 'client', ...words])
    }

    for (const [index, method] of methods.entries()) {
      for (const family of FAMILIES) {
        it(`${METHOD_WORDS[method].title} over IPv${family}: whole lives`, async () => {
          const address = addressOf(family, index + 1)
          for (let i = 0; i < 4; i++) {
            assert.equal((await client(address, PORT, LIFE)).trim(), ANSWERS)
          }
          const service = endpoint(address, PORT)
          const list = await director.ipvsadm('-L', '-n', '--sctp-service', service)
          const counts = [...list.matchAll(/^ {2}-> \S+ +\w+ +1 +(\d+) +(\d+) *$/gm)]
          // None is established any more, and rr has given each real server two.
          assert.deepEqual(
            counts.map(([, active, inactive]) => [active, inactive]),
            [
              ['0', '2'],
              ['0', '2'],
            ],
          )
          const rows = (await director.ipvsadm('-L', '-n', '-c')).split('\n')
          const own = rows.filter((row) => row.includes(` ${service} `))
          assert.equal(own.length, 4)
          for (const row of own) assert.match(row, /^SCTP 0[01]:\d\d +CLOSED +/)
        })
      }
    }

    it('an established association is active and listed so', async () => {
      const address = addressOf(4, 1)
      assert.equal((await client(address, PORT, ['1', '10'])).trim(), '2 11')
      const text = await director.uvs('conns', '--protocol', 'sctp', '--state', 'ESTABLISHED')
      assert.match(text, /^sctp ESTABLISHED +(900|899)s /m)
    })

    it('without a destination the client gets an ICMP error', async () => {
      for (const family of FAMILIES) {
        const address = addressOf(family, 9)
        await director.ipvsadm('-A', '--sctp-service', endpoint(address, PORT), '-s', 'rr')
        assert.equal((await client(address, PORT, ['1'])).trim(), 'icmp')
      }
    })

    it('what begins nothing is answered by the host where the address is its own', async () => {
      for (const family of FAMILIES) {
        const address = directorAddress(family)
        await director.ipvsadm('-A', '--sctp-service', endpoint(address, PORT), '-s', 'rr')
        // DATA of nowhere: "protocol unreachable", or an ABORT where the host speaks SCTP.
        assert.match((await client(address, PORT, ['0'])).trim(), /^(icmp|6)$/)
        const { drops } = await director.status()
        assert.ok(Number(drops.not_init) >= 1)
      }
    })
  })
}
