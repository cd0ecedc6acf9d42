// SPDX-License-Identifier: Apache-2.0
//! The program `speaker`.

use std::ffi::OsString;
use std::process::ExitCode;

use speaker::net::{Companion, args::Args, capabilities, run};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(companion) = Companion::of(arguments.first()) {
        return companion.run(arguments.get(1..).unwrap_or_default());
    }
    let arguments = daemon::flags::two_dashes(arguments.into_iter());
    let args: Args = match daemon::program::parse(arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    daemon::log::start(args.common.log_level, args.common.log_format);
    if let Err(error) = capabilities::raise() {
        // What needs them says so itself.
        tracing::warn!(event = "capabilitiesRefused", %error, "capabilities are not effective");
    }
    daemon::program::run("speaker", run(args))
}
