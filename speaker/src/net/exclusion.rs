// SPDX-License-Identifier: Apache-2.0
//! The node's file of interfaces that are never used (contract 4.5).

use std::path::Path;

use regex::Regex;
use serde::Deserialize;

/// The path at which MetalLB's manifests mount the file.
pub const EXCLUSION_FILE: &str = "/etc/metallb/excludel2.yaml";

/// The reason why the file cannot be used. The program ends in this case, since a guess would answer on the wrong links.
#[derive(Debug, thiserror::Error)]
pub enum ExclusionError {
    /// The file is there and cannot be read.
    #[error("cannot read {EXCLUSION_FILE}")]
    Read(#[from] std::io::Error),
    /// The file is not YAML of the expected shape.
    #[error("{EXCLUSION_FILE}: {0}")]
    Parse(String),
    /// One of its entries is no regular expression.
    #[error("{EXCLUSION_FILE}: announcedInterfacesToExclude: {0}")]
    Expression(#[from] regex::Error),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Exclusion {
    announced_interfaces_to_exclude: Option<Vec<String>>,
}

/// Reads the file; a missing one excludes nothing. The expressions match anywhere in a name.
///
/// # Errors
/// The file is there and cannot be understood.
pub fn read_exclusion(path: &Path) -> Result<Option<Regex>, ExclusionError> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn parse(text: &str) -> Result<Option<Regex>, ExclusionError> {
    let exclusion: Option<Exclusion> =
        serde_saphyr::from_str(text).map_err(|error| ExclusionError::Parse(error.to_string()))?;
    let expressions =
        exclusion.unwrap_or_default().announced_interfaces_to_exclude.unwrap_or_default();
    if expressions.is_empty() {
        return Ok(None);
    }
    for expression in &expressions {
        Regex::new(expression)?;
    }
    let all: Vec<String> = expressions.iter().map(|expression| format!("({expression})")).collect();
    Ok(Some(Regex::new(&all.join("|"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_list_excludes_what_it_should() {
        let text =
            "announcedInterfacesToExclude: [\"^docker.*\", \"^veth.*\", \"^lo$\", \"^cali.*\"]\n";
        let exclusion = parse(text).unwrap().unwrap();
        assert!(["docker0", "veth12", "lo", "cali1"].iter().all(|name| exclusion.is_match(name)));
        assert!(["eth0", "loop0", "br-veth"].iter().all(|name| !exclusion.is_match(name)));
    }

    #[test]
    fn an_empty_file_excludes_nothing_and_nonsense_is_an_error() {
        assert!(parse("").unwrap().is_none());
        assert!(parse("announcedInterfacesToExclude:\n").unwrap().is_none());
        assert!(matches!(parse("a: [1"), Err(ExclusionError::Parse(_))));
        let wrong = parse("announcedInterfacesToExclude: [\"(\"]");
        assert!(matches!(wrong, Err(ExclusionError::Expression(_))));
    }
}
