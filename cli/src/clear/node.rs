// SPDX-License-Identifier: Apache-2.0
//! `ferrolb clear --node`: takes the nftables tables away that a speaker with `--keep-connections` left in this machine's kernel. They run
//! out by themselves, `--linger` after their speaker has ended; this removes them at once.

use std::fmt::Write;

use anyhow::{Context, bail};
use steer::net::{Cleared, Error, Kernel, Lack};

/// Clears this machine; returns the text to print.
///
/// # Errors
/// The permission is missing, or the kernel refuses. Nothing was changed then.
pub fn node() -> anyhow::Result<String> {
    match Kernel::open().and_then(|mut kernel| kernel.clear()) {
        Ok(cleared) => Ok(text(&cleared)),
        Err(Error::Lack(Lack::Permission)) => {
            bail!(
                "clearing this machine needs root, or the capability NET_ADMIN; nothing was changed"
            )
        }
        // Such a kernel has no table of anybody.
        Err(Error::Lack(Lack::Netfilter | Lack::Tables)) => Ok(text(&Cleared::default())),
        Err(error) => Err(error).context("the tables of this machine are as before"),
    }
}

fn text(cleared: &Cleared) -> String {
    let mut text = String::new();
    for family in &cleared.removed {
        let _ = writeln!(text, "table {family} ferrolb: taken away");
    }
    for family in &cleared.foreign {
        let _ = writeln!(text, "table {family} ferrolb: left as it is, as ferrolb has not made it");
    }
    if cleared.removed.is_empty() {
        text.push_str("no speaker has left a table here\n");
    } else {
        text.push_str("a speaker with --keep-connections that still runs here makes its tables anew within 10 s\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use steer::net::Family;

    use super::*;

    #[test]
    fn what_was_taken_away_and_what_was_left_is_said() {
        let said = text(&Cleared { removed: vec![Family::V4], foreign: vec![Family::V6] });
        assert!(said.contains("table ip ferrolb: taken away\n"), "{said}");
        assert!(said.contains("table ip6 ferrolb: left as it is"), "{said}");
        assert!(said.contains("still runs"), "{said}");
        let said = text(&Cleared::default());
        assert_eq!(said, "no speaker has left a table here\n");
    }
}
