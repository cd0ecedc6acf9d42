// SPDX-License-Identifier: Apache-2.0
//! The smallest web server: every request is answered with the same text. A connection that begins
//! with "stay" gets that text and its own address in one line, and then gets back what it sends. A
//! datagram gets back that text, a space and itself. It is the pods of the rack.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

use crate::lab::connections::STAY;

/// Sends back what comes, until the client ends.
fn echo(mut stream: &TcpStream, body: &str, first: &[u8]) -> std::io::Result<u64> {
    stream.set_nodelay(true)?;
    let client = stream.peer_addr()?.ip().to_canonical();
    stream.write_all(&[format!("{body} {client}\n").as_bytes(), first].concat())?;
    std::io::copy(&mut &*stream, &mut stream)
}

/// Answers datagrams.
fn answer(socket: &UdpSocket, body: &str) {
    let mut question = [0; 1_500];
    loop {
        // An error belongs to an answer before: its client is gone.
        if let Ok((length, client)) = socket.recv_from(&mut question) {
            let question = question.get(..length).unwrap_or_default();
            let _ = socket.send_to(&[body.as_bytes(), b" ", question].concat(), client);
        }
    }
}

/// Serves until it is killed.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve(address: &str, body: &str) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)?;
    let (datagrams, name) = (UdpSocket::bind(address)?, body.to_owned());
    std::thread::spawn(move || answer(&datagrams, &name));
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    for stream in listener.incoming().flatten() {
        let (answer, body) = (answer.clone(), body.to_owned());
        std::thread::spawn(move || {
            let mut stream = stream;
            // A client that goes away is its own affair.
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or_default();
            if let Some(rest) = request.get(..length).and_then(|it| it.strip_prefix(STAY)) {
                return drop(echo(&stream, &body, rest));
            }
            let _ = stream.write_all(answer.as_bytes());
        });
    }
    Ok(())
}
