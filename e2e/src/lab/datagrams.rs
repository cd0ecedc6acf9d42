// SPDX-License-Identifier: Apache-2.0
//! Flows of UDP from the client to a pod's server, which are asked now and then whether the same pod still answers.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, setns};

use super::netns::Namespace;

/// The time until a question is asked again, and the number of times: a datagram may be lost while an address moves.
const PATIENCE: Duration = Duration::from_millis(500);
const TRIES: usize = 10;

/// See the module's head.
#[derive(Debug, Default)]
pub struct Datagrams {
    flows: Vec<(UdpSocket, String)>,
    asked: u32,
}

impl Datagrams {
    /// Begins so many more flows, each with the pod that answers first.
    ///
    /// # Errors
    /// One is not answered.
    pub fn open(
        &mut self,
        namespace: &Namespace,
        to: SocketAddr,
        number: usize,
    ) -> anyhow::Result<()> {
        let file = std::fs::File::open(namespace.path())?;
        let opened = std::thread::scope(|scope| {
            let open = move || -> anyhow::Result<Vec<UdpSocket>> {
                setns(file, CloneFlags::CLONE_NEWNET)?;
                (0..number)
                    .map(|_| {
                        let socket = UdpSocket::bind("0.0.0.0:0")?;
                        socket.connect(to)?;
                        socket.set_read_timeout(Some(PATIENCE))?;
                        Ok(socket)
                    })
                    .collect()
            };
            scope.spawn(open).join()
        });
        let opened = opened.map_err(|_| anyhow::anyhow!("the thread that opens sockets ended"))?;
        for socket in opened? {
            let pod = ask(&socket, "hello").context("a flow is not answered")?;
            self.flows.push((socket, pod));
        }
        Ok(())
    }

    /// The number of flows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Asks each: the number of those that another pod answers now. Their pod is that one from now.
    ///
    /// # Errors
    /// Some have no answer.
    pub fn count_changed(&mut self) -> anyhow::Result<usize> {
        self.asked += 1;
        let question = format!("{:08}", self.asked);
        let mut changed = 0;
        for (socket, pod) in &mut self.flows {
            let now = ask(socket, &question)?;
            changed += usize::from(now != *pod);
            *pod = now;
        }
        Ok(changed)
    }
}

/// The pod that answers.
fn ask(socket: &UdpSocket, question: &str) -> anyhow::Result<String> {
    for _ in 0..TRIES {
        // After an error of ICMP the next call fails.
        let _ = socket.send(question.as_bytes());
        let mut answer = [0; 300];
        while let Ok(length) = socket.recv(&mut answer) {
            let answer = std::str::from_utf8(answer.get(..length).unwrap_or_default())?;
            // Other answers are those to a question before.
            if let Some((pod, asked)) = answer.split_once(' ')
                && asked == question
            {
                return Ok(pod.to_owned());
            }
        }
    }
    bail!("no answer to {TRIES} datagrams from {:?}", socket.local_addr())
}
