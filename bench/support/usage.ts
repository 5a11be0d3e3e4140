/** The usage text instead of a stack trace. */

/** For `catch` of a program: what parseArgs refuses, and --help, print `usage`; exit status 2. */
export function usageInstead(usage: string): (error: unknown) => number {
  return (error) => {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (!code.startsWith('ERR_PARSE_ARGS')) throw error
    console.error(usage)
    return 2
  }
}
