#!/usr/bin/env bash
# Renders the chart with every value of MetalLB's chart and looks for its effect; needs no cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
helm=$(e2e/helm/build.sh)/helm
failed=0

render() { # render TEMPLATE VALUES: the manifests of a template (all: of every one), or what is wrong with the values, in one line
  local only=()
  [ "$1" = all ] || only=(--show-only "templates/$1.yaml")
  "$helm" template metallb charts/ferrolb --namespace metallb-system --kube-version 1.33.0 "${only[@]}" --values - <<<"$2" 2>&1 | tr -s '\n ' ' '
}

complain() {
  printf '%s\n  with %s\n' "$1" "$2" >&2
  failed=1
}

shown() { # shown TEMPLATE VALUES TEXT...: every text is there; with a ! before it, it is not
  local template=$1 values=$2 rendered text
  shift 2
  rendered=$(render "$template" "$values") || { complain "$rendered" "$values"; return; }
  for text in "$@"; do
    case $text in
      !*) [[ $rendered != *"${text#!}"* ]] || complain "$template.yaml has: ${text#!}" "$values" ;;
      *) [[ $rendered == *"$text"* ]] || complain "$template.yaml lacks: $text" "$values" ;;
    esac
  done
}

same() { # same VALUES: all as without them
  [ "$(render all "$1" || true)" = "$plain" ] || complain "what is rendered differs from the default" "$1"
}

refused() { # refused VALUES TEXT
  local said
  if said=$(render all "$1"); then
    complain "accepted" "$1"
  elif [[ $said != *"$2"* ]]; then
    complain "refused with: $said" "$1"
  fi
}

plain=$(render all '{}')

# MetalLB's defaults are ours, except for the images.
probe='{enabled: true, port: 17472, failureThreshold: 3, initialDelaySeconds: 10, periodSeconds: 10, successThreshold: 1, timeoutSeconds: 1}'
monitor='{additionalLabels: {}, annotations: {}, tlsConfig: {insecureSkipVerify: true}}'
pod="serviceAccount: {create: true, name: '', annotations: {}}, resources: {}, nodeSelector: {}, tolerations: [], priorityClassName: '',
  runtimeClassName: '', affinity: {}, podAnnotations: {}, labels: {}, livenessProbe: $probe, readinessProbe: $probe, extraContainers: []"
same "
imagePullSecrets: []
nameOverride: ''
fullnameOverride: ''
loadBalancerClass: ''
rbac: {create: true}
tls: {cipherSuites: '', curvePreferences: '', minVersion: '', controllerMetricsTLSSecret: '', speakerMetricsTLSSecret: ''}
prometheus:
  scrapeAnnotations: false
  metricsPort: 9120
  rbacPrometheus: true
  serviceAccount: ''
  namespace: ''
  podMonitor: {enabled: false, additionalLabels: {}, annotations: {}, jobLabel: app.kubernetes.io/name, interval: null, metricRelabelings: [],
    relabelings: [], tlsConfig: {insecureSkipVerify: true}}
  serviceMonitor: {enabled: false, speaker: $monitor, controller: $monitor, jobLabel: app.kubernetes.io/name, interval: null,
    metricRelabelings: [], relabelings: []}
  prometheusRule:
    enabled: false
    additionalLabels: {}
    annotations: {}
    extraAlerts: []
controller: {enabled: true, logLevel: info, webhookMode: enabled, image: {tag: null, pullPolicy: null}, strategy: {type: RollingUpdate},
  securityContext: {runAsNonRoot: true, runAsUser: 65534, fsGroup: 65534}, $pod}
speaker: {enabled: true, logLevel: info, tolerateMaster: true, memberlist: {enabled: true, mlBindPort: 7946, mlBindAddrOverride: '',
  mlSecretKeyPath: /etc/ml_secret_key}, excludeInterfaces: {enabled: true}, ignoreExcludeLB: false, bgpDebounceTimeout: null,
  image: {tag: null, pullPolicy: null}, updateStrategy: {type: RollingUpdate}, securityContext: {}, $pod}
crds: {enabled: true, validationFailurePolicy: Fail}
frrk8s: {enabled: true, external: false, namespace: '', secretPassthrough: false}
networkpolicies: {enabled: false, defaultDeny: false, apiPort: 6443}
"

