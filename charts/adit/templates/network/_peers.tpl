{{/* Peers and ports of NetworkPolicies. */}}

{{/* Where workers run, as a peer: takes (list $ podSelector-as-a-dict). */}}
{{- define "adit.network.fromOurs" -}}
{{- $root := index . 0 -}}{{- $labels := index . 1 -}}
- podSelector: {matchLabels: {{ toJson $labels }}}
{{- $elsewhere := include "adit.namespaces" $root | fromYamlArray -}}
{{- if eq $root.Values.rbac.scope "cluster" }}
- namespaceSelector: {}
  podSelector: {matchLabels: {{ toJson $labels }}}
{{- else if without $elsewhere $root.Release.Namespace }}
- namespaceSelector:
    matchExpressions:
    - {key: kubernetes.io/metadata.name, operator: In, values: {{ without $elsewhere $root.Release.Namespace | toJson }}}
  podSelector: {matchLabels: {{ toJson $labels }}}
{{- end }}
{{- end -}}

{{/* Takes (list peers ports): one egress rule. No peers: to anywhere. No ports: over all of TCP. */}}
{{- define "adit.network.egress" -}}
{{- $ports := list -}}
{{- range index . 1 }}{{ $ports = append $ports (dict "protocol" "TCP" "port" (int .)) }}{{ end -}}
{{- $rule := dict "ports" ($ports | default (list (dict "protocol" "TCP"))) -}}
{{- with index . 0 }}{{ $_ := set $rule "to" . }}{{ end -}}
{{- list $rule | toYaml -}}
{{- end -}}

{{/* The name server, over both protocols. */}}
{{- define "adit.network.dns" -}}
- ports:
  - {protocol: UDP, port: 53}
  - {protocol: TCP, port: 53}
  {{- with .Values.networkPolicy.dns.to }}
  to: {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* The ledger: the bundled Postgres by its labels, a server of one's own by networkPolicy.postgres. */}}
{{- define "adit.network.postgres" -}}
{{- if include "adit.bundledPostgres" . -}}
- to:
  - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}}
    podSelector: {matchLabels: {{ include "adit.selector" (list . "postgres") | fromYaml | toJson }}}
  ports:
  - {protocol: TCP, port: 5432}
{{- else -}}
{{ include "adit.network.egress" (list .Values.networkPolicy.postgres.to .Values.networkPolicy.postgres.ports) }}
{{- end -}}
{{- end -}}

{{/* The receiver, for the sandbox's C-MOVE. */}}
{{- define "adit.network.receiver" -}}
- to:
  - podSelector: {matchLabels: {{ include "adit.selector" (list . "receiver") | fromYaml | toJson }}}
  ports:
  - {protocol: TCP, port: 11112}
{{- end -}}

{{/* Workers' mailboxes, by the one port that they listen on (adit_operator.job_manifest). */}}
{{- define "adit.network.mailboxes" -}}
- to:
  {{- include "adit.network.fromOurs" (list . (dict "app.kubernetes.io/component" "worker" "app.kubernetes.io/part-of" "adit")) | nindent 2 }}
  ports:
  - {protocol: TCP, port: 11113}
{{- end -}}

{{- define "adit.network.kubernetesApi" -}}
{{ include "adit.network.egress" (list .Values.networkPolicy.kubernetesApi.to .Values.networkPolicy.kubernetesApi.ports) }}
{{- end -}}

{{- define "adit.network.dicom" -}}
{{ include "adit.network.egress" (list .Values.networkPolicy.dicom.to .Values.networkPolicy.dicom.ports) }}
{{- end -}}
