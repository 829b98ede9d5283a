{{/* All that our processes may do in the Kubernetes API. No Secrets, no exec, no update of a spec. A name cannot bound
`create`. */}}

{{- define "adit.rules.operator" -}}
- {apiGroups: [adit.dev], resources: [transferjobs, dicomnodes, deidprofiles], verbs: [get, list, watch]}
- {apiGroups: [adit.dev], resources: [transferjobs/status, dicomnodes/status, deidprofiles/status], verbs: [patch]}
- {apiGroups: [batch], resources: [jobs], verbs: [get, list, watch, create, delete]}
- {apiGroups: [""], resources: [pods], verbs: [list, watch]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}
- {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [adit-owner], verbs: [get, update]}
{{- end -}}

{{/* In the release's namespace only. */}}
{{- define "adit.rules.leader" -}}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}
- {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [{{ include "adit.fullname" . }}-operator], verbs: [get, update]}
{{- end -}}

{{- define "adit.rules.api" -}}
- {apiGroups: [adit.dev], resources: [transferjobs], verbs: [get, create, patch]}
- {apiGroups: [adit.dev], resources: [dicomnodes, deidprofiles], verbs: {{ ternary "[get, create, patch]" "[get]" .Values.api.writesNodes }}}
{{- end -}}
