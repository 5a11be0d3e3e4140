/**
 * Style as a test: what CONTRIBUTING.md asks of every file, as far as a machine can see it. Each
 * rule is first shown to catch a bad sample, then applied to the whole checkout.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { REASONS } from '../src/dataplane/reasons.js'
import { type ImportRule, importOffenses } from './support/tidy/import-rules.js'
import * as native from './support/tidy/native-rules.js'
import * as text from './support/tidy/text-rules.js'
import {
  isGenerated,
  isNative,
  isTypeScript,
  type Offense,
  readTree,
  ROOT,
  type SourceFile,
} from './support/tidy/tree.js'
import * as script from './support/tidy/typescript-rules.js'

/** Who may import whom below src/; docs/architecture.md says why. */
const IMPORTS: readonly ImportRule[] = [
  {
    // Pure policy: of the data plane it knows the layout and the views of shared memory.
    files: /^scheduler\//,
    allow: [/^scheduler\//, /^dataplane\/(layout|load-view|snapshot-view|address-words)$/],
    allowTypes: [/^dataplane\/miss-batch$/],
    packages: /^$/,
  },
  // The worker schedules; main allocates the schedulers' blocks and frees a dead worker's locks.
  {
    files: /^dataplane\/(worker|memory|memory-core|supervisor|maglev-job|maglev-pool)\.ts$/,
    allow: [/^dataplane\//, /^scheduler\//],
  },
  {
    files: /^dataplane\/messages\.ts$/,
    allow: [],
    allowTypes: [/^scheduler\/maglev-tables$/],
  },
  // Configuration becomes bytes.
  {
    files: /^dataplane\/(snapshot|mark)-writer\.ts$/,
    allow: [/^dataplane\/(layout|mark-writer)$/, /^control\/model\//],
  },
  { files: /^dataplane\//, allow: [/^dataplane\/(?!worker$)/] },
  // The one place where control touches the data plane's parts, behind dataplane-port.ts.
  {
    files: /^control\/dataplane\.ts$/,
    allow: [/^control\//, /^dataplane\/(?!worker$)/, /^scheduler\//],
  },
  {
    files: /^control\/model\/address\.ts$/,
    allow: [/^control\/model\//],
    packages: /^(ip-num|node:net)$/,
  },
  { files: /^control\/model\//, allow: [/^control\/model\//], packages: /^$/ },
  // Values and bytes only; who sends them is elsewhere.
  {
    files: /^control\/netlink\//,
    allow: [/^control\/(netlink|model)\//],
    allowTypes: [/^control\/api\/views$/],
    packages: /^$/,
  },
  {
    files: /^control\/(cli|web)\//,
    allow: [/^control\/(cli|web|model)\//, /^control\/api\/(client|views)$/],
  },
  {
    files: /^control\/(vrrp|sync|offload|health|host|ipvs-server)\//,
    allow: [
      /^control\//,
      /^dataplane\/(supervisor|counters|connections|events|snapshot-writer|native)$/,
    ],
  },
  {
    files: /^control\//,
    allow: [
      /^control\//,
      /^dataplane\/(layout|supervisor|counters|connections|events|snapshot-writer)$/,
    ],
  },
]

/** Files where time, randomness and input are arguments. */
const PURE_FILES: readonly RegExp[] = [
  /^src\/(scheduler|control\/(model|netlink|cli\/marks))\//,
  /^src\/control\/vrrp\/(advert|instance)\.ts$/,
  /^src\/control\/health\/(dampen|effect)\.ts$/,
  /^src\/control\/sync\/wire\.ts$/,
  /^src\/control\/ipvs-server\/(?!server|client)[\w-]+\.ts$/,
  /^bench\/compare\/(chart|method|plan|report)\.ts$/,
]

const STAGE = /^native\/(parse|conn|classify|upcall|forward|io)\/\w+(?<!_test|_fuzz)\.cc$/

type Rule = (file: SourceFile) => Offense[]

const tree = readTree()
const known = new Set(tree.map(({ path }) => path))

/** Asserts that no chosen file offends; the message lists every offense with its line. */
function holds(rule: Rule, chosen: (file: SourceFile) => boolean = () => true): void {
  const files = tree.filter(chosen)
  assert.ok(files.length > 0, 'the rule is for no file at all')
  const found = files.flatMap(rule).map(({ path, line, reason }) => `${path}:${line}: ${reason}`)
  assert.ok(found.length === 0, `\n${found.join('\n')}`)
}

/** Asserts that a rule finds exactly `count` offenses in a sample. */
function catches(rule: Rule, path: string, sample: string, count = 1): void {
  const found = rule({ path, text: sample })
  assert.equal(found.length, count, JSON.stringify({ sample, found }))
}

const inSource = ({ path }: SourceFile): boolean => path.startsWith('src/')
const inNative = (file: SourceFile): boolean =>
  file.path.startsWith('native/') && isNative(file) && !isGenerated(file)
const isTest = (file: SourceFile): boolean =>
  file.path.startsWith('test/') && file.path.endsWith('.test.ts')

describe('tidy: every file', () => {
  it('is at most 600 lines long, 1000 in test/', () => {
    catches(text.tooLong, 'src/a.ts', 'x\n'.repeat(601))
    catches(text.tooLong, 'src/a.ts', 'x\n'.repeat(600), 0)
    catches(text.tooLong, 'test/a.ts', 'x\n'.repeat(1001))
    holds(text.tooLong)
  })

  it('is at most 100 columns wide', () => {
    catches(text.tooWide, 'src/a.ts', `${'x'.repeat(101)}\n${'é'.repeat(100)}\n`)
    holds(text.tooWide)
  })

  it('opens with what it is for', () => {
    catches(text.noHeader, 'src/a.ts', "import fs from 'node:fs'\n")
    catches(text.noHeader, 'native/a.h', '#pragma once\n// Late.\n')
    catches(text.noHeader, 'scripts/a.sh', '#!/bin/sh\nset -e\n')
    catches(text.noHeader, 'scripts/a.sh', '#!/bin/sh\n# Does it.\nset -e\n', 0)
    catches(text.noHeader, 'bin/uvs', '#!/usr/bin/env node\n// Starts it.\n', 0)
    catches(text.noHeader, 'src/a.ts', '/** Does it. */\n', 0)
    holds(text.noHeader)
  })

  it('has no leftover markers', () => {
    catches(text.leftovers, 'src/a.ts', `// ${'TO' + 'DO'}: later\n// ${'FIX' + 'ME'}\n`, 2)
    catches(text.leftovers, 'src/a.ts', "'TODOS'", 0)
    holds(text.leftovers)
  })

  it('names no path of one machine', () => {
    catches(text.machinePaths, 'a.md', `see ${'/ro' + 'ot'}/x and ${'/ho' + 'me'}/me/y`, 2)
    catches(text.machinePaths, 'a.md', 'src/work/x', 0)
    holds(text.machinePaths)
  })

  it('uses the words of the project', () => {
    const bad = 'const vipAddress = pickBackend(backends, deviprop)'
    catches(script.foreignIdentifiers, 'src/a.ts', bad, 3)
    catches(native.foreignIdentifiers, 'native/a.cc', 'int vip_port; // a vip\n')
    holds(script.foreignIdentifiers, (file) => isTypeScript(file) && !isTest(file))
    holds(native.foreignIdentifiers, isNative)
  })

  it('is fresh where it is generated', () => {
    const { status, stderr } = spawnSync(process.execPath, ['scripts/gen.mjs', '--check'], {
      cwd: ROOT,
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
  })
})

describe('tidy: TypeScript', () => {
  it('has no function above 70 lines', () => {
    const body = 'f()\n'.repeat(69)
    catches(script.longFunctions, 'src/a.ts', `const a = () => {\n${body}}`)
    catches(
      script.longFunctions,
      'src/a.ts',
      `class A { m() {\n// why\n\n${'f()\n'.repeat(68)}} }`,
      0,
    )
    catches(script.longFunctions, 'test/a.ts', `describe('a', () => {\n${body}})`, 0)
    catches(script.longFunctions, 'test/a.ts', `it('a', () => {\n${body}})`)
    holds(script.longFunctions, isTypeScript)
  })

  it('has no `any`', () => {
    catches(script.anyTypes, 'src/a.ts', 'const a: any = b as any // any', 2)
    holds(script.anyTypes, isTypeScript)
  })

  it('documents what src/ exports', () => {
    catches(
      script.undocumented,
      'src/a.ts',
      'export function f() {}\nexport const g = () => 1\n',
      2,
    )
    catches(
      script.undocumented,
      'src/a.ts',
      '/** F. */\nexport function f() {}\nfunction g() {}',
      0,
    )
    holds(script.undocumented, (file) => inSource(file) && isTypeScript(file))
  })

  it('imports only what its layer may', () => {
    const rule: Rule = (file) => importOffenses(file, IMPORTS)
    const sample = `import fs from 'node:fs'
      import { a } from '../dataplane/layout.js'
      import type { b } from '../dataplane/miss-batch.js'
      import { type c } from '../dataplane/load-view.js'
      import { d } from '../dataplane/counters.js'
      export * from '../control/director.js'
      const e = await import('../../test/x.js')`
    catches(rule, 'src/scheduler/rr.ts', sample, 4)
    catches(rule, 'src/control/director.ts', "import '../dataplane/worker.js'")
    catches(rule, 'src/control/cli/list.ts', "import '../director.js'")
    catches(rule, 'src/control/model/apply.ts', "import { IPv4 } from 'ip-num'")
    catches(rule, 'src/control/model/address.ts', "import { IPv4 } from 'ip-num'", 0)
    const codec = `import type { ServiceView } from '../api/views.js'
      import { request } from '../api/client.js'
      import net from 'node:net'`
    catches(rule, 'src/control/netlink/message.ts', codec, 2)
    catches(rule, 'src/other/x.ts', '')
    holds(rule, (file) => inSource(file) && isTypeScript(file))
  })

  it('loads the addon in one file only', () => {
    const rule: Rule = (file) => text.findAll(file, /\w+\.node(?=['"`])/, 'loads an addon')
    catches(rule, 'src/a.ts', "require('./uvs.node')")
    holds(rule, (file) => inSource(file) && file.path !== 'src/dataplane/native.ts')
  })

  it('has neither clock nor randomness in pure files', () => {
    const bad = `a(Date.now()); b = Math.random(); c = new Date(); process.hrtime.bigint()
      setTimeout(f); crypto.randomBytes(1)`
    catches(script.impurities, 'src/scheduler/a.ts', bad, 6)
    catches(script.impurities, 'src/scheduler/a.ts', 'clock.setTimeout(now, x.crypto)', 0)
    holds(script.impurities, ({ path }) => PURE_FILES.some((one) => one.test(path)))
  })

  it('has no test that is skipped, alone or repeated', () => {
    const bad = "it.only('a'); describe.skip('b'); this.retries(3); xit('c'); this.skip()"
    catches(script.unfairTests, 'test/a.test.ts', bad, 5)
    catches(script.unfairTests, 'test/a.test.ts', "list.skip(1); text.only; it('a')", 0)
    holds(script.unfairTests, isTest)
  })
})

describe('tidy: native', () => {
  const lines = (count: number): string => 'f();\n'.repeat(count)

  it('has no function above 70 lines', () => {
    const long = `namespace uvs {\nclass A final : B {\n void M() const {\n${lines(69)}}\n};\n}`
    catches(native.longFunctions, 'native/a.cc', long)
    const body = `// why\n\n${lines(68)}`
    const short = `namespace {\nA::A(int a) : a_{a}, b_(a) {\n${body}}\n${lines(99)}}`
    catches(native.longFunctions, 'native/a.cc', short, 0)
    const tricky = `void F() {
  g('{', "{", R"(})", 1'000);  // }\n${lines(70)}}\nvoid G() {\n}\n`
    catches(native.longFunctions, 'native/a.cc', tricky)
    holds(native.longFunctions, isNative)
  })

  it('has no mutable static', () => {
    const bad = `static int a = 0;
      namespace uvs {
      int b;
      std::vector<int> c{1};
      thread_local Foo d(1);
      void F() { static std::string e; }
      struct S { static uint32_t f; };
      }`
    catches(native.mutableStatics, 'native/a.cc', bad, 6)
    catches(native.mutableStatics, 'native/shim/a.c', bad, 0)
    const good = `static_assert(sizeof(int) == 4);
      namespace uvs {
      constexpr int a = 1;
      const char* const b[] = {"x"};
      static const Table kC = {1, 2};
      static int F(int x);
      struct S { int d = 0; static constexpr int kE = 1; };
      int G() { int local = 1; return local; }
      enum class E : uint8_t { kA };
      using X = int;
      }  // namespace uvs`
    catches(native.mutableStatics, 'native/a.cc', good, 0)
    holds(native.mutableStatics, inNative)
  })

  it('says In, Does and Next in every stage', () => {
    catches(native.stageHeader, 'native/io/a.cc', '// Sends.\n// In: frames\n// Does: x\n')
    catches(native.stageHeader, 'native/io/a.cc', '// In: a\n// Does: b\n// Next: c\n', 0)
    holds(native.stageHeader, ({ path }) => STAGE.test(path))
  })

  it('has a test that names each reason to drop', () => {
    // In TypeScript tests by its name, in native tests by its constant.
    const pascal = (name: string): string =>
      name.replace(/(?:^|_)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
    const named = (name: string, { text: words }: SourceFile): boolean =>
      new RegExp(`['"\`]${name}['"\`]|\\bk(Reason)?${pascal(name)}\\b`).test(words)
    const sample = (words: string): SourceFile => ({ path: 'test/a', text: words })
    assert.ok(named('no_route', sample("{ no_route: 1, drops: 'no_route' }")))
    assert.ok(named('ip6_bad', sample('CHECK_EQ(reason, kReasonIp6Bad);')))
    assert.ok(!named('no_route', sample('// about no_route and kNoRouteTable')))
    const tests = tree.filter(({ path }) => /^test\/.*(\.ts|\.cc)$/.test(path))
    const others = tests.filter(({ path }) => path !== 'test/tidy.test.ts')
    const silent = REASONS.map(([name]) => name).filter(
      (name) => !others.some((file) => named(name, file)),
    )
    assert.deepEqual(silent, [])
  })

  it('keeps Node out of the core and includes nothing above native/', () => {
    const rule: Rule = (file) => native.includes(file, known)
    const bad = '#include <napi.h>\n#include "../src/x.h"\n#include <vector>\n#include "gone.h"\n'
    catches(rule, 'native/core.cc', bad, 3)
    catches(rule, 'native/addon.cc', '#include <napi.h>\n', 0)
    holds(rule, inNative)
  })
})
