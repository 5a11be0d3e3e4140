/**
 * The host's part of the data plane: what the host is like (facts), and what uvs changes about it
 * while it runs (routing rules, a few kernel settings). Everything is taken back by remove(), and
 * by the next prepare() after a kill.
 */
import type { DataplaneOptions } from '../dataplane-port.js'
import type { Address } from '../model/address.js'
import type { Config } from '../model/config.js'
import { ControlError } from '../model/errors.js'
import { runIp } from './command.js'
import { ownAddresses, type HostInterface } from './interfaces.js'
import { cleanLeftovers, cleanRules, livingDevice } from './leftovers.js'
import { requirePrivileges } from './privileges.js'
import {
  hostFacts,
  localAddresses,
  LOCAL_PORTS,
  NOTHING_HELD,
  ROUTED_LOCAL_PORTS,
  type Held,
  type HostFacts,
  type HostView,
  type PortRange,
} from './quiet.js'
import { readInterfaces } from './read-interfaces.js'
import {
  enableForwarding,
  openTunDevice,
  readSetting,
  SavedSettings,
  settingsFile,
} from './settings.js'
import {
  batchText,
  FAMILIES,
  NO_RULES,
  PORT_MAX,
  unroutable,
  wantedRules,
  type WantedRules,
} from './tun-rules.js'

/** The kernel's net.ipv4.ip_unprivileged_port_start where the host says none. */
const UNPRIVILEGED_START = 1024

/** What connections there are, as of now. */
export interface ConnectionFacts {
  readonly nameAddress: (address: Address) => boolean
  readonly nameSlot: (slot: number) => boolean
}

/** One director's hold on its host; made by prepare(), ended by remove(). */
export class HostSide {
  readonly #options: DataplaneOptions
  readonly #settings: SavedSettings
  /** Device of another director whose rules stand in our table. */
  readonly #other: string | undefined
  #rules: WantedRules = NO_RULES
  #held: Held = NOTHING_HELD
  /** The host as it was seen for the configuration that is being adopted. */
  #seen: { readonly config: Config; readonly view: HostView } | undefined
  #deviceOpen = false
  #connections: ConnectionFacts = { nameAddress: () => false, nameSlot: () => false }
  /** FULLNAT local addresses of the configuration in force. */
  #local: ReadonlySet<string> = new Set()

  private constructor(
    options: DataplaneOptions,
    settings: SavedSettings,
    other: string | undefined,
  ) {
    this.#options = options
    this.#settings = settings
    this.#other = other
  }

  /**
   * Before the ports are opened: checks what this process may do and that the interfaces exist, and
   * removes what a killed director left. Rejects with a ControlError; then nothing was changed.
   */
  static async prepare(options: DataplaneOptions): Promise<HostSide> {
    await requirePrivileges(options.io)
    const interfaces = readInterfaces()
    if (options.io === 'af_packet') checkInterfaces(options.interfaces, interfaces)
    const file = await settingsFile()
    const other = await livingDevice()
    if (other === undefined) await cleanLeftovers(file)
    return new HostSide(options, await SavedSettings.open(file), other)
  }

  /** Says how to ask what connections there are; before the first configuration. */
  askAbout(connections: ConnectionFacts): void {
    this.#connections = connections
  }

