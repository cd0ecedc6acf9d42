// SPDX-License-Identifier: Apache-2.0
//! etcd and kube-apiserver in a namespace of their own, with the CRDs and MetalLB's roles.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::generation::Generation;
use super::kube::{Kube, documents};
use super::netns::{Namespace, succeeded};
use super::process::{Process, Rights, Start, tail};
use super::wait::eventually_true;
use super::webhooks::PEERS_CRD;
use crate::roles;

const START: Duration = Duration::from_secs(60);
const RBAC: &str = include_str!("../../manifests/rbac.yaml");
const OURS: &str = env!("CARGO_MANIFEST_DIR");

/// Which address families the cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4 first, then IPv6.
    Dual,
    /// IPv6 only.
    Ipv6,
}

impl Families {
    fn services(self) -> &'static str {
        match self {
            Self::Dual => "10.96.0.0/16,fd00:96::/112",
            Self::Ipv6 => "fd00:96::/112",
        }
    }

    /// The API server's address.
    #[must_use]
    pub fn address(self) -> &'static str {
        match self {
            Self::Dual => "172.30.0.2",
            Self::Ipv6 => "fd30::2",
        }
    }

    fn url(self) -> String {
        match self {
            Self::Dual => format!("https://{}:6443", self.address()),
            Self::Ipv6 => format!("https://[{}]:6443", self.address()),
        }
    }
}

/// Who calls the API, each with a token of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The rack itself.
    Admin,
    /// The controller's service account.
    Controller,
    /// The speakers' service account.
    Speaker,
    /// kube-proxy.
    Proxy,
}

impl Identity {
    const ALL: [Self; 4] = [Self::Admin, Self::Controller, Self::Speaker, Self::Proxy];

    fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Controller => "controller",
            Self::Speaker => "speaker",
            Self::Proxy => "kube-proxy",
        }
    }

    /// A line of the API server's table of tokens.
    fn line(self) -> String {
        let name = self.name();
        let account = "\"system:serviceaccounts,system:serviceaccounts:metallb-system\"";
        match self {
            Self::Admin => format!("token-{name},{name},{name},\"system:masters\"\n"),
            Self::Controller | Self::Speaker => format!(
                "token-{name},system:serviceaccount:metallb-system:{name},{name},{account}\n"
            ),
            Self::Proxy => format!("token-{name},system:{name},{name},\n"),
        }
    }
}

/// The binary with the control plane in it, built when it is not there yet.
///
/// # Errors
/// When it cannot be built; what is missing has been said by then.
pub fn binary() -> anyhow::Result<PathBuf> {
    let output =
        Command::new(format!("{OURS}/cluster/build.sh")).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("the control plane cannot be built");
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    /// Which families it has.
    pub families: Families,
    /// The API as the administrator.
    pub kube: Kube,
    /// The API server.
    pub apiserver: Process,
    /// Its store.
    pub etcd: Process,
    folder: PathBuf,
    program: PathBuf,
}

