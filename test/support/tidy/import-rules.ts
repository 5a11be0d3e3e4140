/** Who may import whom: judges the imports of src/ by a table (test/tidy.test.ts holds it). */
import { posix } from 'node:path'
import type { Offense, SourceFile } from './tree.js'
import { importsOf } from './typescript-rules.js'

export interface ImportRule {
  /** The files it is for, as a pattern over paths below src/; the first rule that fits counts. */
  files: RegExp
  /** What those may import, as patterns over paths below src/ without extension. */
  allow: RegExp[]
  /** What those may import besides, as types only. */
  allowTypes?: RegExp[]
  /** Packages and node: modules; all unless given. */
  packages?: RegExp
}

/** The offenses of one file below src/ against the table. */
export function importOffenses(file: SourceFile, table: readonly ImportRule[]): Offense[] {
  const below = file.path.replace(/^src\//, '')
  const rule = table.find(({ files }) => files.test(below))
  if (rule === undefined) {
    return [{ path: file.path, line: 1, reason: 'no import rule is for this folder' }]
  }
  return importsOf(file).flatMap(({ name, line, typeOnly }) => {
    const isRelative = name.startsWith('.')
    const target = posix.join('src', posix.dirname(below), name).replace(/\.js$/, '')
    const path = target.replace(/^src\//, '')
    const allowed = isRelative
      ? target.startsWith('src/') &&
        [...rule.allow, ...(typeOnly ? (rule.allowTypes ?? []) : [])].some((one) => one.test(path))
      : (rule.packages?.test(name) ?? true)
    const what = isRelative ? path : name
    return allowed ? [] : [{ path: file.path, line, reason: `may not import ${what}` }]
  })
}