# What only FRR needs, and keys that nobody knows.
same '{speaker: {bgpDebounceTimeout: 500, startupProbe: {enabled: false, failureThreshold: 1, periodSeconds: 1},
  frr: {image: {repository: r, tag: t, pullPolicy: Always}, metricsPort: 1, resources: {limits: {cpu: 1}}},
  reloader: {resources: {limits: {cpu: 1}}}, frrMetrics: {resources: {limits: {cpu: 1}}}, initContainers: {cpFrrFiles: {resources: {limits: {cpu: 1}}},
  cpReloader: {resources: {limits: {cpu: 1}}}, cpMetrics: {resources: {limits: {cpu: 1}}}}}, frrk8s: {secretPassthrough: true},
  frr-k8s: {prometheus: {serviceMonitor: {enabled: true}}}}'
same '{unknown: 1, controller: {unknown: 1}, speaker: {unknown: {}, livenessProbe: {unknown: a}}, prometheus: {secureMetricsPort: 9122, rbacProxy: {tag: a}}}'

# Of both workloads.
for name in controller speaker; do
  shown $name '{imagePullSecrets: [{name: key}]}' 'imagePullSecrets: - name: key'
  shown $name '{nameOverride: other}' "name: metallb-other-$name" 'app.kubernetes.io/name: other'
  shown $name '{fullnameOverride: full}' "name: full-$name" "serviceAccountName: full-$name" 'full-memberlist'
  shown $name '{loadBalancerClass: c.io/a}' '--lb-class=c.io/a'
  shown $name '{tls: {minVersion: VersionTLS12, cipherSuites: TLS_A, curvePreferences: "29,24"}}' '--tls-min-version=VersionTLS12' \
    '--tls-cipher-suites=TLS_A' '--tls-curve-preferences=29,24'
  shown $name '{tls: {curvePreferences: 29}}' '--tls-curve-preferences=29'
  shown $name "{tls: {${name}MetricsTLSSecret: cert}}" '--metrics-cert-dir=/etc/metrics-certs' 'secretName: cert' 'mountPath: /etc/metrics-certs'
  shown $name '{prometheus: {scrapeAnnotations: true, metricsPort: 9000}}' '--port=9000' 'containerPort: 9000' \
    'annotations: prometheus.io/port: "9000" prometheus.io/scheme: https prometheus.io/scrape: "true"'
  shown $name "{$name: {podAnnotations: {prometheus.io/scheme: http, a.io/b: c}}, prometheus: {scrapeAnnotations: true}}" \
    'annotations: a.io/b: c prometheus.io/port: "9120" prometheus.io/scheme: http prometheus.io/scrape'
  shown $name '{}' '!annotations:' '!imagePullSecrets' '!affinity' '!priorityClassName' '!runtimeClassName' '!resources' '!command'
  shown $name "{$name: {logLevel: debug, command: /other}}" '--log-level=debug' 'command: - /other'
  shown $name "{$name: {image: {repository: r.io/a, tag: b, pullPolicy: Always}}}" 'image: r.io/a:b' 'imagePullPolicy: Always'
  shown $name "{$name: {resources: {limits: {cpu: 100m}}}}" 'resources: limits: cpu: 100m'
  shown $name "{$name: {nodeSelector: {a: b}}}" 'nodeSelector: a: b kubernetes.io/os: linux'
  shown $name "{$name: {nodeSelector: {kubernetes.io/os: linux}}}" 'nodeSelector: kubernetes.io/os: linux' '!kubernetes.io/os: linux kubernetes.io/os'
  shown $name "{$name: {tolerations: [{key: a, operator: Exists}]}}" '- key: a operator: Exists'
  shown $name "{$name: {priorityClassName: high, runtimeClassName: kata}}" 'priorityClassName: high' 'runtimeClassName: kata'
  shown $name "{$name: {affinity: {nodeAffinity: {a: b}}}}" 'affinity: nodeAffinity: a: b'
  more='"a.io/b": "c" "number": "1" "truth": "true"'
  shown $name "{$name: {labels: {a.io/b: c, number: 1, truth: true}}}" "managed-by: Helm app.kubernetes.io/component: $name $more spec: " \
    "metadata: labels: app.kubernetes.io/name: metallb app.kubernetes.io/instance: metallb app.kubernetes.io/component: $name $more spec: "
  shown $name "{$name: {securityContext: {runAsUser: 7}}}" 'runAsUser: 7' 'seccompProfile: type: RuntimeDefault'
  shown $name "{$name: {securityContext: {seccompProfile: {type: Unconfined}}}}" 'seccompProfile: type: Unconfined' '!RuntimeDefault'
  shown $name "{$name: {securityContext: null}}" 'securityContext: seccompProfile: type: RuntimeDefault containers'
  shown $name "{$name: {extraContainers: [{name: more, image: i}]}}" '- image: i name: more'
  shown $name "{$name: {serviceAccount: {name: own}}}" 'serviceAccountName: own'
  shown $name "{$name: {serviceAccount: {create: false}}}" 'serviceAccountName: default'
  shown service-accounts "{$name: {serviceAccount: {name: own, annotations: {a: b}}}}" "name: own " 'annotations: a: b'
  shown service-accounts "{$name: {serviceAccount: {create: false}}}" "!name: metallb-$name "
  shown rbac "{$name: {serviceAccount: {name: own}}}" "name: own " "!kind: ServiceAccount name: metallb-$name "
  for probe in liveness readiness; do
    path=$([ $probe = liveness ] && echo healthz || echo readyz)
    shown $name "{$name: {${probe}Probe: {enabled: false}}}" "!path: /$path"
    shown $name "{$name: {${probe}Probe: {failureThreshold: 21, initialDelaySeconds: 22, periodSeconds: 23, successThreshold: 24, timeoutSeconds: 25}}}" \
      "${probe}Probe: httpGet: path: /$path port: 17472" \
      'initialDelaySeconds: 22 periodSeconds: 23 timeoutSeconds: 25 successThreshold: 24 failureThreshold: 21'
  done
  shown $name "{$name: {livenessProbe: {port: 18000}, readinessProbe: {port: 18000}}}" '--health-probe-port=18000' '!17472'
  shown $name "{$name: {livenessProbe: {enabled: false}, readinessProbe: {port: 18000}}}" '--health-probe-port=18000'
  refused "{$name: {livenessProbe: {port: 18000}}}" 'must be the same'