impl ControlPlane {
    /// Starts it in `namespace`, whose addresses are 172.30.0.2 and fd30::2.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start(
        namespace: &Namespace,
        folder: &Path,
        program: &Path,
        families: Families,
    ) -> anyhow::Result<Self> {
        certificates(folder)?;
        let tokens: String = Identity::ALL.into_iter().map(Identity::line).collect();
        std::fs::write(folder.join("tokens.csv"), tokens)?;
        for identity in Identity::ALL {
            std::fs::write(
                kubeconfig(folder, identity),
                kubeconfig_text(folder, identity, families),
            )?;
        }
        let data = folder.join("etcd");
        // A store of an earlier control plane of this lane.
        let _ = std::fs::remove_dir_all(&data);
        let etcd = Process::start(
            folder,
            Start {
                name: "etcd".into(),
                namespace,
                program,
                arguments: vec![
                    "etcd".into(),
                    data.display().to_string(),
                    "http://127.0.0.1:2379".into(),
                    "http://127.0.0.1:2380".into(),
                ],
                environment: Vec::new(),
                rights: Rights::All,
            },
        )?;
        let mut plane = Self {
            families,
            kube: Kube::start(&namespace.path(), &kubeconfig(folder, Identity::Admin))?,
            apiserver: start_apiserver(namespace, folder, program, families)?,
            etcd,
            folder: folder.to_owned(),
            program: program.to_owned(),
        };
        plane.wait()?;
        plane.install()?;
        Ok(plane)
    }

    /// Starts the API server again after it was stopped.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart_apiserver(&mut self, namespace: &Namespace) -> anyhow::Result<()> {
        self.apiserver.kill();
        self.apiserver = start_apiserver(namespace, &self.folder, &self.program, self.families)?;
        self.wait()
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let kube = &self.kube;
        let result = self.apiserver.wait_ready(START, || {
            // Ready, and the roles that it makes itself are there. /readyz is no JSON: any list does.
            Ok(kube.get("/api/v1/namespaces/default").is_ok()
                && kube
                    .get("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:node-proxier")
                    .is_ok())
        });
        result.with_context(|| format!("etcd:\n{}", tail(&self.etcd.log(), 5)))
    }

    /// Installs MetalLB's roles and all CRDs, where something else was put in their place.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn install(&self) -> anyhow::Result<()> {
        apply_roles(&self.kube)?;
        for crd in crds()? {
            self.kube.apply(&crd)?;
        }
        eventually_true("all CRDs are established", START, || {
            let crds = self.kube.list("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")?;
            Ok(!crds.is_empty() && crds.iter().all(is_established))
        })?;
        // Established is said a moment before the paths answer.
        eventually_true("the paths of the CRDs answer", START, || {
            for crd in crds()? {
                let plural = crd.pointer("/spec/names/plural").and_then(Value::as_str);
                let plural = plural.unwrap_or_default();
                // As they are stored: there may be nobody who converts them.
                let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
                let stored = versions
                    .into_iter()
                    .flatten()
                    .find(|version| version.get("storage").and_then(Value::as_bool) == Some(true));
                let version = stored.and_then(|version| version.get("name")?.as_str());
                let version = version.context("no version is stored")?;
                let group = crd.pointer("/spec/group").and_then(Value::as_str).unwrap_or_default();
                self.kube.get(&format!("/apis/{group}/{version}/{plural}?limit=1"))?;
            }
            Ok(true)
        })
    }
}

impl ControlPlane {
    /// Installs the roles and kinds of a generation of MetalLB's manifests in place of those of today.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn install_generation(&self, generation: Generation) -> anyhow::Result<()> {
        for object in generation.roles().into_iter().chain(generation.webhook_objects()) {
            self.kube.apply(&object)?;
        }
        let service = json!({"name": generation.webhook_names().1});
        let conversion = json!({"webhook": {"clientConfig": {"service": service}}});
        self.kube.patch(PEERS_CRD, &json!({"spec": {"conversion": conversion}}))?;
        let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        for plural in generation.absent_kinds() {
            self.kube.delete(&format!("{crds}/{plural}.metallb.io"))?;
            eventually_true(&format!("{plural} are gone"), START, || {
                Ok(self.kube.find(&format!("{crds}/{plural}.metallb.io"))?.is_none())
            })?;
        }
        Ok(())
    }
}

/// The kind of frr-k8s that speakers write where it is there.
const SESSION_STATES: &str = include_str!("../../manifests/bgp-session-state.yaml");

impl ControlPlane {
    /// Makes BGPSessionState a kind that the speakers may write; it goes with the scenario.
    ///
    /// # Errors
    /// When the API refuses.
    pub fn install_session_states(&self) -> anyhow::Result<()> {
        for object in documents(SESSION_STATES)? {
            self.kube.apply(&object)?;
        }
        eventually_true("BGPSessionStates are served", START, || {
            Ok(self.kube.get("/apis/frrk8s.metallb.io/v1beta1/bgpsessionstates?limit=1").is_ok())
        })
    }
}

