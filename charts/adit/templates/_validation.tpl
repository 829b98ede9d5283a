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
{{- if and (eq $index $last) $class.upTo -}}
{{- fail (printf "worker.sizeClasses[%d] (%s): the last class takes all studies, so that its upTo has no effect: leave it out, or add a class after it" $index $class.name) -}}
{{- end -}}
{{- if and $index (lt $index $last) -}}
{{- $before := index $classes (sub $index 1 | int) -}}
{{- if le (include "adit.number" $class.upTo | float64) (include "adit.number" $before.upTo | float64) -}}
{{- fail (printf "worker.sizeClasses[%d] (%s): upTo %v is not more than %s's %v; order the classes from the smallest to the largest" $index $class.name $class.upTo $before.name $before.upTo) -}}
{{- end -}}
{{- end -}}
{{- include "adit.validate.resources" (list (printf "worker.sizeClasses[%d] (%s).resources" $index $class.name) $class.resources) -}}
{{- end -}}
{{- range $part, $own := dict
  "operator" (list "credentials" "workers" "tmp")
  "api" (include "adit.apiVolumes" . | fromYamlArray)
  "receiver" (list "credentials" "tmp" "tls" "inbox")
  "migration" (list "credentials" "tmp")
  "worker" (list "spool" "tmp" "credentials" "secrets") -}}
{{- include "adit.validate.volumes" (list $part (index $.Values $part) $own) -}}
{{- end -}}
{{- range $part := list "operator" "api" "receiver" "postgres" "migration" "sandbox" -}}
{{- include "adit.validate.resources" (list (printf "%s.resources" $part) (index $.Values $part).resources) -}}
{{- end -}}
{{- if and (eq .Values.rbac.scope "cluster") .Values.watchNamespaces -}}
{{- fail "watchNamespaces: rbac.scope: cluster serves every namespace, so that the list would have no effect; leave it out, or set rbac.scope: namespace" -}}
{{- end -}}
{{- if gt (include "adit.seconds" .Values.serviceMonitor.scrapeTimeout | float64) (include "adit.seconds" .Values.serviceMonitor.interval | float64) -}}
{{- fail (printf "serviceMonitor.scrapeTimeout: %s is more than serviceMonitor.interval (%s), which Prometheus refuses; make it at most as long" .Values.serviceMonitor.scrapeTimeout .Values.serviceMonitor.interval) -}}
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
{{- range $part := list "operator" "api" "receiver" "worker" "postgres" "migration" -}}
{{- range (index $.Values $part).podLabels | keys -}}
{{- if or (hasPrefix "app.kubernetes.io/" .) (hasPrefix "adit.dev/" .) -}}
{{- fail (printf "%s.podLabels.%s: this label is ADIT's own; choose another key" $part .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Takes (list path resources). A pod that asks for more than it may have is refused, by then to whoever waits for it. */}}
{{- define "adit.validate.resources" -}}
{{- $path := index . 0 -}}{{- $resources := index . 1 | default dict -}}
{{- $limits := $resources.limits | default dict -}}
{{- range $resource, $request := $resources.requests -}}
{{- $limit := index $limits $resource -}}
{{- if not (or (kindIs "invalid" $limit) (kindIs "invalid" $request)) -}}
{{- if gt (include "adit.number" $request | float64) (include "adit.number" $limit | float64) -}}
{{- fail (printf "%s.requests.%s: %v is more than %s.limits.%s (%v); lower it, or raise the limit" $path $resource $request $path $resource $limit) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Takes (list part values names-of-our-own-volumes). */}}
{{- define "adit.validate.volumes" -}}
{{- $part := index . 0 -}}{{- $values := index . 1 -}}{{- $own := index . 2 -}}
{{- $names := list -}}
{{- range $index, $volume := $values.extraVolumes -}}
{{- if has $volume.name $own -}}
{{- fail (printf "%s.extraVolumes[%d]: ADIT has a volume called %s itself; choose another name" $part $index $volume.name) -}}
{{- end -}}
{{- if has $volume.name $names -}}
{{- fail (printf "%s.extraVolumes[%d]: two volumes are called %s" $part $index $volume.name) -}}
{{- end -}}
{{- $names = append $names $volume.name -}}
{{- end -}}
{{- range $index, $mount := $values.extraVolumeMounts -}}
{{- if not (has $mount.name $names) -}}
{{- fail (printf "%s.extraVolumeMounts[%d]: no volume is called %s; add it to %s.extraVolumes" $part $index $mount.name $part) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "adit.apiVolumes" -}}
- credentials
- tmp
{{- range .Values.api.nodeSecrets }}
- {{ printf "node-%s" . | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end -}}

{{/* A quantity as a plain number, to compare by. */}}
{{- define "adit.number" -}}
{{- $text := . | toString -}}
{{- $unit := regexFind "[a-zA-Z]*$" $text -}}
{{- $times := dict "" 1 "m" 0.001 "k" 1e3 "Ki" 1024 "M" 1e6 "Mi" 1048576 "G" 1e9 "Gi" 1073741824 "T" 1e12 "Ti" 1099511627776 -}}
{{- if regexMatch "[eE]" $text -}}{{- . | float64 | printf "%f" -}}{{- else -}}
{{- mulf (trimSuffix $unit $text | float64) (index $times $unit) | printf "%f" -}}
{{- end -}}
{{- end -}}

{{/* A duration of one unit in seconds, to compare by. */}}
{{- define "adit.seconds" -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- mulf (trimSuffix $unit . | float64) (index (dict "ms" 0.001 "s" 1 "m" 60 "h" 3600) $unit) | printf "%f" -}}
{{- end -}}
