/** What the style test reads: every source file of the checkout, once, as text. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The root of the checkout, seen from dist/test/support/tidy/. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../../..')

export interface SourceFile {
  /** From the root, with forward slashes. */
  path: string
  text: string
}

/** Something against a rule; `line` counts from 1. */
export interface Offense {
  path: string
  line: number
  reason: string
}

const LEFT_OUT = new Set(['node_modules', 'dist', 'build', '.git', '.cache', 'coverage'])
const KINDS = /\.(ts|mjs|cjs|js|c|cc|h|sh|mk|gyp|md|json|yml|yaml)$|^bin\/|^\.ci\//

/** All text files people wrote, sorted by path. Captures, corpora and lock files are not among. */
export function readTree(root = ROOT): SourceFile[] {
  const paths: string[] = []
  const walk = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (LEFT_OUT.has(entry.name)) continue
      const path = join(folder, entry.name)
      if (entry.isDirectory()) walk(path)
      else if (entry.isFile()) paths.push(relative(root, path))
    }
  }
  walk(root)
  return paths
    .filter((path) => KINDS.test(path) && !path.endsWith('package-lock.json'))
    .filter((path) => !path.startsWith('test/corpus/'))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
}

export const isTypeScript = ({ path }: SourceFile): boolean => path.endsWith('.ts')
export const isNative = ({ path }: SourceFile): boolean => /\.(c|cc|h)$/.test(path)
export const isGenerated = ({ path }: SourceFile): boolean => path.endsWith('.gen.h')
/** Code in any language: what is held to a width and to a first line that says what it is for. */
export const isCode = ({ path }: SourceFile): boolean => !/\.(md|json|yml|yaml)$/.test(path)

/** The line of an offset in a text, from 1. */
export function lineAt(text: string, offset: number): number {
  let line = 1
  for (let i = text.indexOf('\n'); i >= 0 && i < offset; i = text.indexOf('\n', i + 1)) line++
  return line
}
