// SPDX-License-Identifier: Apache-2.0
//! Who may read the metrics: bearer tokens, judged by somebody else, with a bounded memory of the verdicts.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Its bearer may read.
    Allowed,
    /// It is nobody's, or nobody could be asked.
    Unauthenticated,
    /// Its bearer is known and may not read.
    Forbidden,
}

/// Whether the bearer may read; none when the token is nobody's; an error when nobody can be asked.
type Judgement = Pin<Box<dyn Future<Output = Result<Option<bool>, String>> + Send>>;
type Judge = dyn Fn(String) -> Judgement + Send + Sync;

/// How long a verdict is remembered: a token that was withdrawn is good for so long at most.
const ALLOWED: Duration = Duration::from_secs(60);
/// That of a refusal.
const REFUSED: Duration = Duration::from_secs(10);
/// How many verdicts are remembered.
const VERDICTS: usize = 256;
/// How many questions are asked at a time.
const QUESTIONS: usize = 4;
/// How many of them in a second, and how many at once after a pause. Who sends wrong tokens makes no more, and a right one waits its turn.
const PER_SECOND: u32 = 5;
const BURST: u32 = 10;
/// How long a client waits for a verdict.
const PATIENCE: Duration = Duration::from_secs(10);

/// A token by its hash: the memory holds no secret that could be used.
type Key = [u8; 32];

/// The verdicts that are remembered.
#[derive(Debug, Default)]
struct Memory(HashMap<Key, (Permission, Instant)>);

impl Memory {
    fn get(&self, key: &Key, now: Instant) -> Option<Permission> {
        self.0.get(key).filter(|(_, end)| now < *end).map(|(verdict, _)| *verdict)
    }

    /// Remembers a verdict. When the memory is full a refusal goes first: whoever sends many wrong tokens pushes out no right one.
    fn put(&mut self, key: Key, verdict: Permission, now: Instant) {
        self.0.retain(|_, (_, end)| now < *end);
        if self.0.len() >= VERDICTS {
            let first = self
                .0
                .iter()
                .min_by_key(|(_, (verdict, end))| (*verdict == Permission::Allowed, *end));
            if let Some(first) = first.map(|(key, _)| *key) {
                self.0.remove(&first);
            }
        }
        let life = if verdict == Permission::Allowed { ALLOWED } else { REFUSED };
        self.0.insert(key, (verdict, now + life));
    }
}

/// When a question may be asked: a token bucket, as the moment at which it was or will be full.
#[derive(Debug, Default)]
struct Rate(Option<Instant>);

impl Rate {
    /// How long the next question has to wait; it counts from then.
    fn wait(&mut self, now: Instant) -> Duration {
        let one = Duration::from_secs(1) / PER_SECOND;
        let full = self.0.map_or(now, |full| full.max(now)) + one;
        self.0 = Some(full);
        full.saturating_duration_since(now + one * BURST)
    }
}

/// A judge and the memory of what it said.
#[derive(Clone)]
pub struct Access {
    judge: Arc<Judge>,
    memory: Arc<Mutex<Memory>>,
    questions: Arc<Semaphore>,
    rate: Arc<Mutex<Rate>>,
    /// Whether it was said that nobody can be asked.
    said: Arc<AtomicBool>,
}

