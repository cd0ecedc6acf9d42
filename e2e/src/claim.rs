// SPDX-License-Identifier: Apache-2.0
//! A stranger on the link who claims an address, each time as another station that does not exist.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::packet::{ARP, socket};

/// Sends `count` ARP announcements of `address` on `link`, `rate` a second, in the link of the calling thread's namespace.
///
/// # Errors
/// When the socket cannot be had or a frame cannot be sent.
pub fn claim(link: &str, address: Ipv4Addr, count: u32, rate: u32) -> anyhow::Result<()> {
    let socket = socket(link, ARP)?;
    let pause = Duration::from_secs(1) / rate.max(1);
    for number in 0..count {
        let [high, low] = u16::try_from(number % 0x1_0000)?.to_be_bytes();
        let station = [0x02, 0xbd, 0, 0, high, low];
        socket.send(&announcement(station, address))?;
        // Sleeping is coarse: only what is longer than it is slept.
        if pause >= Duration::from_millis(1) {
            std::thread::sleep(pause);
        }
    }
    println!("{count} claims");
    Ok(())
}

/// An ARP announcement to all (RFC 5227 section 3): the sender's and the target's address are the same.
fn announcement(station: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(60);
    frame.extend([0xff; 6]);
    frame.extend(station);
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(station);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame.resize(60, 0);
    frame
}
