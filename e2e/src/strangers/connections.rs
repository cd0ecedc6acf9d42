// SPDX-License-Identifier: Apache-2.0
//! Connections to the ring's port of every member, from several addresses: those that are closed are opened anew.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use super::orders::{DID, Kind, Orders, PORT};
use super::pace::Noise;
use crate::lab::wait::now;

/// A whole state in the clear, with more members than ever come.
const PLAIN: [u8; 6] = [6, 0xdf, 0, 0xff, 0xff, 0xff];
/// One more member of it, without anything.
const PIECE: [u8; 2] = [0xa0, 0xc0];
/// How nonsense begins: encrypted, a whole state, compressed, a label, a user's message, at random.
const BEGINNINGS: [&[u8]; 6] =
    [&[10, 0, 0, 1, 0], &[6, 0x83, 0xa5], &[9, 0x82, 0xa4], &[244, 4], &[8, 0x81], &[]];
/// Octets of nonsense.
const LENGTH: usize = 512;
/// So many are opened in a round at most.
const NEW: usize = 500;
/// From round to round.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn play(orders: &Orders) -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let most = usize::try_from(orders.amount)?.min(usize::try_from(hard)?.saturating_sub(100));
    let begin = now();
    let mut noise = Noise(3);
    let mut held: Vec<Socket> = Vec::new();
    let (mut opened, mut at_once) = (0_usize, 0);
    let pairs: Vec<(Ipv4Addr, Ipv4Addr)> = orders
        .sources
        .iter()
        .flat_map(|from| orders.members.iter().map(move |to| (*from, *to)))
        .collect();
    let mut turn = pairs.iter().cycle();
    while begin.elapsed() < orders.time {
        held.retain_mut(|socket| {
            is_open(socket) && (orders.kind != Kind::Slow || take(socket, &PIECE))
        });
        for _ in 0..most.saturating_sub(held.len()).min(NEW) {
            let Some((from, to)) = turn.next() else { break };
            let mut socket = match connect(*from, *to) {
                Ok(socket) => socket,
                // Nobody listens there now: there are others.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                // Where no more can be opened, some will be closed before the next round.
                Err(_) => break,
            };
            if greet(&mut socket, orders.kind, &mut noise) {
                held.push(socket);
                opened += 1;
            }
        }
        at_once = at_once.max(held.len());
        std::thread::sleep(PAUSE);
    }
    ensure!(opened > 0, "no connection could be opened");
    let second = usize::try_from(orders.time.as_secs())?;
    println!("{DID}: {at_once} {}", opened.checked_div(second).context("no time")?);
    Ok(())
}

/// Whether it goes on.
fn greet(socket: &mut Socket, kind: Kind, noise: &mut Noise) -> bool {
    match kind {
        Kind::Slow => take(socket, &PLAIN),
        Kind::Garbled => {
            let mut octets = noise.choose(&BEGINNINGS).unwrap_or_default().to_vec();
            noise.fill(&mut octets, LENGTH);
            take(socket, &octets)
        }
        Kind::Idle | Kind::Unreachable | Kind::Datagrams => true,
    }
}

/// Writes as much of it as the kernel takes now; false once the other side has ended it.
fn take(socket: &mut Socket, octets: &[u8]) -> bool {
    match socket.write(octets) {
        Ok(written) => written > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

fn is_open(socket: &mut Socket) -> bool {
    match socket.read(&mut [0; 64]) {
        Ok(length) => length > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Opens one within a short time; from there on nobody waits for it. It ends by a reset, which leaves nothing behind.
fn connect(from: Ipv4Addr, to: Ipv4Addr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddrV4::new(from, 0).into())?;
    let patience = Duration::from_millis(200);
    socket.connect_timeout(&SocketAddrV4::new(to, PORT).into(), patience)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
