import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { storeContract } from '../plugin/store-contract/index.ts'
import { CONTRACTS, countPassed, fetchTarball, install, pack, PROGRAMS, run, runProgram, scratch } from './packed.ts'

/*
 * The packed package on each major version of Node.js that it supports. The npm packages `node-<platform>-<arch>` carry
 * the binaries; the version that runs this test need not be downloaded.
 */
const MAJORS = [20, 22, 24]

// The package is built, packed and installed first.
t.setTimeout(900_000)
const packed = await pack(t)
const project = await install(t, packed, { ...PROGRAMS, ...CONTRACTS }, ['fastify'])
const binaries = await scratch(t)

for (const major of MAJORS) {
  t.test(`a payment is charged once and replayed on Node.js ${major}, from ESM and CommonJS`, async (t) => {
    const node = await nodeOf(major)
    for (const program of Object.keys(PROGRAMS)) {
      const { node: version, ...seen } = JSON.parse(await runProgram(project, node, [program])) as { node: string }
      t.match(version, new RegExp(`^v${major}\\.`))
      t.same(seen, { statuses: [200, 200], same: true, replayed: 'true' }, program)
    }
    for (const contract of Object.keys(CONTRACTS)) {
      t.equal(
        await countPassed(project, node, contract),
        storeContract.length,
        `all promises of a store are kept (${contract})`
      )
    }
  })
}

async function nodeOf (major: number): Promise<string> {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath
  const { platform, arch } = process
  const name = `${platform === 'darwin' && arch === 'arm64' ? 'node-bin' : 'node'}-${platform}-${arch}`
  const dir = join(binaries, String(major))
  await mkdir(dir)
  // The npm package is not installed: of its 185 MB only the binary is needed.
  await run('tar', ['-xzf', await fetchTarball(dir, `${name}@${major}`), 'package/bin/node'], { cwd: dir })
  return join(dir, 'package/bin/node')
}
