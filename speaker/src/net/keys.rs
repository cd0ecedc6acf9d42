// SPDX-License-Identifier: Apache-2.0
//! The keys of the ring, in the files of one folder: `secretkey`, which seals everything, as in MetalLB; and beside it `secretkey.new` and
//! `secretkey.old`, which are accepted as well while the key is being changed. The files are read again while the program runs: a Secret's
//! volume follows the Secret within about a minute.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use members::{Key, Keyring};
use tokio::sync::mpsc;

/// The file with the key.
const CURRENT: &str = "secretkey";
/// The files with keys that are accepted as well.
const OTHERS: [&str; 2] = ["secretkey.new", "secretkey.old"];
/// The number of octets of a file that are read, at most; MetalLB's key is made of the first 32.
const READ_LIMIT: u64 = 4096;
/// The least number of octets of a key that cannot be guessed.
pub const SHORT: usize = 16;
/// The time between two looks at the files.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The reason why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read.
    #[error("the memberlist's key {} cannot be read: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// The key has no octets: everybody would know it.
    #[error("the memberlist's key {} is empty: everybody would know that key", .0.display())]
    Empty(PathBuf),
}

/// The keys as they are in the files.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The keys in the form that the ring takes.
    pub ring: Keyring,
    /// The length of the current key, in octets.
    pub octets: usize,
    /// The faults of the keys, which can be used nevertheless.
    pub problems: Vec<String>,
    /// The contents of the files.
    contents: Vec<Option<Vec<u8>>>,
}

impl Keys {
    /// Reads the files of this folder.
    ///
    /// # Errors
    /// `secretkey` cannot be read, or is empty.
    pub fn read(folder: &Path) -> Result<Self, KeyError> {
        let file = folder.join(CURRENT);
        let unreadable = |file: &Path, error| KeyError::Unreadable { file: file.into(), error };
        let current = read(&file).map_err(|error| unreadable(&file, error))?;
        if current.is_empty() {
            return Err(KeyError::Empty(file));
        }
        let mut problems = Vec::new();
        let short = |file: &Path, content: &[u8]| {
            (content.len() < SHORT).then(|| {
                let (file, length) = (file.display(), content.len());
                format!("the memberlist's key {file} has {length} octets: it can be guessed, take {SHORT} or more")
            })
        };
        problems.extend(short(&file, &current));
        let mut contents = vec![Some(current.clone())];
        let mut others = Vec::new();
        for name in OTHERS {
            let file = folder.join(name);
            let content = match read(&file) {
                Ok(content) if content.is_empty() => {
                    problems
                        .push(format!("{} is empty: it is not taken for a key", file.display()));
                    None
                }
                Ok(content) => Some(content),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => {
                    problems.push(unreadable(&file, error).to_string());
                    None
                }
            };
            if let Some(content) = &content {
                problems.extend(short(&file, content));
                others.push(Key::from_secret(content));
            }
            contents.push(content);
        }
        let ring = Keyring::new(Key::from_secret(&current), others);
        Ok(Self { ring, octets: current.len(), problems, contents })
    }

    /// A number that differs between different keys, and tells nothing about them.
    fn fingerprint(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one((&self.contents, &self.problems))
    }

    /// Logs the faults of the keys.
    pub fn tell(&self) {
        for problem in &self.problems {
            tracing::warn!(event = "memberlistKey", "{problem}");
        }
    }
}

/// Reads the beginning of a file. Anything but a regular file is refused, as opening it might not end.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let mut content = Vec::new();
    std::fs::File::open(file)?.take(READ_LIMIT).read_to_end(&mut content)?;
    Ok(content)
}

/// Tells the keys of this folder whenever they change. While there are none the last ones hold, and the log says so.
pub(super) fn follow(folder: PathBuf, keys: &Keys) -> mpsc::Receiver<Keys> {
    let (sender, receiver) = mpsc::channel(1);
    let hasher = RandomState::new();
    let mut known = keys.fingerprint(&hasher);
    tokio::spawn(async move {
        let mut has_reported_off = false;
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let folder = folder.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || Keys::read(&folder)).await else {
                return;
            };
            match read {
                Ok(keys) => {
                    has_reported_off = false;
                    let fingerprint = keys.fingerprint(&hasher);
                    if std::mem::replace(&mut known, fingerprint) != fingerprint
                        && sender.send(keys).await.is_err()
                    {
                        return;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut has_reported_off, true) {
                        tracing::error!(event = "memberlistKey", %error,
                            "the memberlist goes on with the key that it has");
                    }
                }
            }
            if sender.is_closed() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("keys-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn write(&self, file: &str, content: &[u8]) {
            std::fs::write(self.0.join(file), content).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn sealed(secret: &[u8]) -> Vec<u8> {
        let mut buffer = b"a message".to_vec();
        Key::from_secret(secret).seal([7; 12], &[], &mut buffer);
        buffer
    }

    fn opens(keys: &Keys, secret: &[u8]) -> bool {
        keys.ring.open([7; 12], &[], &mut sealed(secret)).is_some()
    }

    #[test]
    fn no_key_that_everybody_knows_is_taken() {
        let folder = Folder::new("empty");
        let error = Keys::read(&folder.0).unwrap_err();
        assert!(matches!(error, KeyError::Unreadable { .. }), "{error}");
        folder.write("secretkey", b"");
        let error = Keys::read(&folder.0).unwrap_err();
        assert!(matches!(&error, KeyError::Empty(file) if file.ends_with("secretkey")));
        folder.write("secretkey", b"abcdefghijklmnopqrstuv");
        folder.write("secretkey.old", b"");
        let keys = Keys::read(&folder.0).unwrap();
        assert!(matches!(&keys.problems[..], [one] if one.contains("secretkey.old is empty")));
        assert!(opens(&keys, b"abcdefghijklmnopqrstuv") && !opens(&keys, b""));
    }

    #[test]
    fn a_short_key_is_taken_and_told_and_what_is_no_file_is_not_opened() {
        let folder = Folder::new("short");
        folder.write("secretkey", b"short");
        let keys = Keys::read(&folder.0).unwrap();
        assert_eq!(keys.octets, 5);
        assert!(matches!(&keys.problems[..], [one] if one.contains("has 5 octets")), "{keys:?}");
        std::fs::create_dir(folder.0.join("secretkey.new")).unwrap();
        let keys = Keys::read(&folder.0).unwrap();
        assert!(keys.problems[1].contains("it is no file"), "{:?}", keys.problems);
    }

    #[test]
    fn other_keys_are_accepted_and_the_one_of_the_first_file_seals() {
        let folder = Folder::new("others");
        let [new, old] = [b"the new key of the ring", b"the old key of the ring"];
        folder.write("secretkey", new);
        folder.write("secretkey.old", old);
        let keys = Keys::read(&folder.0).unwrap();
        assert!(keys.problems.is_empty() && opens(&keys, new) && opens(&keys, old));
        let mut buffer = b"a message".to_vec();
        keys.ring.seal([7; 12], &[], &mut buffer);
        assert_eq!(buffer, sealed(new));
        let hasher = RandomState::new();
        let before = keys.fingerprint(&hasher);
        std::fs::remove_file(folder.0.join("secretkey.old")).unwrap();
        let keys = Keys::read(&folder.0).unwrap();
        assert!(keys.fingerprint(&hasher) != before && !opens(&keys, old));
    }
}
