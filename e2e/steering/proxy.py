# SPDX-License-Identifier: Apache-2.0
"""The real kube-proxy on each node, with the API server and etcd of e2e/cluster."""

import json
import os
import subprocess
import time

import lab

URL = "https://198.51.100.201:6443"
CERTIFICATES = """set -e
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -days 1 -subj /CN=steering -out ca.crt \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
openssl ecparam -name prime256v1 -genkey -noout -out server.key
openssl req -new -key server.key -subj /CN=kube-apiserver -out server.csr
printf 'subjectAltName=IP:198.51.100.201,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' >server.ext
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -extfile server.ext -out server.crt
"""


class Cluster:
    """A control plane with the two Services, and kube-proxy on each node."""

    def __init__(self):
        self.program = lab.run(os.path.join(lab.HERE, "../cluster/build.sh")).strip()
        self.folder = lab.SCRATCH
        self.proxies = []

    def start(self, space, name, *arguments):
        """Starts one component in a namespace, with a log in the folder."""
        with open(f"{self.folder}/{space}-{name}.log", "w", encoding="utf-8") as log:
            command = ["ip", "netns", "exec", lab.PREFIX + space, self.program, name, *arguments]
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def call(self, method, path, body=None, check=True):
        """One request to the API; returns the answer's text."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = f"-H 'Content-Type: {kind}' --data @-" if body else ""
        return lab.within("api", f"curl -sS --fail-with-body --cacert {self.folder}/ca.crt --max-time 5 -X {method} "
                          f"-H 'Authorization: Bearer token-admin' {data} {URL}{path}", check,
                          json.dumps(body) if body else None)

    def up(self, mode):
        """Starts everything and waits until each kube-proxy has made its rules."""
        folder = self.folder
        subprocess.run(CERTIFICATES, shell=True, check=True, cwd=folder, capture_output=True)
        with open(f"{folder}/tokens.csv", "w", encoding="utf-8") as tokens:
            tokens.write('token-admin,admin,admin,"system:masters"\ntoken-proxy,system:kube-proxy,kube-proxy,\n')
        self.start("api", "etcd", f"{folder}/etcd", "http://127.0.0.1:2379", "http://127.0.0.1:2380")
        self.start("api", "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--secure-port=6443",
                   "--bind-address=198.51.100.201", f"--tls-cert-file={folder}/server.crt",
                   f"--tls-private-key-file={folder}/server.key", f"--token-auth-file={folder}/tokens.csv",
                   f"--service-account-key-file={folder}/server.key", "--authorization-mode=RBAC",
                   f"--service-account-signing-key-file={folder}/server.key", "--allow-privileged=true",
                   "--service-account-issuer=https://kubernetes.default.svc",
                   "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
                   "--disable-admission-plugins=ServiceAccount")
        roles = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:node-proxier"
        until(90, "the API server", lambda: '"system:node-proxier"' in self.call("GET", roles, None, False)
              and '"default"' in self.call("GET", "/api/v1/namespaces/default", None, False))
        self.objects()
        self.proxy(mode)

    def objects(self):
        """The nodes, the Services and their endpoints."""
        for number in lab.NODES:
            self.call("POST", "/api/v1/nodes", {"kind": "Node", "apiVersion": "v1",
                                                "metadata": {"name": f"n{number}"}})
            self.call("PATCH", f"/api/v1/nodes/n{number}/status", {"status": {"addresses": [
                {"type": "InternalIP", "address": f"198.51.100.{number}"},
                {"type": "InternalIP", "address": f"2001:db8:1::{number}"}]}})
        for policy, addresses in (("Cluster", (lab.CLUSTER, lab.CLUSTER6)), ("Local", (lab.LOCAL, lab.LOCAL6))):
            name = policy.lower()
            ports = [{"name": p, "protocol": p.upper(), "port": 80, "targetPort": 8080} for p in ("tcp", "udp")]
            self.call("POST", "/api/v1/namespaces/default/services", {
                "kind": "Service", "apiVersion": "v1", "metadata": {"name": name},
                "spec": {"type": "LoadBalancer", "externalTrafficPolicy": policy, "ports": ports,
                         "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}})
            self.call("PATCH", f"/api/v1/namespaces/default/services/{name}/status", {"status": {
                "loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}})
            for family, pod in (("IPv4", "10.244.{}.10"), ("IPv6", "fd00:244:{}::10")):
                self.call("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
                    "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": family,
                    "metadata": {"name": f"{name}-{family.lower()}", "labels": {"kubernetes.io/service-name": name}},
                    "ports": [{"name": p, "protocol": p.upper(), "port": 8080} for p in ("tcp", "udp")],
                    "endpoints": [{"addresses": [pod.format(number)], "nodeName": f"n{number}", "conditions":
                                   {"ready": True, "serving": True, "terminating": False}} for number in lab.NODES]})

    def proxy(self, mode):
        """Starts kube-proxy in a mode on each node, in place of the one before it."""
        for process in self.proxies:
            process.kill()
            process.wait()
        self.proxies = []
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "rack",
                  "clusters": [{"name": "rack", "cluster": {"server": URL,
                                                            "certificate-authority": f"{self.folder}/ca.crt"}}],
                  "users": [{"name": "proxy", "user": {"token": "token-proxy"}}],
                  "contexts": [{"name": "rack", "context": {"cluster": "rack", "user": "proxy"}}]}
        write(f"{self.folder}/proxy.kubeconfig", config)
        for number in lab.NODES:
            name = f"n{number}"
            lab.within(name, "nft flush ruleset")
            write(f"{self.folder}/{name}.json", {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": mode,
                "hostnameOverride": name, "bindAddress": "0.0.0.0", "clusterCIDR": "10.244.0.0/16,fd00:244::/32",
                "clientConnection": {"kubeconfig": f"{self.folder}/proxy.kubeconfig"},
                "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
                "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249"})
            self.proxies.append(self.start(name, "kube-proxy", f"--config={self.folder}/{name}.json"))
        for number in lab.NODES:
            until(90, f"kube-proxy's rules on n{number}", lambda space=f"n{number}": all(
                address in lab.within(space, "nft list ruleset", False)
                for address in (lab.CLUSTER, lab.LOCAL, lab.CLUSTER6, lab.LOCAL6)))


def write(path, value):
    """Writes a value as JSON."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)


def until(seconds, what, condition):
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"not in {seconds} s: {what}")
        time.sleep(0.5)
