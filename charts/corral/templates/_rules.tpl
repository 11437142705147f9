{{/* Everything that the operator asks of the Kubernetes API. */}}
{{- define "corral.operatorRules" -}}
- apiGroups: [corral.dev]
  resources: [workerpools]
  verbs: [list, watch]
- apiGroups: [corral.dev]
  resources: [workerpools/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
# The way to Redis of each pool, by the name that the pool says.
- apiGroups: [""]
  resources: [secrets]
  {{- with .Values.secretNames }}
  resourceNames: {{ toJson . }}
  {{- end }}
  verbs: [get]
- apiGroups: [""]
  resources: [pods]
  # patch: the deletion cost of those that are to go.
  verbs: [list, patch]
# Who else writes replicas.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [list]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/*
What it asks of its own Lease, by which several of it agree which one writes. It is made by an update too, so that even
the right to create is to this name alone.
*/}}
{{- define "corral.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "corral.operator" . | quote }}]
  verbs: [get, create, update]
{{- end -}}
