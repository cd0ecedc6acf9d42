//! The program `speaker`.

use std::process::ExitCode;

use speaker::net::{args::Args, run};
use clap::Parser;

fn main() -> ExitCode {
    let arguments = daemon::flags::two_dashes(std::env::args_os());
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, everything else is a call that cannot be understood.
            let code = if error.use_stderr() { daemon::EXIT_USAGE } else { 0 };
            let _ = error.print();
            return code.into();
        }
    };
    daemon::log::start(args.log_level, args.log_format);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(args)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(event = "failed", error = format!("{error:#}"), "the speaker ends");
            eprintln!("speaker: {error:#}");
            ExitCode::FAILURE
        }
    }
}
