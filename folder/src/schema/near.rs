// SPDX-License-Identifier: Apache-2.0
//! The known name that somebody probably meant.

/// The one of `names` that is nearest to `name`: equal but for case, or at most a third of its letters away.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let most = name.chars().count() / 3;
    names
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= most && *known != name)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// `; did you mean "x"?`, or nothing.
pub(super) fn suggestion<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, names).map(|known| format!("; did you mean {known:?}?")).unwrap_or_default()
}
