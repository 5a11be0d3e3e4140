/** Style rules over the syntax tree of TypeScript files. */
import ts from 'typescript'
import type { Offense, SourceFile } from './tree.js'

const FUNCTION_LINES = 70

export function parse(file: SourceFile): ts.SourceFile {
  return ts.createSourceFile(file.path, file.text, ts.ScriptTarget.ES2023, true)
}

/** Collects what `visit` returns for every node of a file. */
function collect(file: SourceFile, visit: (node: ts.Node) => string | undefined): Offense[] {
  const tree = parse(file)
  const offenses: Offense[] = []
  const walk = (node: ts.Node): void => {
    const reason = visit(node)
    if (reason !== undefined) {
      const { line } = tree.getLineAndCharacterOfPosition(node.getStart(tree))
      offenses.push({ path: file.path, line: line + 1, reason })
    }
    ts.forEachChild(node, walk)
  }
  walk(tree)
  return offenses
}

/** Lines of code: neither blank nor only a comment, as ESLint counts them. */
function codeLines(text: string): number {
  const plain = text.replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ''))
  return plain.split('\n').filter((line) => line.trim() !== '' && !/^\s*\/\//.test(line)).length
}

/** Is it the function given to `describe`, a chapter of tests rather than a function? */
function isChapter(node: ts.Node): boolean {
  const call = node.parent
  return ts.isCallExpression(call) && /^describe\b/.test(call.expression.getText())
}

export function longFunctions(file: SourceFile): Offense[] {
  return collect(file, (node) => {
    if (!ts.isFunctionLike(node) || isChapter(node)) return undefined
    const lines = codeLines(node.getText())
    return lines > FUNCTION_LINES ? `a function of ${lines} lines` : undefined
  })
}

export function anyTypes(file: SourceFile): Offense[] {
  return collect(file, (node) =>
    node.kind === ts.SyntaxKind.AnyKeyword ? '`any`; say what it is, or `unknown`' : undefined,
  )
}

/** Exported functions and classes say in a sentence what they are for. */
export function undocumented(file: SourceFile): Offense[] {
  const tree = parse(file)
  const commented = (node: ts.Node): boolean =>
    (ts.getLeadingCommentRanges(file.text, node.getFullStart()) ?? []).length > 0
  return tree.statements.flatMap((statement) => {
    const isExported =
      ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
    if (!isExported || commented(statement)) return []
    const isFunction =
      (ts.isFunctionDeclaration(statement) && statement.body !== undefined) ||
      ts.isClassDeclaration(statement) ||
      (ts.isVariableStatement(statement) &&
        statement.declarationList.declarations.some(
          ({ initializer }) => initializer !== undefined && ts.isFunctionLike(initializer),
        ))
    if (!isFunction) return []
    const { line } = tree.getLineAndCharacterOfPosition(statement.getStart(tree))
    return [{ path: file.path, line: line + 1, reason: 'exported without a sentence on it' }]
  })
}

const IMPURE_CALLS: readonly string[] = [
  'Date.now',
  'Math.random',
  'process.hrtime',
  'performance.now',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'crypto',
  'process.env',
]

/** Clocks, randomness, timers and the environment: arguments, in a pure file. */
export function impurities(file: SourceFile): Offense[] {
  return collect(file, (node) => {
    if (ts.isNewExpression(node) && node.expression.getText() === 'Date') return 'a clock: new Date'
    const isName = ts.isPropertyAccessExpression(node) || ts.isIdentifier(node)
    if (!isName || (ts.isPropertyAccessExpression(node.parent) && node.parent.name === node)) {
      return undefined
    }
    const text = node.getText()
    return IMPURE_CALLS.includes(text) ? `not pure: ${text}` : undefined
  })
}

const SUITE_WORDS: readonly string[] = ['describe', 'it', 'context', 'suite', 'test', 'this']
const X_WORDS: readonly string[] = ['xit', 'xdescribe', 'xcontext']

/** Tests that are left out, run alone or run again until they pass. */
export function unfairTests(file: SourceFile): Offense[] {
  return collect(file, (node) => {
    if (ts.isIdentifier(node) && X_WORDS.includes(node.text)) return `left out: ${node.text}`
    if (!ts.isPropertyAccessExpression(node)) return undefined
    if (!['only', 'skip', 'retries'].includes(node.name.text)) return undefined
    const text = node.getText()
    return SUITE_WORDS.includes(text.split('.')[0] as string) ? `unfair: ${text}` : undefined
  })
}

const FOREIGN_WORDS = /^(backend|vip)s?$/

/** Splits `fooBarBaz`, `FOO_BAR` and `foo_bar` into lower-case words. */
export function wordsOf(identifier: string): string[] {
  return identifier
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split('_')
}

/** The project's words are service, destination and virtual address. */
export function foreignWord(identifier: string): string | undefined {
  const found = wordsOf(identifier).find((word) => FOREIGN_WORDS.test(word))
  return found === undefined ? undefined : `not one of our words: ${identifier}`
}

export function foreignIdentifiers(file: SourceFile): Offense[] {
  return collect(file, (node) => (ts.isIdentifier(node) ? foreignWord(node.text) : undefined))
}

export interface Import {
  /** As written: './x.js', 'node:fs', 'piscina'. */
  name: string
  line: number
  /** Erased when compiled. */
  typeOnly: boolean
}

/** All imports of a file: static, re-exported and dynamic with a literal name. */
export function importsOf(file: SourceFile): Import[] {
  const found: Import[] = []
  const tree = parse(file)
  const add = (node: ts.Node, name: ts.Node | undefined, typeOnly: boolean): void => {
    if (name === undefined || !ts.isStringLiteralLike(name)) return
    const { line } = tree.getLineAndCharacterOfPosition(node.getStart(tree))
    found.push({ name: name.text, line: line + 1, typeOnly })
  }
  const walk = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node, node.moduleSpecifier, isTypeImport(node))
    else if (ts.isExportDeclaration(node)) add(node, node.moduleSpecifier, node.isTypeOnly)
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node, node.arguments[0], false)
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node, node.argument.literal, true)
    }
    ts.forEachChild(node, walk)
  }
  walk(tree)
  return found
}

function isTypeImport({ importClause }: ts.ImportDeclaration): boolean {
  if (importClause === undefined) return false
  if (importClause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true
  const bindings = importClause.namedBindings
  if (importClause.name !== undefined || bindings === undefined) return false
  return ts.isNamedImports(bindings) && bindings.elements.every((element) => element.isTypeOnly)
}
