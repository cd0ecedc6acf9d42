// SPDX-License-Identifier: Apache-2.0
//! Finds the configuration of the API in the order of controller-runtime, and so of MetalLB's programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::ConnectError;

/// The place of the API's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// The file that `--kubeconfig` names.
    Flag(PathBuf),
    /// The files that the environment variable KUBECONFIG names.
    Environment,
    /// The service account of the pod.
    Pod,
    /// `~/.kube/config`.
    Home,
}

fn source(flag: Option<&Path>, environment: Option<&OsStr>, in_pod: bool) -> Source {
    let named = |text: &&OsStr| !text.is_empty();
    match (flag.filter(|path| !path.as_os_str().is_empty()), environment.filter(named)) {
        (Some(path), _) => Source::Flag(path.to_owned()),
        (None, Some(_)) => Source::Environment,
        (None, None) if in_pod => Source::Pod,
        (None, None) => Source::Home,
    }
}

/// The configuration, and the proxy that a kubeconfig names for its cluster.
pub(super) async fn configured(
    flag: Option<&Path>,
) -> Result<(Config, Option<String>), ConnectError> {
    let pod = Config::incluster();
    let kubeconfig = match source(flag, std::env::var_os("KUBECONFIG").as_deref(), pod.is_ok()) {
        Source::Flag(path) => Kubeconfig::read_from(&path).map_err(|error| {
            ConnectError::Kubeconfig(format!("--kubeconfig {}", path.display()), error)
        }),
        Source::Environment => {
            Kubeconfig::read().map_err(|error| ConnectError::Kubeconfig("KUBECONFIG".into(), error))
        }
        // If neither can be had, the error names both places.
        Source::Pod | Source::Home => match pod {
            Ok(config) => return Ok((config, None)),
            Err(_) => return inferred().await,
        },
    }?;
    let proxy = proxy_url(&kubeconfig);
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| ConnectError::Kubeconfig("the kubeconfig".into(), error))?;
    Ok((config, proxy))
}

/// Finds the configuration as kubectl does: the kubeconfig of the environment or of the home folder, else the pod's
/// service account.
pub(super) async fn inferred() -> Result<(Config, Option<String>), ConnectError> {
    let config = Config::infer().await?;
    let is_named = config.proxy_url.is_some();
    let proxy = is_named.then(|| proxy_url(&Kubeconfig::read().ok()?)).flatten();
    Ok((config, proxy))
}

/// `proxy-url` of the current cluster. kube mixes it with the environment's, to which other rules apply.
fn proxy_url(kubeconfig: &Kubeconfig) -> Option<String> {
    let context = kubeconfig.current_context.as_ref()?;
    let named = kubeconfig.contexts.iter().find(|named| named.name == *context)?;
    let cluster = &named.context.as_ref()?.cluster;
    let named = kubeconfig.clusters.iter().find(|named| named.name == *cluster)?;
    named.cluster.as_ref()?.proxy_url.clone().filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_environment_and_that_before_the_pod() {
        let file = Path::new("/etc/k");
        let environment = OsStr::new("/a:/b");
        let none = OsStr::new("");
        let flag = || Source::Flag(file.to_owned());
        for (given, variable, in_pod, expected) in [
            (Some(file), Some(environment), true, flag()),
            (Some(file), None, false, flag()),
            (None, Some(environment), true, Source::Environment),
            (Some(Path::new("")), Some(environment), false, Source::Environment),
            (None, Some(none), true, Source::Pod),
            (None, None, true, Source::Pod),
            (Some(Path::new("")), Some(none), false, Source::Home),
        ] {
            assert_eq!(source(given, variable, in_pod), expected);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_named_is_the_only_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(
            &path,
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nclusters: [{name: k, cluster: {server: 'http://192.0.2.1:6443', proxy-url: 'http://192.0.2.2:3128'}}]\nusers: [{name: u, user: {}}]\n",
        )
        .unwrap();
        let (config, proxy) = configured(Some(&path)).await.unwrap();
        assert_eq!(config.cluster_url.host(), Some("192.0.2.1"));
        assert_eq!(proxy.as_deref(), Some("http://192.0.2.2:3128"));
        let missing = folder.path().join("nothing");
        let error = configured(Some(&missing)).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("--kubeconfig {}: ", missing.display())), "{error}");
    }
}
