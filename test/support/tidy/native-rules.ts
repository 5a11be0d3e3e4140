/**
 * Style rules over C++ files. No parser: comments and strings are blanked, then braces are counted
 * and each block is classified by the words in front of it. Good for code in our own style, which
 * clang-format keeps regular.
 */
import { lineAt, type Offense, type SourceFile } from './tree.js'
import { foreignWord } from './typescript-rules.js'

const FUNCTION_LINES = 70

/** The text with comments, literals and preprocessor lines blanked; offsets and lines stay. */
export function blank(text: string): string {
  const token =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|R"(\w*)\([\s\S]*?\)\1"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'/g
  const isSeparator = (at: number): boolean => /[0-9a-fA-F]/.test(text[at - 1] ?? '')
  const plain = text.replace(token, (found, _name: string, at: number) =>
    // 1'000'000: a digit separator, not a character.
    found.startsWith("'") && isSeparator(at) ? found : found.replace(/[^\n]/g, ' '),
  )
  return plain.replace(/^[ \t]*#(?:[^\n]*\\\n)*[^\n]*/gm, (line) => line.replace(/[^\n]/g, ' '))
}

interface Block {
  kind: 'namespace' | 'type' | 'function' | 'other'
  start: number
}

interface Scan {
  /** Outermost function bodies with the offset of their first word and of their last brace. */
  functions: { start: number; end: number }[]
  /** Statements directly in a namespace or file, without those that have a body. */
  globals: { start: number; text: string }[]
}

function kindOf(head: string): Block['kind'] {
  const words = head.replace(/template\s*<[^{}]*>\s*(requires[^{}]*?)?(?=\w)/, '').trim()
  if (/^(inline\s+)?namespace\b|^extern\s*$/.test(words)) return 'namespace'
  if (/^(typedef\s+)?(class|struct|union|enum|concept)\b/.test(words)) return 'type'
  return words.includes(')') ? 'function' : 'other'
}

/** Walks the braces of a blanked text. */
export function scan(plain: string): Scan {
  const stack: Block[] = []
  const result: Scan = { functions: [], globals: [] }
  let from = 0
  const inside = (kind: Block['kind']): boolean => stack.some((block) => block.kind === kind)
  const atGlobal = (): boolean => stack.every((block) => block.kind === 'namespace')
  const firstWord = (): number => from + (plain.slice(from).match(/\S/)?.index ?? 0)
  for (let i = 0; i < plain.length; i++) {
    const char = plain[i]
    if (char === '{') {
      const kind = inside('function') ? 'other' : kindOf(plain.slice(from, i))
      if (kind === 'other' && atGlobal()) {
        result.globals.push({ start: firstWord(), text: plain.slice(from, i).trim() })
      }
      stack.push({ kind, start: firstWord() })
      from = i + 1
    } else if (char === '}') {
      const block = stack.pop()
      if (block?.kind === 'function') result.functions.push({ start: block.start, end: i })
      from = i + 1
    } else if (char === ';') {
      if (atGlobal()) {
        result.globals.push({ start: firstWord(), text: plain.slice(from, i).trim() })
      }
      from = i + 1
    }
  }
  return result
}

export function longFunctions(file: SourceFile): Offense[] {
  const plain = blank(file.text)
  return scan(plain).functions.flatMap(({ start, end }) => {
    const lines = plain
      .slice(start, end + 1)
      .split('\n')
      .filter((line) => line.trim() !== '').length
    if (lines <= FUNCTION_LINES) return []
    const reason = `a function of ${lines} lines`
    return [{ path: file.path, line: lineAt(plain, start), reason }]
  })
}

const OTHER_STATEMENTS = [
  'using typedef class struct enum union friend extern template static_assert concept',
  'operator namespace public private',
].join(' ')
const NOT_A_VARIABLE = new RegExp(`\\(|^$|^\\W|\\b(${OTHER_STATEMENTS.replaceAll(' ', '|')})\\b`)

/** A preload library is one per process and has nowhere else to keep what it knows about it. */
const ONE_PER_PROCESS = /^native\/shim\//

/** State that outlives a call and belongs to nobody: the addon lives in many threads at once. */
export function mutableStatics(file: SourceFile): Offense[] {
  if (ONE_PER_PROCESS.test(file.path)) return []
  const plain = blank(file.text)
  const offense = (start: number, text: string): Offense => ({
    path: file.path,
    line: lineAt(plain, start),
    reason: `mutable and static: ${text.replace(/\s+/g, ' ')}`,
  })
  const isConstant = (text: string): boolean => /\b(const|constexpr|consteval)\b/.test(text)
  const keyword = [...plain.matchAll(/\b(?:static|thread_local)\b[^;={(]*[;={(]/g)]
    .filter(([text]) => !isConstant(text) && (!text.endsWith('(') || /\bthread_local\b/.test(text)))
    .map((match) => offense(match.index, match[0]))
  const globals = scan(plain)
    .globals.map(({ start, text }) => ({ start, text: text.split('=')[0] as string }))
    .filter(({ text }) => !/\bstatic\b|\bthread_local\b/.test(text))
    .filter(({ text }) => !NOT_A_VARIABLE.test(text) && !isConstant(text))
    .filter(({ text }) => /^[\w:<>,*&\s[\]]+\s[*&]*\w+(\[[^\]]*\])*\s*$/.test(text))
    .map(({ start, text }) => offense(start, text))
  return [...keyword, ...globals]
}

/** The comment a file opens with, without its slashes. */
function header(text: string): string {
  return (/^(\/\/[^\n]*\n)+/.exec(text)?.[0] ?? '').replace(/^\/\/ ?/gm, '')
}

/** A stage of the data path says what comes in, what it does, and where the packet goes next. */
export function stageHeader(file: SourceFile): Offense[] {
  const missing = ['In', 'Does', 'Next'].filter(
    (word) => !new RegExp(`\\b${word}: \\S`).test(header(file.text)),
  )
  if (missing.length === 0) return []
  return [{ path: file.path, line: 1, reason: `the header lacks ${missing.join(', ')}` }]
}

export function foreignIdentifiers(file: SourceFile): Offense[] {
  const plain = blank(file.text)
  return [...plain.matchAll(/\b[A-Za-z_]\w*/g)].flatMap((match) => {
    const reason = foreignWord(match[0])
    return reason === undefined
      ? []
      : [{ path: file.path, line: lineAt(plain, match.index), reason }]
  })
}

/** The core knows neither Node nor anything above native/; only the edge files see Node-API. */
export function includes(file: SourceFile, known: ReadonlySet<string>): Offense[] {
  const isEdge = /^native\/(addon\.cc|\w+_wrap(_\w+)?\.(h|cc))$/.test(file.path)
  const folder = file.path.slice(0, file.path.lastIndexOf('/'))
  return [...file.text.matchAll(/^#include ([<"])([^>"]+)[>"]/gm)].flatMap((match) => {
    const [, mark, name = ''] = match
    const line = lineAt(file.text, match.index)
    if (/^(napi|node_api|js_native_api|node|uv|v8)\.h$/.test(name)) {
      return isEdge ? [] : [{ path: file.path, line, reason: `Node in the core: ${name}` }]
    }
    const isOurs = known.has(`native/${name}`) || known.has(`${folder}/${name}`)
    if (mark === '<' || (isOurs && !name.includes('..'))) return []
    return [{ path: file.path, line, reason: `not a file of native/: ${name}` }]
  })
}
