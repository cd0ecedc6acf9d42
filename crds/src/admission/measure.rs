// SPDX-License-Identifier: Apache-2.0
//! What a JSON text would cost as a tree, before it is made one. A text of a few megabytes can become hundreds as a
//! [`serde_json::Value`]: each map of one entry takes a node with places for eleven.

use std::mem::size_of;

use serde_json::Value;

/// How deep values may nest, as serde_json has it.
const DEEPEST: usize = 128;
/// The most octets that the tree of one object may take: an object of the largest size that an API server stores (1.5 MB), unless it
/// is made of little but brackets.
pub(super) const TREE: usize = 16 << 20;
/// A node of a map: eleven keys and values, and what the allocator adds.
const NODE: usize = 11 * (size_of::<String>() + size_of::<Value>()) + 32;
/// An entry of a map with many, whose nodes are half full at worst.
const ENTRY: usize = NODE / 5;
/// A list has places for four values at least.
const LIST: usize = 4 * size_of::<Value>() + 16;
/// A list grows by doubling: one place for each value, and one that is free.
const VALUE: usize = 2 * size_of::<Value>();
/// What the allocator adds to a text, for each of its two quotes.
const QUOTE: usize = 16;

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooIntricate {
    /// Values within values within values.
    #[error("it nests deeper than {DEEPEST} values")]
    Deep,
    /// Much more memory than text.
    #[error("an object would take more than {TREE} octets of memory")]
    Large,
}

/// Reads a text once, without memory: whether it can be read at all.
///
/// # Errors
/// When it nests too deep.
pub(super) fn shallow(text: &[u8]) -> Result<(), TooIntricate> {
    measure(text, usize::MAX)
}

/// The same, and whether its tree takes at most so many octets.
///
/// # Errors
/// When it nests too deep, or the tree may be larger.
pub(super) fn measure(text: &[u8], most: usize) -> Result<(), TooIntricate> {
    let (mut depth, mut octets) = (0_usize, 0_usize);
    let (mut quoted, mut escaped) = (false, false);
    // Whether a map was opened and nothing has followed yet: an empty one takes no memory.
    let mut opened = false;
    for octet in text {
        if quoted {
            octets += 1;
            match octet {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        let more = match octet {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'"' => {
                quoted = true;
                2 * QUOTE
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(TooIntricate::Deep);
                }
                if *octet == b'[' { LIST } else { 0 }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                0
            }
            b':' => ENTRY,
            b',' => VALUE,
            _ => 1,
        };
        octets += more + if opened && *octet != b'}' { NODE } else { 0 };
        opened = *octet == b'{';
        if octets > most {
            return Err(TooIntricate::Large);
        }
    }
    if octets > most { Err(TooIntricate::Large) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_that_of_brackets_outside_of_texts() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert_eq!(shallow(&nested(DEEPEST)), Ok(()));
        assert_eq!(shallow(&nested(DEEPEST + 1)), Err(TooIntricate::Deep));
        assert_eq!(shallow(&vec![b'{'; 1 << 20]), Err(TooIntricate::Deep));
        let text = format!(r#"["\"{}"]"#, "[".repeat(1_000));
        assert_eq!(shallow(text.as_bytes()), Ok(()));
    }

    #[test]
    fn what_is_little_text_and_much_memory_is_refused_and_an_object_of_the_largest_size_is_not() {
        for piece in ["{\"\":0},", "[],", "0,", "\"\","] {
            let text = format!("[{}0]", piece.repeat((3 << 20) / piece.len()));
            assert_eq!(measure(text.as_bytes(), TREE), Err(TooIntricate::Large), "{piece}");
        }
        let long =
            format!(r#"{{"metadata":{{"annotations":{{"a":"{}"}}}}}}"#, "x".repeat(1_500_000));
        assert_eq!(measure(long.as_bytes(), TREE), Ok(()));
        let selector = r#"{"matchLabels":{"kubernetes.io/hostname":"node-1"}},"#;
        let many = format!(r#"{{"nodeSelectors":[{}{{}}]}}"#, selector.repeat(5_000));
        assert_eq!(measure(many.as_bytes(), TREE), Ok(()));
    }
}
