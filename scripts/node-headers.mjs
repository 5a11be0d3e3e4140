// Finds the C headers of the running Node, so that native modules build without a download.
// As a program it prints the folder, or nothing.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The version a header folder belongs to, as `v20.1.2`; undefined when there is no such folder. */
function headerVersion(dir) {
  const header = join(dir, 'include/node/node_version.h')
  if (!existsSync(header)) return undefined
  const text = readFileSync(header, 'utf8')
  const part = (name) => text.match(new RegExp(`#define NODE_${name}_VERSION (\\d+)`))?.[1]
  return `v${part('MAJOR')}.${part('MINOR')}.${part('PATCH')}`
}

/**
 * The value for node-gyp's nodedir: npm's own setting, else the prefix of the running node or /usr
 * when the headers there are of this very version. Undefined: node-gyp downloads its own.
 */
export function nodeHeadersDir() {
  const configured = process.env.npm_config_nodedir
  if (configured) return configured
  const prefix = resolve(dirname(process.execPath), '..')
  return [prefix, '/usr'].find((dir) => headerVersion(dir) === process.version)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const dir = nodeHeadersDir()
  if (dir !== undefined) console.log(dir)
}
