/** --offload off, kernel, auto: who forwards, what is said of it, who does when that fails. */
import assert from 'node:assert/strict'
import { choose, starter } from '../../src/control/choose-dataplane.js'
import type { DataplaneOptions } from '../../src/control/dataplane-port.js'
import type { Config } from '../../src/control/model/config.js'
import { ControlError } from '../../src/control/model/errors.js'
import type { Probe } from '../../src/control/offload/kernel-dataplane.js'
import type { RunSettings } from '../../src/control/run-options.js'
import { mergeSettings, parseRunFlags, UsageError } from '../../src/control/run-options.js'
import { FakeDataplane, memoryLog } from '../support/fake-dataplane.js'
import { addDestination, addService, configOf, serviceId } from './fixtures.js'

const S = serviceId()
const PLAIN = configOf([addService(S)])
const FULLNAT = configOf([addService(S), addDestination(S, '198.18.1.1', { method: 'fullnat' })])
const NO_IPVS = new ControlError('IPVS_ABSENT', 'this kernel has no IPVS')
const TIMEOUTS = { tcpSec: 3600, tcpFinSec: 60, udpSec: 60 }
const able: Probe = { ok: true, timeouts: TIMEOUTS }
const unable: Probe = { ok: false, problem: NO_IPVS }
const settings = (...argv: string[]): RunSettings =>
  mergeSettings(parseRunFlags(argv, '/run/x'), { sysctls: {} }, 2)
const carrier = (wanted: RunSettings, config: Config, probe: () => Probe) =>
  choose(wanted, config, probe, memoryLog()).carrier

describe('--offload', () => {
  it('off asks nothing of the kernel', () => {
    const ask = () => assert.fail('asked')
    assert.equal(carrier(settings('--iface', 'a'), PLAIN, ask), 'af_packet')
    assert.equal(carrier(settings('--io', 'tun'), PLAIN, ask), 'tun')
    assert.throws(() => carrier(settings(), PLAIN, ask), UsageError)
  })

  it('kernel needs IPVS and a configuration it can carry out, and no interface', () => {
    const wanted = settings('--offload', 'kernel')
    assert.equal(
      carrier(wanted, PLAIN, () => able),
      'kernel',
    )
    assert.throws(() => carrier(wanted, PLAIN, () => unable), NO_IPVS)
    assert.throws(() => carrier(wanted, FULLNAT, () => able), { code: 'NOT_SUPPORTED' })
  })

  it('kernel keeps timeouts that nobody has set', () => {
    const wanted = settings('--offload', 'kernel')
    const unset = choose(wanted, PLAIN, () => able, memoryLog())
    assert.deepEqual([unset.config.timeouts, unset.hostTimeouts], [TIMEOUTS, TIMEOUTS])
    const own = configOf([{ kind: 'setTimeouts', timeouts: { ...TIMEOUTS, udpSec: 5 } }], PLAIN)
    const set = choose(wanted, own, () => able, memoryLog())
    assert.deepEqual([set.config.timeouts.udpSec, set.hostTimeouts], [5, undefined])
  })

  it('auto says what it chose and why', () => {
    const wanted = settings('--offload', 'auto', '--iface', 'a')
    const said = (config: Config, probe: Probe) => {
      const log = memoryLog()
      return [choose(wanted, config, () => probe, log).carrier, ...log.lines]
    }
    assert.deepEqual(said(PLAIN, able), ['kernel'])
    assert.deepEqual(said(PLAIN, unable), [
      'af_packet',
      'info offload: the packet workers forward, because this kernel has no IPVS',
    ])
    assert.match(said(FULLNAT, able)[1], /packet workers forward, because .*FULLNAT/)
  })

  it('refuses words it does not know', () => {
    assert.throws(() => settings('--offload', 'maybe'), UsageError)
    assert.throws(() => settings('--foreign', 'adopt'), UsageError)
  })
})

describe('--offload: starting', () => {
  const started: string[] = []
  const workers = ({ carrier: io }: DataplaneOptions) => {
    started.push(io)
    return Promise.resolve(new FakeDataplane())
  }
  const refuse = () => Promise.reject(new ControlError('SCHEDULER_UNKNOWN', 'no twos here'))
  const release = () => Promise.resolve(void started.push('released'))
  const start = async (kernel: typeof refuse, fallback: DataplaneOptions['fallback']) => {
    started.length = 0
    const log = memoryLog()
    const chosen = { ...settings('--iface', 'a'), carrier: 'kernel', fallback } as const
    const options = { ...chosen, config: PLAIN, hostTimeouts: undefined, log }
    await starter(workers, kernel, release)(options, () => undefined)
    return log.lines
  }

  it('auto falls back on the workers, after the kernel is free of a killed director', async () => {
    const lines = await start(refuse, 'af_packet')
    assert.deepEqual(started, ['released', 'af_packet'])
    assert.deepEqual(lines, ['info offload: the packet workers forward, because no twos here'])
  })

  it('kernel does not', async () => {
    await assert.rejects(start(refuse, undefined), { code: 'SCHEDULER_UNKNOWN' })
    assert.deepEqual(started, [])
  })
})
