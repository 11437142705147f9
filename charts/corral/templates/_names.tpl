{{/*
The operator's name, and that of everything it has in the namespace of the release: RELEASE-corral-operator, or
corral-operator where the release is called corral. At most 63 characters; what is cut off is never part of the
release's name (at most 53), so that no two releases share one.
*/}}
{{- define "corral.operator" -}}
{{- $base := eq .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) -}}
{{- printf "%s-operator" ($base | trunc 54 | trimSuffix "-") -}}
{{- end -}}

{{/*
The name of what lies outside the namespace of the release, where releases of one name from several namespaces meet.
A colon, which names of RBAC may have and namespaces may not, so that no two pairs give one name.
*/}}
{{- define "corral.operatorAbroad" -}}
{{- printf "%s:%s" .Release.Namespace (include "corral.operator" .) -}}
{{- end -}}

{{- define "corral.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "corral.operator" .) -}}
{{- else -}}
{{- /* The namespace's `default` would otherwise get the operator's rights, and every pod of the namespace with it. */ -}}
{{- required "serviceAccount.name: name the ServiceAccount to use, or set serviceAccount.create to true" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The namespaces whose pools are served, as {"names": [...]}; empty means all of them. */}}
{{- define "corral.namespaces" -}}
{{- if eq .Values.scope "namespaces" -}}
{{- dict "names" (.Values.namespaces | default (list .Release.Namespace)) | toJson -}}
{{- else if .Values.namespaces -}}
{{- fail "namespaces: they hold only with scope: namespaces; set that, or leave namespaces empty" -}}
{{- else -}}
{{- dict "names" list | toJson -}}
{{- end -}}
{{- end -}}

{{- define "corral.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* What a Deployment selects by never changes, so no version is in it. */}}
{{- define "corral.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "corral.labels" -}}
{{ include "corral.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}
