// Builds native/build/Release/uvs.node and ipvs_shim.so with node-gyp; a second call with nothing
// changed is a no-op of make. Offline when Node's headers are on the machine (node-headers.mjs).
// `--packaged` is npm's install step: it builds in an installed package, where there is no src/,
// and leaves a checkout to scripts/setup.sh, which says more when something is missing.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { addonSources } from '../native/list-sources.mjs'
import { nodeHeadersDir } from './node-headers.mjs'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const nativeDir = join(root, 'native')
const buildDir = join(nativeDir, 'build')
const stampFile = join(buildDir, '.configured')

/** A digest of everything that makes a new configure step necessary. */
function configureKey() {
  const hash = createHash('sha256')
  hash.update(readFileSync(join(nativeDir, 'binding.gyp')))
  hash.update(readFileSync(fileURLToPath(import.meta.url)))
  hash.update([process.version, process.arch, root, ...addonSources()].join('\n'))
  return hash.digest('hex')
}

/** Runs node-gyp under a file lock, so that two builds in one checkout wait for each other. */
function nodeGyp(...words) {
  // npm brings its own to every install step; in a checkout it is a development dependency.
  const own = join(root, 'node_modules/node-gyp/bin/node-gyp.js')
  const bin = existsSync(own) ? own : (process.env.npm_config_node_gyp ?? '')
  if (bin === '') {
    console.error('build-native: node-gyp is not installed; run `npm ci` first')
    process.exit(1)
  }
  const lock = join(buildDir, '.lock')
  const args = [lock, process.execPath, bin, ...words, '--release', '--loglevel=warn']
  const done = spawnSync('flock', args, { cwd: nativeDir, stdio: 'inherit' })
  if (done.error) {
    console.error(`build-native: cannot run flock (package util-linux): ${done.error.message}`)
    process.exit(1)
  }
  if (done.status !== 0) process.exit(done.status ?? 1)
}

/**
 * With -MMD, GCC 12 leaves out headers that a header of ours includes after <memory>: objects would
 * not be built again when one changes. With -MD it lists all, the system's too.
 */
function listAllHeaders(makefile) {
  const text = readFileSync(makefile, 'utf8')
  writeFileSync(makefile, text.replace('DEPFLAGS = -MMD', 'DEPFLAGS = -MD'))
}

if (process.argv.includes('--packaged') && existsSync(join(root, 'src'))) process.exit(0)
mkdirSync(buildDir, { recursive: true })
const key = configureKey()
const configured = existsSync(stampFile) ? readFileSync(stampFile, 'utf8') : ''
if (configured !== key || !existsSync(join(buildDir, 'Makefile'))) {
  const dir = nodeHeadersDir()
  nodeGyp('configure', ...(dir === undefined ? [] : [`--nodedir=${dir}`]))
  listAllHeaders(join(buildDir, 'Makefile'))
  writeFileSync(stampFile, key)
}
// Two jobs at most: a compiler of this code takes half a gigabyte, and machines are shared.
nodeGyp('build', `--jobs=${Math.min(2, availableParallelism())}`)
