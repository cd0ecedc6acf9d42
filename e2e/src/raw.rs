// SPDX-License-Identifier: Apache-2.0
//! A bare BGP speaker for what no real router does: one that goes mad after Established, one that stops reading, hundreds in
//! one process. It knows just enough of RFC 4271 to become Established; it writes a line for each thing that it sees.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use socket2::SockRef;

const MARKER: [u8; 16] = [0xff; 16];
const HOLD_TIME: u16 = 90;
/// The prefix that is told of when it is seen: 10.60.0.1/32, as it is written in an UPDATE (RFC 4271 section 4.3).
const PREFIX: [u8; 5] = [32, 10, 60, 0, 1];

/// What it does once it is Established.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// What it should.
    Keep,
    /// Sends nonsense, on every connection another one.
    Garbage,
    /// Never reads again, but says that it lives.
    Stuck,
}

/// Nonsense, and what a NOTIFICATION must say about it (RFC 4271 section 6.1 and 6.3).
const GARBAGE: [(&str, &[u8]); 5] = [
    ("marker", &[0; 64]),
    (
        "length",
        &[255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 18, 2],
    ),
    (
        "type",
        &[
            255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 19,
            99,
        ],
    ),
    // An UPDATE whose withdrawn routes are longer than itself.
    (
        "update",
        &[
            255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 23,
            2, 255, 255, 0, 0,
        ],
    ),
    // A second OPEN, which is not expected any more (RFC 6608).
    (
        "open",
        &[
            255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 29,
            1, 4, 253, 233, 0, 90, 10, 0, 0, 1, 0,
        ],
    ),
];

/// Waits for connections on port 179 of all addresses, until it is killed.
///
/// # Errors
/// When the port cannot be bound.
pub fn serve(asn: u16, mode: Mode) -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:179")?;
    println!("listening");
    let connections = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for stream in listener.incoming().flatten() {
            let number = connections.fetch_add(1, Ordering::Relaxed);
            scope.spawn(move || {
                let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else {
                    return;
                };
                let name = format!("{} from {}", local.ip(), remote.ip());
                let ended = converse(stream, local.ip(), asn, mode, number, &name);
                println!("{name}: ended: {ended:?}");
            });
        }
    });
    Ok(())
}

fn converse(
    mut stream: TcpStream,
    local: IpAddr,
    asn: u16,
    mode: Mode,
    number: usize,
    name: &str,
) -> io::Result<()> {
    if mode == Mode::Stuck {
        SockRef::from(&stream.as_fd()).set_recv_buffer_size(2048)?;
    }
    stream.write_all(&open(asn, local))?;
    let mut established = false;
    loop {
        let (kind, body) = read_message(&mut stream)?;
        match kind {
            1 => stream.write_all(&message(4, &[]))?,
            2 if body.windows(PREFIX.len()).any(|part| part == PREFIX) => {
                println!("{name}: has the prefix");
            }
            3 => {
                let code = |at: usize| body.get(at).copied().unwrap_or(0);
                println!("{name}: notification {}/{}", code(0), code(1));
            }
            4 if !established => {
                established = true;
                println!("{name}: established");
                match mode {
                    Mode::Keep => {}
                    Mode::Garbage => {
                        let (what, octets) =
                            GARBAGE.get(number % GARBAGE.len()).copied().unwrap_or_default();
                        println!("{name}: sends garbage: {what}");
                        stream.write_all(octets)?;
                    }
                    Mode::Stuck => loop {
                        std::thread::sleep(Duration::from_secs(u64::from(HOLD_TIME / 3)));
                        stream.write_all(&message(4, &[]))?;
                    },
                }
            }
            // Every keepalive is answered: so it lives as long as the other side.
            4 => stream.write_all(&message(4, &[]))?,
            _ => {}
        }
    }
}

fn open(asn: u16, local: IpAddr) -> Vec<u8> {
    let identifier = match local {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => [10, 0, 0, 1],
    };
    let mut body = vec![4];
    body.extend(asn.to_be_bytes());
    body.extend(HOLD_TIME.to_be_bytes());
    body.extend(identifier);
    // No capabilities: IPv4 unicast (RFC 4271).
    body.push(0);
    message(1, &body)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(MARKER.len() + 3 + body.len()).unwrap_or(u16::MAX);
    let mut message = MARKER.to_vec();
    message.extend(length.to_be_bytes());
    message.push(kind);
    message.extend(body);
    message
}

fn read_message(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 19];
    stream.read_exact(&mut header)?;
    let [.., high, low, kind] = header;
    let length = usize::from(u16::from_be_bytes([high, low])).saturating_sub(header.len());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((kind, body))
}
