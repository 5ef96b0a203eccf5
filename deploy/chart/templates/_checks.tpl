{{/* What values.schema.json can't say: each mistake is told in a sentence, all of them at once. */}}
{{- define "headcount.checks" -}}
{{- $wrong := list }}
{{- $certificates := .Values.certificates }}
{{- if and (eq .Values.scope.mode "namespaced") (not .Values.scope.namespaces) }}
  {{- $wrong = append $wrong "scope.namespaces: which ones are managed? In the mode namespaced there must be one at least" }}
{{- end }}
{{- if and (eq .Values.scope.mode "cluster") .Values.scope.namespaces }}
  {{- $wrong = append $wrong "scope.namespaces is given, and scope.mode is cluster: set scope.mode to namespaced, or take the namespaces away" }}
{{- end }}
{{- if and (eq $certificates.mode "secrets") (not $certificates.secrets.server) }}
  {{- $wrong = append $wrong "certificates.secrets.server is needed in the mode secrets: the name of a Secret of the type kubernetes.io/tls in this namespace" }}
{{- end }}
{{- if eq $certificates.mode "files" }}
  {{- range $key, $what := dict "tlsCert" "the server's certificate" "tlsKey" "its private key" "clientCa" "the authority of its clients" }}
    {{- $content := index $certificates.files $key }}
    {{- if not $content }}
      {{- $wrong = append $wrong (printf "certificates.files.%s is needed in the mode files: --set-file certificates.files.%s=FILE, with %s in PEM, which `headcount pki` makes" $key $key $what) }}
    {{- else if not (contains "-----BEGIN " $content) }}
      {{- $wrong = append $wrong (printf "certificates.files.%s is no PEM: give a file's content with --set-file (not --set) certificates.files.%s=FILE" $key $key) }}
    {{- end }}
  {{- end }}
  {{- if ne (empty $certificates.files.clientCert) (empty $certificates.files.clientKey) }}
    {{- $wrong = append $wrong "certificates.files.clientCert and clientKey go together: give both or neither" }}
  {{- end }}
{{- end }}
{{- $elsewhere := dict "apiVersion" "which is the chart's" "kind" "which is the chart's" "listen" "see listenAddress" "adminListen" "see listenAddress" "kubeconfig" "the Pod's account is used"
  "context" "the Pod's account is used" "tlsCert" "see certificates" "tlsKey" "see certificates" "clientCa" "see clientCa, outside config" "clientCrl" "see clientCrl, outside config"
  "denyList" "see denyList, outside config" "namespace" "see scope.namespaces" "drainDelay" "see drainDelaySeconds" "enable" "see images.enabled and rollouts.enabled" "autoscalers" "see autoscalers.enabled" }}
{{- range $key, $where := $elsewhere }}
  {{- if hasKey $.Values.config $key }}
    {{- $wrong = append $wrong (printf "config.%s is decided by the chart: %s" $key $where) }}
  {{- end }}
{{- end }}
{{- range $key, $where := dict "enabled" "see leases.enabled, outside config" "namespace" "leases are kept where the release is" }}
  {{- if hasKey ($.Values.config.leases | default dict) $key }}
    {{- $wrong = append $wrong (printf "config.leases.%s is decided by the chart: %s" $key $where) }}
  {{- end }}
{{- end }}
{{- range $section := list "logging" "audit" }}
  {{- $path := dig $section "file" "path" "/var/log/headcount/" $.Values.config }}
  {{- if not (or (hasPrefix "/var/log/headcount/" $path) $.Values.extraVolumeMounts) }}
    {{- $wrong = append $wrong (printf "config.%s.file.path (%s) must be below /var/log/headcount, or in a volume of extraVolumeMounts: nothing else can be written to" $section $path) }}
  {{- end }}
{{- end }}
{{- range .Values.extraArgs }}
  {{- $flag := regexFind "^--[a-z-]+" . }}
  {{- if has $flag (list "--config" "--listen" "--admin-listen" "--tls-cert" "--tls-key" "--drain-delay") }}
    {{- $wrong = append $wrong (printf "extraArgs has %s, which the chart gives already: see README.md for the value that sets it" $flag) }}
  {{- end }}
{{- end }}
{{- $sources := (include "headcount.clientCaSources" . | fromJson).sources }}
{{- if not $sources }}
  {{- $wrong = append $wrong "no authority of clients is known, so that nobody could connect: name one under clientCa.secrets or clientCa.configMaps" }}
{{- end }}
{{- $paths := list }}
{{- range $sources }}
  {{- $path := (index (.secret | default .configMap).items 0).path }}
  {{- if has $path $paths }}
    {{- $wrong = append $wrong (printf "two authorities of clients have the name %s: names must differ, also between Secrets and ConfigMaps" (trimSuffix ".crt" $path)) }}
  {{- end }}
  {{- $paths = append $paths $path }}
{{- end }}
{{- if eq $certificates.mode "certManager" }}
  {{- range $key := list "serverAuthorities" "clientAuthorities" }}
    {{- $authorities := index $certificates.certManager $key }}
    {{- $generations := list }}
    {{- range $authorities.generations }}
      {{- $generations = append $generations (int .) }}
    {{- end }}
    {{- if not (has (int $authorities.signing) $generations) }}
      {{- $wrong = append $wrong (printf "certificates.certManager.%s.signing is %d, which is none of its generations" $key (int $authorities.signing)) }}
    {{- end }}
  {{- end }}
  {{- if and $certificates.certManager.clients (not (include "headcount.ownClientAuthority" .)) }}
    {{- $wrong = append $wrong "certificates.certManager.clients can't be issued without certificates.certManager.clientAuthorities.enabled: set clients to []" }}
  {{- end }}
  {{- $names := list }}
  {{- range $certificates.certManager.clients }}
    {{- if has .name $names }}
      {{- $wrong = append $wrong (printf "two of certificates.certManager.clients have the name %s: each has a Secret of its own, so that names must differ" .name) }}
    {{- end }}
    {{- $names = append $names .name }}
  {{- end }}
  {{- $manager := $certificates.certManager }}
  {{- if ge (include "headcount.seconds" $manager.renewBefore | int64) (include "headcount.seconds" $manager.duration | int64) }}
    {{- $wrong = append $wrong (printf "certificates.certManager.renewBefore (%s) must be less than the duration (%s), or certificates would be renewed without end" $manager.renewBefore $manager.duration) }}
  {{- end }}
{{- end }}
{{- if and (ne .Values.service.type "LoadBalancer") .Values.service.loadBalancerSourceRanges }}
  {{- $wrong = append $wrong "service.loadBalancerSourceRanges needs the type LoadBalancer" }}
{{- end }}
{{- if and (eq .Values.service.type "ClusterIP") .Values.service.nodePort }}
  {{- $wrong = append $wrong "service.nodePort needs the type NodePort or LoadBalancer" }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
  {{- $wrong = append $wrong "serviceAccount.name is needed with serviceAccount.create: false: which account is it?" }}
{{- end }}
{{- if and .Values.logSidecar.enabled (eq .Values.logSidecar.logExporter "otlp_grpc") (not .Values.logSidecar.otlpGrpc) }}
  {{- $wrong = append $wrong "logSidecar.otlpGrpc is needed for the exporter otlp_grpc: HOST:PORT" }}
{{- end }}
{{- if and .Values.logSidecar.enabled (eq .Values.logSidecar.auditExporter "otlp_grpc") (not .Values.logSidecar.otlpGrpc) }}
  {{- $wrong = append $wrong "logSidecar.otlpGrpc is needed for the exporter otlp_grpc: HOST:PORT" }}
{{- end }}
{{- if and .Values.logSidecar.enabled (has "otlp_http" (list .Values.logSidecar.logExporter .Values.logSidecar.auditExporter)) (not .Values.logSidecar.otlpHttp) }}
  {{- $wrong = append $wrong "logSidecar.otlpHttp is needed for the exporter otlp_http: a URL" }}
{{- end }}
{{- if gt (len .Release.Namespace) 63 }}
  {{- $wrong = append $wrong "the namespace's name is too long" }}
{{- end }}
{{- if $wrong }}
  {{- printf "\n\nThese values can't be used:\n- %s\n" (join "\n- " (uniq $wrong)) | fail }}
{{- end }}
{{- end }}

{{/* A duration such as 1h30m, in seconds. */}}
{{- define "headcount.seconds" -}}
{{- $sum := 0 }}
{{- range $unit, $seconds := dict "h" 3600 "m" 60 "s" 1 }}
  {{- $sum = regexFind (printf "[0-9]+%s" $unit) $ | trimSuffix $unit | int64 | mul $seconds | add $sum }}
{{- end }}
{{- $sum }}
{{- end }}