impl Access {
    /// Lets `judge` judge: whether the bearer of a token may read, none when the token is nobody's, an error when nobody can
    /// be asked.
    #[must_use]
    pub fn new<F, E>(judge: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Option<bool>, E>> + Send + 'static,
        E: Display,
    {
        let judge = move |token| {
            let judgement = judge(token);
            let plain = async move { judgement.await.map_err(|error| error.to_string()) };
            Box::pin(plain) as Judgement
        };
        Self {
            judge: Arc::new(judge),
            memory: Arc::default(),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
            rate: Arc::default(),
            said: Arc::default(),
        }
    }

    /// What the header `Authorization` entitles to. It fails closed: when nobody can be asked nobody is known.
    pub async fn verdict(&self, authorization: Option<&str>) -> Permission {
        let Some(token) = authorization.and_then(bearer) else {
            return Permission::Unauthenticated;
        };
        let key = hash(token);
        if let Some(verdict) = self.remembered(&key) {
            return verdict;
        }
        let asked = timeout(PATIENCE, async {
            let _question = self.questions.acquire().await.ok()?;
            // Others with the same token may have waited as well.
            match self.remembered(&key) {
                Some(verdict) => Some(verdict),
                None => {
                    let wait = self.rate.lock().ok()?.wait(Instant::now());
                    tokio::time::sleep(wait).await;
                    self.ask(token.to_owned()).await
                }
            }
        });
        let Some(verdict) = asked.await.ok().flatten() else { return Permission::Unauthenticated };
        if let Ok(mut memory) = self.memory.lock() {
            memory.put(key, verdict, Instant::now());
        }
        verdict
    }

    /// Asks, and says once in the log when that cannot be done.
    async fn ask(&self, token: String) -> Option<Permission> {
        match (self.judge)(token).await {
            Ok(answer) => {
                self.said.store(false, Ordering::Relaxed);
                Some(match answer {
                    Some(true) => Permission::Allowed,
                    Some(false) => Permission::Forbidden,
                    None => Permission::Unauthenticated,
                })
            }
            Err(error) => {
                if !self.said.swap(true, Ordering::Relaxed) {
                    tracing::warn!(event = "metricsClosed", %error,
                        "nobody can be asked who may read the metrics: they are refused to all");
                }
                None
            }
        }
    }

    fn remembered(&self, key: &Key) -> Option<Permission> {
        self.memory.lock().ok()?.get(key, Instant::now())
    }
}

/// The token of `Bearer TOKEN`.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn hash(token: &str) -> Key {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    let mut key = [0; 32];
    key.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    key
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// One that knows two tokens, and how often it was asked.
    fn access() -> (Access, impl Fn() -> usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let access = Access::new(move |token: String| {
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                Ok(match &*token {
                    "reader" => Some(true),
                    "other" => Some(false),
                    "nobody to ask" => return Err("forbidden"),
                    "slow" => std::future::pending().await,
                    _ => None,
                })
            }
        });
        (access, move || asked.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn verdicts_are_asked_for_once_in_their_time() {
        let (access, asked) = access();
        for _ in 0..3 {
            assert_eq!(access.verdict(Some("Bearer reader")).await, Permission::Allowed);
            assert_eq!(access.verdict(Some("bearer other")).await, Permission::Forbidden);
        }
        assert_eq!(asked(), 2);
        tokio::time::advance(REFUSED).await;
        assert_eq!(access.verdict(Some("Bearer other")).await, Permission::Forbidden);
        assert_eq!(access.verdict(Some("Bearer reader")).await, Permission::Allowed);
        assert_eq!(asked(), 3);
        tokio::time::advance(ALLOWED).await;
        assert_eq!(access.verdict(Some("Bearer reader")).await, Permission::Allowed);
        assert_eq!(asked(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn without_token_nobody_is_asked_and_without_answer_nobody_is_known() {
        let (access, asked) = access();
        for header in [None, Some(""), Some("Bearer"), Some("Bearer  "), Some("Basic reader")] {
            assert_eq!(access.verdict(header).await, Permission::Unauthenticated, "{header:?}");
        }
        assert_eq!(asked(), 0);
        for token in ["Bearer nobody to ask", "Bearer slow"] {
            assert_eq!(access.verdict(Some(token)).await, Permission::Unauthenticated);
        }
        assert_eq!(asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_ask_no_more_than_five_questions_a_second_and_a_known_one_asks_none() {
        let (access, asked) = access();
        assert_eq!(access.verdict(Some("Bearer reader")).await, Permission::Allowed);
        let begin = Instant::now();
        let wrong: Vec<_> = (0..200)
            .map(|number| {
                let access = access.clone();
                tokio::spawn(async move { access.verdict(Some(&format!("Bearer {number}"))).await })
            })
            .collect();
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let most = u64::from(BURST) + u64::from(PER_SECOND) * begin.elapsed().as_secs() + 1;
            assert!(u64::try_from(asked()).unwrap() <= most, "{} of {most}", asked());
            let before = Instant::now();
            assert_eq!(access.verdict(Some("Bearer reader")).await, Permission::Allowed);
            assert_eq!(before.elapsed(), Duration::ZERO);
        }
        for wrong in wrong {
            assert_eq!(wrong.await.unwrap(), Permission::Unauthenticated);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_neither_fill_the_memory_nor_push_out_a_right_one() {
        let (access, asked) = access();
        assert_eq!(access.verdict(Some("Bearer reader")).await, Permission::Allowed);
        for number in 0..2 * VERDICTS {
            let key = hash(&number.to_string());
            access.memory.lock().unwrap().put(key, Permission::Unauthenticated, Instant::now());
        }
        assert!(access.memory.lock().unwrap().0.len() <= VERDICTS);
        let before = asked();
        assert_eq!(access.verdict(Some("Bearer reader")).await, Permission::Allowed);
        assert_eq!(asked(), before);
    }
}
