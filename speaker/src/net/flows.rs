// SPDX-License-Identifier: Apache-2.0
//! Lists flows of UDP from conntrack for other nodes (`--keep-connections`), on a thread of its own: conntrack's list may be long. Without
//! a request the thread sleeps.

use std::sync::mpsc;
use std::time::Duration;

use steer::net::{Error, conntrack};
use steer::{Flow, MOST_FLOWS};
use tokio::sync::mpsc::UnboundedSender;

use super::kernel_tables::KernelNotice;
use crate::core::{FlowRequest, ListedFlows};

/// The flows of one part of a list, and the pause between two parts: about thirty notices of IPv4, a hundred of IPv6. A receiver's socket takes
/// no more at once.
const PART: usize = 4_000;
const PAUSE: Duration = Duration::from_millis(5);

/// Starts the thread. It ends with the sender of `requests`.
///
/// # Errors
/// The system has no thread left.
pub(super) fn start(
    requests: mpsc::Receiver<FlowRequest>,
    told: UnboundedSender<KernelNotice>,
) -> Result<(), Error> {
    let thread = std::thread::Builder::new().name("flows".to_owned());
    let spawned = thread.spawn(move || follow(&requests, &told));
    spawned.map(drop).map_err(|source| Error::Socket { doing: "starting a thread", source })
}

fn follow(requests: &mpsc::Receiver<FlowRequest>, told: &UnboundedSender<KernelNotice>) {
    let mut trouble = None;
    while let Ok(mut request) = requests.recv() {
        // One list answers all requests that have come before it begins.
        for more in requests.try_iter() {
            request.number = more.number;
            request.addresses.extend(more.addresses);
        }
        let listed = conntrack::flows(&request.addresses, MOST_FLOWS);
        let error = listed.as_ref().err().map(ToString::to_string);
        if let Some(error) = error.as_ref().filter(|error| trouble.as_ref() != Some(*error)) {
            tracing::warn!(
                event = "flowsUnlisted",
                error,
                "flows of UDP of addresses that have moved away cannot be listed: they break"
            );
        }
        trouble = error;
        let mut is_first = true;
        for part in parts(request.number, listed.unwrap_or_default().into_iter().collect()) {
            if !std::mem::take(&mut is_first) {
                std::thread::sleep(PAUSE);
            }
            // The receiver lives as long as the program.
            let _ = told.send(KernelNotice::Flows(part));
        }
    }
}

/// The answer in parts; also without a flow there is one.
fn parts(number: u64, flows: Vec<Flow>) -> Vec<ListedFlows> {
    let part = |flows: &[Flow]| ListedFlows { number, flows: flows.to_vec(), complete: false };
    let mut parts: Vec<ListedFlows> = flows.chunks(PART).map(part).collect();
    match parts.last_mut() {
        Some(last) => last.complete = true,
        None => parts.push(ListedFlows { number, flows, complete: true }),
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_last_part_alone_completes_an_answer_and_nothing_is_an_answer_too() {
        let address = Ipv4Addr::LOCALHOST.into();
        let flow = |client_port| Flow { address, client: address, client_port };
        for number in [0, 1, PART, PART + 1, 2 * PART] {
            let flows: Vec<Flow> = (0..u16::try_from(number).unwrap()).map(flow).collect();
            let parts = parts(7, flows.clone());
            assert!(parts.iter().all(|part| part.number == 7 && part.flows.len() <= PART));
            let complete: Vec<bool> = parts.iter().map(|part| part.complete).collect();
            assert_eq!(complete.iter().position(|it| *it), Some(complete.len() - 1), "{number}");
            assert_eq!(parts.into_iter().flat_map(|part| part.flows).collect::<Vec<_>>(), flows);
        }
    }
}
