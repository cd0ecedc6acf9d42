// SPDX-License-Identifier: Apache-2.0
//! The annotations of Services for another load balancer. The Services belong to others and are live, so that they are
//! not printed. Notes say how to change each of them.

use serde_json::Value;

use super::documents::{kind, name, title};
use super::notes::Notes;

/// The successor of an annotation.
#[derive(Clone, Copy)]
pub(super) enum Becomes {
    /// Another annotation, with the same value.
    Annotation(&'static str),
    /// No annotation: the other load balancer wrote it, or ferrolb behaves like this in any case.
    Nothing,
}

/// The annotations of one load balancer.
pub(super) struct Dialect {
    /// The beginnings of their names.
    pub(super) prefixes: &'static [&'static str],
    /// The annotations with a known successor; all others are lost.
    pub(super) known: &'static [(&'static str, Becomes)],
    /// The beginning of the load balancer's classes.
    pub(super) class: &'static str,
}

impl Dialect {
    /// Notes the successors of the annotations of each Service among the objects.
    pub(super) fn tell(&self, objects: &[Value], notes: &mut Notes) {
        for service in objects.iter().filter(|object| kind(object) == "Service") {
            self.tell_of(service, notes);
        }
    }

    fn tell_of(&self, service: &Value, notes: &mut Notes) {
        let text = |pointer| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let namespace = Some(text("/metadata/namespace")).filter(|it| !it.is_empty());
        let namespace = namespace.unwrap_or("default");
        let mut new = Vec::new();
        let annotations = service.pointer("/metadata/annotations").and_then(Value::as_object);
        for (key, value) in annotations.into_iter().flatten() {
            if !self.prefixes.iter().any(|prefix| key.starts_with(prefix)) {
                continue;
            }
            let value = value.as_str().unwrap_or_default();
            match self.known.iter().find(|(known, _)| known == key) {
                Some((_, Becomes::Nothing)) => {}
                Some((_, Becomes::Annotation("metallb.io/loadBalancerIPs")))
                    if value == text("/spec/loadBalancerIP") => {}
                // kube-vip asks a DHCP server for such an address.
                Some((_, Becomes::Annotation("metallb.io/loadBalancerIPs")))
                    if matches!(value, "0.0.0.0" | "::") =>
                {
                    notes.lost(
                        format!("{}: annotation {key}", title(service)),
                        "addresses are not got by DHCP: they come from a pool",
                    );
                }
                Some((_, Becomes::Annotation(to))) => {
                    new.push(format!("'{to}={}'", value.replace('\'', "'\\''")));
                    if *to == "metallb.io/loadBalancerIPs"
                        && !text("/spec/loadBalancerIP").is_empty()
                    {
                        notes.task(format!(
                            "kubectl -n {namespace} patch service {} --type=merge -p '{{\"spec\":{{\"loadBalancerIP\":null}}}}': beside the annotation it is one request too many",
                            name(service)
                        ));
                    }
                }
                None => notes.lost(
                    format!("{}: annotation {key}", title(service)),
                    "there is nothing like it",
                ),
            }
        }
        if !new.is_empty() {
            let (name, new) = (name(service), new.join(" "));
            notes.task(format!("kubectl -n {namespace} annotate service {name} {new}"));
        }
        let class = text("/spec/loadBalancerClass");
        if class.starts_with(self.class) {
            notes.task(format!(
                "{} has the class {class:?}, which cannot be changed: start controller and speakers with --lb-class={class}, or make it anew without",
                title(service)
            ));
        }
    }
}
