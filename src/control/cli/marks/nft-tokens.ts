/** The text of `nft list ruleset` as tokens. Pure. */
import { RestoreProblem } from './restored.js'

/** `end`: of a statement, by a line's end or a semicolon. */
export interface Token {
  readonly kind: 'word' | 'text' | 'mark' | 'end'
  readonly value: string
  readonly line: number
}

/**
 * Blanks; a note, which is what nft makes of an extension of iptables that it cannot print; other
 * comments; a quoted text; operators and brackets; words.
 */
const PATTERN = new RegExp(
  String.raw`([ \t\r]+|\\\n)|#\s*(xt_\w+)|(#[^\n]*)|"([^"\n]*)"|(\n|;)|` +
    String.raw`(!=|==|[{},=&|^])|([^\s{};,="#&|^!]+)|(.)`,
  'gs',
)

/** Tokens in order. Throws RestoreProblem. */
export function nftTokens(text: string): Token[] {
  const tokens: Token[] = []
  let line = 1
  for (const [whole, , note, , quoted, end, sign, word, stray] of text.matchAll(PATTERN)) {
    if (stray !== undefined) throw new RestoreProblem(line, `${stray} is not understood here`)
    if (note !== undefined) tokens.push({ kind: 'word', value: note, line })
    else if (quoted !== undefined) tokens.push({ kind: 'text', value: quoted, line })
    else if (end !== undefined) tokens.push({ kind: 'end', value: end, line })
    else if (sign !== undefined) tokens.push({ kind: 'mark', value: sign, line })
    else if (word !== undefined) tokens.push({ kind: 'word', value: word, line })
    if (whole.endsWith('\n')) line++
  }
  return tokens
}

/** Reads tokens one after the other. */
export class TokenReader {
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  get done(): boolean {
    return this.#at >= this.#tokens.length
  }

  /** Line of the next token, or of the last. */
  get line(): number {
    return this.#tokens[Math.min(this.#at, this.#tokens.length - 1)]?.line ?? 1
  }

  peek(): string | undefined {
    return this.#tokens[this.#at]?.value
  }

  fail(message: string): never {
    throw new RestoreProblem(this.line, message)
  }

  /** The next token of any kind. */
  next(): Token {
    const token = this.#tokens[this.#at]
    if (token === undefined) return this.fail('the text ends in the middle')
    this.#at++
    return token
  }

  /** The next token's value if it is a word or a quoted text. */
  word(): string {
    const { kind, value } = this.next()
    if (kind === 'word' || kind === 'text') return value
    this.#at--
    return this.fail(`a word is missing before ${value.trim() === '' ? 'the end' : value}`)
  }

  /** Whether the next token is this one; then it is passed. */
  take(value: string): boolean {
    const token = this.#tokens[this.#at]
    if (token === undefined || token.kind === 'text' || token.value !== value) return false
    this.#at++
    return true
  }

  expect(value: string): void {
    if (!this.take(value)) this.fail(`${value} is missing`)
  }

  skipEnds(): void {
    while (this.#tokens[this.#at]?.kind === 'end') this.#at++
  }

  /** Tokens up to the end of the statement, which is passed; brackets may hold line ends. */
  statement(): Token[] {
    const found: Token[] = []
    let depth = 0
    while (!this.done) {
      const token = this.#tokens[this.#at]
      if (depth === 0 && (token.kind === 'end' || isMark(token, '}'))) break
      this.#at++
      if (isMark(token, '{')) depth++
      if (isMark(token, '}')) depth--
      if (token.kind !== 'end') found.push(token)
    }
    this.skipEnds()
    return found
  }
}

function isMark({ kind, value }: Token, sign: string): boolean {
  return kind === 'mark' && value === sign
}
