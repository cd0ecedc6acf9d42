// SPDX-License-Identifier: Apache-2.0
//! The log's lines about the speaker's outputs and sessions, by MetalLB's names (contract 7.2). The events in the API are published by the
//! shell.

use std::net::IpAddr;

use cluster::ObjectKey;
use daemon::log::Addresses;

use crate::net::bgp::{InLog, SessionNotice};
use crate::routes::RouteOutput;
use crate::speaker::Output;

/// A change by L2 for a Service of this pool. A missing interface is told by the shell, as it is an event as well.
pub(super) fn note(output: &Output, pool: Option<&str>) {
    match output {
        Output::Announced { service, announcement, former, .. } => {
            note_former(service, former, "layer2");
            tracing::info!(event = "serviceAnnounced", %service, ips = %Addresses(&announcement.addresses), pool,
                protocol = "layer2", "service has IP, announcing");
        }
        Output::Withdrawn { service, announcement, reason, .. } => {
            tracing::info!(event = "serviceWithdrawn", %service, ips = %Addresses(&announcement.addresses), pool,
                reason = reason.name(), detail = %reason, protocol = "layer2",
                "withdrawing service announcement");
        }
        Output::Remarked { service, remarks } => {
            for remark in remarks {
                tracing::warn!(event = "sharedAddress", %service, detail = %remark, protocol = "layer2",
                    "the service has a disadvantage because it shares an address");
            }
        }
        Output::NoInterface { .. } => {}
    }
}

/// A change by BGP for a Service of this pool, which has this number of paths now.
pub(super) fn note_route(output: &RouteOutput, pool: Option<&str>, paths: usize) {
    match output {
        RouteOutput::Advertised { service, addresses, former, .. } => {
            note_former(service, former, "bgp");
            tracing::info!(event = "serviceAnnounced", %service, ips = %Addresses(addresses), pool,
                protocol = "bgp", "service has IP, announcing");
            tracing::info!(event = "updatedAdvertisements", %service, ips = %Addresses(addresses), pool,
                numAds = paths, protocol = "bgp", "making advertisements using BGP");
        }
        RouteOutput::Withdrawn { service, addresses, reason } => {
            tracing::info!(event = "serviceWithdrawn", %service, ips = %Addresses(addresses), pool,
                reason = reason.name_by_bgp(), detail = %reason, protocol = "bgp",
                "withdrawing service announcement");
        }
        RouteOutput::Conflict { service, reason } => {
            tracing::error!(op = "setBalancer", %service, pool, reason = reason.name(), error = %reason,
                protocol = "bgp", "failed to announce service");
        }
        RouteOutput::Peers { .. } => {}
        RouteOutput::LocalPrefDiffers { prefix } => {
            tracing::warn!(event = "localPrefDiffers", %prefix,
                "Services want different localPref for one prefix; the highest is sent");
        }
    }
}

/// Addresses that are announced no longer because the Service has others now.
fn note_former(service: &ObjectKey, former: &[IpAddr], protocol: &str) {
    if !former.is_empty() {
        tracing::info!(event = "serviceWithdrawn", %service, ips = %Addresses(former),
            reason = "loadBalancerIPChanged", protocol, "withdrawing service announcement");
    }
}

