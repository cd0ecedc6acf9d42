// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

type Numbers = Writer<&'static str, u32>;

fn writer(limits: Limits) -> (Numbers, Instant) {
    (Writer::new(limits), clock::now())
}

/// Everything that is to be done now.
fn orders(writer: &mut Numbers, now: Instant) -> Vec<(&'static str, Option<u32>)> {
    std::iter::from_fn(|| writer.poll(now)).collect()
}

#[test]
fn a_wish_is_written_once_and_an_object_that_is_removed_is_deleted_once() {
    let (mut writer, now) = writer(Limits::default());
    writer.set("a", Some(1), now);
    assert_eq!(orders(&mut writer, now), [("a", Some(1))]);
    assert!(!writer.done(&"a", Ok(()), now));
    writer.set("a", Some(1), now);
    assert_eq!(orders(&mut writer, now), []);
    writer.set("a", None, now);
    assert_eq!(orders(&mut writer, now), [("a", None)]);
    writer.done(&"a", Ok(()), now);
    writer.set("a", None, now);
    writer.set("b", None, now);
    assert_eq!(orders(&mut writer, now + 60 * SECOND), []);
    assert!(writer.entries.is_empty() && writer.deadline().is_none());
}

#[test]
fn a_key_that_changes_while_it_is_written_is_written_again_and_not_twice_at_once() {
    let (mut writer, now) = writer(Limits { concurrent: 2, ..Limits::default() });
    writer.set("a", Some(1), now);
    assert_eq!(orders(&mut writer, now), [("a", Some(1))]);
    writer.set("a", Some(2), now);
    writer.set("a", Some(3), now);
    assert_eq!(orders(&mut writer, now), []);
    writer.done(&"a", Ok(()), now);
    assert_eq!(orders(&mut writer, now), [("a", Some(3))]);
    writer.set("a", None, now);
    writer.done(&"a", Ok(()), now);
    assert_eq!(orders(&mut writer, now), [("a", None)]);
    // A wish that comes back to the content under way is not written again.
    writer.done(&"a", Ok(()), now);
    writer.set("a", Some(4), now);
    orders(&mut writer, now);
    writer.set("a", Some(5), now);
    writer.set("a", Some(4), now);
    writer.done(&"a", Ok(()), now);
    assert_eq!(orders(&mut writer, now), []);
}

#[test]
fn a_failed_write_backs_off_and_the_newest_state_wins() {
    let limits = Limits { retry: (SECOND, 4 * SECOND), ..Limits::default() };
    let (mut writer, mut now) = writer(limits);
    writer.set("a", Some(1), now);
    for (number, pause) in (2..).zip([1, 2, 4, 4]) {
        assert_eq!(orders(&mut writer, now), [("a", Some(number - 1))]);
        writer.done(&"a", Err(Trouble::Failed), now);
        writer.set("a", Some(number), now);
        now += pause * SECOND;
        assert_eq!(writer.deadline(), Some(now));
        assert_eq!(orders(&mut writer, now - SECOND / 2), []);
    }
    // Other keys do not wait for it.
    writer.set("b", Some(0), now - SECOND);
    assert_eq!(orders(&mut writer, now - SECOND), [("b", Some(0))]);
    writer.done(&"b", Ok(()), now);
    assert_eq!(orders(&mut writer, now), [("a", Some(5))]);
    writer.done(&"a", Ok(()), now);
    assert_eq!(writer.deadline(), None);
}

