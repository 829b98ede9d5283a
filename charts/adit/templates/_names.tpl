{{/* Names and labels. Everything is called after the release; what must be found by people says so in docs/values.md. */}}

{{- define "adit.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "adit.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects a component's pods: never changes between versions. Takes (list $ component). */}}
{{- define "adit.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/name: adit-{{ index . 1 }}
{{- end -}}

{{/* Takes (list $ component). Ours win over commonLabels. */}}
{{- define "adit.labels" -}}
{{- $root := index . 0 -}}
{{- $own := merge (dict
  "app.kubernetes.io/part-of" "adit"
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "helm.sh/chart" (include "adit.chart" $root)) (include "adit.selector" . | fromYaml) -}}
{{- merge $own $root.Values.commonLabels | toYaml -}}
{{- end -}}

{{/* A pod's labels: no version among them, so that nothing is rolled for a label's sake. Takes (list $ component podLabels). */}}
{{- define "adit.podLabels" -}}
{{- $own := merge (dict "app.kubernetes.io/part-of" "adit") (include "adit.selector" . | fromYaml) -}}
{{- merge $own (index . 2) (index . 0).Values.commonLabels | toYaml -}}
{{- end -}}

{{/* The namespaces whose resources we serve, as a YAML list. */}}
{{- define "adit.namespaces" -}}
{{- .Values.watchNamespaces | default (list .Release.Namespace) | uniq | sortAlpha | toYaml -}}
{{- end -}}

{{/* ADIT_NAMESPACES. */}}
{{- define "adit.namespacesVariable" -}}
{{- if eq .Values.rbac.scope "cluster" -}}*{{- else -}}
{{- include "adit.namespaces" . | fromYamlArray | join "," -}}
{{- end -}}
{{- end -}}

{{- define "adit.databaseSecret" -}}
{{- .Values.database.existingSecret | default (printf "%s-database" (include "adit.fullname" .)) -}}
{{- end -}}

{{/* "true" if the chart brings the Postgres. */}}
{{- define "adit.bundledPostgres" -}}
{{- if not .Values.database.existingSecret }}true{{ end -}}
{{- end -}}

{{/* Takes (list $ component), of operator, api and receiver. */}}
{{- define "adit.serviceAccount" -}}
{{- $root := index . 0 -}}{{- $values := index $root.Values (index . 1) -}}
{{- if $values.serviceAccount.create -}}
{{- $values.serviceAccount.name | default (printf "%s-%s" (include "adit.fullname" $root) (index . 1)) -}}
{{- else -}}
{{- $values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* Workers run where their TransferJob is. Cluster-wide nobody knows these namespaces: there the account that each has. */}}
{{- define "adit.workerServiceAccount" -}}
{{- if .Values.worker.serviceAccount.name -}}
{{- .Values.worker.serviceAccount.name -}}
{{- else if and .Values.worker.serviceAccount.create (eq .Values.rbac.scope "namespace") -}}
{{- include "adit.fullname" . }}-worker
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "adit.workerPriorityClass" -}}
{{- if .Values.worker.priorityClassName -}}
{{- .Values.worker.priorityClassName -}}
{{- else if .Values.worker.priorityClass.create -}}
{{- include "adit.fullname" . }}-{{ .Release.Namespace }}-worker
{{- end -}}
{{- end -}}
