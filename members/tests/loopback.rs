// SPDX-License-Identifier: Apache-2.0
//! Members on the loopback interface, without privileges: what strangers send, streams that hang, ports that are held.
#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, reason = "what tests share fails by panicking, as they do")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use members::net::{Cause, Events, LocalMember, Options, StartError};
use members::{Command, Detection, Event, Key, Keyring, Settings, State};

const DEADLINE: Duration = Duration::from_secs(30);
/// Streams that others opened, at the same time (net::places).
const STREAMS: usize = 512;

fn options(name: &str, bind: &str) -> Options {
    Options {
        name: name.to_owned(),
        bind: bind.parse().unwrap(),
        advertise: None,
        settings: Settings { tcp_timeout: Duration::from_secs(1), ..Settings::lan() },
        key: None,
        label: String::new(),
        meta: Vec::new(),
        detection: Detection::off(),
        permit: Default::default(),
    }
}

fn spawn(name: &str) -> (LocalMember, Events) {
    LocalMember::spawn(options(name, "127.0.0.1:0")).unwrap()
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    #[allow(clippy::disallowed_methods, reason = "a test on the real kernel waits in real time")]
    let now = Instant::now;
    let end = now() + DEADLINE;
    while !condition() {
        assert!(now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn sees(members: &LocalMember, count: usize) {
    eventually("that all are seen", || {
        let snapshot = members.snapshot();
        snapshot.members.iter().filter(|member| member.state == State::Alive).count() == count
    });
}

/// Connects, sends, and reads until the other side closes.
fn ask(to: SocketAddr, octets: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // The other side may close before it has read all, which is its right.
    drop(stream.write_all(octets));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    answer
}

#[test]
fn what_strangers_send_is_counted_and_does_no_harm() {
    let (one, _events) = spawn("one");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for octets in [&[0xf7, 1][..], &[255; 1400], &[], &[9, 0x82], &[0; 60_000]] {
        udp.send_to(octets, one.address()).unwrap();
    }
    eventually("that what is unreadable is counted", || one.snapshot().discarded >= 4);
    // Unknown, encrypted without a key, and longer than anything: refused with an error message, or just closed.
    assert_eq!(ask(one.address(), &[200]).first(), Some(&13));
    assert_eq!(ask(one.address(), &[10, 0, 0, 0, 1, 0]).first(), Some(&13));
    let mut long = vec![6, 0x82, 0xa5];
    long.extend(b"Nodes\xce\xff\xff\xff\xff\xacUserStateLen\x00");
    long.resize(5 << 20, 0x80);
    drop(ask(one.address(), &long));

    sees(&one, 1);
}

/// Connects from that address of the loopback interface.
fn connect_from(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), DEADLINE)?;
    Ok(socket.into())
}

/// Some say nothing, some the beginning of what would be a long sealed message, some what is no message.
#[test]
fn streams_of_strangers_from_many_addresses_keep_nobody_from_joining() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let key = || Some(Key::from_secret(b"a secret of a ring").into());
    let settings = Settings { tcp_timeout: Duration::from_secs(10), ..Settings::lan() };
    let with = |name| {
        let options =
            Options { key: key(), settings: settings.clone(), ..options(name, "127.0.0.1:0") };
        LocalMember::spawn(options).unwrap()
    };
    let (one, _one) = with("one");
    let mut held = Vec::new();
    for number in 0..STREAMS * 2 {
        let [_, _, high, low] = u32::try_from(number).unwrap().to_be_bytes();
        let mut stream = connect_from(Ipv4Addr::new(127, 9, high, low), one.address()).unwrap();
        let said = [&b""[..], b"\x0a\x00\x10\x00\x00begun", b"\x06\xdf\xff\xff\xff\xff"];
        drop(stream.write_all(said[number % 3]));
        held.push(stream);
    }
    let (two, mut events) = with("two");
    two.join(vec![one.address()]);
    let told = std::iter::from_fn(|| events.blocking_recv())
        .find_map(|it| if let Event::Contacted { error, .. } = it { Some(error) } else { None });
    assert_eq!(told, Some(None), "the first attempt succeeds");
    sees(&one, 2);
    eventually("that what is refused is counted", || {
        let counts = one.snapshot().refused.counts.clone();
        // Whoever says nothing is put out after half a second, if nobody needs its place sooner.
        counts.contains_key(&Cause::Plain) && counts.contains_key(&Cause::Silent)
    });
    drop(held);
}

