// Prints the flags that let the compiler optimise across source files, for compiling and linking
// alike. binding.gyp calls it at configure time. Nothing with compilers other than GCC: Clang needs
// a linker for this that few machines have.
import { spawnSync } from 'node:child_process'
import { env } from 'node:process'

const { stdout } = spawnSync(env.CXX || 'g++', ['--version'], { encoding: 'utf8', shell: true })
if (stdout?.includes('Free Software Foundation')) console.log('-flto=2')
