// SPDX-License-Identifier: Apache-2.0
//! `BFDProfile`: the ranges of its numbers (contract 1.7).

use std::sync::Arc;
use std::time::Duration;

use crate::config::fault::Fault;
use crate::config::objects::Object;
use crate::config::peer::BfdProfile;
use crate::metallb::BfdProfileSpec;

pub(super) fn parse(
    name: &Arc<str>,
    _: &Object<BfdProfileSpec>,
    spec: &BfdProfileSpec,
) -> Result<BfdProfile, Fault> {
    let number = |field: &'static str, value: Option<u32>, low: u32, high: u32, default: u32| {
        let value = value.unwrap_or(default);
        if (low..=high).contains(&value) {
            return Ok(value);
        }
        Err(Fault::new(
            field,
            format!(
                "parsing bfd profile {name}: {field}: invalid value {value}, must be in {low}-{high} range"
            ),
        ))
    };
    let octet = |field, value, low, high, default| {
        number(field, value, low, high, default).and_then(|value| {
            u8::try_from(value).map_err(|error| Fault::new(field, error.to_string()))
        })
    };
    let interval = |field, value, default| {
        number(field, value, 10, 60_000, default)
            .map(|value| Duration::from_millis(u64::from(value)))
    };
    Ok(BfdProfile {
        name: name.clone(),
        receive_interval: interval("receiveInterval", spec.receive_interval, 300)?,
        transmit_interval: interval("transmitInterval", spec.transmit_interval, 300)?,
        detect_multiplier: octet("detectMultiplier", spec.detect_multiplier, 2, 255, 3)?,
        echo_interval: interval("echoInterval", spec.echo_interval, 50)?,
        echo_mode: spec.echo_mode.unwrap_or(false),
        passive_mode: spec.passive_mode.unwrap_or(false),
        minimum_ttl: octet("minimumTtl", spec.minimum_ttl, 1, 254, 254)?,
    })
}