  /** What the data plane must know of this host for `config`. */
  async facts(config: Config): Promise<HostFacts> {
    return hostFacts(config, await this.#viewFor(config), this.#held)
  }

  /**
   * Brings the host's routing in line with `config`, with the host as facts() saw it for this very
   * configuration. The TUN device must exist.
   */
  async apply(config: Config): Promise<void> {
    const { io, tunName, log } = this.#options
    const view = await this.#viewFor(config)
    this.#seen = undefined
    const { held, takenPorts: localPorts, ftpDataFirst } = hostFacts(config, view, this.#held)
    this.#held = held
    this.#local = new Set(localAddresses(config).map(({ text }) => text))
    const { heldAddresses } = view
    const own = ownAddresses(view.interfaces)
    const tunnels = view.interfaces.filter(({ isTunnel }) => isTunnel).map(({ name }) => name)
    const options = { io, tunName, own, heldAddresses, localPorts, ftpDataFirst, tunnels }
    const wanted = wantedRules(config, options)
    for (const one of io === 'tun' ? unroutable(config) : []) {
      log.warn(`rules cannot name port ${PORT_MAX}, so --io tun gets no packets of ${one}`)
    }
    if (!this.#deviceOpen) await openTunDevice(tunName)
    this.#deviceOpen = true
    await this.#changeRules(wanted)
  }

  // One change of the configuration asks several times; it must get one answer.
  async #viewFor(config: Config): Promise<HostView> {
    if (this.#seen?.config === config) return this.#seen.view
    const { io, interfaces, announce } = this.#options
    const view: HostView = {
      interfaces: readInterfaces(),
      ports: io === 'af_packet' ? interfaces : [],
      isServed: (slot) => this.#connections.nameSlot(slot),
      heldAddresses: this.#heldAddresses(config),
      ephemeralPorts: await ephemeralPorts(),
      unprivilegedStart: await unprivilegedStart(),
      localPorts: io === 'af_packet' ? LOCAL_PORTS : ROUTED_LOCAL_PORTS,
      announce,
    }
    this.#seen = { config, view }
    return view
  }

  #heldAddresses(config: Config): Address[] {
    const services = [...config.services.values()]
    const servers = services.flatMap(({ destinations }) => destinations.map((one) => one.address))
    const other = new Set([...localAddresses(config), ...servers].map(({ text }) => text))
    const past = this.#held.localAddresses.filter(({ text }) => !other.has(text))
    // Until the workers know that it is no more, they make connections from it.
    return past.filter((one) => this.#local.has(one.text) || this.#connections.nameAddress(one))
  }

  /** Whether addresses are held that the configuration does not name any more. */
  holdsAddresses(config: Config): boolean {
    return this.#held.localAddresses.length > localAddresses(config).length
  }

  /** Takes everything back. Every step is tried; the first failure is told at the end. */
  async remove(): Promise<void> {
    const failures: unknown[] = []
    const attempt = (step: Promise<void>): Promise<void> =>
      step.catch((error: unknown) => void failures.push(error))
    await attempt(this.#changeRules(NO_RULES))
    if (this.#other === undefined) await attempt(this.#settings.restore())
    if (failures.length > 0) throw failures[0]
  }

  async #changeRules(wanted: WantedRules): Promise<void> {
    for (const family of FAMILIES) {
      const { tunName, io } = this.#options
      const text = batchText(this.#rules[family], wanted[family], tunName)
      if (text === '') continue
      if (this.#other !== undefined) throw this.#occupied(this.#other)
      if (io === 'tun' && wanted[family].rules.length > 0) {
        await enableForwarding(family, this.#settings)
      }
      try {
        await runIp([`-${family}`, '-batch', '-'], text)
      } catch {
        // Somebody else has changed our rules: start again from none. This failure is final.
        await cleanRules(family)
        this.#rules = { ...this.#rules, [family]: NO_RULES[family] }
        const fresh = batchText(NO_RULES[family], wanted[family], tunName)
        if (fresh !== '') await runIp([`-${family}`, '-batch', '-'], fresh)
      }
      this.#rules = { ...this.#rules, [family]: wanted[family] }
    }
  }

  #occupied(device: string): ControlError {
    const what = `another director routes through ${device} in this network namespace`
    return new ControlError('DATAPLANE_FAILED', `${what}: stop it, or use --io af_packet`)
  }
}

function checkInterfaces(wanted: readonly string[], found: readonly HostInterface[]): void {
  for (const name of wanted) {
    const one = found.find((candidate) => candidate.name === name)
    if (one === undefined) {
      const names = found.map((candidate) => candidate.name).join(', ')
      throw new ControlError('CONFIG_BAD', `there is no interface ${name}; there are ${names}`)
    }
    if (!one.up) {
      throw new ControlError('CONFIG_BAD', `${name} is down: run "ip link set ${name} up" first`)
    }
  }
}

/** net.ipv4.ip_local_port_range; without it the ports are ours. */
async function ephemeralPorts(): Promise<PortRange> {
  const text = (await readSetting('net/ipv4/ip_local_port_range')) ?? ''
  const [first, last] = text.split(/\s+/).map(Number)
  return first > 0 && last >= first ? { first, last } : { first: LOCAL_PORTS.last + 1, last: 0 }
}

/** net.ipv4.ip_unprivileged_port_start; every protocol's. */
async function unprivilegedStart(): Promise<number> {
  const text = await readSetting('net/ipv4/ip_unprivileged_port_start')
  return text === undefined ? UNPRIVILEGED_START : Number(text)
}
