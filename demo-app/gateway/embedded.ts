import { buildGateway } from './app.ts'

export interface EmbeddedGateway {
  url: string
  close (): Promise<void>
}

/** The sandbox provider inside this process, behind a real socket on a free port of the loopback interface. */
export async function startEmbeddedGateway (apiKey: string): Promise<EmbeddedGateway> {
  const app = await buildGateway({ apiKey })
  return { url: await app.listen({ host: '127.0.0.1', port: 0 }), close: () => app.close() }
}
