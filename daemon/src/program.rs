// SPDX-License-Identifier: Apache-2.0
//! What every `main` does: parse the flags, run on one thread, turn the end into an exit code.

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::Parser;

use crate::{EXIT_USAGE, files, memory};

/// Parses the flags; the exit code of a call that asks for help or cannot be understood.
///
/// # Errors
/// With that exit code, when there is nothing to run.
pub fn parse<A: Parser>(arguments: Vec<OsString>) -> Result<A, ExitCode> {
    A::try_parse_from(arguments).map_err(|error| {
        // Help and version are answers, everything else is a call that cannot be understood.
        let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
        // Where nothing can be printed the code still says it.
        let _ = error.print();
        code.into()
    })
}

/// Runs a future on a runtime of one thread: little memory, and one order of things.
///
/// # Errors
/// The future's, or that no runtime could be made.
pub fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// Runs a daemon to its end. It may have as many files open as the system lets it.
pub fn run(name: &str, daemon: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    files::raise_limit();
    memory::return_large_pieces();
    let daemon = async {
        // Aborted with the runtime.
        let _releasing = tokio::spawn(memory::release());
        daemon.await
    };
    match block_on(daemon) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(event = "failed", error = format!("{error:#}"), "the {name} ends");
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
