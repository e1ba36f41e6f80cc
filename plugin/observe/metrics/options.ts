import { validateMetricName } from 'prom-client'
import type { OpenMetricsContentType, PrometheusContentType, Registry } from 'prom-client'
import { IdempotencyOptionError } from '../../errors.ts'
import type { Idempotency } from '../../types.ts'

/** What `idempotencyMetrics` takes. */
export interface IdempotencyMetricsOptions {
  /** Where the metrics are registered. Default: the global registry of prom-client. */
  register?: Registry<PrometheusContentType> | Registry<OpenMetricsContentType>
  /** Stands before every name, such as `'shop_'`. Default: nothing. */
  prefix?: string
  /** `app.idempotency`: adds gauges of what that app does at the moment, which events cannot tell. */
  idempotency?: Pick<Idempotency, 'stats'>
}

const EXPECTED: Record<keyof IdempotencyMetricsOptions, { what: string, is: (value: unknown) => boolean }> = {
  register: { what: 'a Registry of prom-client', is: hasMethods('registerMetric', 'getSingleMetric', 'removeSingleMetric') },
  prefix: { what: 'what the name of a metric can start with', is: value => typeof value === 'string' && validateMetricName(`${value}idempotency`) },
  idempotency: { what: 'app.idempotency', is: hasMethods('stats') }
}

/** @throws {IdempotencyOptionError} naming the option and what it should have been. */
export function checkOptions (options: IdempotencyMetricsOptions): void {
  for (const [name, value] of Object.entries(options)) {
    const expected = Object.hasOwn(EXPECTED, name) ? EXPECTED[name as keyof IdempotencyMetricsOptions] : undefined
    if (expected === undefined) {
      throw new IdempotencyOptionError(`fastify-idempotency/metrics: unknown option "${name}"; known are ${Object.keys(EXPECTED).join(', ')}`)
    }
    if (value !== undefined && !expected.is(value)) {
      throw new IdempotencyOptionError(`fastify-idempotency/metrics: option "${name}" must be ${expected.what}`)
    }
  }
}

function hasMethods (...names: string[]): (value: unknown) => boolean {
  return value => typeof value === 'object' && value !== null &&
    names.every(name => typeof (value as Record<string, unknown>)[name] === 'function')
}
