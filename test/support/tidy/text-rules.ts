/** Style rules that need no grammar: lengths, widths, first lines, words left behind. */
import { isCode, isGenerated, lineAt, type Offense, type SourceFile } from './tree.js'

const WIDTH = 100
const FILE_LINES = 600
/** Tests are mostly tables. */
const TEST_FILE_LINES = 1000

export function tooLong(file: SourceFile): Offense[] {
  if (!isCode(file) || isGenerated(file)) return []
  const limit = file.path.startsWith('test/') ? TEST_FILE_LINES : FILE_LINES
  const lines = file.text.split('\n').length - 1
  return lines <= limit ? [] : [{ path: file.path, line: limit, reason: `${lines} lines` }]
}

export function tooWide(file: SourceFile): Offense[] {
  if (!isCode(file) || isGenerated(file)) return []
  return file.text.split('\n').flatMap((text, i) => {
    const columns = [...text].length
    return columns <= WIDTH ? [] : [{ path: file.path, line: i + 1, reason: `${columns} columns` }]
  })
}

/** Every file of code opens with a comment that says what it is for. */
export function noHeader(file: SourceFile): Offense[] {
  if (!isCode(file)) return []
  const lines = file.text.split('\n')
  const first = lines[lines[0]?.startsWith('#!') ? 1 : 0] ?? ''
  const opens = /\.(ts|mjs|cjs|js|cc|h)$/.test(file.path) || first.startsWith('//')
  const good = opens ? /^\/\/ \S|^\/\*\*?( \S|$)/ : /^# \S/
  if (good.test(first)) return []
  return [{ path: file.path, line: 1, reason: 'does not open with what it is for' }]
}

/** Every match of a pattern is an offense. */
export function findAll(file: SourceFile, pattern: RegExp, reason: string): Offense[] {
  return [...file.text.matchAll(new RegExp(pattern, 'g'))].map((match) => ({
    path: file.path,
    line: lineAt(file.text, match.index),
    reason: `${reason}: ${match[0]}`,
  }))
}

// Written so that this file does not contain what it looks for.
const LEFTOVER = new RegExp(
  `\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].join('|')})\\b`,
)
const MACHINE_PATH = new RegExp(
  `(?<![\\w.~-])/(${['wo' + 'rk', 'ro' + 'ot', 'ho' + 'me'].join('|')})/\\w+`,
)

export const leftovers = (file: SourceFile): Offense[] => findAll(file, LEFTOVER, 'left behind')

export const machinePaths = (file: SourceFile): Offense[] =>
  findAll(file, MACHINE_PATH, 'a path of one machine')
