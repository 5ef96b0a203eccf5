{{/* Names and labels, which all objects share. */}}

{{- define "headcount.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 40 characters at most, so that what is appended to it stays a name. */}}
{{- define "headcount.fullname" -}}
{{- $name := include "headcount.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "headcount.selectorLabels" -}}
app.kubernetes.io/name: {{ include "headcount.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Of the Pod of `helm test`, which isn't one of those that are selected. */}}
{{- define "headcount.testLabels" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "headcount.name" .) | trunc 63 | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "headcount.labels" -}}
{{- $common := omit .Values.commonLabels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" }}
{{- with $common }}
{{- toYaml . }}
{{ end -}}
{{ include "headcount.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{/* The metadata of an object: a list of the context, the end of its name, and whether it is namespaced. */}}
{{- define "headcount.metadata" -}}
{{- $context := index . 0 -}}
name: {{ printf "%s%s" (include "headcount.fullname" $context) (index . 1) | quote }}
namespace: {{ $context.Release.Namespace | quote }}
{{ include "headcount.marks" $context }}
{{- end }}

{{/* Labels and annotations. */}}
{{- define "headcount.marks" -}}
labels:
  {{- include "headcount.labels" . | nindent 2 }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Cluster-wide objects have the namespace in their name, so that releases in several namespaces don't meet. */}}
{{- define "headcount.clusterName" -}}
{{- $full := include "headcount.fullname" . }}
{{- if eq $full .Release.Namespace }}{{ $full }}{{ else }}{{ printf "%s-%s" .Release.Namespace $full }}{{ end }}
{{- end }}

{{- define "headcount.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "headcount.fullname" .) }}
{{- else -}}
{{- required "serviceAccount.name is needed with serviceAccount.create: false: which account is it?" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* An image: a list of its values and the tag that it has otherwise. */}}
{{- define "headcount.image" -}}
{{- $image := index . 0 }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository ($image.tag | default (index . 1)) }}
{{- end }}
{{- end }}

{{/* What the restricted Pod Security standard asks of each container, and no more than it. */}}
{{- define "headcount.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "headcount.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- with omit .Values.podSecurityContext "runAsNonRoot" "seccompProfile" }}
{{ toYaml . }}
{{- end }}
{{- end }}
