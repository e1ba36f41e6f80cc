#!/usr/bin/env bash
# Expected: a reverse proxy whose server closed the connection without an answer says 502, as nginx and Apache do, so that
#   a client knows by the status that it was not the service that failed.
# Seen: lighttpd answers 500 with a page of HTML, for a POST that the server has read and may have carried out. To a client
#   that takes a 500 for the service's final word, an order that was paid has failed.
# Version: lighttpd 1.4.69 (Debian 12's package has to be installed).
# Output seen:
#   status 500, content type text/html, received by the server: charge
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$work"' EXIT
cd "$work"
lighttpd=$(PATH=$PATH:/usr/sbin command -v lighttpd)
"$lighttpd" -v | sed -n 1p

# A server that reads the POST and closes the connection.
cat > server.mjs <<'JS'
import { writeFileSync } from 'node:fs'
import http from 'node:http'

const server = http.createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  if (request.method === 'GET') return response.end('fine')
  writeFileSync('received', body)
  request.socket.destroy()
}).listen(0, '127.0.0.1', () => {
  const { port } = server.address()
  writeFileSync('server.conf', `
    server.modules = ("mod_proxy")
    server.document-root = "/"
    server.bind = "${process.cwd()}/proxy.sock"
    proxy.server = ("" => (("host" => "127.0.0.1", "port" => ${port})))
  `)
})
JS
node server.mjs &
until [ -s server.conf ]; do sleep 0.1; done
"$lighttpd" -D -f server.conf 2> /dev/null &
ask() { curl --silent --output /dev/null --write-out '%{http_code} %{content_type}' --unix-socket proxy.sock "$@"; }
until [ -S proxy.sock ] && [ "$(ask http://localhost/ | cut -d ' ' -f 1)" = 200 ]; do sleep 0.1; done

read -r status type <<< "$(ask --data charge http://localhost/)"
echo "status $status, content type $type, received by the server: $(cat received)"
[ "$status" = 500 ]
[ "$type" = text/html ]
[ "$(cat received)" = charge ]
