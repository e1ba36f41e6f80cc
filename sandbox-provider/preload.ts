import { buildSandboxProvider } from './app.ts'
import { SANDBOX_API_KEY } from './settings.ts'

/*
 * `npm start` preloads this module into the process of the payment service (`node --import`). If PROVIDER_URL names no
 * payment provider, the module starts a sandbox provider and sets the variable to its address. So the service can be
 * tried without a provider, and yet knows nothing of this one but its URL.
 */

if (!process.env.PROVIDER_URL?.trim()) {
  const app = await buildSandboxProvider({ apiKey: process.env.PROVIDER_API_KEY?.trim() || SANDBOX_API_KEY })
  // It listens until the process ends: the service needs it for the payments that it finishes when it closes.
  process.env.PROVIDER_URL = await app.listen({ host: '127.0.0.1', port: 0 })
}
