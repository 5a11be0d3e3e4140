/** Compiles net-tool (tool/, C++) with the product's own packet ports, once per change. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The root of the checkout, seen from dist/bench/net/. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..')

const TOOL = join(ROOT, 'bench/net/tool')
const BINARY = join(ROOT, 'build/net-tool')

/** What of native/ the tool is made of: the plain forwarder measures these very files. */
const PRODUCT_SOURCES = [
  ...['af_packet', 'packet_socket', 'io_error', 'bpf', 'tc'].map((name) => `io/${name}.cc`),
  'parse/checksum.cc',
]

/** As in native/binding.gyp: a ratio between programs must not be one between compiler flags. */
const FLAGS = ['-std=c++20', '-O3', '-Wall', '-Wextra', '-Werror', '-fno-exceptions']

/** The compiled program; compiled when any of its sources or their headers is newer. */
export function netTool(): string {
  const native = join(ROOT, 'native')
  const inputs = [TOOL, native, join(native, 'io'), join(native, 'parse')].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => /\.(cc|h)$/.test(name))
      .map((name) => join(folder, name)),
  )
  const newest = Math.max(...inputs.map((path) => statSync(path).mtimeMs))
  if (existsSync(BINARY) && statSync(BINARY).mtimeMs > newest) return BINARY
  mkdirSync(dirname(BINARY), { recursive: true })
  const compiler = process.env.CXX ?? (spawnSync('g++', ['--version']).error ? 'clang++' : 'g++')
  const own = readdirSync(TOOL).filter((name) => name.endsWith('.cc'))
  // Renamed at the end: two runs at a time must not start half a file.
  const half = `${BINARY}.${process.pid}`
  execFileSync(compiler, [
    ...FLAGS,
    ...(process.arch === 'x64' ? ['-march=x86-64-v2'] : []),
    ...['-iquote', native, '-iquote', TOOL, '-o', half],
    ...own.map((name) => join(TOOL, name)),
    ...PRODUCT_SOURCES.map((name) => join(native, name)),
  ])
  renameSync(half, BINARY)
  return BINARY
}
