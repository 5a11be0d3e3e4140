/** Every change anyone can ask for, as data. */
import type { Address, Family } from './address.js'
import type { Timeouts } from './config.js'
import type { FullnatSettings } from './fullnat.js'
import type { DestinationId, DestinationOptions } from './destination.js'
import type { MarkRule } from './mark-rule.js'
import type { ServiceId, ServiceOptions } from './service.js'
import type { DaemonOptions, DaemonRole } from './sync-daemon.js'

export type Command =
  | { readonly kind: 'addService'; readonly service: ServiceId; readonly options: ServiceOptions }
  | {
      readonly kind: 'editService'
      readonly service: ServiceId
      readonly options: ServiceOptions
      /** The flags that are replaced; all unless given. */
      readonly flagsMask?: number
    }
  | { readonly kind: 'deleteService'; readonly service: ServiceId }
  | { readonly kind: 'flush' }
  | {
      readonly kind: 'addDestination'
      readonly service: ServiceId
      readonly destination: DestinationId
      readonly options: DestinationOptions
    }
  | {
      readonly kind: 'editDestination'
      readonly service: ServiceId
      readonly destination: DestinationId
      readonly options: DestinationOptions
    }
  | {
      readonly kind: 'deleteDestination'
      readonly service: ServiceId
      readonly destination: DestinationId
    }
  /** Without a service: everything. */
  | { readonly kind: 'zero'; readonly service?: ServiceId }
  /** Seconds; 0 keeps the present value. */
  | { readonly kind: 'setTimeouts'; readonly timeouts: Timeouts }
  | {
      readonly kind: 'addLocalAddress'
      readonly service: ServiceId
      readonly address: Address
    }
  | {
      readonly kind: 'deleteLocalAddress'
      readonly service: ServiceId
      readonly address: Address
    }
  | { readonly kind: 'setSysctl'; readonly name: string; readonly value: string }
  /** What is left out stays as it is. */
  | { readonly kind: 'setFullnat'; readonly fullnat: Partial<FullnatSettings> }
  | { readonly kind: 'setDefaultLocalAddresses'; readonly addresses: readonly Address[] }
  | {
      readonly kind: 'startDaemon'
      readonly daemon: DaemonOptions
      /** MTU of the interface, filled in by the director; undefined: there is no such interface. */
      readonly mtu?: number | undefined
    }
  | { readonly kind: 'stopDaemon'; readonly role: DaemonRole }
  | { readonly kind: 'addMarkRules'; readonly rules: readonly MarkRule[] }
  | { readonly kind: 'deleteMarkRules'; readonly rules: readonly MarkRule[] }
  /** All rules of these families give way to `rules`. */
  | {
      readonly kind: 'replaceMarkRules'
      readonly families: readonly Family[]
      readonly rules: readonly MarkRule[]
    }
  /** Housekeeping of the trash (spec 1.6); sent by the director's own timer only. */
  | {
      readonly kind: 'reap'
      readonly nowMs: number
      readonly slotsInUse: ReadonlySet<number>
    }
  /** What destinations were before edits (past.ts); by the director's own timer only. */
  | {
      readonly kind: 'forget'
      readonly slotsInUse: ReadonlySet<number>
      /** Publish in any case: the data plane looks at what it holds on to. */
      readonly lingers: boolean
    }
  /** The defences' modes follow the host's memory (spec 3.11); by the director's own timer only. */
  | { readonly kind: 'defend'; readonly availablePages: number }

export type CommandKind = Command['kind']

/** What callers outside the process may send. */
export type PublicCommand = Exclude<Command, { kind: 'reap' | 'forget' | 'defend' }>
