//! Flags as Go's programs take them (contract 3.2): one dash or two, `--flag value` or `--flag=value`.

use std::ffi::OsString;

/// Turns `-flag` into `--flag`, which is what clap understands; everything else stays as it is. Go knows
/// no bundles of one-letter flags, so nothing is lost. What stands behind `--` is left alone.
pub fn two_dashes(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut only_operands = false;
    arguments
        .enumerate()
        .map(|(index, argument)| {
            let Some(text) = argument.to_str() else { return argument };
            only_operands |= text == "--";
            let is_number = text.get(1..).is_some_and(|rest| rest.parse::<f64>().is_ok());
            let one_dash = text.len() > 2 && text.starts_with('-') && !text.starts_with("--");
            if index > 0 && one_dash && !is_number && !only_operands {
                format!("-{text}").into()
            } else {
                argument
            }
        })
        .collect()
}

/// The namespace that the program serves: the flag or its environment, else that of the pod.
#[must_use]
pub fn namespace(given: Option<String>) -> Option<String> {
    const OWN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    given.filter(|namespace| !namespace.is_empty()).or_else(|| {
        let own = std::fs::read_to_string(OWN).ok()?;
        Some(own.trim().to_owned()).filter(|namespace| !namespace.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::two_dashes;

    fn turned(arguments: &[&str]) -> Vec<String> {
        two_dashes(arguments.iter().map(Into::into))
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect()
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        assert_eq!(
            turned(&["speaker", "-port=9120", "--log-level", "info", "-h", "-1", "--", "-x1"]),
            ["speaker", "--port=9120", "--log-level", "info", "-h", "-1", "--", "-x1"]
        );
    }
}
