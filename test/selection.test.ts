import t from 'tap'
import { needsMore, testFiles } from './selection.ts'

const unit = testFiles().filter(file => needsMore(file) === null)

t.test('npm run test:unit takes what needs no server and starts no process, judged by the imports', async (t) => {
  for (const file of ['key', 'replay', 'hooks', 'client/policy', 'store/record']) {
    t.ok(unit.includes(`test/${file}.test.ts`), file)
  }
  t.equal(needsMore('test/store/redis.test.ts'), 'test/store/redis.test.ts', 'asks for Redis itself')
  t.equal(needsMore('test/demo/pay.test.ts'), 'test/demo/helper.ts', 'a helper of its asks for Postgres')
  t.match(needsMore('test/docs/readme.test.ts'), /^test\//, 'a helper of its starts processes')
  t.ok(unit.length >= 30, `${unit.length} of ${testFiles().length} files`)
})
