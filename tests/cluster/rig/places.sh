# Sourced by the rig's scripts: where everything is.
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(cd "$HERE/../../.." && pwd)"
RIG=${ADIT_CLUSTER_STATE:-/var/tmp/adit-cluster}     # one running cluster: removed by `down`
CACHE=${ADIT_CLUSTER_CACHE:-/var/cache/adit-cluster} # programs, images and wheels: kept, so that they are paid for once
BIN=$CACHE/bin
IMAGES=$CACHE/images
WHEELS=$CACHE/wheels
export HERE ROOT RIG CACHE BIN IMAGES WHEELS
