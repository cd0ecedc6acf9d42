// SPDX-License-Identifier: Apache-2.0
//! Lines of hexadecimal octets, with spaces and colons anywhere and comments after `#`.

use crate::piece::Piece;

/// Whether it is text of that kind, whatever its mistakes.
pub(crate) fn is_text(octets: &[u8]) -> bool {
    std::str::from_utf8(octets)
        .is_ok_and(|text| !text.chars().any(|one| one.is_control() && !one.is_whitespace()))
}

/// One piece for each line that has octets.
pub(crate) fn pieces(octets: &[u8]) -> Result<Vec<Piece>, String> {
    let text = String::from_utf8_lossy(octets);
    let mut pieces = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let data = line.split('#').next().unwrap_or_default();
        let digits: Vec<u8> = data
            .chars()
            .filter(|one| !one.is_whitespace() && *one != ':')
            .map(|one| one.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or_else(|| format!("line {number}: not hexadecimal"))?;
        let (pairs, rest) = digits.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(format!("line {number}: half an octet"));
        }
        if !pairs.is_empty() {
            pieces.push(Piece {
                place: format!("line {number}"),
                // Every line stands for itself: an OPEN among them says nothing of the others.
                sender: format!("line {number}"),
                octets: pairs.iter().map(|[high, low]| high << 4 | low).collect(),
                ..Piece::default()
            });
        }
    }
    Ok(pieces)
}
