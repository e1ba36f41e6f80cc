import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createDatabase } from '../demo/helper.ts'
import { readPage } from '../docs/markdown.ts'
import { pack, ROOT } from '../packed.ts'
import { ownRedis } from '../store/own-redis.ts'
import { copyExample, ownName, runScript } from './project.ts'
import { instructionsOf, printed } from './readme.ts'

/*
 * Each example as a stranger meets it: its folder is copied, the packed package is installed there, it is started as a
 * process, and the commands of its README.md are typed.
 */

const examples = (await readdir(join(ROOT, 'examples'), { withFileTypes: true }))
  .filter(entry => entry.isDirectory())
  .map(({ name }) => name)

// It may have to be built and packed first.
t.setTimeout(900_000)
const packed = await pack(t)
// The examples use names of their own in Redis, so not those of a server that others use, too.
const redis = await ownRedis(t)

/** Variables that examples read, with values that no example can use. */
const WRONG = { PORT: 'http', REDIS_URL: 'cache.internal:6379', DATABASE_URL: 'mysql://root:secret@localhost/shop' }

for (const name of examples) {
  t.test(`examples/${name} runs as its README.md says, in a folder of its own`, async (t) => {
    const project = await copyExample(t, name, packed)
    const { scripts } = project.manifest
    const [source = ''] = (await readdir(project.dir)).filter(file => /\.[jt]s$/.test(file))
    const code = await readFile(join(project.dir, source), 'utf8')
    const variables = Object.keys(WRONG).filter(variable => code.includes(`process.env.${variable}`))

    t.test('its commands print what README.md shows, and Ctrl-C ends it', async (t) => {
      const { start, steps } = await instructionsOf(name)
      t.equal(start, 'npm install\nnpm start\n')
      t.equal(steps.length, 2)
      const database = variables.includes('DATABASE_URL') ? { DATABASE_URL: await createDatabase(t) } : {}
      const server = runScript(t, project, 'start', { PORT: '0', REDIS_URL: redis.url, ...database })
      const url = await server.listening()
      for (const { command, output } of steps) t.equal(await printed(command, url), output)
      if (variables.includes('DATABASE_URL')) {
        await redis.admin.flushall()
        t.equal(await printed(steps[1]?.command ?? '', url), steps[1]?.output, 'also when Redis has forgotten the key')
      }
      server.kill('SIGINT')
      t.equal(await server.ended, 0)
      t.equal(server.stderr(), '')
    })

    t.test('it names the variables of the environment that it cannot use, without their values', async (t) => {
      const server = runScript(t, project, 'start', WRONG)
      t.equal(await server.ended, 1)
      const lines = server.stderr().trimEnd().split('\n')
      t.same(lines.map(line => line.split(' must be ')[0]), variables)
      for (const value of Object.values(WRONG)) t.notOk(server.stderr().includes(value), value)
      const { text } = await readPage(`examples/${name}/README.md`)
      for (const variable of variables) t.ok(text.includes(`\`${variable}\``), variable)
    })

    t.test('it asks for the versions that the tests of the package use', async (t) => {
      const { dependencies, devDependencies, engines } = project.manifest
      const { version, devDependencies: tested, engines: supported } = packed.manifest
      for (const [wanted, range] of Object.entries({ ...dependencies, ...devDependencies })) {
        const own = wanted === 'fastify-idempotency' ? `^${version}` : tested[ownName(wanted)]?.replace(/^npm:.*@/, '')
        t.equal(range, own, wanted)
      }
      t.same(engines, supported)
    })

    t.test('it is short: one source file, of at most 70 lines', async (t) => {
      t.equal((await readdir(project.dir)).filter(file => /\.[cm]?[jt]s$/.test(file)).length, 1)
      t.ok(code.split('\n').length <= 70)
    })

    if (scripts.typecheck !== undefined) {
      t.test('it type-checks', async (t) => {
        const check = runScript(t, project, 'typecheck')
        t.same({ code: await check.ended, errors: check.stdout() + check.stderr() }, { code: 0, errors: '' })
      })
    }
  })
}

t.test('examples/README.md names every example', async (t) => {
  const { links } = await readPage('examples/README.md')
  const targets = links.map(({ target }) => target)
  t.same(examples.filter(name => !targets.includes(name)), [])
})