done

# Of the controller.
shown controller '{controller: {strategy: {type: Recreate}}}' 'strategy: type: Recreate selector'
shown controller '{controller: {strategy: {rollingUpdate: {maxSurge: 0}}}}' 'strategy: rollingUpdate: maxSurge: 0 type: RollingUpdate'
shown controller '{controller: {strategy: null}}' '!strategy:'
shown controller '{controller: {webhookMode: onlywebhook}}' '--webhook-mode=onlywebhook'
shown controller '{controller: {webhookMode: disabled}}' '--webhook-mode=disabled' '!name: webhook-server'
shown networkpolicies '{networkpolicies: {enabled: true}, controller: {webhookMode: disabled}}' '!webhook-server'
shown networkpolicies '{networkpolicies: {enabled: true}}' '- port: webhook-server'
shown controller '{controller: {webhookMode: ""}}' '!--webhook-mode' 'name: webhook-server'
shown webhooks '{controller: {webhookMode: disabled}}' '!ValidatingWebhookConfiguration'
shown crds '{controller: {webhookMode: disabled}}' 'conversion: strategy: None' '!strategy: Webhook' '!/convert'
for mode in enabled onlywebhook '""' null; do
  shown crds "{controller: {webhookMode: $mode}}" 'strategy: Webhook' 'path: /convert' '!strategy: None'
done
shown webhooks '{crds: {validationFailurePolicy: Ignore}}' 'failurePolicy: Ignore' '!failurePolicy: Fail'
shown controller '{speaker: {secretName: own}}' 'name: METALLB_ML_SECRET_NAME value: own '
shown controller '{speaker: {memberlist: {enabled: false}}}' '!METALLB_ML_SECRET_NAME' '!METALLB_DEPLOYMENT'

# Of the speakers.
shown speaker '{speaker: {tolerateMaster: false}}' '!tolerations'
shown speaker '{speaker: {memberlist: {enabled: false}}}' '!METALLB_ML' '!memberlist'
shown speaker '{speaker: {memberlist: {mlBindPort: 7000, mlBindAddrOverride: 192.0.2.1, mlSecretKeyPath: /etc/other}}}' \
  'METALLB_ML_BIND_PORT value: "7000"' 'METALLB_ML_BIND_ADDR value: "192.0.2.1"' 'METALLB_ML_SECRET_KEY_PATH value: "/etc/other"' \
  'mountPath: /etc/other' 'containerPort: 7000 protocol: TCP' 'containerPort: 7000 protocol: UDP'
