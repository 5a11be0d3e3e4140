/**
 * Looks at the host's memory once a second while a load defence is on, and has it act (spec 3.11):
 * the modes in the settings follow, so that anyone can see what acts, and with them the workers'
 * secure_tcp and drop_entry; drop_packet's rate goes to the workers directly. model/defence.ts says
 * what is due.
 */
import type { Defences } from './dataplane-port.js'
import type { Log } from './log.js'
import { defend, sameModes, wantsDefence } from './model/defence.js'
import type { Sysctls } from './model/sysctls.js'

export interface DefenceWatchOptions {
  readonly defences: Defences
  readonly log: Log
  /** The settings in force. */
  readonly sysctls: () => Sysctls
  /** Lets the modes follow this amount of memory. */
  readonly change: (availablePages: number) => void
}

/** See the top of this file. */
export class DefenceWatch {
  readonly #options: DefenceWatchOptions
  /** The settings as the last look wanted them; undefined while nothing is on. */
  #decided: Sysctls | undefined
  #isBlind = false

  constructor(options: DefenceWatchOptions) {
    this.#options = options
  }

  /** What is published for a change of settings: a mode that was written follows memory at once. */
  settled(before: Sysctls, after: Sysctls): Sysctls {
    if (sameModes(before, after) || !wantsDefence(after)) return after
    return defend(after, this.#availablePages()).sysctls
  }

  /** The settings were changed: looks at once, unless it was the change this one asked for. */
  changed(after: Sysctls): void {
    if (this.#decided === undefined || !sameModes(this.#decided, after)) this.look(false)
  }

  /** Every second, and at the start. `second`: drop_entry has its turn too. */
  look(second: boolean): void {
    const { defences, sysctls, change } = this.#options
    const before = sysctls()
    if (!wantsDefence(before)) {
      if (this.#decided !== undefined) defences.dropPackets(0, false)
      this.#decided = undefined
      return
    }
    const pages = this.#availablePages()
    const defence = defend(before, pages)
    this.#decided = defence.sysctls
    defences.dropPackets(defence.dropRate, defence.restarts)
    if (defence.sysctls !== before) change(pages)
    if (second && defence.sysctls.drop_entry >= 2) defences.dropTemplates()
  }

  /** Who cannot say how much memory there is does not run short of it. */
  #availablePages(): number {
    try {
      const pages = this.#options.defences.availablePages()
      this.#isBlind = false
      return pages
    } catch (error) {
      if (!this.#isBlind) {
        const why = error instanceof Error ? error.message : String(error)
        this.#options.log.warn(`the automatic load defences stay idle: ${why}`)
      }
      this.#isBlind = true
      return Number.MAX_SAFE_INTEGER
    }
  }
}
