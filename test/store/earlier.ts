import { execFileSync, fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Test } from 'tap'
import type { Claim, ClaimResult, Outcome, OwnedClaim, StoredRecord } from '../../plugin/store/store.ts'
import { REDIS_URL } from '../helper.ts'
import { protect } from '../servers/reaper.ts'
import { IMPORT_TYPESCRIPT } from '../typescript/import.ts'
import type { Answer, Method } from './earlier-store.ts'

/** The last commit whose stores read and write records of version 1 only. */
const VERSION_1 = '93f8e6fb164df3875dca25b25282eef20f3b6e54'
const repository = fileURLToPath(new URL('../..', import.meta.url))

/** The reason why an earlier release is not available here, or false. */
export function missing (): string | false {
  try {
    execFileSync('git', ['cat-file', '-e', `${VERSION_1}^{commit}`], { cwd: repository, stdio: 'ignore' })
    return false
  } catch {
    return `commit ${VERSION_1.slice(0, 7)}, the last with records of version 1 only, is not in this clone: ` +
      'git fetch --unshallow'
  }
}

/** The methods of a store that the tests call, the same for each release. */
export interface Process {
  name: string
  claim (id: string, claim: Claim): Promise<ClaimResult>
  renew (id: string, owned: OwnedClaim): Promise<boolean>
  complete (id: string, owned: OwnedClaim, outcome: Outcome): Promise<boolean>
  release (id: string, owned: OwnedClaim): Promise<boolean>
  wait (id: string, timeout: number): Promise<void>
  find (id: string): Promise<StoredRecord | null>
}

/** Writes the plugin of that release, as it was, into a directory. */
export function layOut (t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'earlier-release-'))
  protect(directory)
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const archive = execFileSync('git', ['archive', VERSION_1, 'plugin', 'package.json'], {
    cwd: repository,
    maxBuffer: 1e8
  })
  mkdirSync(join(directory, 'release'))
  execFileSync('tar', ['-x', '-C', join(directory, 'release')], { input: archive })
  symlinkSync(join(repository, 'node_modules'), join(directory, 'node_modules'))
  return join(directory, 'release')
}

/** Starts a process of `program` with `file` of the release. It ends with the test. */
function start (t: Test, program: string, file: string, keyPrefix: string): ChildProcess {
  const args = [pathToFileURL(file).href, REDIS_URL, keyPrefix]
  const child = fork(fileURLToPath(new URL(program, import.meta.url)), args, {
    cwd: repository, execArgv: [IMPORT_TYPESCRIPT], serialization: 'advanced'
  })
  protect(child.pid as number)
  t.teardown(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  return child
}

/** Starts an app with the plugin of that release, and resolves to its address. */
export async function startEarlierApp (t: Test, release: string, keyPrefix: string): Promise<string> {
  const [url] = await once(start(t, 'earlier-app.ts', join(release, 'plugin/index.ts'), keyPrefix), 'message') as [
    string
  ]
  return url
}

/** Starts a process with the store of that release. */
export function startEarlier (t: Test, release: string, keyPrefix: string): Process {
  const child = start(t, 'earlier-store.ts', join(release, 'plugin/store/redis.ts'), keyPrefix)
  let calls = 0
  const pending = new Map<number, (answer: Answer) => void>()
  child.on('message', (answer: Answer) => {
    pending.get(answer.call)?.(answer)
    pending.delete(answer.call)
  })
  const call = async (method: Method, ...args: unknown[]): Promise<unknown> => {
    const answer = await new Promise<Answer>((resolve) => {
      pending.set(++calls, resolve)
      child.send({ call: calls, method, args })
    })
    if ('error' in answer) throw new Error(answer.error)
    return answer.result
  }
  // The earlier store knows none of the later options, and a message cannot carry functions.
  const known = ({ owner, fingerprint, lease, retention, ...more }: Claim & { attempt?: number }): object =>
    ({ owner, fingerprint, lease, retention, attempt: more.attempt })
  return {
    name: 'an earlier release',
    claim: (id, claim) => call('claim', id, known(claim)) as Promise<ClaimResult>,
    renew: (id, owned) => call('renew', id, known(owned)) as Promise<boolean>,
    complete: (id, owned, outcome) => call('complete', id, known(owned), outcome) as Promise<boolean>,
    release: (id, owned) => call('release', id, known(owned)) as Promise<boolean>,
    wait: (id, timeout) => call('wait', id, timeout) as Promise<void>,
    find: id => call('find', id) as Promise<StoredRecord | null>
  }
}
