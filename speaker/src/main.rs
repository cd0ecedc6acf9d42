// SPDX-License-Identifier: Apache-2.0
//! The program `speaker`.

use std::process::ExitCode;

use speaker::net::{args::Args, run};

fn main() -> ExitCode {
    let arguments = daemon::flags::two_dashes(std::env::args_os());
    let args: Args = match daemon::program::parse(arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    daemon::log::start(args.common.log_level, args.common.log_format);
    daemon::program::run("speaker", run(args))
}
