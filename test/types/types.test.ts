import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import t from 'tap'

const TSTYCHE = createRequire(import.meta.url).resolve('tstyche/package.json')

interface Outcome {
  exitCode: number | string
  output: string
}

function runTstyche (): Promise<Outcome> {
  const args = [join(TSTYCHE, '../build/bin.js'), '--config', join(import.meta.dirname, 'tstyche.config.json')]
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env: { ...process.env, NO_COLOR: '1' } }, (error, stdout, stderr) => {
      resolve({ exitCode: error?.code ?? 0, output: stdout + stderr })
    })
  })
}

t.test('the types let right uses compile, and wrong ones not', async (t) => {
  const { exitCode, output } = await runTstyche()
  t.equal(exitCode, 0, output)
  t.notMatch(output, /\b[1-9]\d* (failed|skipped|todo)\b/)
  const files = (await readdir(import.meta.dirname)).filter(name => name.endsWith('.tst.ts'))
  t.match(output, `Test files: ${files.length} passed, ${files.length} total`)
  const [, passed, total] = /^Assertions: (\d+) passed, (\d+) total$/m.exec(output) ?? []
  t.ok(Number(passed) > 100, `${passed} assertions passed`)
  t.equal(passed, total)
})
