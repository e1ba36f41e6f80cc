import { execFileSync } from 'node:child_process'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import type { RedisStore } from '../../plugin/store/redis.ts'
import { connectRedis, until } from '../helper.ts'
import { protect } from '../servers/reaper.ts'
import { startRedis } from '../servers/redis.ts'
import { aClaim, anOutcome, ID, isAbout, openStore, own } from './harness.ts'

/*
 * Redis measures expiry by the wall clock of its host. This is a real Redis whose clock is set forward and back.
 */

/** This library replaces Redis's own call for the time. Debian's libfaketime does not work with Redis's allocator. */
const SHIM = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  char ahead[16] = {0};
  int file = open(getenv("SECONDS_AHEAD"), O_RDONLY);
  if (file >= 0) {
    if (read(file, ahead, sizeof(ahead) - 1) < 0) ahead[0] = 0;
    close(file);
  }
  int result = syscall(SYS_gettimeofday, now, zone);
  now->tv_sec += atoi(ahead);
  return result;
}
`

function missing (): string | false {
  if (process.platform !== 'linux') {
    return 'the clock of a program is set by preloading a library, which is done on Linux here'
  }
  try {
    execFileSync('cc', ['--version'], { stdio: 'ignore' })
    return false
  } catch {
    return 'cc, a C compiler, is not installed: with it a Redis is given another clock'
  }
}

interface Clocked {
  /** The stores of two processes. */
  store: RedisStore
  other: RedisStore
  /** Sets the clock of Redis's host, in seconds from the true time. */
  setClock (secondsAhead: number): Promise<void>
}

async function clockedRedis (t: Test): Promise<Clocked> {
  const directory = mkdtempSync(join(tmpdir(), 'redis-clock-'))
  protect(directory)
  const [library, file] = [join(directory, 'clock.so'), join(directory, 'seconds')]
  execFileSync('cc', ['-shared', '-fPIC', '-o', library, '-x', 'c', '-'], { input: SHIM })
  const write = (secondsAhead: number): void => {
    // The file is replaced in one step: while it is written it would be empty.
    writeFileSync(`${file}.new`, String(secondsAhead))
    renameSync(`${file}.new`, file)
  }
  write(0)
  const server = await startRedis({ env: { LD_PRELOAD: library, SECONDS_AHEAD: file } })
  t.teardown(async () => {
    await server.stop()
    rmSync(directory, { recursive: true })
  })
  const redis = connectRedis(t, { url: server.url })
  return {
    store: openStore(t, redis, 'idem:'),
    other: openStore(t, connectRedis(t, { url: server.url }), 'idem:'),
    async setClock (secondsAhead) {
      write(secondsAhead)
      const isSet = async (): Promise<boolean> =>
        Math.abs(Number((await redis.time())[0]) - Date.now() / 1000 - secondsAhead) < 5
      await until(isSet, 'the clock that was set')
    }
  }
}

t.test('a clock of Redis that is set', { skip: missing() }, async (t) => {
  t.test('forward by more than a lease lets a duplicate take over, ' +
    'and the owner is told at its next renewal', async (t) => {
    const { store, other, setClock } = await clockedRedis(t)
    const owned = await own(store)
    await setClock(60)
    t.match(await other.claim(ID, aClaim()), { state: 'claimed', attempt: 2 })
    t.equal(await store.renew(ID, owned), false)
    t.equal(await store.complete(ID, owned, anOutcome()), false)
  })

  t.test('forward takes nothing from an owner that renews before anybody asks', async (t) => {
    const { store, other, setClock } = await clockedRedis(t)
    const owned = await own(store)
    await setClock(60)
    t.equal(await store.renew(ID, owned), true)
    const running = await other.claim(ID, aClaim())
    isAbout(t, running.state === 'running' ? running.leaseLeft : null, owned.lease)
    t.equal(await store.complete(ID, owned, anOutcome()), true)
  })

  t.test('forward by less than a lease shortens what is left of it, and no more', async (t) => {
    const { store, other, setClock } = await clockedRedis(t)
    const owned = await own(store)
    await setClock(10)
    const running = await other.claim(ID, aClaim())
    isAbout(t, running.state === 'running' ? running.leaseLeft : null, owned.lease - 10_000)
  })

  t.test('back keeps a key for no longer than one more lease from when somebody asks for it', async (t) => {
    const { store, other, setClock } = await clockedRedis(t)
    const crashed = await own(store)
    await setClock(-3600)
    const running = await other.claim(ID, aClaim())
    isAbout(t, running.state === 'running' ? running.leaseLeft : null, crashed.lease)
    isAbout(t, (await store.find(ID))?.expiresIn, crashed.lease + crashed.retention)
    await setClock(-3600 + 31)
    t.match(await other.claim(ID, aClaim()), { state: 'claimed', attempt: 2 })
  })
})
