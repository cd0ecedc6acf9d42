//! The program `ferrolb`.

use std::process::ExitCode;

use clap::Parser;
use cli::args::{Args, Command, Subject};
use cli::{check, explain, plan, run};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, everything else is a call that cannot be understood.
            let code = if error.use_stderr() { daemon::EXIT_USAGE } else { 0 };
            let _ = error.print();
            return code.into();
        }
    };
    match execute(args.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ferrolb: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => block_on(run::run(args))?,
        Command::Plan(args) => print!("{}", plan::run(&args)?),
        Command::Explain(args) => {
            let Subject::Service(args) = args.subject;
            print!("{}", block_on(explain::service(&args))?);
        }
        Command::Check(args) => {
            let report = check::run(&args);
            print!("{}", report.text());
            if !report.mistakes.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
