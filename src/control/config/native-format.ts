/**
 * Our own configuration file, YAML; docs/configuration.md names every key of it.
 *
 * Pure: text in, settings and services out, or a message with the line.
 */
import { LineCounter, parseDocument } from 'yaml'
import type { Document } from 'yaml'
import type { ForeignServices, IoKind } from '../dataplane-port.js'
import { FTP_PORTS_MAX } from '../model/config.js'
import { UOA_FORMS, UOA_TRAIL_MAX } from '../model/fullnat.js'
import type { FullnatSettings } from '../model/fullnat.js'
import { ControlError, success } from '../model/errors.js'
import type { Result } from '../model/errors.js'
import { MAGLEV_INDEX_MAX, MAGLEV_INDEX_MIN } from '../model/maglev-size.js'
import { MarkProblem, parseMarkWords, splitWords } from '../model/mark-parse.js'
import type { MarkRule } from '../model/mark-rule.js'
import { parseLocalRanges } from './local-ranges.js'
import { decodeService } from './native-service.js'
import type { DesiredService } from './native-service.js'

export const IO_KINDS: readonly IoKind[] = ['af_packet', 'tun']
export const FOREIGN: readonly ForeignServices[] = ['leave', 'remove']
/** Whether the kernel's own IPVS forwards; `auto`: where it can. */
export const OFFLOADS = ['off', 'kernel', 'auto'] as const
export type Offload = (typeof OFFLOADS)[number]

export interface Settings {
  readonly io?: IoKind
  readonly interfaces?: readonly string[]
  readonly workers?: number
  readonly tun?: string
  readonly announce?: boolean
  readonly lip?: string
  readonly ftpPorts?: readonly number[]
  readonly offload?: Offload
  readonly foreign?: ForeignServices
  readonly maglevIndex?: number
  readonly fullnat?: Partial<FullnatSettings>
  readonly sysctls: Readonly<Record<string, string>>
  readonly timeouts?: {
    readonly tcpSec: number
    readonly tcpFinSec: number
    readonly udpSec: number
  }
}

export interface NativeConfig {
  readonly settings: Settings
  readonly services: readonly DesiredService[]
  readonly marks: readonly MarkRule[]
}

type Path = readonly (string | number)[]

/** One node of the document with its place, for readable errors. */
export class Node {
  readonly value: unknown
  readonly path: Path
  readonly #fail: (path: Path, message: string) => never

  constructor(value: unknown, path: Path, fail: (path: Path, message: string) => never) {
    this.value = value
    this.path = path
    this.#fail = fail
  }

  fail(message: string): never {
    return this.#fail(this.path, message)
  }

  child(key: string | number): Node {
    const value = (this.value as Record<string | number, unknown>)[key]
    return new Node(value, [...this.path, key], this.#fail)
  }

  /** The mapping's own keys. */
  mapping(): string[] {
    const { value } = this
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return this.fail('must be a mapping')
    }
    return Object.keys(value)
  }

  /** The same, all of which must be `known`. */
  keys(known: readonly string[]): string[] {
    const keys = this.mapping()
    const unknown = keys.find((key) => !known.includes(key))
    if (unknown === undefined) return keys
    return this.child(unknown).fail(`is not known here; known are: ${known.join(', ')}`)
  }

  has(key: string): boolean {
    return Object.hasOwn(this.value as object, key)
  }

  items(): Node[] {
    const { value } = this
    if (!Array.isArray(value)) return this.fail('must be a list')
    return value.map((_, i) => this.child(i))
  }

  text(): string {
    if (typeof this.value === 'string') return this.value
    if (typeof this.value === 'number') return String(this.value)
    return this.fail('must be a text')
  }

  integer(low: number, high: number): number {
    const { value } = this
    const good = typeof value === 'number' && Number.isInteger(value)
    return good && value >= low && value <= high
      ? value
      : this.fail(`must be an integer from ${low} to ${high}`)
  }

  choice<T extends string>(choices: readonly T[]): T {
    const found = choices.find((name) => name === this.value)
    return found ?? this.fail(`must be one of ${choices.join(', ')}`)
  }

  boolean(): boolean {
    return typeof this.value === 'boolean' ? this.value : this.fail('must be true or false')
  }
}

const TOP = [
  'io',
  'interfaces',
  'workers',
  'tun',
  'announce',
  'lip',
  'ftp-ports',
  'offload',
  'foreign',
  'mh-index',
  'fullnat',
  'sysctls',
  'timeouts',
  'services',
  'marks',
] as const

const TIMEOUT_MAX_SEC = 86400 * 31
const WORKERS_MAX = 16

