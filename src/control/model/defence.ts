/**
 * The load defences: what the three modes do while memory is short (spec 3.11). Kernel:
 * ip_vs_ctl.c update_defense_level.
 *
 * | mode | meaning | next mode |
 * |---|---|---|
 * | 0 | off | 0 |
 * | 1 | automatic, idle | 2 once memory is short |
 * | 2 | automatic, acting | 1 once it is not |
 * | 3 | always acting | 3 |
 */
import type { Sysctls } from './sysctls.js'

/** The period in which the kernel looks. */
export const DEFENCE_PERIOD_MS = 1_000

const MODES = ['drop_entry', 'drop_packet', 'secure_tcp'] as const

/** What is to be done until memory is looked at again. */
export interface Defence {
  /** The settings with the modes they have now; the same object when none has changed. */
  readonly sysctls: Sysctls
  /** drop_packet: one of so many new connections goes; 0: none. */
  readonly dropRate: number
  /** Whether counting towards it starts anew, as it does every second in the automatic modes. */
  readonly restarts: boolean
}

/** Whether any defence is on, so that it matters how much memory there is. */
export function wantsDefence(sysctls: Sysctls): boolean {
  return MODES.some((name) => sysctls[name] !== 0)
}

/** Whether two configurations differ in a mode. */
export function sameModes(a: Sysctls, b: Sysctls): boolean {
  return MODES.every((name) => a[name] === b[name])
}

/** `availablePages`: free pages and buffer pages of the host. */
export function defend(sysctls: Sysctls, availablePages: number): Defence {
  const isShort = availablePages < sysctls.amemthresh
  const next = (mode: number): number => (mode === 1 || mode === 2 ? (isShort ? 2 : 1) : mode)
  const modes = Object.fromEntries(MODES.map((name) => [name, next(sysctls[name])]))
  const wanted = MODES.every((name) => modes[name] === sysctls[name])
    ? sysctls
    : { ...sysctls, ...modes }
  return {
    sysctls: wanted,
    dropRate: dropRate(wanted, availablePages),
    restarts: wanted.drop_packet === 2,
  }
}

function dropRate(sysctls: Sysctls, availablePages: number): number {
  if (sysctls.drop_packet === 3) return sysctls.am_droprate
  if (sysctls.drop_packet !== 2) return 0
  return Math.trunc(sysctls.amemthresh / (sysctls.amemthresh - availablePages))
}
