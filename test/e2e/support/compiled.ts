/** Helpers of the end-to-end tests that are written in C++: compiled when their source is newer. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './paths.js'

/** The path of the compiled `test/e2e/support/NAME.cc`. */
export function compiled(name: string): string {
  const source = join(ROOT, `test/e2e/support/${name}.cc`)
  const binary = join(ROOT, 'build', name)
  const fresh = existsSync(binary) && statSync(binary).mtimeMs > statSync(source).mtimeMs
  if (fresh) return binary
  mkdirSync(join(ROOT, 'build'), { recursive: true })
  // The variable may hold more than one word, as `make` takes it.
  const wanted = process.env.CXX ?? (spawnSync('g++', ['--version']).error ? 'clang++' : 'g++')
  const [compiler, ...words] = wanted.split(' ')
  // Renamed at the end: two runs at a time must not start half a file.
  const half = `${binary}.${process.pid}`
  execFileSync(compiler, [...words, '-std=c++20', '-O2', '-Wall', '-Wextra', '-o', half, source])
  renameSync(half, binary)
  return binary
}
