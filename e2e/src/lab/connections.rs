// SPDX-License-Identifier: Apache-2.0
//! Open TCP connections from the client to a pod's server, which are asked now and then whether they still live.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sched::{CloneFlags, setns};

use super::netns::Namespace;

/// The longest time to an answer: a lost packet is sent again after 0.2 s, 0.4 s and so on.
const PATIENCE: Duration = Duration::from_secs(5);
/// The words after which the server of a pod says its name and the client's address, and then sends back whatever comes, until
/// the client ends.
pub const STAY: &[u8; 5] = b"stay\n";

/// See the module's head.
#[derive(Debug, Default)]
pub struct Connections {
    streams: Vec<Connection>,
    asked: u32,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// The pod, and the client's address as the pod sees it.
    pod: String,
    client: IpAddr,
}

impl Connections {
    /// Opens so many more.
    ///
    /// # Errors
    /// One cannot be opened.
    pub fn open(
        &mut self,
        namespace: &Namespace,
        to: SocketAddr,
        number: usize,
    ) -> anyhow::Result<()> {
        let file = std::fs::File::open(namespace.path())?;
        let opened = std::thread::scope(|scope| {
            let open = move || -> anyhow::Result<Vec<Connection>> {
                setns(file, CloneFlags::CLONE_NEWNET)?;
                (0..number).map(|_| connect(to)).collect()
            };
            scope.spawn(open).join()
        });
        let opened =
            opened.map_err(|_| anyhow::anyhow!("the thread that opens connections ended"))?;
        self.streams.extend(opened.context("a connection cannot be opened")?);
        Ok(())
    }

    /// Asks each; all have to answer.
    ///
    /// # Errors
    /// Some do not answer; the message has their number, and the reason of the first one.
    pub fn ask(&mut self) -> anyhow::Result<usize> {
        let all = self.streams.len();
        let (alive, why) = self.count();
        ensure!(
            alive == all,
            "{} of {all} connections are broken: {}",
            all - alive,
            why.unwrap_or_default()
        );
        Ok(all)
    }

    /// Asks each: the number that answer, and why the first of the others does not. Those are forgotten.
    pub fn count(&mut self) -> (usize, Option<String>) {
        self.asked += 1;
        let question = format!("{:08}", self.asked);
        let mut why = None;
        self.streams.retain_mut(|it| match echo(&mut it.stream, question.as_bytes()) {
            Ok(()) => true,
            Err(error) => {
                why.get_or_insert_with(|| format!("{error:#}"));
                false
            }
        });
        (self.streams.len(), why)
    }

    /// The number of connections of each pod.
    #[must_use]
    pub fn pods(&self) -> BTreeMap<&str, usize> {
        let mut pods = BTreeMap::new();
        for connection in &self.streams {
            *pods.entry(&*connection.pod).or_default() += 1;
        }
        pods
    }

    /// The addresses of the client that pods see, each once.
    #[must_use]
    pub fn clients(&self) -> BTreeMap<IpAddr, usize> {
        let mut clients = BTreeMap::new();
        for connection in &self.streams {
            *clients.entry(connection.client).or_default() += 1;
        }
        clients
    }
}

fn connect(to: SocketAddr) -> anyhow::Result<Connection> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.write_all(STAY)?;
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut octet = [0];
        stream.read_exact(&mut octet)?;
        line.extend(octet);
        ensure!(line.len() < 300, "the pod's line does not end");
    }
    let line = String::from_utf8(line)?;
    let (pod, client) = line.trim_end().split_once(' ').context("the pod's line has no address")?;
    let (pod, client) = (pod.to_owned(), client.parse()?);
    echo(&mut stream, b"hello")?;
    Ok(Connection { stream, pod, client })
}

fn echo(stream: &mut TcpStream, text: &[u8]) -> anyhow::Result<()> {
    stream.write_all(text)?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    ensure!(answer == text, "{answer:?} came back of {text:?}");
    Ok(())
}
