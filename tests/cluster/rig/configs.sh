# Sourced by `cluster up`: writes the configuration of containerd, CNI, kubelet, kube-proxy, CoreDNS and the box's /etc into $RIG.
: "${RIG:?}"

mkdir -p "$RIG/cni" "$RIG/log" "$RIG/etc" "$RIG/kubelet"
cat > "$RIG/containerd.toml" << E
version = 2
root = "$RIG/containerd"
state = "$RIG/containerd-state"
[grpc]
  address = "$RIG/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$RIG/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:3.10"
  disable_apparmor = true
  restrict_oom_score_adj = true    # root may lack CAP_SYS_RESOURCE
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$RIG/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
E
cat > "$RIG/cni/10-rig.conflist" << E
{"cniVersion": "1.0.0", "name": "rig", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$RIG/cni-data", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
E
cat > "$RIG/kubelet.yaml" << E
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$(basename "$RIG") # two clusters on one host must not tidy up each other's pods
oomScoreAdj: 0
maxOpenFiles: 20000
containerRuntimeEndpoint: unix://$RIG/containerd.sock
resolvConf: $RIG/etc/resolv.conf
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $RIG/pki/ca.crt}}
authorization: {mode: Webhook}
podLogsDir: $RIG/pod-logs
volumePluginDir: $RIG/volume-plugins
registerNode: true
maxPods: 250
serializeImagePulls: false
evictionHard: {memory.available: 200Mi, nodefs.available: 1Gi}
evictionSoft: {} # \`cluster pressure\` writes these two; a hard one would shrink what can be allocated as well
evictionSoftGracePeriod: {}
evictionMaxPodGracePeriod: 30
evictionPressureTransitionPeriod: 3s # so that a node soon takes pods again
imageGCHighThresholdPercent: 100
enforceNodeAllocatable: [pods]
volumeStatsAggPeriod: 10s # so that a pod that fills its disk is evicted soon
crashLoopBackOff: {maxContainerRestartPeriod: 1s} # chaos kills in a minute what dies in a year; else five deaths wait five minutes
E
cat > "$RIG/kube-proxy.yaml" << E
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
nftables: {minSyncPeriod: 100ms}
clientConnection: {kubeconfig: $RIG/kubeconfig/kubelet.conf}
clusterCIDR: 10.244.0.0/16
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0}
E
cat > "$RIG/Corefile" << E
.:53 {
    bind 198.18.0.1
    errors
    kubernetes cluster.local in-addr.arpa {
        kubeconfig $RIG/kubeconfig/admin.conf
    }
    cache 5
}
E
printf 'nameserver 198.18.0.1\nsearch cluster.local\noptions ndots:2 timeout:1 attempts:1\n' > "$RIG/etc/resolv.conf"
printf '127.0.0.1 localhost\n198.18.0.1 rig-node\n' > "$RIG/etc/hosts"