/// Applies MetalLB's namespace, service accounts and roles.
///
/// # Errors
/// When the API refuses.
pub fn apply_roles(kube: &Kube) -> anyhow::Result<()> {
    for object in documents(RBAC)? {
        kube.apply(&object)?;
    }
    Ok(())
}

/// Whether the API server serves this CRD.
#[must_use]
pub fn is_established(crd: &Value) -> bool {
    let conditions = crd.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        condition.get("type").and_then(Value::as_str) == Some("Established")
            && condition.get("status").and_then(Value::as_str) == Some("True")
    })
}

/// The generated CRDs.
///
/// # Errors
/// When they cannot be read.
pub fn crds() -> anyhow::Result<Vec<Value>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(format!("{OURS}/../crds/generated"))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    let mut crds = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)?;
        crds.extend(documents(&text).with_context(|| path.display().to_string())?);
    }
    Ok(crds)
}

/// Where the kubeconfig of an identity is.
#[must_use]
pub fn kubeconfig(folder: &Path, identity: Identity) -> PathBuf {
    folder.join(format!("{}.kubeconfig", identity.name()))
}

fn kubeconfig_text(folder: &Path, identity: Identity, families: Families) -> String {
    let (url, name) = (families.url(), identity.name());
    let authority = folder.join("ca.crt");
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "rack",
        "clusters": [{"name": "rack", "cluster": {"server": url, "certificate-authority": authority}}],
        "users": [{"name": name, "user": {"token": format!("token-{name}")}}],
        "contexts": [{"name": "rack", "context": {"cluster": "rack", "user": name}}],
    })
    .to_string()
}

fn start_apiserver(
    namespace: &Namespace,
    folder: &Path,
    program: &Path,
    families: Families,
) -> anyhow::Result<Process> {
    let file = |name: &str| folder.join(name).display().to_string();
    let arguments = [
        "kube-apiserver".to_owned(),
        "--etcd-servers=http://127.0.0.1:2379".into(),
        "--secure-port=6443".into(),
        "--bind-address=::".into(),
        format!("--advertise-address={}", families.address()),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--service-account-key-file={}", file("server.key")),
        format!("--service-account-signing-key-file={}", file("server.key")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=RBAC".into(),
        format!("--service-cluster-ip-range={}", families.services()),
        "--allow-privileged=true".into(),
        "--disable-admission-plugins=ServiceAccount".into(),
        // Webhooks are found by their Service and its EndpointSlice, without kube-proxy.
        "--enable-aggregator-routing=true".into(),
        format!("--audit-policy-file={}", file("audit-policy.json")),
        format!("--audit-log-path={}", file(roles::LOG)),
    ];
    std::fs::write(folder.join("audit-policy.json"), roles::policy())?;
    Process::start(
        folder,
        Start {
            name: "kube-apiserver".into(),
            namespace,
            program,
            arguments: arguments.into(),
            environment: Vec::new(),
            rights: Rights::All,
        },
    )
}

/// An authority and the server's certificate.
fn certificates(folder: &Path) -> anyhow::Result<()> {
    if folder.join("server.crt").exists() {
        return Ok(());
    }
    let script = r#"
        set -e
        openssl ecparam -name prime256v1 -genkey -noout -out ca.key
        openssl req -x509 -new -key ca.key -days 3 -subj /CN=rack -out ca.crt \
            -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
        openssl ecparam -name prime256v1 -genkey -noout -out server.key
        openssl req -new -key server.key -subj /CN=kube-apiserver -out server.csr
        printf 'subjectAltName=IP:172.30.0.2,IP:fd30::2,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' >server.ext
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3 \
            -extfile server.ext -out server.crt
    "#;
    let output = Command::new("sh").args(["-c", script]).current_dir(folder).output()?;
    succeeded(&output).context("openssl")
}
