/** Text files, line by line. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

/** Lines of the file at `path`. The file is closed when its reader ends, however it ends. */
export async function* linesOf(path: string): AsyncGenerator<string> {
  const input = createReadStream(path)
  try {
    yield* createInterface({ input })
  } finally {
    input.destroy()
  }
}
