// clang-format over the native sources and their tests: `--check` lists what differs and fails,
// `--write` puts it right. Generated files are left as they are generated.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

// Releases of clang-format disagree in details; this one (Debian 12) decides.
const DECIDING_MAJOR = 14

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const files = ['native', 'test/native'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((name) => /\.(c|cc|h)$/.test(name))
    .filter((name) => !name.endsWith('.gen.h') && !name.startsWith('build/'))
    .map((name) => join(folder, name))
    .sort(),
)

/** The name of a clang-format of the deciding release, or whichever there is, or undefined. */
function findTool() {
  for (const name of [`clang-format-${DECIDING_MAJOR}`, 'clang-format']) {
    const { status, stdout } = spawnSync(name, ['--version'], { encoding: 'utf8' })
    if (status === 0) return { name, major: Number(stdout.match(/version (\d+)/)?.[1]) }
  }
  return undefined
}

const tool = findTool()
if (tool === undefined) {
  console.error('format-native: clang-format is not installed (Debian package clang-format)')
  process.exit(1)
}
if (process.argv.includes('--write')) {
  const { status } = spawnSync(tool.name, ['-i', ...files], { cwd: root, stdio: 'inherit' })
  process.exit(status ?? 1)
}
const bad = files.filter((file) => {
  const args = ['--dry-run', '-Werror', file]
  return spawnSync(tool.name, args, { cwd: root, stdio: 'ignore' }).status !== 0
})
for (const file of bad) console.error(`format-native: ${file} is not formatted`)
if (bad.length > 0 && tool.major !== DECIDING_MAJOR) {
  console.error(`format-native: clang-format is ${tool.major}; only ${DECIDING_MAJOR} decides`)
} else if (bad.length > 0) {
  console.error('format-native: run `npm run format`')
  process.exit(1)
}
