// SPDX-License-Identifier: Apache-2.0
//! What a [`super::Watcher`] saw, and what can be asked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A frame that claims the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When it came.
    pub at: Instant,
    /// That as time since 1970, as logs have it.
    pub real: Duration,
    /// The hardware address that it names.
    pub mac: [u8; 6],
    /// The number of the question that it answers; none for an announcement.
    pub answers: Option<u16>,
}

impl Sighting {
    /// The station's name: `node3` for 02:fb:00:00:LL:03.
    #[must_use]
    pub fn station(&self) -> String {
        match self.mac {
            [0x02, 0xfb, 0, 0, _, number] => format!("node{number}"),
            other => format!("{other:02x?}"),
        }
    }
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The frames that claim the address, in the order in which they came.
    pub sightings: Vec<Sighting>,
    /// When each question was asked; its number is its place, modulo 2^16.
    pub questions: Vec<Instant>,
}

impl Record {
    /// The frames of a station after a moment.
    pub fn of<'a>(&'a self, station: &str, after: Instant) -> impl Iterator<Item = &'a Sighting> {
        self.after(after).filter(move |sighting| sighting.station() == station)
    }

    /// The first frame of anybody but this station, after a moment.
    #[must_use]
    pub fn first_of_others(&self, station: &str, after: Instant) -> Option<&Sighting> {
        self.after(after).find(|sighting| sighting.station() != station)
    }

    /// The stations that claimed the address from one moment to another, and with how many frames.
    #[must_use]
    pub fn stations(&self, from: Instant, to: Instant) -> BTreeMap<String, usize> {
        let mut stations = BTreeMap::new();
        for sighting in self.after(from).filter(|sighting| sighting.at < to) {
            *stations.entry(sighting.station()).or_default() += 1;
        }
        stations
    }

    /// The questions of this time that nobody answered.
    #[must_use]
    pub fn unanswered(&self, from: Instant, to: Instant) -> Vec<Instant> {
        let answered: BTreeSet<u16> =
            self.after(from).filter_map(|sighting| sighting.answers).collect();
        let numbered = self.questions.iter().enumerate();
        numbered
            .filter(|(_, asked)| (from..to).contains(*asked))
            .filter(|(number, _)| {
                !u16::try_from(number % 0x1_0000).is_ok_and(|number| answered.contains(&number))
            })
            .map(|(_, asked)| *asked)
            .collect()
    }

    /// How many questions of this time more than one station answered.
    #[must_use]
    pub fn answered_by_several(&self, from: Instant, to: Instant) -> usize {
        let mut answers: BTreeMap<u16, BTreeSet<[u8; 6]>> = BTreeMap::new();
        for sighting in self.after(from).filter(|sighting| sighting.at < to) {
            if let Some(number) = sighting.answers {
                answers.entry(number).or_default().insert(sighting.mac);
            }
        }
        answers.values().filter(|stations| stations.len() > 1).count()
    }

    /// How often in this time another station claimed the address than the one that had claimed it before.
    #[must_use]
    pub fn changes(&self, from: Instant, to: Instant) -> usize {
        let within = self.after(from).filter(|sighting| sighting.at < to);
        let stations: Vec<[u8; 6]> = within.map(|sighting| sighting.mac).collect();
        stations.windows(2).filter(|pair| pair.first() != pair.last()).count()
    }

    /// When the question was asked that this frame answers.
    #[must_use]
    pub fn asked(&self, sighting: &Sighting) -> Option<Instant> {
        let number = sighting.answers?;
        let numbered = self.questions.iter().enumerate().rev();
        let mut asked = numbered.filter(|(place, asked)| {
            place % 0x1_0000 == usize::from(number) && **asked <= sighting.at
        });
        asked.next().map(|(_, asked)| *asked)
    }

    fn after(&self, moment: Instant) -> impl Iterator<Item = &Sighting> {
        // Frames come nearly in order; a few may be exchanged by a hair.
        self.sightings.iter().filter(move |sighting| sighting.at >= moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::wait::now;

    #[test]
    fn answers_are_matched_to_their_questions() {
        let start = now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let sighting = |time, node, answers| Sighting {
            at: at(time),
            real: Duration::ZERO,
            mac: [2, 0xfb, 0, 0, 0, node],
            answers,
        };
        let record = Record {
            sightings: vec![
                sighting(1, 1, Some(0)),
                sighting(25, 2, None),
                sighting(31, 2, Some(3)),
                sighting(32, 1, Some(2)),
                sighting(33, 2, Some(2)),
            ],
            questions: (0..5).map(|number| at(number * 10)).collect(),
        };
        assert_eq!(record.unanswered(at(0), at(40)), [at(10)]);
        assert_eq!(record.first_of_others("node1", at(0)).map(|first| first.at), Some(at(25)));
        assert_eq!(record.of("node1", at(2)).count(), 1);
        assert_eq!(
            record.stations(at(0), at(32)),
            [("node1".to_owned(), 1), ("node2".to_owned(), 2)].into()
        );
        assert_eq!(record.answered_by_several(at(0), at(40)), 1);
        assert_eq!(record.answered_by_several(at(0), at(33)), 0);
        assert_eq!(record.changes(at(0), at(40)), 3);
        assert_eq!(record.changes(at(2), at(32)), 0);
        assert_eq!(record.asked(&record.sightings[3]), Some(at(20)));
        assert_eq!(record.asked(&record.sightings[1]), None);
    }
}
