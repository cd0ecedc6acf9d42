// SPDX-License-Identifier: Apache-2.0
//! The program `ferrolb`.

use std::process::ExitCode;

use clap::CommandFactory;
use cli::args::{Args, Command, Hints, Subject};
use cli::preflight::Severity;
use cli::{
    check, clear, collect, drain, explain, get, import, plan, preflight, run, status, steer,
};
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
        Command::Run(args) => {
            daemon::files::raise_limit();
            block_on(run::run(args))?;
        }
        Command::Plan(args) => {
            let plan = plan::run(&args)?;
            print!("{}", plan.text);
            if !plan.is_clean {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Explain(args) => {
            let Subject::Service(args) = args.subject;
            print!("{}", block_on(explain::service(&args))?);
        }
        Command::Move(args) => print!("{}", block_on(steer::move_address(&args))?),
        Command::Drain(args) => {
            print!("{}", block_on(steer::drain(&args))?);
            if args.wait {
                print!("{}", block_on(drain::wait(&args))?);
            }
        }
        Command::Clear(args) if args.node => print!("{}", clear::node()?),
        Command::Clear(args) => print!("{}", block_on(clear::run(&args))?),
        Command::Import(args) => {
            let imported = import::run(&args)?;
            print!("{}", imported.manifests);
            for note in &imported.notes {
                eprintln!("{note}");
            }
            if imported.loses() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Status(args) => block_on(status::run(&args))?,
        Command::Get(args) => block_on(get::run(&args))?,
        Command::Collect(args) => print!("{}", block_on(collect::run(&args))?),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "ferrolb", &mut std::io::stdout());
        }
        Command::Check(args) if args.cluster => {
            let found = block_on(preflight::run(&args.namespace))?;
            for finding in &found {
                println!("{finding}");
            }
            if found.iter().any(|finding| finding.severity == Severity::Error) {
                return Ok(ExitCode::FAILURE);
            }
            println!("nothing else found");
        }
        Command::Check(args) => {
            let findings = check::run(&args.paths, Some(&args.namespace));
            print!("{}", findings.print(args.output));
            if !findings.is_clean(args.hints == Hints::Fail) {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
