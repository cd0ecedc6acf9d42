// SPDX-License-Identifier: Apache-2.0
//! The program `controller`.

use std::process::ExitCode;

use allocator::net::{args::Args, run};

fn main() -> ExitCode {
    let arguments = daemon::flags::two_dashes(std::env::args_os());
    let args: Args = match daemon::program::parse(arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    daemon::log::start(args.common.log_level, args.common.log_format);
    daemon::program::run("controller", run(args))
}
