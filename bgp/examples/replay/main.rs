// SPDX-License-Identifier: Apache-2.0
//! Shows what this speaker makes of the messages of a router, one line each:
//!
//! ```text
//! cargo run -p bgp --example replay -- [--internal] [--two-octet-as] [--enhanced-route-refresh] [--extended-message] FILE...
//! ```
//!
//! A file is a capture (pcap or pcapng), an MRT dump (RFC 6396, BGP4MP), or lines of hexadecimal octets, whole messages each, with
//! comments after `#`; `-` is standard input. What a session had negotiated is taken from the OPENs in a capture or dump; where
//! they are not there, and for lines, the options say it. Exit code 1: a message would have ended the session, or something could
//! not be read.

mod capture;
mod hexadecimal;
mod mrt;
mod piece;
mod pieces;
mod stream;
mod verdict;

use std::io::{Read, Write};
use std::process::ExitCode;

use pieces::{Assumptions, pieces};
use verdict::Judge;

fn main() -> ExitCode {
    let mut assumptions = Assumptions::default();
    let mut files = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--internal" => assumptions.internal = true,
            "--two-octet-as" => assumptions.four_octet_asn = false,
            "--enhanced-route-refresh" => assumptions.enhanced_route_refresh = true,
            "--extended-message" => assumptions.extended_message = true,
            option if option.starts_with("--") => {
                eprintln!("unknown option {option}; see the head of bgp/examples/replay/main.rs");
                return ExitCode::from(2);
            }
            _ => files.push(argument),
        }
    }
    if files.is_empty() {
        eprintln!("no file; usage: replay [OPTION...] FILE...");
        return ExitCode::from(2);
    }
    let mut good = true;
    for file in &files {
        let octets = match read(file) {
            Ok(octets) => octets,
            Err(error) => {
                eprintln!("{file}: {error}");
                good = false;
                continue;
            }
        };
        let lines = match replay(&octets, assumptions) {
            Ok(lines) => lines,
            Err(error) => {
                eprintln!("{file}: {error}");
                good = false;
                continue;
            }
        };
        good &= lines.iter().all(|line| !line.ends_session);
        let mut out = std::io::stdout().lock();
        for line in lines {
            // Whoever reads this may have seen enough.
            if writeln!(out, "{file}: {}", line.text).is_err() {
                return ExitCode::SUCCESS;
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(file: &str) -> std::io::Result<Vec<u8>> {
    if file != "-" {
        return std::fs::read(file);
    }
    let mut octets = Vec::new();
    std::io::stdin().read_to_end(&mut octets)?;
    Ok(octets)
}

/// The verdicts on a file of whatever form.
fn replay(octets: &[u8], assumptions: Assumptions) -> Result<Vec<verdict::Line>, String> {
    let pieces = pieces(octets)?;
    Ok(Judge::new(assumptions, &pieces).lines(&pieces))
}

#[cfg(test)]
mod tests;
