// SPDX-License-Identifier: Apache-2.0
//! The check for kube-proxy in IPVS mode without strictARP: then every node's kernel answers for every address of a Service.
//! It only looks; changing the setting is up to kube-proxy.

use std::fmt;
use std::fs;
use std::path::Path;

/// The kernel answers ARP for addresses that it shall leave to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrictArpProblem {
    /// net.ipv4.conf.all.arp_ignore as found; 1 is needed.
    pub arp_ignore: String,
    /// net.ipv4.conf.all.arp_announce as found; 2 is needed.
    pub arp_announce: String,
}

impl fmt::Display for StrictArpProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kube-proxy runs in IPVS mode without strictARP, so that every node answers ARP for every service address: \
             net.ipv4.conf.all.arp_ignore is {} (needs 1), arp_announce is {} (needs 2); set ipvs.strictARP: true",
            self.arp_ignore, self.arp_announce
        )
    }
}

/// Looks at this network namespace; `None` without the interface kube-ipvs0 or with the right settings.
#[must_use]
pub fn strict_arp_problem() -> Option<StrictArpProblem> {
    look(Path::new("/proc/sys/net/ipv4/conf"))
}

fn look(conf: &Path) -> Option<StrictArpProblem> {
    if !conf.join("kube-ipvs0").exists() {
        return None;
    }
    let read = |name| {
        fs::read_to_string(conf.join("all").join(name))
            .map_or_else(|error| format!("unreadable ({error})"), |text| text.trim().to_owned())
    };
    let (arp_ignore, arp_announce) = (read("arp_ignore"), read("arp_announce"));
    (arp_ignore != "1" || arp_announce != "2")
        .then_some(StrictArpProblem { arp_ignore, arp_announce })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ipvs_with_other_values_is_a_problem() {
        let conf = std::env::temp_dir().join(format!("l2-strict-arp-{}", std::process::id()));
        fs::create_dir_all(conf.join("all")).unwrap();
        let set = |ignore: &str, announce: &str| {
            fs::write(conf.join("all/arp_ignore"), ignore).unwrap();
            fs::write(conf.join("all/arp_announce"), announce).unwrap();
        };
        set("0\n", "0\n");
        assert_eq!(look(&conf), None);
        fs::create_dir_all(conf.join("kube-ipvs0")).unwrap();
        let problem = look(&conf).unwrap();
        assert!(problem.to_string().contains("arp_ignore is 0 (needs 1)"), "{problem}");
        set("1\n", "2\n");
        assert_eq!(look(&conf), None);
        fs::remove_dir_all(conf).unwrap();
    }
}
