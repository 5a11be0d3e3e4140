/** Writes native/layout.gen.h from layout.ts, so that both languages agree on every offset. */
import {
  DESTINATION_FLAG,
  DESTINATION_STATE,
  FULLNAT_FLAG,
  type Field,
  FIELD_BYTES,
  LAYOUT_HASH,
  LIMITS,
  MARK_NOT,
  METHOD,
  MISS_FLAG,
  NO_SLOT,
  type RecordLayout,
  RECORDS,
  SCHEDULER_ID,
  SCTP_STATE,
  SERVICE_FLAG,
  UOA,
  SNAPSHOT_MAGIC,
  SYSCTL_INDEX,
  SYSCTL_WORDS,
  TABLE_MAGIC,
  TCP_STATE,
  TEMPLATE_STATE,
  TUNNEL,
  TUNNEL_FLAG,
  VERDICT,
  WORKER_STATE,
} from './layout.js'
import { REASON_LANE_WORDS, REASONS } from './reasons.js'

const CPP_TYPE = {
  u8: 'uint8_t',
  u16: 'uint16_t',
  u32: 'uint32_t',
  i32: 'int32_t',
  u64: 'uint64_t',
  addr: 'Addr',
} as const

const snake = (s: string): string => s.replace(/([A-Z])/g, '_$1').toLowerCase()
const pascal = (s: string): string => s.charAt(0).toUpperCase() + s.slice(1)
const camelConstant = (s: string): string => 'k' + s.toLowerCase().split('_').map(pascal).join('')

/** Words that follow the last scalar up to the next field are an array (timeouts, sysctls). */
function arrayLength(fields: [string, Field][], i: number, bytes: number): number {
  const [type, offset] = fields[i][1]
  const end = i + 1 < fields.length ? fields[i + 1][1][1] : bytes
  return Math.max(1, Math.floor((end - offset) / FIELD_BYTES[type]))
}

function struct(name: string, layout: RecordLayout): string {
  const fields = Object.entries(layout.fields).sort((a, b) => a[1][1] - b[1][1])
  const cpp = pascal(name) + 'Record'
  const lines = [`struct ${cpp} {`]
  const checks: string[] = []
  let at = 0
  let pad = 0
  fields.forEach(([field, [type, offset]], i) => {
    if (offset < at) throw new Error(`${name}.${field} overlaps the field before it`)
    if (offset > at) lines.push(`  uint8_t pad${pad++}[${offset - at}];`)
    const n = ARRAYS.has(`${name}.${field}`) ? arrayLength(fields, i, layout.bytes) : 1
    lines.push(`  ${CPP_TYPE[type]} ${snake(field)}${n > 1 ? `[${n}]` : ''};`)
    checks.push(`static_assert(offsetof(${cpp}, ${snake(field)}) == ${offset});`)
    at = offset + FIELD_BYTES[type] * n
  })
  if (at < layout.bytes) lines.push(`  uint8_t pad${pad}[${layout.bytes - at}];`)
  lines.push('};', `static_assert(sizeof(${cpp}) == ${layout.bytes});`, ...checks, '')
  return lines.join('\n')
}

/** Fields that are arrays reaching to the next field. */
const ARRAYS = new Set([
  'snapshotHeader.tcpTimeoutSec',
  'snapshotHeader.fullnatTcpTimeoutSec',
  'snapshotHeader.sysctls',
  'snapshotHeader.ftpPorts',
  'synproxy.secret',
])

function constants(prefix: string, type: string, values: Readonly<Record<string, number>>): string {
  return (
    Object.entries(values)
      .map(([k, v]) => `constexpr ${type} k${prefix}${camelConstant(k).slice(1)} = ${v};`)
      .join('\n') + '\n'
  )
}

function reasons(): string {
  const names = REASONS.map(([n]) => `  ${camelConstant(n)},`).join('\n')
  const texts = REASONS.map(([n]) => `    "${n}",`).join('\n')
  return (
    `enum class Reason : uint8_t {\n${names}\n};\n` +
    `constexpr uint32_t kReasonCount = ${REASONS.length};\n` +
    `constexpr uint32_t kReasonLaneWords = ${REASON_LANE_WORDS};\n` +
    `static_assert(kReasonCount <= kReasonLaneWords);\n` +
    `constexpr const char* kReasonNames[kReasonCount] = {\n${texts}\n};\n`
  )
}

/** The whole text of native/layout.gen.h. */
export function generateLayoutHeader(): string {
  const head = [
    '// Generated from src/dataplane/layout.ts by gen-layout.ts; do not edit.',
    '#pragma once',
    '#include <cstddef>',
    '#include <cstdint>',
    '',
    '#include "addr.h"',
    '',
    'namespace uvs {',
    '',
    `constexpr uint32_t kLayoutHash = 0x${LAYOUT_HASH.toString(16)}u;`,
    `constexpr uint32_t kSnapshotMagic = 0x${SNAPSHOT_MAGIC.toString(16)}u;`,
    `constexpr uint32_t kTableMagic = 0x${TABLE_MAGIC.toString(16)}u;`,
    `constexpr uint16_t kNoSlot = ${NO_SLOT};`,
    `constexpr uint32_t kSysctlWords = ${SYSCTL_WORDS};`,
    '',
  ]
  const blocks = [
    constants('Max', 'uint32_t', LIMITS),
    constants('Verdict', 'int32_t', VERDICT),
    constants('Method', 'uint8_t', METHOD),
    constants('Tunnel', 'uint8_t', TUNNEL),
    constants('TunnelFlag', 'uint8_t', TUNNEL_FLAG),
    constants('Service', 'uint32_t', SERVICE_FLAG),
    constants('Fullnat', 'uint8_t', FULLNAT_FLAG),
    constants('Uoa', 'uint8_t', UOA),
    constants('Scheduler', 'uint32_t', SCHEDULER_ID),
    constants('Destination', 'uint32_t', DESTINATION_FLAG),
    constants('DestinationState', 'uint32_t', DESTINATION_STATE),
    constants('MarkNot', 'uint32_t', MARK_NOT),
    constants('Miss', 'uint16_t', MISS_FLAG),
    constants('Template', 'uint32_t', TEMPLATE_STATE),
    constants('Sysctl', 'uint32_t', SYSCTL_INDEX),
    constants('Tcp', 'uint8_t', TCP_STATE),
    constants('Sctp', 'uint8_t', SCTP_STATE),
    constants('Worker', 'uint32_t', WORKER_STATE),
    reasons(),
    ...Object.entries(RECORDS).map(([name, layout]) => struct(name, layout)),
  ]
  return head.join('\n') + '\n' + blocks.join('\n') + '\n}  // namespace uvs\n'
}