#[test]
fn a_refused_kind_is_told_once_and_tried_again_later() {
    let (mut writer, now) = writer(Limits { concurrent: 2, ..Limits::default() });
    for key in ["a", "b", "c"] {
        writer.set(key, Some(1), now);
    }
    assert_eq!(orders(&mut writer, now).len(), 2);
    assert!(writer.done(&"a", Err(Trouble::Refused), now));
    assert!(!writer.done(&"b", Err(Trouble::Refused), now));
    assert_eq!(orders(&mut writer, now + REFUSED / 2), []);
    let later = now + REFUSED;
    assert_eq!(writer.deadline(), Some(later));
    assert_eq!(orders(&mut writer, later).len(), 2);
    assert!(!writer.done(&"a", Err(Trouble::Refused), later));
    writer.done(&"c", Ok(()), later);
    // The other trouble is told too, and each anew when all was well in between.
    let later = later + REFUSED;
    assert_eq!(orders(&mut writer, later).len(), 2);
    assert!(writer.done(&"a", Err(Trouble::Failed), later));
    writer.done(&"b", Ok(()), later);
    let later = later + RETRY;
    orders(&mut writer, later);
    writer.done(&"a", Ok(()), later);
    writer.set("a", Some(2), later);
    orders(&mut writer, later);
    assert!(writer.done(&"a", Err(Trouble::Refused), later));
}

#[test]
fn one_refused_object_among_others_that_are_written_holds_nothing_up() {
    let (mut writer, now) = writer(Limits::default());
    writer.set("a", Some(1), now);
    orders(&mut writer, now);
    writer.done(&"a", Ok(()), now);
    writer.set("b", Some(1), now);
    orders(&mut writer, now);
    writer.done(&"b", Err(Trouble::Refused), now);
    writer.set("a", Some(2), now);
    assert_eq!(orders(&mut writer, now), [("a", Some(2))]);
    // Where a refusal concerns one object alone it is a failure.
    let (mut writer, now) = self::writer(Limits { refused: None, ..Limits::default() });
    writer.set("a", Some(1), now);
    orders(&mut writer, now);
    writer.done(&"a", Err(Trouble::Refused), now);
    assert_eq!(writer.deadline(), Some(now + RETRY));
}

#[test]
fn changes_settle_and_a_key_rests_between_two_writes() {
    let limits = Limits { settle: SECOND, rest: 5 * SECOND, ..Limits::default() };
    let (mut writer, now) = writer(limits);
    writer.set("a", Some(1), now);
    writer.set("a", Some(2), now + SECOND / 2);
    assert_eq!(orders(&mut writer, now + SECOND / 2), []);
    let now = now + SECOND;
    assert_eq!(orders(&mut writer, now), [("a", Some(2))]);
    writer.done(&"a", Ok(()), now);
    writer.set("a", None, now);
    assert_eq!(orders(&mut writer, now + 4 * SECOND), []);
    let now = now + 5 * SECOND;
    assert_eq!(orders(&mut writer, now), [("a", None)]);
    writer.done(&"a", Ok(()), now);
    writer.set("a", Some(3), now);
    assert_eq!(orders(&mut writer, now + 4 * SECOND), []);
    assert_eq!(orders(&mut writer, now + 5 * SECOND), [("a", Some(3))]);
    // A wish that flickers is not written.
    let now = now + 5 * SECOND;
    writer.done(&"a", Ok(()), now);
    writer.set("a", Some(4), now);
    writer.set("a", Some(3), now);
    assert_eq!(orders(&mut writer, now + 60 * SECOND), []);
}

#[test]
fn what_an_earlier_process_left_is_kept_if_it_is_right_and_removed_when_nobody_wishes_it() {
    let (mut writer, now) = writer(Limits { concurrent: 9, ..Limits::default() });
    writer.set("same", Some(1), now);
    writer.set("other", Some(1), now);
    writer.set("unknown", Some(1), now);
    writer.set("gone", None, now);
    for key in ["same", "gone", "left"] {
        writer.adopt(key, Some(1), now);
    }
    writer.adopt("other", Some(2), now);
    writer.adopt("unknown", None, now);
    assert_eq!(
        orders(&mut writer, now),
        [("gone", None), ("other", Some(1)), ("unknown", Some(1))]
    );
    writer.settle(now);
    assert_eq!(orders(&mut writer, now), [("left", None)]);
    // All may be said before anything is found.
    let (mut writer, now) = self::writer(Limits::default());
    writer.set_all(BTreeMap::from([("a", 1)]), now);
    writer.adopt("a", Some(1), now);
    writer.adopt("left", Some(1), now);
    assert_eq!(orders(&mut writer, now), [("left", None)]);
}

