// SPDX-License-Identifier: Apache-2.0
//! The lists of a live cluster that `ferrolb` looks at, each listed once, as the API gave it.

use std::collections::BTreeMap;

use http::Request;
use kube::Client;
use serde_json::Value;

/// The kinds of our own groups and of Kubernetes by a short name, each with the path of its list. `NS` stands for
/// MetalLB's namespace.
const LISTS: [(&str, &str); 25] = [
    ("services", "/api/v1/services"),
    ("nodes", "/api/v1/nodes"),
    ("pods", "/api/v1/namespaces/NS/pods"),
    ("configmaps", "/api/v1/namespaces/NS/configmaps"),
    ("ipaddresspools", "/apis/metallb.io/v1beta1/namespaces/NS/ipaddresspools"),
    ("l2advertisements", "/apis/metallb.io/v1beta1/namespaces/NS/l2advertisements"),
    ("bgpadvertisements", "/apis/metallb.io/v1beta1/namespaces/NS/bgpadvertisements"),
    ("bgppeers", "/apis/metallb.io/v1beta2/namespaces/NS/bgppeers"),
    ("bgppeers.v1beta1", "/apis/metallb.io/v1beta1/namespaces/NS/bgppeers"),
    ("bfdprofiles", "/apis/metallb.io/v1beta1/namespaces/NS/bfdprofiles"),
    ("communities", "/apis/metallb.io/v1beta1/namespaces/NS/communities"),
    ("servicel2statuses", "/apis/metallb.io/v1beta1/namespaces/NS/servicel2statuses"),
    ("speakerreports", "/apis/ferrolb.io/v1alpha1/namespaces/NS/speakerreports"),
    ("servicebgpstatuses", "/apis/metallb.io/v1beta1/namespaces/NS/servicebgpstatuses"),
    ("configurationstates", "/apis/metallb.io/v1beta1/namespaces/NS/configurationstates"),
    ("bgpsessionstates", "/apis/frrk8s.metallb.io/v1beta1/bgpsessionstates"),
    ("frrconfigurations", "/apis/frrk8s.metallb.io/v1beta1/frrconfigurations"),
    ("addresspools", "/apis/metallb.io/v1beta1/namespaces/NS/addresspools"),
    ("externalippools", "/apis/crd.antrea.io/v1beta1/externalippools"),
    ("daemonsets", "/apis/apps/v1/daemonsets"),
    ("deployments", "/apis/apps/v1/deployments"),
    ("webhooks", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"),
    ("events", "/api/v1/events"),
    ("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices"),
    ("allpods", "/api/v1/pods"),
];

/// Single objects by a short name, each with its path.
const OBJECTS: [(&str, &str); 4] = [
    ("kube-proxy", "/api/v1/namespaces/kube-system/configmaps/kube-proxy"),
    ("cilium", "/api/v1/namespaces/kube-system/configmaps/cilium-config"),
    ("antrea", "/api/v1/namespaces/kube-system/configmaps/antrea-config"),
    ("calico", "/apis/crd.projectcalico.org/v1/felixconfigurations/default"),
];

/// Objects per page of a list.
const PAGE: usize = 500;

/// The lists of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The namespace of the configuration objects.
    pub namespace: String,
    lists: BTreeMap<&'static str, Vec<Value>>,
    /// The reason why a list could not be had, by the list's name.
    missing: BTreeMap<&'static str, String>,
    /// The single objects that are there.
    objects: BTreeMap<&'static str, Value>,
}

impl Survey {
    /// Lists these kinds, and reads these single objects.
    ///
    /// # Errors
    /// The API cannot be reached at all. A kind that is absent or not permitted is only noted.
    pub async fn take(client: &Client, namespace: &str, wanted: &[&str]) -> anyhow::Result<Self> {
        let mut survey = Self { namespace: namespace.to_owned(), ..Self::default() };
        for (name, path) in LISTS.iter().filter(|(name, _)| wanted.contains(name)) {
            match list(client, &path.replace("NS", namespace)).await {
                Ok(items) => drop(survey.lists.insert(name, items)),
                Err(kube::Error::Api(status)) => {
                    survey.missing.insert(name, status.message.clone());
                }
                Err(error) => return Err(error.into()),
            }
        }
        for (name, path) in OBJECTS.iter().filter(|(name, _)| wanted.contains(name)) {
            let request = Request::get(*path).body(Vec::new())?;
            if let Ok(object) = client.request(request).await {
                survey.objects.insert(name, object);
            }
        }
        Ok(survey)
    }

    /// A survey that holds these objects, for tests.
    #[cfg(test)]
    pub(crate) fn of(lists: &[(&'static str, Value)]) -> Self {
        let lists = lists.iter().map(|(name, items)| (*name, items.as_array().unwrap().clone()));
        Self { namespace: "metallb-system".into(), lists: lists.collect(), ..Self::default() }
    }

    /// The survey with this single object, for tests.
    #[cfg(test)]
    pub(crate) fn with(mut self, name: &'static str, object: Value) -> Self {
        self.objects.insert(name, object);
        self
    }

    /// A survey that lacks this list, for tests.
    #[cfg(test)]
    pub(crate) fn without(name: &'static str, why: &str) -> Self {
        Self { missing: BTreeMap::from([(name, why.to_owned())]), ..Self::of(&[]) }
    }

    /// The objects of a kind; none if the kind could not be listed.
    #[must_use]
    pub fn list(&self, name: &str) -> &[Value] {
        self.lists.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// A single object; none if it is not there or may not be read.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<&Value> {
        self.objects.get(name)
    }

    /// True if the kind could be listed.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.lists.contains_key(name)
    }

    /// The kinds that could not be listed, each with the reason.
    #[must_use]
    pub fn missing(&self) -> &BTreeMap<&'static str, String> {
        &self.missing
    }

    /// All lists.
    pub fn lists(&self) -> impl Iterator<Item = (&'static str, &[Value])> {
        self.lists.iter().map(|(name, items)| (*name, items.as_slice()))
    }
}

async fn list(client: &Client, path: &str) -> Result<Vec<Value>, kube::Error> {
    let mut all = Vec::new();
    let mut more = String::new();
    loop {
        let uri = format!("{path}?limit={PAGE}{more}");
        let request = Request::get(uri).body(Vec::new()).map_err(kube::Error::HttpError)?;
        let mut page: Value = client.request(request).await?;
        let token = page.pointer("/metadata/continue").and_then(Value::as_str);
        // The token is base64 for URLs.
        let next =
            token.filter(|token| !token.is_empty()).map(|token| format!("&continue={token}"));
        if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
            all.extend(items);
        }
        match next {
            Some(next) => more = next,
            None => return Ok(all),
        }
    }
}

/// The text at a place of an object; empty if there is none.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `NAMESPACE/NAME` of an object.
#[must_use]
pub fn key(object: &Value) -> String {
    format!("{}/{}", text(object, "/metadata/namespace"), text(object, "/metadata/name"))
}

/// The addresses in a Service's status.
#[must_use]
pub fn addresses(service: &Value) -> Vec<&str> {
    let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    let entries = ingress.into_iter().flatten();
    entries.filter_map(|entry| entry.get("ip")?.as_str()).collect()
}

/// True if a Service is of type LoadBalancer.
#[must_use]
pub fn is_load_balancer(service: &Value) -> bool {
    text(service, "/spec/type") == "LoadBalancer"
}
