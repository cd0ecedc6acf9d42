// SPDX-License-Identifier: Apache-2.0
//! What speakers tell one another directly, as notices of the heartbeat: what they say of themselves, before the ring has it, and
//! which addresses they answer for from now.
//!
//! ```text
//!   kind (1): 1 facts: metadata; 2 claims: for each address its length (4 or 16) and its octets;
//!             3 question
//! ```

use std::net::IpAddr;

use crate::roster::Facts;

const FACTS: u8 = 1;
const CLAIMS: u8 = 2;
const QUESTION: u8 = 3;
/// What one notice may hold.
const LIMIT: usize = 1_000;

/// One notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The sender says this of itself from now.
    Facts(Facts),
    /// The sender answers for these from now, and has announced them.
    Claims(Vec<IpAddr>),
    /// The sender may have missed what was told, and wants to hear it again.
    Question,
}

impl Told {
    /// The notices that say it; claims are split so that each fits.
    #[must_use]
    pub fn encode(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Facts(facts) => vec![[&[FACTS], &facts.encode()[..]].concat()],
            Self::Question => vec![vec![QUESTION]],
            Self::Claims(addresses) => {
                let mut notices: Vec<Vec<u8>> = Vec::new();
                for address in addresses {
                    let octets = octets(*address);
                    match notices.last_mut() {
                        Some(last) if last.len() + octets.len() <= LIMIT => last.extend(octets),
                        _ => notices.push([&[CLAIMS], &octets[..]].concat()),
                    }
                }
                notices
            }
        }
    }

    /// Reads a notice; none if it says nothing that is known here.
    #[must_use]
    pub fn decode(notice: &[u8]) -> Option<Self> {
        let (kind, mut rest) = notice.split_first()?;
        match *kind {
            FACTS => Facts::decode(rest).map(Self::Facts),
            CLAIMS => {
                let mut addresses = Vec::new();
                while let Some((length, more)) = rest.split_first() {
                    let (octets, more) = more.split_at_checked(usize::from(*length))?;
                    addresses.push(match *length {
                        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
                        16 => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
                        _ => return None,
                    });
                    rest = more;
                }
                Some(Self::Claims(addresses))
            }
            QUESTION => Some(Self::Question),
            _ => None,
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => [&[4], &v4.octets()[..]].concat(),
        IpAddr::V6(v6) => [&[16], &v6.octets()[..]].concat(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_told_is_read() {
        let claims = Told::Claims(vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()]);
        let [notice] = &claims.encode()[..] else { panic!() };
        assert_eq!(&notice[..6], b"\x02\x04\x0a\x00\x00\x01");
        assert_eq!(Told::decode(notice), Some(claims));
        let facts = Told::Facts(Facts { leaving: true, ..Facts::default() });
        assert_eq!(Told::decode(&facts.encode()[0]), Some(facts));
        assert_eq!(Told::decode(&Told::Question.encode()[0]), Some(Told::Question));
        for foreign in [&b""[..], b"\x04", b"\x02\x05", b"\x02\x04\x01", b"\x01nothing"] {
            assert_eq!(Told::decode(foreign), None);
        }
        assert!(Told::Claims(Vec::new()).encode().is_empty());
    }

    proptest! {
        #[test]
        fn any_number_of_claims_arrives(addresses: Vec<IpAddr>, bytes: Vec<u8>) {
            let mut read = Vec::new();
            for notice in Told::Claims(addresses.clone()).encode() {
                prop_assert!(notice.len() <= LIMIT);
                let Some(Told::Claims(part)) = Told::decode(&notice) else { panic!() };
                read.extend(part);
            }
            prop_assert_eq!(read, addresses);
            let _ = Told::decode(&bytes);
        }
    }
}
