/** --offload off, kernel, auto: who forwards, and what is said about it. */
import assert from 'node:assert/strict'
import { chooseCarrier } from '../../src/control/choose-dataplane.js'
import { ControlError } from '../../src/control/model/errors.js'
import type { RunSettings } from '../../src/control/run-options.js'
import { mergeSettings, parseRunFlags, UsageError } from '../../src/control/run-options.js'
import { memoryLog } from '../support/fake-dataplane.js'
import { addDestination, addService, configOf, serviceId } from './fixtures.js'

const S = serviceId()
const PLAIN = configOf([addService(S)])
const FULLNAT = configOf([addService(S), addDestination(S, '198.18.1.1', { method: 'fullnat' })])
const NO_IPVS = new ControlError('IPVS_ABSENT', 'this kernel has no IPVS')
const settings = (...argv: string[]): RunSettings =>
  mergeSettings(parseRunFlags(argv, '/run/x'), { sysctls: {} }, 2)

describe('--offload', () => {
  it('off asks nothing of the kernel', () => {
    const ask = () => assert.fail('asked')
    assert.equal(chooseCarrier(settings('--iface', 'a'), PLAIN, ask, memoryLog()), 'af_packet')
    assert.equal(chooseCarrier(settings('--io', 'tun'), PLAIN, ask, memoryLog()), 'tun')
    assert.throws(() => chooseCarrier(settings(), PLAIN, ask, memoryLog()), UsageError)
  })

  it('kernel needs IPVS and a configuration it can carry out, and no interface', () => {
    const wanted = settings('--offload', 'kernel')
    assert.equal(
      chooseCarrier(wanted, PLAIN, () => undefined, memoryLog()),
      'kernel',
    )
    assert.throws(() => chooseCarrier(wanted, PLAIN, () => NO_IPVS, memoryLog()), NO_IPVS)
    assert.throws(() => chooseCarrier(wanted, FULLNAT, () => undefined, memoryLog()), {
      code: 'NOT_SUPPORTED',
    })
  })

  it('auto says what it chose and why', () => {
    const wanted = settings('--offload', 'auto', '--iface', 'a')
    const choose = (config: typeof PLAIN, problem: ControlError | undefined) => {
      const log = memoryLog()
      return [chooseCarrier(wanted, config, () => problem, log), ...log.lines]
    }
    assert.deepEqual(choose(PLAIN, undefined), [
      'kernel',
      "info offload: the kernel's IPVS forwards",
    ])
    assert.deepEqual(choose(PLAIN, NO_IPVS), [
      'af_packet',
      'info offload: the packet workers forward, because this kernel has no IPVS',
    ])
    assert.match(choose(FULLNAT, undefined)[1], /packet workers forward, because .*FULLNAT/)
  })

  it('refuses words it does not know', () => {
    assert.throws(() => settings('--offload', 'maybe'), UsageError)
    assert.throws(() => settings('--foreign', 'adopt'), UsageError)
    const file = { sysctls: {}, offload: 'x' }
    assert.throws(() => mergeSettings(parseRunFlags([], '/run/x'), file, 1), {
      code: 'CONFIG_BAD',
    })
  })
})
