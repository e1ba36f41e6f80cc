import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/*
 * npm run release                 says whether the version in package.json can be released
 * npm run release -- --publish    publishes it then, and tags the commit
 *
 * docs/releasing.md has the whole way.
 */

interface Manifest {
  name: string
  version: string
  exports: Record<string, unknown>
}

/** What belongs into the package, besides what the build makes. */
const BESIDE_DIST = ['LICENSE', 'README.md', 'package.json']

const { name, version, exports } = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest
const tag = `v${version}`
const publish = process.argv.includes('--publish')

/** What a command prints. */
function output (command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8' })
}

/** Runs a command, and ends here if it fails. */
function run (command: string, ...args: string[]): void {
  try {
    execFileSync(command, args, { stdio: 'inherit' })
  } catch {
    endIf([`"${[command, ...args].join(' ')}" failed.`])
  }
}

function endIf (problems: string[]): void {
  if (problems.length === 0) return
  process.stderr.write(`${name} ${version} cannot be released:\n${problems.map(problem => `- ${problem}\n`).join('')}`)
  process.exit(1)
}

/** What is wrong before anything has been run. */
function problemsOfRepository (): string[] {
  const problems: string[] = []
  if (output('git', 'status', '--porcelain') !== '') {
    problems.push('The working tree has changes. Commit or remove them.')
  }
  if (output('git', 'tag', '--list', tag) !== '') {
    problems.push(`The tag ${tag} exists. Change the version in package.json.`)
  }
  const sections = readFileSync('CHANGELOG.md', 'utf8').split(/^## /m).slice(1)
  if (!sections.some(section => /^\d{4}-\d\d-\d\d\n\s*\S/.test(section.replace(`[${version}] - `, '')))) {
    problems.push(`CHANGELOG.md has no section "## [${version}] - YYYY-MM-DD" with text in it.`)
  }
  if (sections.some(section => /^\[Unreleased\]\s+\S/.test(section))) {
    problems.push('CHANGELOG.md has changes under "## [Unreleased]". Move them into the section of the version.')
  }
  return problems
}

/** What should not be in the package, and what is missing there. */
function problemsOfPackage (): string[] {
  const packed = output('npm', 'pack', '--dry-run', '--json', '--ignore-scripts')
  const [{ files: entries }] = JSON.parse(packed) as [{ files: Array<{ path: string }> }]
  const files = entries.map(({ path }) => path)
  const unexpected = files.filter(file => !file.startsWith('dist/') && !BESIDE_DIST.includes(file))
  const missing = [...BESIDE_DIST, ...targetsOf(exports)].filter(file => !files.includes(file))
  return [
    ...unexpected.map(file => `The package would have ${file}, which does not belong there.`),
    ...new Set(missing.map(file => `The package would not have ${file}.`))
  ]
}

/** The files that `exports` of package.json leads to, under whatever conditions. */
function targetsOf (target: unknown): string[] {
  if (typeof target === 'string') return [target.replace(/^\.\//, '')]
  return Object.values(target as object).flatMap(targetsOf)
}

endIf(problemsOfRepository())
run('npm', 'run', 'check')
run('npm', 'test')
run('npm', 'run', 'build')
endIf(problemsOfPackage())
if (publish) {
  run('npm', 'publish')
  run('git', 'tag', '--annotate', tag, '--message', tag)
  process.stdout.write(`${name} ${version} is published. Push the tag: git push origin ${tag}\n`)
} else {
  process.stdout.write(`${name} ${version} can be released: npm run release -- --publish\n`)
}
