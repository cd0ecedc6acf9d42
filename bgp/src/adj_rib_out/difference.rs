// SPDX-License-Identifier: Apache-2.0
//! The difference of two tables, in one walk over both.

use std::cmp::Ordering;
use std::sync::Arc;

use ipnet::IpNet;

use crate::route::{Attributes, Routes};

type Change<'a> = (&'a IpNet, Option<&'a Arc<Attributes>>, Option<&'a Arc<Attributes>>);

/// Every prefix whose attributes differ: what was, what is. Shared attributes are not compared.
pub(super) fn changed<'a>(old: &'a Routes, new: &'a Routes) -> impl Iterator<Item = Change<'a>> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some((one, _)), Some((two, _))) => one.cmp(two),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return None,
            };
            let before = (order != Ordering::Greater).then(|| old.next()).flatten();
            let now = (order != Ordering::Less).then(|| new.next()).flatten();
            let (prefix, _) = before.or(now)?;
            let (before, now) = (before.map(|(_, path)| path), now.map(|(_, path)| path));
            let same = match (before, now) {
                (Some(one), Some(two)) => Arc::ptr_eq(one, two) || one == two,
                (_, _) => false,
            };
            if !same {
                return Some((prefix, before, now));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_seen() {
        let path = |med| Arc::new(Attributes::default().with_med(med));
        let table = |entries: &[(&str, u32)]| -> Routes {
            entries.iter().map(|(prefix, med)| (prefix.parse().unwrap(), path(*med))).collect()
        };
        let old = table(&[("10.0.0.1/32", 1), ("10.0.0.2/32", 2), ("10.0.0.3/32", 3)]);
        let new = table(&[("10.0.0.2/32", 2), ("10.0.0.3/32", 4), ("2001:db8::/32", 5)]);
        let seen: Vec<_> = changed(&old, &new)
            .map(|(prefix, before, now)| {
                let med = |path: Option<&Arc<Attributes>>| path.and_then(|path| path.med());
                (prefix.to_string(), med(before), med(now))
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("10.0.0.1/32".to_owned(), Some(1), None),
                ("10.0.0.3/32".to_owned(), Some(3), Some(4)),
                ("2001:db8::/32".to_owned(), None, Some(5)),
            ]
        );
        assert_eq!(changed(&new, &new).count(), 0);
    }
}
