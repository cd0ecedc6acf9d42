// SPDX-License-Identifier: Apache-2.0
//! The smallest web server: every request is answered with the same text. It is the pods of the rack.

use std::io::{Read, Write};
use std::net::TcpListener;

/// Serves until it is killed.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve(address: &str, body: &str) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    for stream in listener.incoming().flatten() {
        let answer = answer.clone();
        std::thread::spawn(move || {
            let mut stream = stream;
            // A client that goes away is its own affair.
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        });
    }
    Ok(())
}
