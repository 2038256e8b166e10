#!/usr/bin/env bash
# Runs a command beside a PostgreSQL of its own, in a temporary folder: SERVAX_TEST_POSTGRES is its
# URL. What is missing is installed with apt-get (Debian, Ubuntu), if this user may do that.
set -euo pipefail

find_bin() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true; }

bin=$(find_bin)
if [ -z "$bin" ]; then
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends postgresql >/dev/null
  bin=$(find_bin)
fi

folder=$(mktemp -d /tmp/servax-postgres.XXXXXX)
# PostgreSQL refuses to run as root.
as_server=()
if [ "$(id -u)" -eq 0 ]; then
  chown postgres "$folder"
  as_server=(setpriv --reuid=postgres --regid="$(id -g postgres)" --clear-groups)
fi
stop() {
  "${as_server[@]}" "$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1 || true
  rm -rf "$folder"
}
trap stop EXIT

cd /
"${as_server[@]}" "$bin/initdb" -D "$folder/data" -U servax -A trust --no-sync >/dev/null
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"${as_server[@]}" "$bin/pg_ctl" -D "$folder/data" -w -l "$folder/log" -o \
  "-p $port -k $folder -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=300" start >/dev/null
cd "$OLDPWD"

SERVAX_TEST_POSTGRES="postgresql://servax@127.0.0.1:$port/postgres" "$@"
