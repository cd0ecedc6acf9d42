// SPDX-License-Identifier: Apache-2.0
//! The errors between the program and the kernel.

use std::io;

use super::ruleset::Family;

/// A part that the kernel, or the process's permission for it, lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// The process has no `CAP_NET_ADMIN` in its network namespace.
    #[error("the permission CAP_NET_ADMIN is missing")]
    Permission,
    /// No netfilter over netlink (`NETFILTER_NETLINK`).
    #[error("the kernel has no netfilter over netlink (NETFILTER_NETLINK)")]
    Netfilter,
    /// No nf_tables (`NF_TABLES`).
    #[error("the kernel has no nf_tables (NF_TABLES)")]
    Tables,
    /// No tables or no filter chains of a family (`NF_TABLES_IPV4`, `NF_TABLES_IPV6`, `NF_TABLES_NETDEV`).
    #[error(
        "nf_tables of this kernel has no family {0} (NF_TABLES_IPV4, NF_TABLES_IPV6, NF_TABLES_NETDEV)"
    )]
    Family(Family),
    /// No sets, maps, or elements that run out.
    #[error("nf_tables of this kernel has not the sets and maps that are needed, family {0}")]
    Sets(Family),
    /// No expression of this name.
    #[error("nf_tables of this kernel has no {expression} in the family {family}")]
    Expression {
        /// The family of the table.
        family: Family,
        /// The name of the expression: `ct`, `dup`, `reject`, `hash` (of jhash), `fwd` and others.
        expression: &'static str,
    },
    /// The connections of conntrack cannot be listed (`NF_CT_NETLINK`).
    #[error("the kernel cannot list connections (NF_CT_NETLINK)")]
    Connections,
}

/// An operation on the kernel's tables or connections has failed. Except where it says so, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel lacks something that is always needed.
    #[error(transparent)]
    Lack(#[from] Lack),
    /// The kernel refused a message of a transaction.
    #[error("the kernel refused message {number} of a transaction, {message}: {source}")]
    Refused {
        /// The place in the transaction; 1 is its first message, and 0 stands for the transaction as a whole.
        number: usize,
        /// The message in words.
        message: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel refused to list something.
    #[error("the kernel does not list its {what}: {source}")]
    Unlisted {
        /// The thing that was asked for.
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// There is a table of our name that we have not made.
    #[error(
        "the table {0} ferrolb was not made by ferrolb: it has no mark of ours, and is not touched"
    )]
    Foreign(Family),
    /// The tables of the last [`apply`](super::Kernel::apply) are not there any more, or there was none: apply anew.
    #[error("the tables are gone or were never made")]
    Gone,
    /// Other programs change nf_tables all the time.
    #[error("other programs changed nf_tables during each of {0} attempts")]
    Busy(u32),
    /// The kernel did not answer in time, or its answer was cut. A transaction may have been carried out.
    #[error("no answer of the kernel while {doing}: {source}")]
    Answer {
        /// The action that failed.
        doing: &'static str,
        /// The error of the socket.
        source: io::Error,
    },
    /// The socket failed.
    #[error("{doing}: {source}")]
    Socket {
        /// The action that failed.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
}