#[test]
fn a_port_that_is_held_is_told_and_a_failed_start_does_no_harm_within_a_runtime() {
    let (one, _events) = spawn("one");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let held = LocalMember::spawn(options("two", &one.address().to_string()));
        let error = held.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("binding the UDP and TCP port"), "{error}");
        let nameless = LocalMember::spawn(options("", "127.0.0.1:0"));
        assert!(matches!(nameless, Err(StartError::Config(_))));
        let label = Options { label: "x".repeat(256), ..options("two", "127.0.0.1:0") };
        assert!(matches!(LocalMember::spawn(label), Err(StartError::Label(_))));
        let (two, mut events) = spawn("two");
        two.join(vec![one.address()]);
        while !matches!(events.recv().await, Some(Event::Joined(_))) {}
        two.command(Command::SetMeta(vec![1])).unwrap();
        while !two.snapshot().members.iter().any(|member| *member.meta == [1]) {
            while !matches!(events.recv().await, Some(Event::MembersChanged)) {}
        }
        assert!(two.command(Command::SetMeta(vec![0; 513])).is_err());
        drop(two);
        while events.recv().await.is_some() {}
    });
    drop(runtime);
}

#[test]
fn a_ring_with_a_key_does_not_hear_one_without() {
    let key = || Some(Key::from_secret(b"a secret").into());
    let with = |name| LocalMember::spawn(Options { key: key(), ..options(name, "127.0.0.1:0") });
    let (one, _one) = with("one").unwrap();
    let (two, _two) = with("two").unwrap();
    let (stranger, mut events) = spawn("stranger");
    stranger.join(vec![one.address()]);
    let told = std::iter::from_fn(|| events.blocking_recv())
        .find_map(|it| if let Event::Contacted { error, .. } = it { Some(error) } else { None });
    assert!(told.flatten().is_some(), "it is told that it was in vain");
    two.join(vec![one.address()]);
    sees(&one, 2);
    sees(&two, 2);
    sees(&stranger, 1);
}

/// Each step on one member after the other, and after each everybody hears everybody.
#[test]
fn the_key_is_changed_while_all_go_on() {
    let [old, new] =
        [b"the old key of a ring", b"the new key of a ring"].map(|secret| Key::from_secret(secret));
    let with = |name, key: &Key| {
        let key = Some(key.clone().into());
        LocalMember::spawn(Options { key, ..options(name, "127.0.0.1:0") }).unwrap()
    };
    let ((one, _one), (two, _two)) = (with("one", &old), with("two", &old));
    two.join(vec![one.address()]);
    sees(&one, 2);
    sees(&two, 2);
    let steps = [
        Keyring::new(old.clone(), [new.clone()]),
        Keyring::new(new.clone(), [old.clone()]),
        Keyring::from(new.clone()),
    ];
    let mut told = 0;
    for step in steps {
        for changed in [&one, &two] {
            changed.set_keys(step.clone());
            told += 1;
            for (from, to, name) in [(&one, &two, "one"), (&two, &one, "two")] {
                from.command(Command::SetMeta(vec![told])).unwrap();
                eventually("that the other one hears it", || {
                    let snapshot = to.snapshot();
                    let found = snapshot.members.iter().find(|member| &*member.name == name);
                    found.is_some_and(|member| *member.meta == [told])
                });
                // By a stream as well.
                let before = to.snapshot().refused.counts.get(&Cause::Key).copied();
                from.join(vec![to.address()]);
                sees(from, 2);
                assert_eq!(to.snapshot().refused.counts.get(&Cause::Key).copied(), before);
            }
        }
    }
    let (stranger, mut events) = with("stranger", &old);
    stranger.join(vec![one.address()]);
    let said = std::iter::from_fn(|| events.blocking_recv())
        .find_map(|it| if let Event::Contacted { error, .. } = it { Some(error) } else { None });
    assert!(said.flatten().is_some(), "the old key is worth nothing any more");
    eventually("that it is known who has another key", || {
        one.snapshot().refused.other_key == [stranger.address().ip()]
    });
}
