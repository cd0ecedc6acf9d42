// SPDX-License-Identifier: Apache-2.0
//! The resourceVersion of an object.

use std::fmt;

/// A `metadata.resourceVersion`. The API server's are decimal numbers that grow with each write of the
/// object; any other text is kept, but says nothing about the order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResourceVersion {
    /// No version is known, as in a folder.
    #[default]
    Unknown,
    /// A decimal number.
    Number(u64),
    /// Any other text.
    Opaque(Box<str>),
}

impl ResourceVersion {
    /// Takes the API's text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text.parse() {
            _ if text.is_empty() => Self::Unknown,
            Ok(number) => Self::Number(number),
            Err(_) => Self::Opaque(text.into()),
        }
    }

    /// True if this version is certainly older than `other`.
    #[must_use]
    pub fn is_older_than(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Number(a), Self::Number(b)) if a < b)
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::Number(number) => number.fmt(formatter),
            Self::Opaque(text) => text.fmt(formatter),
        }
    }
}
