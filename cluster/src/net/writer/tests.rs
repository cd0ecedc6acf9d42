// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::time::Duration;

use kube::core::Status;

use super::*;
use crate::writer::{REFUSED, RETRY};

/// An API in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<&'static str, u32>,
    /// The code with which everything is refused.
    code: Option<u16>,
    is_fenced: bool,
    calls: u32,
    told: Vec<Trouble>,
    changes: Option<mpsc::UnboundedReceiver<&'static str>>,
}

impl Memory {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut lock(&self.0))
    }

    fn call<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, Failure> {
        self.with(|state| {
            state.calls += 1;
            if state.is_fenced {
                return Err(Failure::Fenced);
            }
            match state.code {
                Some(code) => {
                    let status = Status::failure("no", "no").with_code(code);
                    Err(Failure::Api(kube::Error::Api(Box::new(status))))
                }
                None => Ok(change(state)),
            }
        })
    }
}

impl Kind for Memory {
    type Key = &'static str;
    type Value = u32;

    async fn list(&self) -> Result<Found<Self>, kube::Error> {
        let found = self
            .call(|state| state.objects.iter().map(|(key, value)| (*key, Some(*value))).collect());
        match found {
            Ok(found) => Ok(found),
            Err(Failure::Api(error)) => Err(error),
            Err(Failure::Fenced) => Ok(Vec::new()),
        }
    }

    async fn write(&self, key: &&'static str, value: Option<&u32>) -> Result<(), Failure> {
        self.call(|state| match value {
            Some(value) => drop(state.objects.insert(key, *value)),
            None => drop(state.objects.remove(key)),
        })
    }

    fn changes(&self) -> BoxStream<'static, &'static str> {
        match self.with(|state| state.changes.take()) {
            Some(changes) => {
                let next = |mut changes: mpsc::UnboundedReceiver<_>| async move {
                    changes.recv().await.map(|key| (key, changes))
                };
                stream::unfold(changes, next).boxed()
            }
            None => stream::pending().boxed(),
        }
    }

    fn tell(&self, _: Option<&&'static str>, trouble: Trouble, _: &kube::Error) {
        self.with(|state| state.told.push(trouble));
    }
}

async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_comes_later_is_written_then_and_its_absence_is_told_once() {
    let memory = Memory::default();
    memory.with(|state| (state.code, state.objects) = (Some(404), BTreeMap::from([("left", 1)])));
    let sink = Sink::start(memory.clone(), Limits::default());
    sink.change(|core, now| core.set_all(BTreeMap::from([("a", 1), ("b", 2)]), now));
    sleep(3 * REFUSED - RETRY).await;
    assert_eq!(memory.with(|state| (state.calls, state.told.clone())), (3, vec![Trouble::Refused]));
    memory.with(|state| state.code = None);
    sleep(REFUSED).await;
    assert_eq!(memory.with(|state| state.objects.clone()), BTreeMap::from([("a", 1), ("b", 2)]));
    // A list, two objects, and the one that was left.
    assert_eq!(memory.with(|state| state.calls), 3 + 4);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_with_the_newest_state() {
    let memory = Memory::default();
    memory.with(|state| state.code = Some(500));
    let sink = Sink::start(memory.clone(), Limits::default());
    sink.set("a", Some(1));
    sleep(RETRY / 2).await;
    sink.set("a", Some(2));
    sleep(4 * RETRY).await;
    memory.with(|state| {
        assert_eq!((state.calls, &*state.told), (5, &[Trouble::Failed][..]));
        state.code = None;
    });
    sleep(RETRY).await;
    assert_eq!(memory.with(|state| state.objects.get("a").copied()), Some(2));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_changed_is_repaired() {
    let (changed, changes) = mpsc::unbounded_channel();
    let memory = Memory::default();
    memory.with(|state| state.changes = Some(changes));
    let sink = Sink::start(memory.clone(), Limits::default());
    sink.set("a", Some(1));
    sleep(RETRY).await;
    memory.with(|state| state.objects.insert("a", 9));
    changed.send("a").unwrap();
    sleep(2 * RETRY).await;
    assert_eq!(memory.with(|state| state.objects.get("a").copied()), Some(1));
    // The end of the stream ends nothing.
    drop(changed);
    sink.set("a", Some(2));
    sleep(RETRY).await;
    assert_eq!(memory.with(|state| state.objects.get("a").copied()), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_finds_another_one_forgets_its_wishes() {
    let memory = Memory::default();
    let limits = Limits { concurrent: 2, ..Limits::default() };
    let sink = Sink::start(memory.clone(), limits);
    memory.with(|state| state.is_fenced = true);
    for key in ["a", "b", "c", "d"] {
        sink.set(key, Some(1));
    }
    sleep(REFUSED).await;
    let calls = memory.with(|state| {
        state.is_fenced = false;
        state.calls
    });
    // The list, and what was under way.
    assert!(calls <= 1 + 2, "{calls}");
    sleep(10 * REFUSED).await;
    assert_eq!(memory.with(|state| (state.calls, state.objects.len())), (calls, 0));
    assert!(memory.with(|state| state.told.is_empty()));
}
