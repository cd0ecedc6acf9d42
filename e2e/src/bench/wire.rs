// SPDX-License-Identifier: Apache-2.0
//! What criterion measured of encoding and decoding UPDATEs (`bgp/benches/wire.rs`), read from the files that it leaves.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::report::Report;

const MEMORY: &str = "memory copy";
const WAYS: [&str; 3] = ["encode", "decode", "decode and walk all prefixes"];

pub(super) fn measure(folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    let memory = throughput(folder, MEMORY)?;
    for way in WAYS {
        report.add(
            format!("BGP: {way} an UPDATE of 800 prefixes (its octets copied in memory)"),
            "",
            format!("{:.0} MB/s ({memory:.0} MB/s)", throughput(folder, way)?),
        );
    }
    Ok(())
}

/// In MB/s (10^6 octets).
fn throughput(folder: &Path, way: &str) -> anyhow::Result<f64> {
    let folder = folder.join("update").join(way).join("new");
    let number = |file: &str, pointer: &str| {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} is missing: run the benchmark first", path.display()))?;
        let value: Value = serde_json::from_str(&text)?;
        value
            .pointer(pointer)
            .and_then(Value::as_f64)
            .with_context(|| format!("{pointer} in {text}"))
    };
    let octets = number("benchmark.json", "/throughput/Bytes")?;
    let nanoseconds = number("estimates.json", "/median/point_estimate")?;
    Ok(octets / nanoseconds * 1e3)
}
