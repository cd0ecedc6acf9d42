// SPDX-License-Identifier: Apache-2.0
//! The speaker's verdict on every message.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use bgp::wire::iana::{capability, capability_name, error_name};
use bgp::wire::{
    Attribute, AttributeAction, Capability, Context, DecodedUpdate, Flaw, HEADER_LENGTH, Message,
    MessageError, MessageType, Open, next_message,
};
use bytes::BytesMut;

use crate::piece::Piece;
use crate::pieces::Assumptions;

/// A line of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Whether the session would have ended, or something could not be read.
    pub(crate) ends_session: bool,
    pub(crate) text: String,
}

/// The sessions as far as they are known.
pub(crate) struct Judge {
    assumptions: Assumptions,
    /// The OPEN that somebody sent to somebody.
    opens: BTreeMap<(String, String), Open>,
}

impl Judge {
    /// Looks for the OPENs first: how a message is read depends on those of both sides.
    pub(crate) fn new(assumptions: Assumptions, pieces: &[Piece]) -> Self {
        let mut opens = BTreeMap::new();
        for piece in pieces {
            let mut buffer = BytesMut::from(piece.octets.as_slice());
            while let Ok(Some((kind, body))) = next_message(&mut buffer, true) {
                if kind == MessageType::Open
                    && let Ok(open) = Open::decode(body)
                {
                    opens.insert((piece.sender.clone(), piece.receiver.clone()), open);
                }
            }
        }
        Self { assumptions, opens }
    }

    /// One line for each message, remark and rest.
    pub(crate) fn lines(&self, pieces: &[Piece]) -> Vec<Line> {
        let mut lines = Vec::new();
        for piece in pieces {
            let line = |ends_session, text: String| Line {
                ends_session,
                text: format!("{}: {text}", piece.place),
            };
            lines.extend(piece.remark.clone().map(|remark| line(false, remark)));
            let (context, extended) = self.context(piece);
            let mut buffer = BytesMut::from(piece.octets.as_slice());
            loop {
                match next_message(&mut buffer, extended) {
                    Ok(Some((kind, body))) => {
                        let length = HEADER_LENGTH + body.len();
                        let (ends, text) = match Message::decode(kind, body, context) {
                            Ok(message) => (false, accepted(&message)),
                            Err(error) => (true, refused(&error)),
                        };
                        lines
                            .push(line(ends, format!("{} of {length} octets: {text}", name(kind))));
                    }
                    Ok(None) if buffer.is_empty() => break,
                    Ok(None) => {
                        lines.push(line(
                            true,
                            format!("{} octets of a message that is not whole", buffer.len()),
                        ));
                        break;
                    }
                    Err(error) => {
                        let rest = buffer.len();
                        lines.push(line(
                            true,
                            format!("{}; {rest} octets are left", refused(&error)),
                        ));
                        break;
                    }
                }
            }
        }
        lines
    }

    /// How messages of the piece are read, and whether they may be long.
    fn context(&self, piece: &Piece) -> (Context, bool) {
        let find = |sender: &String, receiver: &String| {
            self.opens.get(&(sender.clone(), receiver.clone()))
        };
        let theirs = find(&piece.sender, &piece.receiver);
        let ours = find(&piece.receiver, &piece.sender);
        let both = theirs.zip(ours);
        let has = |open: &Open, code| open.capabilities.iter().any(|one| one.code() == code);
        let assumed = &self.assumptions;
        let four_octets = |(one, other): (&Open, &Open)| {
            one.four_octet_asn().is_some() && other.four_octet_asn().is_some()
        };
        let context = Context {
            four_octet_asn: both
                .map(four_octets)
                .or(piece.four_octet_asn)
                .unwrap_or(assumed.four_octet_asn),
            internal: piece
                .internal
                .or_else(|| both.map(|(one, other)| one.asn() == other.asn()))
                .unwrap_or(assumed.internal),
            enhanced_route_refresh: theirs.map_or(assumed.enhanced_route_refresh, |open| {
                has(open, capability::ENHANCED_ROUTE_REFRESH)
            }),
        };
        let extended =
            ours.map_or(assumed.extended_message, |open| has(open, capability::EXTENDED_MESSAGE));
        (context, extended)
    }
}

