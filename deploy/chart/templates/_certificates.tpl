{{/* Where certificates, keys and authorities are. */}}

{{/* The Secret with the server's certificate and key. */}}
{{- define "headcount.serverSecret" -}}
{{- if eq .Values.certificates.mode "secrets" -}}
{{- required "certificates.secrets.server is needed in the mode secrets: the name of a Secret of the type kubernetes.io/tls in this namespace" .Values.certificates.secrets.server }}
{{- else -}}
{{- include "headcount.fullname" . }}-server
{{- end }}
{{- end }}

{{/* The names of the authorities that the chart makes, and of its issuers: `servers` or `clients`. */}}
{{- define "headcount.authority" -}}
{{- printf "%s-%s-ca-%d" (include "headcount.fullname" (index . 0)) (index . 1) (index . 2 | int) }}
{{- end }}

{{- define "headcount.ownServerAuthority" -}}
{{- if and (eq .Values.certificates.mode "certManager") (not .Values.certificates.certManager.issuerRef) }}true{{ end }}
{{- end }}

{{- define "headcount.ownClientAuthority" -}}
{{- if and (eq .Values.certificates.mode "certManager") .Values.certificates.certManager.clientAuthorities.enabled }}true{{ end }}
{{- end }}

{{/*
The authorities of clients, as sources of a volume. Of an authority's Secret its certificate alone is mounted, never its key. As JSON: {"sources": [...]}.
*/}}
{{- define "headcount.clientCaSources" -}}
{{- $sources := list }}
{{- if include "headcount.ownClientAuthority" . }}
  {{- range .Values.certificates.certManager.clientAuthorities.generations }}
    {{- $name := include "headcount.authority" (list $ "client" .) }}
    {{- $sources = append $sources (dict "secret" (dict "name" $name "items" (list (dict "key" "tls.crt" "path" (printf "%s.crt" $name))))) }}
  {{- end }}
{{- end }}
{{- if eq .Values.certificates.mode "files" }}
  {{- $name := printf "%s-client-ca" (include "headcount.fullname" .) }}
  {{- $sources = append $sources (dict "secret" (dict "name" $name "items" (list (dict "key" "ca.crt" "path" (printf "%s.crt" $name))))) }}
{{- end }}
{{- range .Values.clientCa.secrets }}
  {{- $sources = append $sources (dict "secret" (dict "name" .name "items" (list (dict "key" (.key | default "ca.crt") "path" (printf "%s.crt" .name))))) }}
{{- end }}
{{- range .Values.clientCa.configMaps }}
  {{- $sources = append $sources (dict "configMap" (dict "name" .name "items" (list (dict "key" (.key | default "ca.crt") "path" (printf "%s.crt" .name))))) }}
{{- end }}
{{- dict "sources" $sources | toJson }}
{{- end }}

{{/* The client that `helm test` and the notes are: the name of its Secret, or nothing. */}}
{{- define "headcount.testClient" -}}
{{- $manager := .Values.certificates.certManager }}
{{- if .Values.test.client.secret }}
{{- .Values.test.client.secret }}
{{- else if and (eq .Values.certificates.mode "certManager") (include "headcount.ownClientAuthority" .) $manager.clients }}
{{- printf "%s-client-%s" (include "headcount.fullname" .) (index $manager.clients 0).name }}
{{- else if and (eq .Values.certificates.mode "files") .Values.certificates.files.clientCert }}
{{- include "headcount.fullname" . }}-client
{{- end }}
{{- end }}

{{/* Which authority a client knows the server by: {"secret": …, "key": …}, or nothing. */}}
{{- define "headcount.serverCa" -}}
{{- if .Values.test.serverCa.secret }}
{{- dict "secret" .Values.test.serverCa.secret "key" .Values.test.serverCa.key | toJson }}
{{- else if include "headcount.ownServerAuthority" . }}
{{- dict "secret" (include "headcount.authority" (list . "server" .Values.certificates.certManager.serverAuthorities.signing)) "key" "tls.crt" | toJson }}
{{- else if eq .Values.certificates.mode "certManager" }}
{{- dict "secret" (include "headcount.serverSecret" .) "key" "ca.crt" | toJson }}
{{- else if eq .Values.certificates.mode "files" }}
{{- dict "secret" (printf "%s-client-ca" (include "headcount.fullname" .)) "key" "ca.crt" | toJson }}
{{- else }}
{{- dict | toJson }}
{{- end }}
{{- end }}
