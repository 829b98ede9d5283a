#!/bin/bash
# A single-node Kubernetes, run as process 1 of its own mount, network, pid, cgroup, ipc and uts namespaces.
# Called by `cluster up`; everything it starts dies with it, and nothing of it can be reached from outside.
set -euo pipefail
NODE_IP=198.18.0.1 POD_CIDR=10.244.0.0/16 SERVICE_CIDR=10.96.0.0/16
P=$RIG/pki
K=$RIG/kubeconfig

# --- the box ---------------------------------------------------------------------------------------------------
mount --make-rprivate /
mount -t proc proc /proc
umount -R /sys/fs/cgroup
mount -t sysfs sysfs /sys
if [ "$CGROUPS" = v2 ]; then
  # `cluster up` put us into a group of our own, which the namespace makes the root. Controllers can be handed on only
  # from a group without processes.
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mkdir -p /sys/fs/cgroup/rig
  for pid in $(cat /sys/fs/cgroup/cgroup.procs); do echo "$pid" > /sys/fs/cgroup/rig/cgroup.procs 2> /dev/null || true; done
  mkdir -p "/sys/fs/cgroup/$(basename "$RIG")"
  for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control || true
    echo "+$controller" > "/sys/fs/cgroup/$(basename "$RIG")/cgroup.subtree_control" || true
  done
else
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
    mkdir "/sys/fs/cgroup/$controller"
    mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
    mkdir -p "/sys/fs/cgroup/$controller/$(basename "$RIG")"
  done
  mkdir /sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
  mkdir -p "/sys/fs/cgroup/systemd/$(basename "$RIG")"
fi
mount --bind "$RIG/etc/resolv.conf" /etc/resolv.conf
mount --bind "$RIG/etc/hosts" /etc/hosts
mount --make-rshared / # the kubelet needs shared propagation
hostname rig-node
ip link set lo up
ip link add node0 type bridge # the node's interface: a dummy device may be missing
ip addr add "$NODE_IP/24" dev node0
ip link set node0 up
ip route add default via "$NODE_IP" dev node0 # for the kubelet's and the API server's address detection
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 || true

run() { "$HERE/supervise" "$@" & }
wait_for() {
  local what=$1 _
  shift
  for _ in $(seq 600); do
    "$@" > /dev/null 2>&1 && return
    sleep 0.1
  done
  echo "$what did not come up; see $RIG/log" >&2
  return 1
}

run containerd containerd -c "$RIG/containerd.toml"
(
  wait_for containerd test -S "$RIG/containerd.sock"
  : > "$RIG/have"
  readarray -t images < <(python3 "$HERE/layout.py" "$IMAGES/layout" names)
  python3 "$HERE/layout.py" "$IMAGES/layout" tar "$RIG/have" "${images[@]}" | ctr -a "$RIG/containerd.sock" -n k8s.io images import -
) > "$RIG/log/import.log" 2>&1 &
import=$!

# --- certificates and kubeconfigs: kubeadm's own phases ----------------------------------------------------------
cat > "$RIG/kubeadm.yaml" << Y
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $NODE_IP, bindPort: 6443}
nodeRegistration: {name: rig-node, criSocket: unix://$RIG/containerd.sock}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: $("$BIN/kube-apiserver" --version | sed 's/.* //')
certificatesDir: $P
encryptionAlgorithm: ECDSA-P256
networking: {serviceSubnet: $SERVICE_CIDR, podSubnet: $POD_CIDR, dnsDomain: cluster.local}
apiServer: {certSANs: [127.0.0.1, localhost, $NODE_IP]}
etcd: {external: {endpoints: ["http://127.0.0.1:2379"]}}
Y
"$BIN/kubeadm" init phase certs all --config "$RIG/kubeadm.yaml" > "$RIG/log/kubeadm.log" 2>&1
"$BIN/kubeadm" init phase kubeconfig all --config "$RIG/kubeadm.yaml" --kubeconfig-dir "$K" >> "$RIG/log/kubeadm.log" 2>&1

# --- control plane -----------------------------------------------------------------------------------------------
run etcd "$BIN/etcd" --data-dir "$RIG/etcd" --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 \
  --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
run kube-apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --advertise-address=$NODE_IP --secure-port=6443 \
  --service-cluster-ip-range=$SERVICE_CIDR --allow-privileged=true --authorization-mode=Node,RBAC \
  --enable-admission-plugins=NodeRestriction --client-ca-file="$P/ca.crt" \
  --tls-cert-file="$P/apiserver.crt" --tls-private-key-file="$P/apiserver.key" \
  --kubelet-client-certificate="$P/apiserver-kubelet-client.crt" --kubelet-client-key="$P/apiserver-kubelet-client.key" \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --service-account-key-file="$P/sa.pub" --service-account-signing-key-file="$P/sa.key" \
  --requestheader-client-ca-file="$P/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
  --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \
  --requestheader-username-headers=X-Remote-User --proxy-client-cert-file="$P/front-proxy-client.crt" \
  --proxy-client-key-file="$P/front-proxy-client.key" --enable-aggregator-routing=true
wait_for kube-apiserver "$BIN/kubectl" --kubeconfig "$K/super-admin.conf" get --raw /readyz
# the super-admin makes the admin an admin (what `kubeadm init` does)
"$BIN/kubectl" --kubeconfig "$K/super-admin.conf" create clusterrolebinding kubeadm:cluster-admins --clusterrole=cluster-admin \
  --group=kubeadm:cluster-admins > /dev/null
run kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig="$K/controller-manager.conf" \
  --authentication-kubeconfig="$K/controller-manager.conf" --authorization-kubeconfig="$K/controller-manager.conf" \
  --use-service-account-credentials=true --root-ca-file="$P/ca.crt" --service-account-private-key-file="$P/sa.key" \
  --cluster-signing-cert-file="$P/ca.crt" --cluster-signing-key-file="$P/ca.key" --client-ca-file="$P/ca.crt" \
  --allocate-node-cidrs=true --cluster-cidr=$POD_CIDR --service-cluster-ip-range=$SERVICE_CIDR --leader-elect=false
run kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$K/scheduler.conf" --authentication-kubeconfig="$K/scheduler.conf" \
  --authorization-kubeconfig="$K/scheduler.conf" --leader-elect=false

# --- node --------------------------------------------------------------------------------------------------------
wait "$import"
run kubelet "$BIN/kubelet" --config="$RIG/kubelet.yaml" --kubeconfig="$K/kubelet.conf" --root-dir="$RIG/kubelet" \
  --node-ip=$NODE_IP --hostname-override=rig-node --v=1
run kube-proxy "$BIN/kube-proxy" --config="$RIG/kube-proxy.yaml" --hostname-override=rig-node
run coredns "$BIN/coredns" -conf "$RIG/Corefile"
"$BIN/kubectl" --kubeconfig "$K/admin.conf" apply -f "$HERE/bootstrap.yaml" > "$RIG/log/bootstrap.log"
for number in $(seq 8); do
  mkdir -p -m 777 "$RIG/volumes/$number"
  chmod 777 "$RIG/volumes/$number"
  cat << Y
apiVersion: v1
kind: PersistentVolume
metadata: {name: local-$number}
spec:
  capacity: {storage: 20Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: standard
  hostPath: {path: $RIG/volumes/$number, type: Directory}
---
Y
done | "$BIN/kubectl" --kubeconfig "$K/admin.conf" apply -f - >> "$RIG/log/bootstrap.log"
run volumes "$HERE/volumes"
touch "$RIG/ready"
wait
