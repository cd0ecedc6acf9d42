// SPDX-License-Identifier: Apache-2.0
//! The program `ferrolb`.

use std::process::ExitCode;

use cli::args::{Args, Command, Subject};
use cli::{check, explain, plan, run, steer};
use daemon::program::{block_on, parse};

fn main() -> ExitCode {
    let args: Args = match parse(std::env::args_os().collect()) {
        Ok(args) => args,
        Err(code) => return code,
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
        Command::Move(args) => print!("{}", block_on(steer::move_address(&args))?),
        Command::Drain(args) => print!("{}", block_on(steer::drain(&args))?),
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
