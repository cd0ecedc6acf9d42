// SPDX-License-Identifier: Apache-2.0
//! `ConversionReview`: objects come in one version and leave in another.
//!
//! Anybody who reaches the port may ask. So the objects stay text until it is their turn, one after another, and the answer is
//! bounded: a question takes at most three times its octets, and [`TREE`] for the object that is being converted.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::measure::{TREE, TooIntricate, measure, shallow};
use crate::metallb::bgp_peer_v1beta1::{ConvertError, convert};

/// The octets of one piece of an answer.
const PIECE: usize = 64 << 10;
/// An answer may be twice as long as its question, and longer by so much.
const SLACK: usize = PIECE;
/// The longest name of a version that is written into each object.
const LONGEST_VERSION: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    request: Request<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(rename = "desiredAPIVersion", borrow)]
    desired: Cow<'a, str>,
    /// They may come before the version that they are to have.
    #[serde(borrow)]
    objects: &'a RawValue,
}

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
pub enum ConversionError {
    /// It is no `ConversionReview`.
    #[error("this is no ConversionReview: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It would take too much to read.
    #[error("{0}")]
    Intricate(#[from] TooIntricate),
}

/// Why objects are not converted, which is an answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Convert(#[from] ConvertError),
    #[error("an object cannot be converted: {0}")]
    Intricate(#[from] TooIntricate),
    #[error("the converted objects would be more than twice as long as the question")]
    Long,
}

/// Answers a `ConversionReview`, of whichever version it is: the API server asks as v1beta1 or v1, which are alike. The pieces of the
/// answer's JSON, in order.
///
/// # Errors
/// When it is none.
pub fn converted(body: &[u8]) -> Result<Vec<Vec<u8>>, ConversionError> {
    shallow(body)?;
    let Envelope { api_version, request } = serde_json::from_slice(body)?;
    let most = body.len().saturating_mul(2).saturating_add(SLACK);
    let mut answer = Pieces::new(most);
    let mut objects = Objects { desired: &request.desired, answer: &mut answer, failure: None };
    objects.begin(&api_version, &request.uid);
    let read = objects.deserialize(&mut serde_json::Deserializer::from_str(request.objects.get()));
    let failure = match (read, objects.failure.take()) {
        (_, Some(failure)) => failure,
        (Err(error), None) => return Err(error.into()),
        (Ok(()), None) => match answer.write_all(b"]}}") {
            Ok(()) => return Ok(answer.0),
            Err(_) => Failure::Long,
        },
    };
    let answer = serde_json::json!({
        "apiVersion": api_version, "kind": "ConversionReview", "response": {
            "uid": request.uid,
            "result": { "status": "Failure", "message": failure.to_string() },
            "convertedObjects": [],
        },
    });
    Ok(vec![answer.to_string().into_bytes()])
}

/// Converts each object when it is read.
struct Objects<'a> {
    desired: &'a str,
    answer: &'a mut Pieces,
    failure: Option<Failure>,
}

impl Objects<'_> {
    fn begin(&mut self, api_version: &str, uid: &str) {
        let [api_version, uid] = [api_version, uid].map(|text| Value::from(text).to_string());
        let head = format!(
            r#"{{"apiVersion":{api_version},"kind":"ConversionReview","response":{{"uid":{uid},"result":{{"status":"Success"}},"convertedObjects":["#
        );
        if self.answer.write_all(head.as_bytes()).is_err() {
            self.failure = Some(Failure::Long);
        }
    }

    fn one(&mut self, object: &RawValue, is_first: bool) -> Result<(), Failure> {
        measure(object.get().as_bytes(), TREE)?;
        let object = serde_json::from_str(object.get()).map_err(ConvertError::Object)?;
        let object = one(object, self.desired)?;
        if !is_first {
            self.answer.write_all(b",").map_err(|_| Failure::Long)?;
        }
        serde_json::to_writer(&mut *self.answer, &object).map_err(|_| Failure::Long)
    }
}

impl<'de> DeserializeSeed<'de> for &mut Objects<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Objects<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut is_first = true;
        while self.failure.is_none() {
            let Some(object) = list.next_element::<&RawValue>()? else { return Ok(()) };
            self.failure = self.one(object, is_first).err();
            is_first = false;
        }
        Err(A::Error::custom("an object cannot be converted"))
    }
}

/// `AddressPool`, which MetalLB had before 0.14, has the same fields in both of its versions.
fn one(mut object: Value, desired: &str) -> Result<Value, ConvertError> {
    if object.get("kind").and_then(Value::as_str) == Some("AddressPool") {
        if desired.len() > LONGEST_VERSION {
            return Err(ConvertError::Version(desired.chars().take(LONGEST_VERSION).collect()));
        }
        if let Some(object) = object.as_object_mut() {
            object.insert("apiVersion".into(), desired.into());
        }
        return Ok(object);
    }
    convert(object, desired)
}

/// A text that grows without being copied, up to an end.
struct Pieces(Vec<Vec<u8>>, usize);

impl Pieces {
    fn new(most: usize) -> Self {
        Self(Vec::new(), most)
    }
}

impl Write for Pieces {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let Some(left) = self.1.checked_sub(octets.len()) else {
            return Err(io::ErrorKind::StorageFull.into());
        };
        let free = self.0.last().map_or(0, |last| last.capacity() - last.len());
        if free == 0 {
            self.0.push(Vec::with_capacity(PIECE));
        }
        let Some(last) = self.0.last_mut() else { return Ok(0) };
        let room = last.capacity() - last.len();
        let taken = octets.get(..room).unwrap_or(octets);
        last.extend_from_slice(taken);
        self.1 = left + (octets.len() - taken.len());
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