const fn name(kind: MessageType) -> &'static str {
    match kind {
        MessageType::Open => "OPEN",
        MessageType::Update => "UPDATE",
        MessageType::Notification => "NOTIFICATION",
        MessageType::Keepalive => "KEEPALIVE",
        MessageType::RouteRefresh => "ROUTE-REFRESH",
    }
}

fn refused(error: &MessageError) -> String {
    let told = error.notification();
    let mut text = format!(
        "refused with NOTIFICATION {}/{} ({}): {}",
        told.code,
        told.subcode,
        error_name(told.code, told.subcode),
        error.detail()
    );
    if !told.data.is_empty() {
        text.push_str("; data ");
        for octet in &told.data {
            let _ = write!(text, "{octet:02x}");
        }
    }
    text
}

fn accepted(message: &Message) -> String {
    match message {
        Message::Open(open) => {
            let mut names = Vec::new();
            for one in &open.capabilities {
                let malformed = matches!(one, Capability::Unknown { .. })
                    && capability_name(one.code()) != "unknown";
                let mark = if malformed { ", not well formed" } else { "" };
                names.push(format!("{} ({}{mark})", one.code(), capability_name(one.code())));
            }
            let identifier = open.identifier;
            let hold = open.hold_time.seconds();
            format!(
                "accepted: AS {}, identifier {identifier}, hold time {hold} s, capabilities: {}",
                open.asn(),
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            )
        }
        Message::Update(decoded) => update(decoded),
        Message::Notification(notification) => {
            let inside = notification.inside_hard_reset();
            let shown = inside.as_ref().unwrap_or(notification);
            let mut text = format!(
                "says {}/{} ({})",
                shown.code,
                shown.subcode,
                error_name(shown.code, shown.subcode)
            );
            if inside.is_some() {
                text.push_str(" as Hard Reset");
            }
            if let Some(communication) = shown.communication() {
                let _ = write!(text, " and {communication:?}");
            }
            text
        }
        Message::Keepalive => "accepted".to_owned(),
        Message::RouteRefresh(None) => "ignored: unknown subtype".to_owned(),
        Message::RouteRefresh(Some(refresh)) => {
            let family = refresh.family.family().map_or_else(
                || {
                    format!(
                        "AFI {} SAFI {}, which is ignored",
                        refresh.family.afi, refresh.family.safi
                    )
                },
                |family| family.to_string(),
            );
            format!("accepted: {:?} of {family}", refresh.kind)
        }
    }
}

fn update(decoded: &DecodedUpdate) -> String {
    let update = &decoded.update;
    let mut parts = Vec::new();
    if let Some(family) = update.ends_rib_of().filter(|_| decoded.flaws.is_empty()) {
        parts.push(format!("End-of-RIB of {family}"));
    }
    let (mut announced, mut withdrawn) = (vec![&update.announced], vec![&update.withdrawn]);
    for attribute in &update.attributes {
        match attribute {
            Attribute::MpReach(reach) => announced.push(&reach.prefixes),
            Attribute::MpUnreach(prefixes) => withdrawn.push(prefixes),
            _ => {}
        }
    }
    let treated_as_withdrawn = decoded.action() >= Some(AttributeAction::TreatAsWithdraw);
    let comes = if treated_as_withdrawn { "counts as withdrawn" } else { "announces" };
    for (what, lists) in [(comes, announced), ("withdraws", withdrawn)] {
        let prefixes: Vec<String> = lists
            .into_iter()
            .flat_map(|list| list.iter())
            .map(|prefix| prefix.to_string())
            .collect();
        if !prefixes.is_empty() {
            parts.push(format!("{what} {}", prefixes.join(" ")));
        }
    }
    let said: BTreeSet<String> = decoded.flaws.iter().map(flaw).collect();
    let verdict = if said.is_empty() { "accepted" } else { "the session lives on" };
    parts.extend(said);
    if parts.is_empty() { verdict.to_owned() } else { format!("{verdict}: {}", parts.join("; ")) }
}

/// An error that RFC 7606 wants a session to live through.
fn flaw(flaw: &Flaw) -> String {
    let action = match flaw.action {
        AttributeAction::Discard => "attribute discard",
        AttributeAction::TreatAsWithdraw => "treat-as-withdraw",
        AttributeAction::AfiSafiDisable => "AFI/SAFI disable",
    };
    format!("attribute {}: {} ({action})", flaw.attribute, flaw.detail)
}
