/**
 * The option syntax of the popt library as ipvsadm uses it: bundled short options, long options
 * spelled in full, values attached, after `=` or as the next argument, optional values, arguments
 * anywhere, `--` as the end of options.
 */

/**
 * Whether an option takes a value; `optional` takes the next argument unless it starts with `-`.
 */
export type ValueRule = 'none' | 'required' | 'optional'

export interface OptionSyntax<Name extends string> {
  readonly name: Name
  readonly short?: string
  readonly long: string
  readonly value: ValueRule
}

/** An option as met on the line; `spelled` is the whole argument it stood in. */
export interface MetOption<Name extends string> {
  readonly name: Name
  readonly spelled: string
  readonly value: string | undefined
}

/** A line the syntax does not allow; the text is popt's own. */
export class SyntaxProblem extends Error {}

export interface PoptReader<Name extends string> {
  /** The next option; undefined at the end. Throws SyntaxProblem. */
  next(): MetOption<Name> | undefined
  /** Arguments that are no options; complete after next() returned undefined. */
  readonly leftover: readonly string[]
}

/**
 * Reads `argv`. `find` maps a letter or long name to its syntax, and is asked anew for each option,
 * because the meaning of some letters depends on the command read before.
 */
export function readOptions<Name extends string>(
  argv: readonly string[],
  find: (spelling: { short: string } | { long: string }) => OptionSyntax<Name> | undefined,
): PoptReader<Name> {
  const leftover: string[] = []
  let at = 0
  let bundle: { spelled: string; rest: string } | undefined

  function valueFor(
    syntax: OptionSyntax<Name>,
    spelled: string,
    attached: string | undefined,
  ): MetOption<Name> {
    const { name } = syntax
    if (syntax.value === 'none') {
      if (attached === undefined) return { name, spelled, value: undefined }
      throw new SyntaxProblem(`${spelled}: option does not take an argument`)
    }
    if (attached !== undefined) return { name, spelled, value: attached }
    const following = at < argv.length ? argv[at] : undefined
    if (syntax.value === 'optional' && (following === undefined || following.startsWith('-'))) {
      return { name, spelled, value: undefined }
    }
    if (following === undefined) throw new SyntaxProblem(`${spelled}: missing argument`)
    at++
    return { name, spelled, value: following }
  }

  function nextShort(): MetOption<Name> {
    const { spelled, rest } = bundle!
    const syntax = find({ short: rest[0] })
    if (syntax === undefined) throw new SyntaxProblem(`${spelled}: unknown option`)
    const tail = rest.slice(1)
    if (syntax.value === 'none' && !tail.startsWith('=')) {
      bundle = tail === '' ? undefined : { spelled, rest: tail }
      return valueFor(syntax, spelled, undefined)
    }
    bundle = undefined
    return valueFor(syntax, spelled, tail === '' ? undefined : tail.replace(/^=/, ''))
  }

  function nextLong(spelled: string): MetOption<Name> {
    const equals = spelled.indexOf('=', 2)
    const long = spelled.slice(2, equals < 0 ? undefined : equals)
    const syntax = find({ long })
    if (syntax === undefined) throw new SyntaxProblem(`${spelled}: unknown option`)
    return valueFor(syntax, spelled, equals < 0 ? undefined : spelled.slice(equals + 1))
  }

  function next(): MetOption<Name> | undefined {
    if (bundle !== undefined) return nextShort()
    while (at < argv.length) {
      const argument = argv[at++]
      if (argument === '--') {
        leftover.push(...argv.slice(at))
        at = argv.length
      } else if (argument.startsWith('--')) {
        return nextLong(argument)
      } else if (argument.startsWith('-') && argument !== '-') {
        bundle = { spelled: argument, rest: argument.slice(1) }
        return nextShort()
      } else {
        leftover.push(argument)
      }
    }
    return undefined
  }

  return { next, leftover }
}
