import type { FastifyInstance } from 'fastify'
import { Problem } from './problems.ts'

const CHARSET = /;\s*charset="?([^";\s]+)/i

/**
 * Accepts JSON in UTF-8 only. By default Fastify decodes bytes of another charset as UTF-8, so the app would store and
 * return other letters than the client sent.
 */
export function readJsonAsUtf8 (app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  const utf8 = new TextDecoder('utf-8', { fatal: true })
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    const charset = CHARSET.exec(request.headers['content-type'] ?? '')?.[1] ?? 'utf-8'
    if (!/^utf-?8$/i.test(charset)) {
      return done(new Problem(415, 'CHARSET_UNSUPPORTED', 'Send JSON in UTF-8, without another charset.'))
    }
    let text: string
    try {
      text = utf8.decode(bytes)
    } catch {
      return done(new Problem(400, 'BODY_NOT_UTF8', 'The body is not UTF-8.'))
    }
    return parse(request, text, done)
  })
}
