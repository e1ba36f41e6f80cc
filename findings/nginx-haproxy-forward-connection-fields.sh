#!/usr/bin/env bash
# Expected: a proxy removes the fields that the client's Connection field names before it forwards the request, as
#   RFC 9110, 7.6.1 demands (Apache, Caddy, Varnish and Squid do): with "Connection: trace-id" no Trace-Id arrives.
# Seen: nginx and HAProxy forward the field. nginx drops the Connection field that named it, so that the server cannot
#   know; HAProxy passes that on as well. What reaches the server hence depends on the proxy in front of it.
# Versions: nginx 1.22.1, HAProxy 2.6.12 (Debian 12's nginx and haproxy packages have to be installed), curl 7.88.1.
# Output seen:
#   haproxy: trace-id 7, connection trace-id
#   nginx: trace-id 7, connection close
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$work"' EXIT
cd "$work"
nginx -v
haproxy -v | sed -n 1p

cat > server.mjs <<'JS'
import http from 'node:http'

http.createServer(({ headers }, response) => {
  response.end(`trace-id ${headers['trace-id']}, connection ${headers.connection}`)
}).listen('server.sock')
JS
cat > haproxy.cfg <<CFG
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen proxy
  bind unix@$work/haproxy.sock
  server one unix@$work/server.sock
CFG
cat > nginx.conf <<CFG
user $(id -un) $(id -gn);
daemon off;
pid nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
  server { listen unix:$work/nginx.sock; location / { proxy_pass http://unix:$work/server.sock; } }
}
CFG
node server.mjs &
haproxy -db -f haproxy.cfg &
nginx -p "$work" -c nginx.conf -e stderr &
ask() {
  curl --silent --fail --unix-socket "$1.sock" --header 'Connection: trace-id' --header 'Trace-Id: 7' http://localhost/
}
for proxy in haproxy nginx; do
  until ask $proxy > /dev/null; do sleep 0.2; done
  echo "$proxy: $(ask $proxy)"
done
[ "$(ask haproxy)" = 'trace-id 7, connection trace-id' ]
[ "$(ask nginx)" = 'trace-id 7, connection close' ]
