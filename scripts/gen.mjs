// Writes native/layout.gen.h from src/dataplane/layout.ts; `--check` only compares and fails when
// the file is stale. Needs neither a build nor a browser of types: the TypeScript package turns
// the few files concerned into JavaScript one by one, under build/gen/.
//
// Contract with src/dataplane/gen-layout.ts: it exports `generateLayoutHeader(): string`, the whole
// text of the header. It may import other files of src/ by relative path, and node: modules.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import ts from 'typescript'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const entry = join(root, 'src/dataplane/gen-layout.ts')
const header = join(root, 'native/layout.gen.h')
// A folder of its own per process: two people may generate at the same time in one checkout.
const outRoot = join(root, 'build/gen', String(process.pid))

/** Transpiles one file and, through its relative imports, all it needs; returns the output path. */
function transpile(file, seen = new Set()) {
  const output = join(outRoot, relative(root, file)).replace(/\.ts$/, '.js')
  if (seen.has(file)) return output
  seen.add(file)
  const source = readFileSync(file, 'utf8')
  const { outputText } = ts.transpileModule(source, {
    fileName: file,
    compilerOptions: {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2023,
      verbatimModuleSyntax: true,
    },
  })
  mkdirSync(dirname(output), { recursive: true })
  writeFileSync(output, outputText)
  for (const { fileName } of ts.preProcessFile(outputText).importedFiles) {
    if (fileName.startsWith('.')) {
      transpile(resolve(dirname(file), fileName.replace(/\.js$/, '.ts')), seen)
    }
  }
  return output
}

/** The text the header should have now. */
async function wantedHeader() {
  mkdirSync(outRoot, { recursive: true })
  try {
    writeFileSync(join(outRoot, 'package.json'), '{"type":"module"}')
    const { generateLayoutHeader } = await import(pathToFileURL(transpile(entry)).href)
    return generateLayoutHeader()
  } finally {
    rmSync(outRoot, { recursive: true, force: true })
  }
}

const wanted = await wantedHeader()
const current = existsSync(header) ? readFileSync(header, 'utf8') : ''
if (process.argv.includes('--check')) {
  if (current !== wanted) {
    console.error('gen: native/layout.gen.h is stale; run `npm run gen` and commit the result')
    process.exit(1)
  }
} else if (current !== wanted) {
  // Written only on a change: its date decides what make compiles again.
  writeFileSync(header, wanted)
  console.log('gen: native/layout.gen.h written')
}
