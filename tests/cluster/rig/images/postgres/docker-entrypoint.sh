#!/bin/bash
# What the official image's entry point does with POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_INITDB_ARGS
# (each also as ..._FILE), PGDATA and /docker-entrypoint-initdb.d, as any of the users that /etc/passwd knows.
set -euo pipefail

setting() { # NAME DEFAULT
  local file_name=${1}_FILE
  if [ -n "${!file_name:-}" ]; then cat "${!file_name}"; else printf %s "${!1:-$2}"; fi
}

[ "${1#-}" = "$1" ] || set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"

export PGDATA=${PGDATA:-/var/lib/postgresql/18/docker}
sockets=/var/run/postgresql
[ -w "$sockets" ] || sockets=/tmp
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  user=$(setting POSTGRES_USER postgres)
  database=$(setting POSTGRES_DB "$user")
  password=$(setting POSTGRES_PASSWORD "")
  method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  if [ -z "$password" ] && [ "$method" != trust ]; then
    echo "Error: database is not initialised and POSTGRES_PASSWORD is not set" >&2
    exit 1
  fi
  mkdir -p "$PGDATA"
  # A start that was killed half-way leaves files without PG_VERSION: nobody's data is in them yet.
  find "$PGDATA" -mindepth 1 -delete
  chmod 700 "$PGDATA"
  # shellcheck disable=SC2046 # arguments are to be split
  eval initdb --username='"$user"' --pwfile='<(printf "%s\n" "$password")' --auth-local=trust --auth-host="$method" \
    --encoding=UTF8 --locale=C.UTF-8 $(setting POSTGRES_INITDB_ARGS "") '-D "$PGDATA"'
  echo "host all all all $method" >> "$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -w -s -o "-c listen_addresses='' -c unix_socket_directories=$sockets" start
  [ "$database" = postgres ] || psql -v ON_ERROR_STOP=1 -q -h "$sockets" -U "$user" -d postgres -c "CREATE DATABASE \"$database\""
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
    *.sql) psql -v ON_ERROR_STOP=1 -q -h "$sockets" -U "$user" -d "$database" -f "$script" ;;
    *.sh) bash "$script" ;;
    esac
  done
  pg_ctl -D "$PGDATA" -w -s -m fast stop
fi
shift
exec postgres -c listen_addresses='*' -c unix_socket_directories="$sockets" "$@"