shown speaker '{speaker: {secretName: own}}' 'secretName: own '
shown speaker '{}' 'add: - NET_RAW volumeMounts' '!NET_ADMIN' '!--keep-connections'
shown speaker '{speaker: {keepConnections: true}}' '--keep-connections' 'add: - NET_RAW - NET_ADMIN volumeMounts'
shown speaker '{speaker: {wanConfig: true, ignoreExcludeLB: true}}' '--ml-wan-config' '--ignore-exclude-lb'
shown speaker '{}' '!--ml-wan-config' '!--ignore-exclude-lb' 'kind: ConfigMap'
shown speaker '{speaker: {excludeInterfaces: {enabled: false}}}' '!metallb-excludel2' '!kind: ConfigMap'
shown speaker '{speaker: {updateStrategy: {type: OnDelete}}}' 'updateStrategy: type: OnDelete'
shown speaker '{speaker: {updateStrategy: null}}' '!updateStrategy:'

# Of the release as a whole.
shown all '{controller: {enabled: false}}' '!kind: Deployment' '!ValidatingWebhookConfiguration' 'kind: DaemonSet' '!name: METALLB_ML_SECRET_NAME'
shown all '{speaker: {enabled: false}, frrk8s: {enabled: false}}' '!kind: DaemonSet' '!metallb-excludel2' 'kind: Deployment' '!METALLB_ML_SECRET_NAME'
for name in controller speaker; do
  shown $name '{}' 'METALLB_BGP_TYPE value: frr-k8s'
  shown $name '{frrk8s: {enabled: false}}' 'METALLB_BGP_TYPE value: native'
  shown $name '{frrk8s: {enabled: false}, speaker: {frr: {enabled: true}}}' 'METALLB_BGP_TYPE value: frr '
  shown $name '{frrk8s: {enabled: false, external: true, namespace: frr}}' 'METALLB_BGP_TYPE value: frr-k8s'
done
shown speaker '{frrk8s: {enabled: false, external: true, namespace: frr}}' 'FRRK8S_NAMESPACE value: frr '
shown all '{rbac: {create: false}}' '!rbac.authorization.k8s.io'
shown all '{crds: {enabled: false}}' '!CustomResourceDefinition'
shown all '{networkpolicies: {defaultDeny: true}}' '!NetworkPolicy'
shown networkpolicies '{networkpolicies: {enabled: true}}' 'egress: - ports: - port: 6443 protocol: TCP' '!default-deny'
shown networkpolicies '{networkpolicies: {enabled: true, defaultDeny: true, apiPort: 443}}' '- port: 443 ' 'name: default-deny'

# Of Prometheus.
prometheus() { echo "{prometheus: {serviceAccount: prom, namespace: monitoring, $1}}"; }
more='jobLabel: job, interval: 30s, metricRelabelings: [{action: drop}], relabelings: [{action: keep}]'
component='additionalLabels: {a: b}, annotations: {c: d}, tlsConfig: {serverName: e}'
shown prometheus "$(prometheus "serviceMonitor: {enabled: true, $more}")" 'kind: ServiceMonitor' 'jobLabel: "job"' 'interval: "30s"' \
  'metricRelabelings: - action: drop' ' relabelings: - action: keep' 'name: metallb-controller-monitor ' 'name: metallb-speaker-monitor ' \
  'kind: Role metadata: name: metallb-prometheus' '- kind: ServiceAccount name: prom namespace: monitoring' '!kind: PodMonitor' '!kind: Secret'
for name in controller speaker; do
  shown prometheus "$(prometheus "serviceMonitor: {enabled: true, $name: {$component}}")" \
    "app.kubernetes.io/component: $name a: b annotations: c: d spec: jobLabel: " \
    "name: metallb-$name-monitor-service annotations: c: d spec: clusterIP" 'insecureSkipVerify: true serverName: e'
  shown prometheus "$(prometheus "serviceMonitor: {enabled: true, $name: {tlsConfig: null}}")" 'tlsConfig: insecureSkipVerify: true' '!tlsConfig: null'
done
shown prometheus "$(prometheus "podMonitor: {enabled: true, $more, $component}")" 'kind: PodMonitor' 'jobLabel: "job"' 'interval: "30s"' \
  'metricRelabelings: - action: drop' ' relabelings: - action: keep' 'name: metallb-controller ' 'name: metallb-speaker ' \
  'app.kubernetes.io/component: controller a: b annotations: c: d spec: ' 'app.kubernetes.io/component: speaker a: b annotations: c: d spec: ' \
  'insecureSkipVerify: true serverName: e' 'authorization: credentials: name: metallb-metrics-reader-token key: token' \
  'type: kubernetes.io/service-account-token' '- kind: ServiceAccount name: metallb-metrics-reader namespace: metallb-system' '!kind: ServiceMonitor'