/** Reads the text of a file; `name` is what messages call it. */
export function parseNative(text: string, name: string): Result<NativeConfig> {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const fail = (path: Path, message: string): never => {
    const { line } = lines.linePos(offsetOf(document, path))
    const where = path.length === 0 ? 'the file' : pathText(path)
    throw new ControlError('CONFIG_BAD', `${name}:${line}: ${where} ${message}`)
  }
  try {
    const [error] = document.errors
    if (error !== undefined) {
      const { line } = lines.linePos(error.pos[0])
      throw new ControlError('CONFIG_BAD', `${name}:${line}: ${error.message}`)
    }
    return success(decodeFile(new Node(document.toJS() ?? {}, [], fail)))
  } catch (error) {
    if (error instanceof ControlError) return { ok: false, error }
    throw error
  }
}

function offsetOf(document: Document, path: Path): number {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true) as { range?: [number] } | undefined
    if (node?.range !== undefined) return node.range[0]
  }
  return 0
}

function pathText(path: Path): string {
  return path
    .map((key) => (typeof key === 'number' ? `[${key + 1}]` : `.${key}`))
    .join('')
    .slice(1)
}

function decodeFile(root: Node): NativeConfig {
  root.keys(TOP)
  const services = root.has('services') ? root.child('services').items().map(decodeService) : []
  const marks = root.has('marks') ? root.child('marks').items().flatMap(decodeMark) : []
  return { settings: decodeSettings(root), services, marks }
}

function decodeMark(node: Node): MarkRule[] {
  try {
    const rules = parseMarkWords(splitWords(node.text()))
    return rules.length > 0 ? rules : node.fail('needs --set-mark, or -j with what else happens')
  } catch (error) {
    if (error instanceof MarkProblem) return node.fail(`is no mark rule: ${error.message}`)
    throw error
  }
}

function decodeSettings(root: Node): Settings {
  const optional = <T>(key: (typeof TOP)[number], read: (node: Node) => T) =>
    root.has(key) ? { [key]: read(root.child(key)) } : {}
  return {
    ...optional('io', (node) => node.choice(IO_KINDS)),
    ...optional('interfaces', (node) => node.items().map((item) => item.text())),
    ...optional('workers', (node) => node.integer(1, WORKERS_MAX)),
    ...optional('tun', decodeInterface),
    ...optional('offload', (node) => (node.value === false ? 'off' : node.choice(OFFLOADS))),
    ...optional('foreign', (node) => node.choice(FOREIGN)),
    ...(root.has('mh-index')
      ? { maglevIndex: root.child('mh-index').integer(MAGLEV_INDEX_MIN, MAGLEV_INDEX_MAX) }
      : {}),
    ...optional('announce', (node) => node.boolean()),
    ...optional('lip', decodeLocal),
    ...(root.has('ftp-ports') ? { ftpPorts: decodePorts(root.child('ftp-ports')) } : {}),
    ...optional('fullnat', decodeFullnat),
    ...optional('timeouts', decodeTimeouts),
    sysctls: root.has('sysctls') ? decodeSysctls(root.child('sysctls')) : {},
  }
}

function decodeInterface(node: Node): string {
  const name = node.text()
  return /^[^\s/]{1,15}$/.test(name) ? name : node.fail('must be an interface name')
}

function decodeLocal(node: Node): string {
  const texts = Array.isArray(node.value) ? node.items().map((item) => item.text()) : [node.text()]
  const lip = texts.join()
  const ranges = parseLocalRanges(lip)
  return ranges.ok ? lip : node.fail(`is wrong: ${ranges.error.message}`)
}

function decodePorts(node: Node): number[] {
  const items = node.items()
  if (items.length > FTP_PORTS_MAX) return node.fail(`may have at most ${FTP_PORTS_MAX} ports`)
  return items.map((item) => item.integer(1, 0xffff))
}

function decodeSysctls(node: Node): Record<string, string> {
  const names = node.mapping()
  return Object.fromEntries(names.map((name) => [name, node.child(name).text()]))
}

/** What is left out keeps its value. */
function decodeFullnat(node: Node): Partial<FullnatSettings> {
  node.keys(['toa', 'random-isn', 'uoa', 'uoa-trail'])
  const read = <T>(key: string, name: keyof FullnatSettings, value: (node: Node) => T) =>
    node.has(key) ? { [name]: value(node.child(key)) } : {}
  return {
    ...read('toa', 'toa', (at) => at.boolean()),
    ...read('random-isn', 'randomIsn', (at) => at.boolean()),
    ...read('uoa', 'uoa', (at) => at.choice(UOA_FORMS)),
    ...read('uoa-trail', 'uoaTrail', (at) => at.integer(0, UOA_TRAIL_MAX)),
  }
}

/** Seconds; what is left out keeps its value. */
function decodeTimeouts(node: Node) {
  node.keys(['tcp', 'tcp-fin', 'udp'])
  const sec = (key: string) => (node.has(key) ? node.child(key).integer(1, TIMEOUT_MAX_SEC) : 0)
  return { tcpSec: sec('tcp'), tcpFinSec: sec('tcp-fin'), udpSec: sec('udp') }
}