#[test]
fn what_somebody_else_changed_is_written_again_but_not_at_once() {
    let (mut writer, now) = writer(Limits::default());
    writer.doubt(&"a", now);
    writer.set("a", Some(1), now);
    orders(&mut writer, now);
    // Meanwhile, too.
    writer.doubt(&"a", now);
    writer.done(&"a", Ok(()), now);
    assert_eq!(orders(&mut writer, now), [("a", Some(1))]);
    writer.done(&"a", Ok(()), now);
    writer.doubt(&"a", now);
    assert_eq!(orders(&mut writer, now), []);
    assert_eq!(orders(&mut writer, now + RETRY), [("a", Some(1))]);
    writer.done(&"a", Ok(()), now + RETRY);
    // A new wish does not wait for that.
    writer.doubt(&"a", now + RETRY);
    writer.set("a", Some(2), now + RETRY);
    assert_eq!(orders(&mut writer, now + RETRY), [("a", Some(2))]);
}

#[test]
fn a_writer_that_is_released_writes_nothing_more_until_it_is_told_to() {
    let (mut writer, now) = writer(Limits { concurrent: 2, ..Limits::default() });
    for key in ["a", "b", "c"] {
        writer.set(key, Some(1), now);
    }
    orders(&mut writer, now);
    writer.release();
    assert!(!writer.done(&"a", Err(Trouble::Failed), now));
    assert_eq!(orders(&mut writer, now + 60 * SECOND), []);
    // A write under way ends first, and its result is not trusted: another process may have written since.
    writer.set("b", Some(1), now);
    assert_eq!(orders(&mut writer, now), []);
    writer.done(&"b", Ok(()), now);
    assert_eq!(orders(&mut writer, now), [("b", Some(1))]);
    writer.done(&"b", Ok(()), now);
    writer.release();
    assert!(writer.entries.is_empty() && writer.deadline().is_none());
}

#[test]
fn a_writer_without_memory_carries_out_every_wish_and_keeps_nothing() {
    let (mut writer, now) = writer(Limits { remembers: false, ..Limits::default() });
    for _ in 0..2 {
        writer.set("a", Some(1), now);
        assert_eq!(orders(&mut writer, now), [("a", Some(1))]);
        writer.set("a", Some(1), now);
        writer.done(&"a", Ok(()), now);
        assert_eq!(writer.wish(&"a"), Some(&1));
        assert_eq!(orders(&mut writer, now), [("a", Some(1))]);
        writer.done(&"a", Ok(()), now);
        assert!(writer.entries.is_empty());
    }
}

/// One thing that happens to a writer.
#[derive(Clone, Debug)]
enum Happening {
    Set(u8, Option<u8>),
    SetAll(BTreeMap<u8, u8>),
    /// One of those that are under way ends, at first or at last, done or not.
    End(u8, Result<(), Trouble>, bool),
    /// Somebody else writes.
    Other(u8, Option<u8>),
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let key = 0..4_u8;
    let wish = proptest::option::of(0..3_u8);
    let all = proptest::collection::btree_map(0..4_u8, 0..3_u8, 0..4);
    let result = prop_oneof![
        3 => Just(Ok(())),
        1 => Just(Err(Trouble::Failed)),
        1 => Just(Err(Trouble::Refused)),
    ];
    prop_oneof![
        4 => (key.clone(), wish.clone()).prop_map(|(key, wish)| Happening::Set(key, wish)),
        1 => all.prop_map(Happening::SetAll),
        6 => (0..4_u8, result, any::<bool>()).prop_map(|(n, result, half)| Happening::End(n, result, half)),
        1 => (key, wish).prop_map(|(key, wish)| Happening::Other(key, wish)),
        3 => (0..5_000_u64).prop_map(Happening::Pass),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..3_usize, 0..500_u64, 0..500_u64, any::<bool>()).prop_map(
        |(concurrent, settle, rest, remembers)| Limits {
            concurrent,
            settle: Duration::from_millis(settle),
            rest: Duration::from_millis(rest),
            remembers,
            ..Limits::default()
        },
    )
}

