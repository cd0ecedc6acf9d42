// SPDX-License-Identifier: Apache-2.0
//! Links that lose their carrier and get it back. Silence on a link without carrier is no answer: while no link of an address has carrier, this
//! node is silent for the address. Once a link has carrier, the address is asked for before it is used (RFC 5227 section 2.1).

use std::net::IpAddr;
use std::time::Instant;

use l2::Scope;

use super::{LinkAction, LinkCheck, OUT_OF_TURN};

/// The links of an address, as they are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carriers {
    /// The number of links in the scope that have carrier.
    pub number: u32,
    /// True if any of them had none before.
    pub gained: bool,
}

impl LinkCheck {
    /// The links have changed; `carriers` tells those of an address and its scope.
    pub fn relink(&mut self, now: Instant, carriers: impl Fn(IpAddr, &Scope) -> Carriers) {
        let out_of_turn = self.announced().nth(OUT_OF_TURN).is_none();
        let mut silent = Vec::new();
        for (address, question) in &mut self.questions {
            let Carriers { number, gained } = carriers(*address, &question.scope);
            if number == question.links && !gained {
                continue;
            }
            self.asking -= question.weight();
            if let Some(before) = question.due() {
                self.due.remove(&(before, *address));
            }
            let turn = (!question.lately, question.order, *address);
            if number == 0 {
                self.waiting.remove(&turn);
                if question.is_announced() {
                    silent.push((*address, None));
                }
                question.unplug();
            } else {
                if question.links == 0 {
                    self.waiting.insert(turn);
                } else if gained && out_of_turn {
                    // The engine announces anew on the link that is back: another owner there is to be found soon.
                    question.hurry(now);
                }
                question.links = number;
            }
            self.asking += question.weight();
            if let Some(next) = question.due() {
                self.due.insert((next, *address));
            }
        }
        if !silent.is_empty() {
            self.actions.push(LinkAction::Change(silent));
        }
    }
}
