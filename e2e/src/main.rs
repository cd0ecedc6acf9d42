// SPDX-License-Identifier: Apache-2.0
//! The program `e2e`.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use e2e::runner::{Plan, run};
use e2e::scenarios::SCENARIOS;

/// Plays scenarios on a rack of network namespaces with a real Kubernetes control plane.
#[derive(Debug, Parser)]
#[command(name = "e2e")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays scenarios; needs root.
    Run {
        /// Only scenarios whose name contains one of these.
        filters: Vec<String>,
        /// Scenarios at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Where controller, speaker and ferrolb are; by default beside this program.
        #[arg(long)]
        bin_dir: Option<PathBuf>,
        /// Leave the rack of a failed scenario standing until Ctrl-C, to look around in it.
        #[arg(long)]
        hold: bool,
    },
    /// Measures what docs/design/goals.md promises, and writes the figures down; needs root.
    Bench {
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
        /// Only this part: plan, l2, many, webhook, rest, bgp, or metallb, which is measured only so.
        #[arg(long)]
        only: Option<String>,
        /// Where controller, speaker and ferrolb are; by default beside this program.
        #[arg(long)]
        bin_dir: Option<PathBuf>,
        /// Where criterion left what it measured of the messages; without it that is left out.
        #[arg(long)]
        criterion: Option<PathBuf>,
        /// What the simulation of a ring at rest printed; without it that is left out.
        #[arg(long)]
        simulated: Option<PathBuf>,
    },
    /// Strikes the owner of an address over and over, and writes down how long it took; needs root.
    Soak {
        /// The file whose table is written anew.
        #[arg(long)]
        out: PathBuf,
        /// Only this part, none of which takes longer than 40 minutes; the figures of the others stay.
        #[arg(long)]
        only: Option<e2e::soak::Part>,
        /// How often each fault strikes that has a goal.
        #[arg(long, default_value_t = 50)]
        trials: usize,
        /// How often each of the others strikes: those of the ring, and faults while the API server is away.
        #[arg(long, default_value_t = 10)]
        ring_trials: usize,
        /// With how many nodes, one size after the other.
        #[arg(long, value_delimiter = ',', default_value = "3,10")]
        nodes: Vec<usize>,
        /// With how many nodes faults strike the owner of an ExternalIPPool's address; none at all with 0.
        #[arg(long, value_delimiter = ',', default_value = "3")]
        antrea_nodes: Vec<usize>,
        /// For how many minutes packets are lost; none at all with 0.
        #[arg(long, default_value_t = 30)]
        minutes: u32,
        /// With how many nodes packets are lost.
        #[arg(long, value_delimiter = ',', default_value = "3,10")]
        loss_nodes: Vec<usize>,
        /// For how many seconds a stranger attacks by each of its means.
        #[arg(long, default_value_t = 30)]
        attack_seconds: u64,
        /// Only these faults, by their names as the table has them ("link cut", "node frozen", ...); none at all with "none".
        #[arg(long, value_delimiter = ',')]
        faults: Vec<String>,
        /// Where controller, speaker and ferrolb are; by default beside this program.
        #[arg(long)]
        bin_dir: Option<PathBuf>,
    },
    /// Asks by ARP: the client's side of the measurements.
    #[command(hide = true)]
    Arp {
        /// What to do.
        arguments: Vec<String>,
    },
    /// Lists the scenarios.
    List,
    /// Answers every HTTP request with a text: the pods of the rack.
    Serve {
        /// Address and port.
        address: String,
        /// The text.
        body: String,
    },
    /// Plays a BGP peer that is worse than any router, or hundreds of them.
    BgpPeer {
        /// Its AS.
        asn: u16,
        /// What it does once it is Established.
        mode: e2e::raw::Mode,
    },
    /// Plays a stranger on the link who claims an address as ever other stations.
    Claim {
        /// The link.
        link: String,
        /// The address.
        address: std::net::Ipv4Addr,
        /// How many claims.
        count: u32,
        /// How many in a second.
        rate: u32,
    },
    /// Plays a router with proxy ARP, which answers for all addresses but those of a range.
    Proxy {
        /// The link.
        link: String,
        /// The first address of the range.
        first: std::net::Ipv4Addr,
        /// The last address of the range.
        last: std::net::Ipv4Addr,
    },
    /// Plays a stranger to the ring, who does to the members' port what it can without the key.
    Stranger {
        /// What it does.
        kind: e2e::strangers::Kind,
        /// Packets a second, or connections that are held at a time.
        amount: u32,
        /// For how many seconds.
        seconds: u64,
        /// The members' addresses.
        #[arg(long, value_delimiter = ',')]
        members: Vec<std::net::Ipv4Addr>,
        /// Addresses of this namespace.
        #[arg(long, value_delimiter = ',')]
        sources: Vec<std::net::Ipv4Addr>,
    },
    /// Prints the hardware address of everybody who answers for an IPv6 address.
    Solicit {
        /// The address.
        target: Ipv6Addr,
        /// The link on which to ask.
        link: String,
    },
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Run { filters, jobs, bin_dir, hold } => play(filters, jobs, bin_dir, hold),
        Command::Bench { out, only, bin_dir, criterion, simulated } => {
            let (criterion, simulated) = (criterion.as_deref(), simulated.as_deref());
            bench(&out, only.as_deref(), bin_dir, criterion, simulated)
        }
        Command::Soak {
            out,
            only,
            trials,
            ring_trials,
            nodes,
            antrea_nodes,
            minutes,
            loss_nodes,
            attack_seconds,
            faults,
            bin_dir,
        } => {
            let loss = Duration::from_secs(60) * minutes;
            beside(bin_dir).and_then(|binaries| {
                let plan = e2e::soak::Plan {
                    binaries,
                    trials,
                    ring_trials,
                    nodes,
                    antrea_nodes,
                    faults,
                    loss,
                    loss_nodes,
                    attacks: Duration::from_secs(attack_seconds),
                    out,
                };
                match only {
                    Some(e2e::soak::Part::Attacks) => e2e::soak::attack(&plan),
                    Some(part) => e2e::soak::run(&plan.only(part)),
                    None => e2e::soak::run(&plan),
                }
            })
        }
        Command::Arp { arguments } => e2e::bench::arp_client(&arguments).map(|()| true),
        Command::List => {
            for scenario in SCENARIOS {
                println!("{}", scenario.name);
            }
            Ok(true)
        }
        Command::Serve { address, body } => e2e::serve::serve(&address, &body).map(|()| true),
        Command::BgpPeer { asn, mode } => {
            e2e::raw::serve(asn, mode).map(|()| true).map_err(anyhow::Error::from)
        }
        Command::Claim { link, address, count, rate } => {
            e2e::claim::claim(&link, address, count, rate).map(|()| true)
        }
        Command::Proxy { link, first, last } => {
            e2e::proxy::answer(&link, first, last).map(|()| true)
        }
        Command::Stranger { kind, amount, seconds, members, sources } => {
            let time = Duration::from_secs(seconds);
            let orders = e2e::strangers::Orders { kind, amount, time, members, sources };
            e2e::strangers::play(&orders).map(|()| true)
        }
        Command::Solicit { target, link } => e2e::solicit::solicit(target, &link).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(
    out: &PathBuf,
    only: Option<&str>,
    binaries: Option<PathBuf>,
    criterion: Option<&Path>,
    simulated: Option<&Path>,
) -> anyhow::Result<bool> {
    let binaries = beside(binaries)?;
    e2e::bench::run(&binaries, out, only, criterion, simulated).map(|()| true)
}

/// Where the programs are: there, or beside this one.
fn beside(binaries: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    binaries.map_or_else(|| Ok(std::env::current_exe()?.with_file_name("")), anyhow::Ok)
}

fn play(
    filters: Vec<String>,
    jobs: usize,
    binaries: Option<PathBuf>,
    hold: bool,
) -> anyhow::Result<bool> {
    let binaries = beside(binaries)?;
    run(&Plan { filters, jobs, binaries, hold })
}