/// A writer with an API.
struct World {
    writer: Writer<u8, u8>,
    limits: Limits,
    now: Instant,
    api: BTreeMap<u8, u8>,
    /// The newest wishes.
    wishes: BTreeMap<u8, u8>,
    under_way: Vec<(u8, Option<u8>)>,
}

impl World {
    fn poll(&mut self) {
        while let Some(order) = self.writer.poll(self.now) {
            self.under_way.push(order);
            let keys: BTreeSet<_> = self.under_way.iter().map(|(key, _)| key).collect();
            assert!(keys.len() <= self.limits.concurrent);
            assert_eq!(keys.len(), self.under_way.len(), "a key is written twice at once");
        }
    }

    fn end(&mut self, number: u8, result: Result<(), Trouble>, half: bool) {
        if self.under_way.is_empty() {
            return;
        }
        let (key, value) = self.under_way.remove(usize::from(number) % self.under_way.len());
        // A write that is answered with a failure may have been done all the same.
        if result.is_ok() || half {
            match value {
                Some(value) => drop(self.api.insert(key, value)),
                None => drop(self.api.remove(&key)),
            }
        }
        self.writer.done(&key, result, self.now);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Set(key, wish) => {
                match wish {
                    Some(value) => drop(self.wishes.insert(key, value)),
                    None => drop(self.wishes.remove(&key)),
                }
                self.writer.set(key, wish, self.now);
            }
            Happening::SetAll(wishes) => {
                self.wishes.clone_from(&wishes);
                self.writer.set_all(wishes, self.now);
            }
            Happening::End(number, result, half) => self.end(number, result, half),
            Happening::Other(key, value) if self.wishes.contains_key(&key) => {
                match value {
                    Some(value) => drop(self.api.insert(key, value)),
                    None => drop(self.api.remove(&key)),
                }
                self.writer.doubt(&key, self.now);
            }
            Happening::Other(..) => {}
            Happening::Pass(time) => self.now += Duration::from_millis(time),
        }
        self.poll();
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_api_has_the_newest_wishes_in_the_end(
        limits in limits(),
        left in proptest::collection::btree_map(0..4_u8, 0..3_u8, 0..3),
        known in any::<bool>(),
        history in proptest::collection::vec(happening(), 0..60),
    ) {
        let mut world = World {
            writer: Writer::new(limits),
            limits,
            now: clock::now(),
            api: left.clone(),
            wishes: BTreeMap::new(),
            under_way: Vec::new(),
        };
        for (key, value) in left {
            world.writer.adopt(key, known.then_some(value), world.now);
        }
        for happening in history {
            // One without memory is told what others change by a new wish.
            if limits.remembers || !matches!(happening, Happening::Other(..) | Happening::SetAll(_) | Happening::Set(_, None)) {
                world.happen(happening);
            }
        }
        world.writer.settle(world.now);
        world.poll();
        // All is well from now on, and it takes no more than the pauses.
        for _ in 0..200 {
            if !world.under_way.is_empty() {
                world.end(0, Ok(()), false);
            } else if let Some(deadline) = world.writer.deadline() {
                prop_assert!(deadline <= world.now + REFUSED);
                world.now = world.now.max(deadline);
            } else {
                break;
            }
            world.poll();
        }
        prop_assert_eq!(world.writer.deadline(), None);
        if limits.remembers {
            prop_assert_eq!(&world.api, &world.wishes);
        } else {
            for (key, wish) in &world.wishes {
                prop_assert_eq!(world.api.get(key), Some(wish));
            }
            prop_assert!(world.writer.entries.is_empty());
        }
        prop_assert_eq!((world.writer.in_flight, world.writer.failing), (0, 0));
    }
}
