/**
 * `npm run demo`: real HTTP through a userspace Linux Virtual Server, in network namespaces that
 * are gone afterwards. Prints who served what beside what the scheduler promises; ends with 1, what
 * happened and the director's log when a request fails or a promise is not kept.
 */
import process from 'node:process'
import { Director } from '../test/e2e/support/director.js'
import { Lab } from '../test/e2e/support/lab.js'
import { play, raiseCurtain } from './scenes.js'
import { bold, dim, green, red, say } from './terminal.js'

const WORKERS = 2

const PICTURE = `
   client ─── router ───┬─── director   uvs run --io af_packet --workers ${WORKERS}
                        ├─── r1
                        ├─── r2         real servers, each answers with its name
                        └─── r3
`

async function main(): Promise<void> {
  const startMs = performance.now()
  say(bold('uvs: a Linux Virtual Server in userspace, on real traffic'))
  say(dim(PICTURE.trimEnd()))
  const lab = new Lab()
  let director: Director | undefined
  try {
    await lab.startWebServers()
    director = await Director.start(lab.director, { workers: WORKERS })
    await raiseCurtain({ lab, director })
    await play({ lab, director })
    say()
    say(bold('$ ipvsadm -L -n'))
    say((await director.ipvsadm('-L', '-n')).trimEnd())
    const status = await director.stop()
    if (status !== 0) throw new Error(`the director ended with status ${status}`)
  } catch (error) {
    if (director !== undefined) sayLastWords(director)
    throw error
  } finally {
    await director?.stop()
    await lab.close()
  }
  const left = lab.net.leftovers()
  if (left.length > 0) throw new Error(`left behind: ${left.join(' ')}`)
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
  say()
  say(green(`Every request was answered, every promise kept, everything removed: ${seconds} s`))
}

function sayLastWords({ lastWords }: Director): void {
  say()
  say(bold('The last lines of the director:'))
  say(lastWords)
}

try {
  await main()
} catch (error) {
  say()
  say(red(`The demo failed: ${error instanceof Error ? error.message : String(error)}`))
  process.exitCode = 1
}
