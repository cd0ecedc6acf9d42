{{/* The name in labels; `metallb` by default, as releases of MetalLB's chart have it. */}}
{{- define "ferrolb.name" -}}
{{- default "metallb" .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The prefix of names: the release's if it holds the name. */}}
{{- define "ferrolb.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "ferrolb.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "ferrolb.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* By what workloads select their Pods: immutable, so exactly as MetalLB's chart has it. */}}
{{- define "ferrolb.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ferrolb.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ferrolb.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "ferrolb.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "ferrolb.controllerServiceAccount" -}}
{{- if .Values.controller.serviceAccount.create -}}
{{- default (printf "%s-controller" (include "ferrolb.fullname" .)) .Values.controller.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.controller.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "ferrolb.speakerServiceAccount" -}}
{{- if .Values.speaker.serviceAccount.create -}}
{{- default (printf "%s-speaker" (include "ferrolb.fullname" .)) .Values.speaker.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.speaker.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The Secret of the memberlist's key. */}}
{{- define "ferrolb.memberlistSecret" -}}
{{- default (printf "%s-memberlist" (include "ferrolb.fullname" .)) .Values.speaker.secretName -}}
{{- end -}}

{{/* METALLB_BGP_TYPE: whose defaults and metric names the speakers take. */}}
{{- define "ferrolb.bgpType" -}}
{{- if or .Values.frrk8s.enabled .Values.frrk8s.external -}}
frr-k8s
{{- else if .Values.speaker.frr.enabled -}}
frr
{{- else -}}
native
{{- end -}}
{{- end -}}

{{- define "ferrolb.image" -}}
{{ .image.repository }}:{{ .image.tag | default .appVersion }}
{{- end -}}

{{/* Maps as one; of those that have a key the first wins. */}}
{{- define "ferrolb.merged" -}}
{{- $all := dict -}}
{{- range . -}}
{{- $all = merge $all (deepCopy (. | default dict)) -}}
{{- end -}}
{{- with $all -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* Annotations of a workload's Pods: (list $ values). */}}
{{- define "ferrolb.podAnnotations" -}}
{{- $prometheus := (index . 0).Values.prometheus -}}
{{- $scrape := dict -}}
{{- if $prometheus.scrapeAnnotations -}}
{{- $scrape = dict "prometheus.io/scrape" "true" "prometheus.io/scheme" "https" "prometheus.io/port" ($prometheus.metricsPort | toString) -}}
{{- end -}}
{{- include "ferrolb.merged" (list (index . 1).podAnnotations $scrape) -}}
{{- end -}}

{{/* Labels that somebody asked for; numbers and booleans among them as text. */}}
{{- define "ferrolb.moreLabels" -}}
{{- range $key, $value := . }}
{{ $key | quote }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* The port of /healthz and /readyz that a workload's probes ask. */}}
{{- define "ferrolb.healthPort" -}}
{{- if .livenessProbe.enabled -}}
{{- .livenessProbe.port | default 17472 -}}
{{- else -}}
{{- .readinessProbe.port | default 17472 -}}
{{- end -}}
{{- end -}}

{{/* How often to scrape; numbers are seconds. */}}
{{- define "ferrolb.interval" -}}
{{- if kindIs "string" . -}}
{{- . | quote -}}
{{- else -}}
{{- printf "%ds" (int .) -}}
{{- end -}}
{{- end -}}

{{/* Flags of both programs. */}}
{{- define "ferrolb.commonArgs" -}}
- --port={{ .Values.prometheus.metricsPort }}
{{- with .Values.loadBalancerClass }}
- --lb-class={{ . }}
{{- end }}
{{- with .Values.tls.minVersion }}
- --tls-min-version={{ . }}
{{- end }}
{{- with .Values.tls.cipherSuites }}
- --tls-cipher-suites={{ . }}
{{- end }}
{{- with .Values.tls.curvePreferences }}
- --tls-curve-preferences={{ . }}
{{- end }}
{{- end -}}

{{/* A probe on the health port: (dict "probe" ... "path" ... "host" ...). */}}
{{- define "ferrolb.probe" -}}
httpGet:
  path: {{ .path }}
  port: {{ .probe.port | default 17472 }}
  {{- with .host }}
  host: {{ . }}
  {{- end }}
initialDelaySeconds: {{ .probe.initialDelaySeconds }}
periodSeconds: {{ .probe.periodSeconds }}
timeoutSeconds: {{ .probe.timeoutSeconds }}
successThreshold: {{ .probe.successThreshold }}
failureThreshold: {{ .probe.failureThreshold }}
{{- end -}}
