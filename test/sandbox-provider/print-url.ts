/*
 * Stands for the payment service in a test of the preload. Prints the provider's URL. If that is on this machine, also
 * prints the status with which the provider answers a request with the API key, and one without.
 */
const { PROVIDER_URL: url = '', PROVIDER_API_KEY: apiKey } = process.env

const statuses: number[] = []
if (url.startsWith('http://127.0.0.1:')) {
  for (const headers of [{ authorization: `Bearer ${apiKey}` }, {}]) {
    statuses.push((await fetch(`${url}/sandbox/ledger`, { headers })).status)
  }
}
process.stdout.write(`${[url, ...statuses].join(' ')}\n`, () => process.exit(0))