/// A change of a session, with its place.
pub(super) fn note_session(notice: &SessionNotice, session: &InLog) {
    let InLog { place, own_asn, peer_asn } = session;
    match notice {
        SessionNotice::Up { peer, detail } => {
            tracing::info!(
                event = "sessionUp",
                peer = place,
                name = &**peer,
                localASN = own_asn,
                peerASN = peer_asn,
                detail,
                "BGP session established"
            );
        }
        SessionNotice::Down { peer, reason, was_up } => {
            if let bgp::DownReason::NotificationReceived(text) = reason {
                tracing::error!(event = "peerNotification", peer = place, name = &**peer,
                    error = %text, "peer sent notification, closing session");
            }
            if let bgp::DownReason::UpdateUnsent(error) = reason {
                tracing::error!(
                    op = "sendUpdate",
                    peer = place,
                    name = &**peer,
                    localASN = own_asn,
                    peerASN = peer_asn,
                    error,
                    "failed to send BGP update"
                );
            }
            if *was_up {
                tracing::warn!(event = "sessionDown", peer = place, name = &**peer,
                    localASN = own_asn, peerASN = peer_asn, %reason, "BGP session down");
            } else {
                tracing::error!(op = "connect", peer = place, name = &**peer, localASN = own_asn,
                    peerASN = peer_asn, error = %reason, "failed to connect to peer");
            }
        }
        SessionNotice::SharedSeries { peer, older: Some(older) } => {
            tracing::warn!(
                event = "metricsShared",
                peer = &**peer,
                older = &**older,
                "the metrics of this peer have the labels of an older BGPPeer, whose are shown"
            );
        }
        SessionNotice::SharedSeries { peer, older: None } => {
            tracing::info!(
                event = "metricsSharedOver",
                peer = &**peer,
                "the metrics of this peer are its own again"
            );
        }
        SessionNotice::Problem { peer, problem: Some(problem) } => {
            tracing::error!(
                event = "sessionProblem",
                peer = &**peer,
                problem,
                "BGP session cannot work"
            );
        }
        SessionNotice::Problem { peer, problem: None } => {
            tracing::info!(
                event = "sessionProblemOver",
                peer = &**peer,
                "nothing keeps this BGP session from working any more"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use daemon::log::{Format, lines_of};
    use l2::Scope;
    use serde_json::{Value, json};

    use super::*;
    use crate::announce::Announcement;
    use crate::reason::Withhold;

    fn lines(run: impl FnOnce()) -> Vec<Value> {
        let lines = lines_of("all".parse().unwrap(), Format::Json, run);
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// The parts of a line that people filter by.
    fn filtered(line: &Value) -> Value {
        json!([line["event"], line["reason"], line["ips"], line["pool"], line["protocol"]])
    }

    #[test]
    fn other_addresses_are_withdrawn_and_announced_with_their_pool() {
        let service = ObjectKey::new("default", "web");
        let layer2 = |former: &[&str]| Output::Announced {
            service: service.clone(),
            uid: "u".into(),
            announcement: Announcement {
                addresses: addresses(&["10.0.0.2", "fd00::2"]),
                scope: Scope::AllInterfaces,
            },
            former: addresses(former),
        };
        let told = lines(|| note(&layer2(&["10.0.0.1"]), Some("p")));
        let now = json!(["10.0.0.2", "fd00::2"]);
        let announced = json!(["serviceAnnounced", null, now, "p", "layer2"]);
        let withdrawn =
            json!(["serviceWithdrawn", "loadBalancerIPChanged", ["10.0.0.1"], null, "layer2"]);
        assert_eq!(told.iter().map(filtered).collect::<Vec<_>>(), [withdrawn, announced.clone()]);
        assert_eq!(told[0]["msg"], "withdrawing service announcement");
        assert_eq!(told[1]["msg"], "service has IP, announcing");
        assert_eq!(told[1]["service"], "default/web");
        let told = lines(|| note(&layer2(&[]), Some("p")));
        assert_eq!(told.iter().map(filtered).collect::<Vec<_>>(), [announced]);
    }

    #[test]
    fn routes_are_told_like_addresses() {
        let service = ObjectKey::new("default", "web");
        let output = RouteOutput::Advertised {
            service: service.clone(),
            uid: "u".into(),
            addresses: addresses(&["10.0.0.2"]),
            former: addresses(&["10.0.0.1"]),
        };
        let told = lines(|| note_route(&output, Some("p"), 3));
        assert_eq!(
            told.iter().map(filtered).collect::<Vec<_>>(),
            [
                json!(["serviceWithdrawn", "loadBalancerIPChanged", ["10.0.0.1"], null, "bgp"]),
                json!(["serviceAnnounced", null, ["10.0.0.2"], "p", "bgp"]),
                json!(["updatedAdvertisements", null, ["10.0.0.2"], "p", "bgp"]),
            ]
        );
        assert_eq!(told[2]["numAds"], 3);
        let output = RouteOutput::Withdrawn {
            service,
            addresses: addresses(&["10.0.0.2"]),
            reason: Withhold::NoEndpoints,
        };
        let told = lines(|| note_route(&output, None, 0));
        let withdrawn = json!(["serviceWithdrawn", "noEndpoints", ["10.0.0.2"], null, "bgp"]);
        assert_eq!(told.iter().map(filtered).collect::<Vec<_>>(), [withdrawn]);
        assert!(told[0].get("pool").is_none(), "no pool is not an empty one");
    }

    #[test]
    fn a_session_that_ends_over_an_update_says_that_it_was_not_sent() {
        let session = InLog { place: "192.0.2.1:179".to_owned(), own_asn: 64512, peer_asn: 64513 };
        let told = |reason| {
            let down = SessionNotice::Down { peer: "router".into(), reason, was_up: true };
            lines(|| note_session(&down, &session))
        };
        let unsent = told(bgp::DownReason::UpdateUnsent("broken pipe".to_owned()));
        let [line, down] = unsent.as_slice() else { panic!("{unsent:?}") };
        assert_eq!(line["msg"], "failed to send BGP update");
        assert_eq!(
            json!([line["level"], line["op"], line["peer"], line["name"], line["error"]]),
            json!(["error", "sendUpdate", "192.0.2.1:179", "router", "broken pipe"])
        );
        assert_eq!(json!([line["localASN"], line["peerASN"]]), json!([64512, 64513]));
        assert_eq!(
            json!([down["event"], down["reason"]]),
            json!(["sessionDown", "TCP: broken pipe"])
        );
        let closed = told(bgp::DownReason::ClosedByPeer);
        assert_eq!(closed.len(), 1, "{closed:?}");
    }
}
