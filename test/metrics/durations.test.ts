import t from 'tap'
import { gate, holdRoute, lookAfterLeasesOften, until } from '../helper.ts'
import { buildMeasured } from './helper.ts'

t.test('how long runs and waits take is measured in seconds', async (t) => {
  const { app, listen, scrape } = await buildMeasured(t, { onConflict: 'wait' })
  const route = holdRoute(app)
  const client = await listen()
  const sent = performance.now()
  const owner = client.post('/x', 'k')
  await route.began()
  const duplicate = client.post('/x', 'k')
  await until(() => app.idempotency.stats().waited === 1)
  const held = performance.now()
  await until(() => performance.now() - held > 120)
  route.finish()
  await owner
  t.ok((await duplicate).replayed)
  const all = (performance.now() - sent) / 1_000

  const series = await scrape()
  t.equal(series['idempotency_wait_duration_seconds_count{route="POST /x"}'], 1)
  const waited = series['idempotency_wait_duration_seconds_sum{route="POST /x"}'] ?? NaN
  t.ok(waited > 0.12 && waited < all, `waited ${waited} s of ${all} s`)
  const ran = series['idempotency_run_duration_seconds_sum{route="POST /x",outcome="completed"}'] ?? NaN
  t.ok(ran > 0.12 && ran < all, `ran for ${ran} s of ${all} s`)
  t.equal(series['idempotency_run_duration_seconds_bucket{le="0.1",route="POST /x",outcome="completed"}'], 0)
  const claims = series['idempotency_claim_duration_seconds_sum{route="POST /x"}'] ?? NaN
  t.equal(series['idempotency_claim_duration_seconds_count{route="POST /x"}'], 2)
  t.ok(claims > 0 && claims < all, `two claims took ${claims} s`)
  // Durations beyond the default buckets are visible.
  t.ok('idempotency_claim_duration_seconds_bucket{le="1",route="POST /x"}' in series, 'storeTimeout')
  t.ok('idempotency_wait_duration_seconds_bucket{le="10",route="POST /x"}' in series, 'waitTimeout')
  t.ok('idempotency_run_duration_seconds_bucket{le="30",route="POST /x",outcome="completed"}' in series, 'lease')
  t.ok(
    'idempotency_run_duration_seconds_bucket{le="300",route="POST /x",outcome="completed"}' in series,
    'maxExecution'
  )
})

t.test('a run that loses its key is counted when it does, not when it ends', async (t) => {
  const { app, listen, passTime, scrape } = await buildMeasured(t, { lease: 60_000, maxExecution: 0 })
  lookAfterLeasesOften(app)
  const finish = gate()
  const attempts: number[] = []
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    attempts.push(request.idempotency?.attempt ?? 0)
    if (attempts.length === 1) await finish.opened
    return `attempt ${attempts.length}`
  })
  const client = await listen()
  const late = client.post('/x', 'k')
  await until(() => attempts.length === 1)
  await passTime(60_000)
  await until(() => app.idempotency.stats().leasesLost === 1)
  await until(async () => (await client.post('/x', 'k')).status === 200, 'the take-over')
  t.same(attempts, [1, 2])
  const lost = 'idempotency_leases_lost_total{route="POST /x"}'
  t.equal((await scrape())[lost], 1)
  finish.open()
  await late
  const series = await scrape()
  t.equal(series[lost], 1)
  t.equal(
    series['idempotency_run_duration_seconds_count{route="POST /x",outcome="completed"}'],
    1,
    'the late one stored nothing'
  )
  t.equal(series['idempotency_requests_total{route="POST /x",result="taken_over"}'], 1)
})
