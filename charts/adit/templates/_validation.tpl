{{/* What a schema cannot say. Each message names the value and the cure. */}}
{{- define "adit.validate" -}}
{{- $classes := .Values.worker.sizeClasses -}}
{{- $last := sub (len $classes) 1 | int -}}
{{- $names := list -}}
{{- range $index, $class := $classes -}}
{{- if and (lt $index $last) (not $class.upTo) -}}
{{- fail (printf "worker.sizeClasses[%d] (%s): all but the last class need upTo; the last one takes all studies" $index $class.name) -}}
{{- end -}}
{{- if has $class.name $names -}}
{{- fail (printf "worker.sizeClasses[%d]: two classes are called %s" $index $class.name) -}}
{{- end -}}
{{- $names = append $names $class.name -}}
{{- end -}}
{{- if and .Values.sandbox.enabled (eq .Values.rbac.scope "namespace") (not (has .Release.Namespace (include "adit.namespaces" . | fromYamlArray))) -}}
{{- fail (printf "sandbox.enabled: its nodes are made in %s, which is not among watchNamespaces" .Release.Namespace) -}}
{{- end -}}
{{- if and .Values.sandbox.enabled (not .Values.api.enabled) -}}
{{- fail "sandbox.enabled needs api.enabled: its samples are loaded by the API's image" -}}
{{- end -}}
{{- if and .Values.deidProfiles.ready (not .Values.deidProfiles.keySecret) -}}
{{- fail "deidProfiles.ready needs deidProfiles.keySecret: the Secret whose `key` pseudonyms are made with" -}}
{{- end -}}
{{- range .Values.worker.podLabels | keys -}}
{{- if or (hasPrefix "app.kubernetes.io/" .) (hasPrefix "adit.dev/" .) -}}
{{- fail (printf "worker.podLabels.%s: this label is ADIT's own; choose another key" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
