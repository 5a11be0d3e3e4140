/** What `uvs mark restore` found in a text, or the line that it cannot take. Pure. */
import type { Family } from '../../model/address.js'
import type { MarkRule } from '../../model/mark-rule.js'

export interface RestoredRules {
  readonly rules: readonly MarkRule[]
  /** Families that the text is about: their present rules give way. */
  readonly families: readonly Family[]
}

/** A text that is refused as a whole, with the number of the line, from 1. */
export class RestoreProblem extends Error {
  constructor(line: number, message: string) {
    super(`line ${line}: ${message}`)
  }
}