shown prometheus '{prometheus: {rbacPrometheus: false, podMonitor: {enabled: true}}}' '!metallb-prometheus' '!namespace: monitoring' \
  'name: metallb-metrics-reader namespace: metallb-system'
shown prometheus '{prometheus: {rbacPrometheus: false, serviceMonitor: {enabled: true, interval: 15}}}' '!rbac.authorization' 'interval: 15s'
for kind in serviceMonitor podMonitor; do
  shown prometheus "{speaker: {enabled: false}, frrk8s: {enabled: false}, prometheus: {rbacPrometheus: false, $kind: {enabled: true}}}" \
    'component: controller' '!component: speaker'
done
rules() { echo "{prometheus: {prometheusRule: {enabled: true, $1}}}"; }
shown prometheus "$(rules '')" 'kind: PrometheusRule metadata: name: metallb ' '- name: metallb.rules' \
  'metallb_k8s_client_config_stale_bool{job=~"metallb.*"} == 1 for: 1m labels: severity: warning' \
  'metallb_k8s_client_config_loaded_bool{job=~"metallb.*"} == 0 for: 1m labels: severity: warning' \
  'metallb_allocator_addresses_in_use_total{} >= on(pool) metallb_allocator_addresses_total for: 1m labels: severity: critical' \
  '* 100 > 75 labels: severity: warning' '* 100 > 85 labels: severity: warning' '* 100 > 95 labels: severity: critical' \
  'metallb_bgp_session_up{job=~"metallb.*"} == 0 for: 1m labels: severity: critical'
shown prometheus "$(rules 'additionalLabels: {a: b}, annotations: {c: d}, extraAlerts: [{alert: Mine, expr: up == 0}]')" \
  'a: b annotations: c: d spec: groups' '- alert: Mine expr: up == 0'
for alert in staleConfig:StaleConfig configNotLoaded:ConfigNotLoaded addressPoolExhausted:AddressPoolExhausted bgpSessionDown:BGPSessionDown; do
  shown prometheus "$(rules "${alert%:*}: {enabled: false}")" "!MetalLB${alert#*:}"
  shown prometheus "$(rules "${alert%:*}: {labels: {severity: none, team: a}}")" 'labels: severity: none team: a'
done
shown prometheus "$(rules 'addressPoolUsage: {enabled: false}')" '!MetalLBAddressPoolUsage'
shown prometheus "$(rules 'addressPoolUsage: {thresholds: [{percent: 50, labels: {a: b}}]}')" 'MetalLBAddressPoolUsage50Percent' \
  '* 100 > 50 labels: a: b' '!Usage75Percent'
shown prometheus "$(rules 'addressPoolUsage: {excludePools: a.*}')" 'in_use_total{pool!~"a.*"} / on(pool)'
shown prometheus "$(rules 'addressPoolExhausted: {excludePools: b.*}')" 'in_use_total{pool!~"b.*"} >= on(pool)'

# What contradicts itself.
refused '{configInline: {address-pools: []}}' 'configInline'
refused '{speaker: {frr: {enabled: true}}}' 'exclude one another'
refused '{speaker: {frr: {enabled: true}}, frrk8s: {enabled: false, external: true, namespace: a}}' 'exclude one another'
refused '{frrk8s: {external: true, namespace: a}}' 'exclude one another'
refused '{speaker: {enabled: false}}' 'needs speaker.enabled'
refused '{frrk8s: {enabled: false, external: true}}' 'needs frrk8s.namespace'
refused '{speaker: {memberlist: {enabled: false}, nodeSelector: {a: b}}}' 'nodeSelector must be empty'
refused "$(prometheus 'serviceMonitor: {enabled: true}, podMonitor: {enabled: true}')" 'exclude one another'
for kind in serviceMonitor podMonitor; do
  refused "{prometheus: {serviceAccount: a, $kind: {enabled: true}}}" 'needs prometheus.serviceAccount and prometheus.namespace'
  refused "{prometheus: {namespace: a, $kind: {enabled: true}}}" 'needs prometheus.serviceAccount and prometheus.namespace'
done

