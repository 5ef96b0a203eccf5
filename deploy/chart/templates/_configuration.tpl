{{/* headcount's configuration file, and what follows from it. */}}

{{/* The file as the server reads it, as JSON. The sidecar's files are there unless the values have others. */}}
{{- define "headcount.configuration" -}}
{{- $file := dict "apiVersion" "headcount/v1alpha1" "kind" "Configuration" }}
{{- $config := deepCopy .Values.config }}
{{- if .Values.logSidecar.enabled }}
  {{- $logging := $config.logging | default dict }}
  {{- if not $logging.file }}
    {{- $_ := set $config "logging" (merge (dict "file" (dict "path" "/var/log/headcount/headcount.log" "maxSize" "16Mi" "keep" 3)) $logging) }}
  {{- end }}
  {{- $audit := $config.audit | default dict }}
  {{- if not $audit.file }}
    {{- $_ := set $config "audit" (merge (dict "file" (dict "path" "/var/log/headcount/audit.log" "maxSize" "16Mi" "keep" 6)) $audit) }}
  {{- end }}
{{- end }}
{{- if not .Values.leases.enabled }}
  {{- $_ := set $config "leases" (merge (dict "enabled" false) ($config.leases | default dict)) }}
{{- end }}
{{- mustMerge $file $config | toJson }}
{{- end }}

{{/* Whether the server writes files of its own. */}}
{{- define "headcount.writesFiles" -}}
{{- $config := include "headcount.configuration" . | fromJson }}
{{- if or (dig "logging" "file" false $config) (dig "audit" "file" false $config) }}true{{ end }}
{{- end }}

{{/* What of the file a running server can't change: when that changes, the Pods are replaced. All else is reloaded. */}}
{{- define "headcount.fixedConfiguration" -}}
{{- $config := include "headcount.configuration" . | fromJson }}
{{- $fixed := pick $config "kubeconfig" "context" "labelSelector" "audit" "kubernetesEvents" "leases" "logFormat" }}
{{- $logging := $config.logging | default dict }}
{{- mustMerge $fixed (dict "logging" (omit $logging "level" "levels")) | toJson }}
{{- end }}

{{- define "headcount.askCluster" -}}
{{- if eq (dig "authorization" "mode" "any" .Values.config) "kubernetes" }}true{{ end }}
{{- end }}

{{/* The rights to Deployments in the managed namespaces. */}}
{{- define "headcount.rules" -}}
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch{{ if or .Values.images.enabled .Values.rollouts.enabled }}, patch{{ end }}]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [get, patch, update]
{{- if .Values.autoscalers.enabled }}
# They set counts too, which callers are told.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
{{- end }}
{{- if .Values.rollouts.enabled }}
# They keep the revisions that Deployments are taken back to.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list]
{{- end }}
{{- if .Values.config.kubernetesEvents }}
# Events on the Deployments tell of writes.
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}
{{- end }}

{{- define "headcount.subjects" }}
subjects:
  - kind: ServiceAccount
    name: {{ include "headcount.serviceAccountName" . | quote }}
    namespace: {{ .Release.Namespace | quote }}
{{- end }}
