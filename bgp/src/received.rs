// SPDX-License-Identifier: Apache-2.0
//! What the peer announces: checked, counted, dropped. Only where a limit is set are the prefixes remembered, up to that many,
//! because an announcement that comes again is not another prefix.

use std::collections::HashSet;

use ipnet::IpNet;

use crate::config::Family;
use crate::status::Counters;
use crate::wire::{AfiSafi, Attribute, AttributeAction, DecodedUpdate, Prefixes};

/// The prefixes of the peer, as far as a limit makes us remember them.
#[derive(Debug, Default)]
pub(crate) struct Received {
    known: HashSet<IpNet>,
}

/// The limit is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    pub(crate) family: AfiSafi,
    pub(crate) received: u64,
}

impl Received {
    pub(crate) fn clear(&mut self) {
        self.known = HashSet::new();
    }

    pub(crate) fn update(
        &mut self,
        message: &DecodedUpdate,
        limit: Option<u32>,
        counters: &mut Counters,
    ) -> Result<(), TooMany> {
        let malformed = message.action() >= Some(AttributeAction::TreatAsWithdraw);
        counters.received_updates_malformed += u64::from(message.action().is_some());
        self.forget(&message.update.withdrawn, counters);
        let mut announced = vec![&message.update.announced];
        for attribute in &message.update.attributes {
            match attribute {
                Attribute::MpReach(reach) => announced.push(&reach.prefixes),
                Attribute::MpUnreach(prefixes) => self.forget(prefixes, counters),
                _ => {}
            }
        }
        for prefixes in announced {
            let count = u64::try_from(prefixes.len()).unwrap_or(u64::MAX);
            if malformed {
                counters.received_prefixes_malformed += count;
                self.remove(prefixes);
            } else {
                counters.received_prefixes_dropped += count;
                self.remember(prefixes, limit)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, prefixes: &Prefixes, counters: &mut Counters) {
        counters.received_withdrawals += u64::try_from(prefixes.len()).unwrap_or(u64::MAX);
        self.remove(prefixes);
    }

    fn remove(&mut self, prefixes: &Prefixes) {
        if !self.known.is_empty() {
            for prefix in prefixes.iter() {
                self.known.remove(&prefix);
            }
        }
    }

    fn remember(&mut self, prefixes: &Prefixes, limit: Option<u32>) -> Result<(), TooMany> {
        let Some(limit) = limit else { return Ok(()) };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        for prefix in prefixes.iter() {
            self.known.insert(prefix);
            if self.known.len() > limit {
                let received = u64::try_from(self.known.len()).unwrap_or(u64::MAX);
                return Err(TooMany { family: Family::of(&prefix).into(), received });
            }
        }
        Ok(())
    }
}
