{{/* What every pod of ours has in common: Pod Security `restricted`, images, where it may run. */}}

{{/* Takes (list $ image): ours come from image.registry, at the chart's version unless told otherwise. */}}
{{- define "adit.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- $name := $image.repository -}}
{{- if not (contains "/" $name) -}}{{- $name = printf "%s/%s" (trimSuffix "/" $root.Values.image.registry) $name -}}{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name ($image.tag | default $root.Values.image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Takes (list $ user). */}}
{{- define "adit.podSecurity" -}}
{{- $user := index . 1 | int64 -}}
runAsNonRoot: true
runAsUser: {{ $user }}
runAsGroup: {{ $user }}
fsGroup: {{ $user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "adit.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Takes (list $ values-of-the-component); the pod's fields that its owner chooses. */}}
{{- define "adit.scheduling" -}}
{{- $root := index . 0 -}}{{- $values := index . 1 -}}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . | quote }}
{{- end }}
{{- end }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" }}
{{- with index $values $field }}
{{ toYaml (dict $field .) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Logins are files and no variables: an environment is shown to every child, dump and debugger. */}}
{{- define "adit.credentialsVariable" -}}
- {name: ADIT_CREDENTIALS, value: /var/run/adit/credentials}
{{- end -}}

{{- define "adit.credentialsMount" -}}
- {name: credentials, mountPath: /var/run/adit/credentials, readOnly: true}
{{- end -}}

{{/* Takes (list $ key …): keys of the database's Secret, each a file with the name of the setting. */}}
{{- define "adit.credentialsVolume" -}}
{{- $files := dict "database-url" "ADIT_DATABASE_URL" "worker-database-url" "ADIT_WORKER_DATABASE_URL" "receiver-database-url" "ADIT_RECEIVER_DATABASE_URL" "postgres-password" "POSTGRES_PASSWORD" -}}
- name: credentials
  projected:
    defaultMode: 0440
    sources:
    - secret:
        name: {{ include "adit.databaseSecret" (first .) }}
        items:
        {{- range rest . }}
        - {key: {{ . }}, path: {{ index $files . }}}
        {{- end }}
{{- end -}}

{{/* Who we are, by the downward API. */}}
{{- define "adit.podVariables" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- end -}}

{{/* Probes of a server of ours on port http: /healthz tells that it lives, /readyz that it is of use. */}}
{{- define "adit.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 1
  failureThreshold: 120
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}

{{/* Takes (list weight delete-policy): annotations of what must be done before anything else, for Helm and Argo CD. */}}
{{- define "adit.hookBefore" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ index . 0 | quote }}
helm.sh/hook-delete-policy: {{ index . 1 }}
argocd.argoproj.io/hook: PreSync
argocd.argoproj.io/sync-wave: {{ index . 0 | quote }}
argocd.argoproj.io/hook-delete-policy: {{ if contains "succeeded" (index . 1) }}BeforeHookCreation,HookSucceeded{{ else }}BeforeHookCreation{{ end }}
{{- end -}}

{{/* What is done once the release is there: takes the weight. */}}
{{- define "adit.hookAfter" -}}
helm.sh/hook: post-install,post-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
argocd.argoproj.io/hook: PostSync
argocd.argoproj.io/sync-wave: {{ . | quote }}
argocd.argoproj.io/hook-delete-policy: BeforeHookCreation,HookSucceeded
{{- end -}}
