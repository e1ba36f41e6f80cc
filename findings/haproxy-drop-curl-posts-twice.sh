#!/usr/bin/env bash
# Expected: HAProxy answers 502 when the server closed the connection without an answer to a POST that it had read, and
#   nothing is sent again, as no `retry-on` is configured and curl was started once, without --retry.
# Seen: 502 only if the POST is the first request on the client's connection. On a connection that was used before,
#   HAProxy closes it without a byte, which curl takes for an idle connection that had died: it sends the POST again by
#   itself, reports 200 and exit code 0, and the server has carried the POST out twice.
# Versions: HAProxy 2.6.12 (Debian 12's haproxy package has to be installed), curl 7.88.1.
# Output seen:
#   first on its connection: 502, requests received: POST charge
#   after a GET: 200 200, requests received: GET, POST charge, POST charge
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$work"' EXIT
cd "$work"
haproxy -v | sed -n 1p
curl --version | cut -d ' ' -f 1,2 | sed -n 1p

# A server that reads the first POST and closes the connection.
cat > server.mjs <<'JS'
import { appendFileSync, existsSync } from 'node:fs'
import http from 'node:http'

http.createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  appendFileSync('received', `${request.method} ${body}\n`)
  if (request.method === 'GET' || existsSync('dropped')) return response.end('fine')
  appendFileSync('dropped', '')
  request.socket.destroy()
}).listen('server.sock')
JS
cat > haproxy.cfg <<CFG
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen proxy
  bind unix@$work/proxy.sock
  server one unix@$work/server.sock
CFG
node server.mjs &
haproxy -db -f haproxy.cfg &
url=http://localhost/
post() { curl --silent --output /dev/null --write-out '%{http_code} ' --unix-socket proxy.sock "$@"; }
until [ -S server.sock ] && post $url > /dev/null; do sleep 0.2; done

rm -f received
first=$(post --data charge $url)
echo "first on its connection: $first, requests received:" $(cat received)
[ "$first" = '502 ' ]
[ "$(cat received)" = 'POST charge' ]

rm -f received dropped
after=$(post $url --next --silent --output /dev/null --write-out '%{http_code} ' --unix-socket proxy.sock \
  --data charge $url)
echo "after a GET: $after, requests received:" $(cat received)
[ "$after" = '200 200 ' ]
[ "$(tail -n 2 received)" = $'POST charge\nPOST charge' ]