# Values of another type: the schema says where. Most keys of the workloads have one definition for both.
for name in controller speaker; do
  for key in failureThreshold initialDelaySeconds periodSeconds successThreshold timeoutSeconds; do
    for probe in livenessProbe readinessProbe; do
      refused "{$name: {$probe: {$key: null}}}" "at '/$name/$probe': missing property '$key'"
      refused "{$name: {$probe: {$key: a}}}" "at '/$name/$probe/$key'"
    done
  done
done
while read -r key value; do
  values=$value
  for part in $(tr . '\n' <<<"$key" | tac); do values="{$part: $values}"; done
  refused "$values" "at '/${key//.//}"
done <<'END'
imagePullSecrets a
imagePullSecrets [a]
nameOverride 1
fullnameOverride 1
loadBalancerClass 1
rbac.create a
tls.cipherSuites 1
tls.curvePreferences [29]
tls.minVersion VersionTLS11
tls.controllerMetricsTLSSecret 1
tls.speakerMetricsTLSSecret 1
prometheus.scrapeAnnotations a
prometheus.metricsPort a
prometheus.rbacPrometheus a
prometheus.serviceAccount 1
prometheus.namespace 1
prometheus.podMonitor.enabled a
prometheus.podMonitor.additionalLabels a
prometheus.podMonitor.annotations a
prometheus.podMonitor.jobLabel 1
prometheus.podMonitor.interval []
prometheus.podMonitor.metricRelabelings {}
prometheus.podMonitor.relabelings [a]
prometheus.podMonitor.tlsConfig a
prometheus.serviceMonitor.enabled a
prometheus.serviceMonitor.speaker.additionalLabels a
prometheus.serviceMonitor.speaker.annotations a
prometheus.serviceMonitor.speaker.tlsConfig a
prometheus.serviceMonitor.controller.additionalLabels a
prometheus.serviceMonitor.controller.annotations a
prometheus.serviceMonitor.controller.tlsConfig a
prometheus.serviceMonitor.jobLabel 1
prometheus.serviceMonitor.interval []
prometheus.serviceMonitor.metricRelabelings {}
prometheus.serviceMonitor.relabelings {}
prometheus.prometheusRule.enabled a
prometheus.prometheusRule.additionalLabels a
prometheus.prometheusRule.annotations a
prometheus.prometheusRule.staleConfig.enabled a
prometheus.prometheusRule.configNotLoaded.labels a
prometheus.prometheusRule.addressPoolExhausted.excludePools 1
prometheus.prometheusRule.addressPoolUsage.thresholds [{percent: a}]
prometheus.prometheusRule.addressPoolUsage.excludePools 1
prometheus.prometheusRule.bgpSessionDown.enabled a
prometheus.prometheusRule.extraAlerts {}
controller.webhookMode a
controller.strategy a
speaker.tolerateMaster a
speaker.memberlist.enabled a
speaker.memberlist.mlBindPort a
speaker.memberlist.mlBindAddrOverride 1
speaker.memberlist.mlSecretKeyPath 1
speaker.excludeInterfaces.enabled a
speaker.ignoreExcludeLB a
speaker.keepConnections a
speaker.wanConfig a
speaker.secretName 1
speaker.bgpDebounceTimeout a
speaker.updateStrategy a
speaker.startupProbe.enabled a
speaker.frr.enabled a
speaker.frr.image.tag 10.5
speaker.frr.metricsPort a
speaker.frr.resources a
speaker.reloader.resources a
speaker.frrMetrics.resources a
speaker.initContainers.cpMetrics.resources a
crds.enabled a
crds.validationFailurePolicy a
frrk8s.enabled a
frrk8s.external a
frrk8s.namespace 1
frrk8s.secretPassthrough a
frr-k8s a
networkpolicies.enabled a
networkpolicies.defaultDeny a
networkpolicies.apiPort a
speaker.enabled a
speaker.logLevel loud
speaker.command 1
speaker.image.repository 1
speaker.image.tag 1
speaker.image.pullPolicy a
speaker.serviceAccount.create a
speaker.serviceAccount.name 1
speaker.serviceAccount.annotations a
speaker.securityContext a
speaker.resources a
speaker.nodeSelector a
speaker.tolerations a
speaker.priorityClassName 1
speaker.runtimeClassName 1
speaker.affinity a
speaker.podAnnotations a
speaker.labels a
speaker.livenessProbe.port a
speaker.extraContainers a
controller.enabled a
controller.logLevel loud
controller.resources a
controller.extraContainers a
END

exit $failed
