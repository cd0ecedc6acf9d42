// SPDX-License-Identifier: Apache-2.0
//! Open TCP connections from the client to a pod's server, which are asked now and then whether they still live.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sched::{CloneFlags, setns};

use super::netns::Namespace;

/// The longest time to an answer: a lost packet is sent again after 0.2 s, 0.4 s and so on.
const PATIENCE: Duration = Duration::from_secs(5);
/// The words after which the server of a pod sends back whatever comes, until the client ends.
pub const STAY: &[u8; 5] = b"stay\n";

/// See the module's head.
#[derive(Debug, Default)]
pub struct Connections {
    streams: Vec<TcpStream>,
    asked: u32,
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
            let open = move || -> anyhow::Result<Vec<TcpStream>> {
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
        self.streams.retain_mut(|stream| match echo(stream, question.as_bytes()) {
            Ok(()) => true,
            Err(error) => {
                why.get_or_insert_with(|| format!("{error:#}"));
                false
            }
        });
        (self.streams.len(), why)
    }
}

fn connect(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.write_all(STAY)?;
    echo(&mut stream, b"hello")?;
    Ok(stream)
}

fn echo(stream: &mut TcpStream, text: &[u8]) -> anyhow::Result<()> {
    stream.write_all(text)?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    ensure!(answer == text, "{answer:?} came back of {text:?}");
    Ok(())
}
