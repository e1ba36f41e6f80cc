import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { scratch } from '../packed.ts'
import { ROOT } from './markdown.ts'

/*
 * npm run release, in a project of a few files and with an npm that only writes down what it is asked for: it publishes
 * nothing, whatever happens.
 */

const exec = promisify(execFile)

const MANIFEST = {
  name: 'shop',
  version: '1.2.0',
  files: ['dist'],
  exports: { '.': { import: './dist/index.js' } }
}
const CHANGELOG = `# Changelog

## [Unreleased]

## [1.2.0] - 2026-11-28

### Added

- Coupons.

## [1.1.0] - 2026-10-01

- Carts.
`
const FILES = {
  'package.json': JSON.stringify(MANIFEST),
  'CHANGELOG.md': CHANGELOG,
  'README.md': '# Shop\n',
  LICENSE: 'MIT\n',
  'dist/index.js': 'export {}\n'
}
/** What npm says of the package of these files. */
const PACKED = JSON.stringify([{
  files: Object.keys(FILES).filter(name => name !== 'CHANGELOG.md').map(path => ({ path }))
}])

interface Project {
  dir: string
  git (...args: string[]): Promise<string>
  /** Runs the script with npm's place taken. */
  release (...args: string[]): Promise<{ code: number, stdout: string, stderr: string, npm: string[] }>
}

interface Options {
  /** Files instead of, or besides, those above. */
  files?: Record<string, string>
  /** What npm fails at. */
  failing?: string
  /** Whether npm itself says what is in the package. */
  reallyPacked?: boolean
}

/** A project whose files are committed. */
async function project (t: Test, options: Options = {}): Promise<Project> {
  const { files = {}, failing = 'none', reallyPacked = false } = options
  const dir = await scratch(t)
  const bin = await scratch(t)
  const { stdout: npm } = await exec('sh', ['-c', 'command -v npm'])
  await writeFile(join(bin, 'npm'), `#!/bin/sh
echo "$*" >> ${bin}/asked
case "$*" in
  ${failing}) exit 1 ;;
  pack*) ${reallyPacked ? `exec ${npm.trim()} "$@"` : `echo '${PACKED}'`} ;;
esac
`, { mode: 0o755 })
  for (const [name, content] of Object.entries({ ...FILES, ...files })) {
    await mkdir(dirname(join(dir, name)), { recursive: true })
    await writeFile(join(dir, name), content)
  }
  const env = {
    ...process.env,
    PATH: `${bin}:${process.env.PATH}`,
    GIT_AUTHOR_NAME: 'Test',
    GIT_AUTHOR_EMAIL: 'test@example.com',
    GIT_COMMITTER_NAME: 'Test',
    GIT_COMMITTER_EMAIL: 'test@example.com'
  }
  const git: Project['git'] = async (...args) => (await exec('git', args, { cwd: dir, env })).stdout
  await git('init', '--quiet')
  await git('add', '.')
  await git('commit', '--quiet', '--message', 'Coupons')
  return {
    dir,
    git,
    async release (...args) {
      const script = ['--import', join(ROOT, 'test/typescript/register.mjs'), join(ROOT, 'scripts/release.ts'), ...args]
      const ended = await exec(process.execPath, script, { cwd: dir, env })
        .then(result => ({ code: 0, ...result }), (error: { code: number, stdout: string, stderr: string }) => error)
      const asked = await readFile(join(bin, 'asked'), 'utf8').catch(() => '')
      const { code, stdout, stderr } = ended
      return { code, stdout, stderr, npm: asked.split('\n').filter(line => line !== '') }
    }
  }
}

const CHECKED = ['run check', 'test', 'run build', 'pack --dry-run --json --ignore-scripts']

t.test('npm run release checks a version, and publishes nothing without --publish', async (t) => {
  const { release, git } = await project(t)
  const stdout = 'shop 1.2.0 can be released: npm run release -- --publish\n'
  t.same(await release(), { code: 0, stdout, stderr: '', npm: CHECKED })
  t.equal(await git('tag'), '')
})

t.test('with --publish it publishes the version, and tags the commit', async (t) => {
  const { release, git } = await project(t)
  const stdout = 'shop 1.2.0 is published. Push the tag: git push origin v1.2.0\n'
  t.same(await release('--publish'), { code: 0, stdout, stderr: '', npm: [...CHECKED, 'publish'] })
  t.equal(await git('tag', '--points-at', 'HEAD'), 'v1.2.0\n')
  const again = await release('--publish')
  t.match(again, { code: 1, stderr: 'The tag v1.2.0 exists' })
  t.equal(again.npm.filter(asked => asked === 'publish').length, 1, 'and not again')
})

t.test('it names all that is wrong before it runs anything', async (t) => {
  const changelog = '# Changelog\n\n## [Unreleased]\n\n- Refunds.\n\n## [1.2.0] - unreleased\n\n- Coupons.\n'
  const { release, dir } = await project(t, { files: { 'CHANGELOG.md': changelog } })
  await writeFile(join(dir, 'notes.txt'), '')
  const { code, stderr, npm } = await release('--publish')
  t.equal(code, 1)
  t.equal(stderr, `shop 1.2.0 cannot be released:
- The working tree has changes. Commit or remove them.
- CHANGELOG.md has no section "## [1.2.0] - YYYY-MM-DD" with text in it.
- CHANGELOG.md has changes under "## [Unreleased]". Move them into the section of the version.
`)
  t.same(npm, [])
})

t.test('a test that fails keeps it from publishing', async (t) => {
  const { release } = await project(t, { failing: 'test' })
  t.match(await release('--publish'), { code: 1, stderr: '"npm test" failed', npm: ['run check', 'test'] })
})

t.test('so does a package that lacks what it exports, or has what does not belong there', async (t) => {
  const exports = { ...MANIFEST.exports, './sql': './dist/shop.sql' }
  const manifest = { ...MANIFEST, files: ['dist', 'examples'], exports }
  const files = { 'package.json': JSON.stringify(manifest), 'examples/a.js': '' }
  const { release } = await project(t, { files, reallyPacked: true })
  const { code, stderr, npm } = await release('--publish')
  t.equal(code, 1)
  t.equal(stderr, `shop 1.2.0 cannot be released:
- The package would have examples/a.js, which does not belong there.
- The package would not have dist/shop.sql.
`)
  t.same(npm, CHECKED)
})
