// SPDX-License-Identifier: Apache-2.0
//! Files that are no files, links in circles, too much of everything: what is read of a folder is bounded, and nothing of it stops the
//! reader. And a folder that is edited while it is followed: no edit is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use folder::FolderSource;
use folder::manifest::{MAX_FILE, Manifests};

fn read(folder: &Path) -> Manifests {
    let mut manifests = Manifests::default();
    manifests.read_paths(&[folder.to_owned()]);
    manifests
}

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: LoadBalancer, ports: [{{port: 80}}]}}\n"
    )
}

fn names(manifests: &Manifests) -> Vec<String> {
    manifests.objects.iter().map(|object| object.key.to_string()).collect()
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn what_is_no_regular_file_is_named_and_the_others_are_read() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    std::fs::write(at("web.yaml"), service("web")).unwrap();
    mkfifo(&at("pipe.yaml"));
    let _socket = UnixListener::bind(at("socket.yaml")).unwrap();
    symlink("/dev/zero", at("zero.yaml")).unwrap();
    symlink(at("pipe.yaml"), at("link-to-pipe.yaml")).unwrap();
    symlink("nowhere.yaml", at("dangling.yaml")).unwrap();
    let manifests = read(root.path());
    assert_eq!(names(&manifests), ["default/web"]);
    let said: Vec<String> = manifests
        .mistakes
        .iter()
        .map(|mistake| {
            let name = mistake.file.file_name().unwrap().to_str().unwrap();
            format!("{name}: {}", mistake.message)
        })
        .collect();
    assert_eq!(
        said,
        [
            "dangling.yaml: cannot be read: No such file or directory (os error 2)",
            "link-to-pipe.yaml: cannot be read: it is a named pipe, no regular file",
            "pipe.yaml: cannot be read: it is a named pipe, no regular file",
            "socket.yaml: cannot be read: it is a socket, no regular file",
            "zero.yaml: cannot be read: it is a device, no regular file",
        ]
    );
    assert_eq!(manifests.broken.len(), 5);
    assert!(manifests.may_pass, "the dangling link may lead somewhere soon");
}

#[test]
fn each_folder_is_read_once_however_many_links_lead_to_it() {
    let root = tempfile::tempdir().unwrap();
    let below = root.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(below.join("web.yaml"), service("web")).unwrap();
    for (link, to) in
        [("self", "."), ("again", "."), ("a/up", ".."), ("a/b/top", "../.."), ("b", "a/b")]
    {
        symlink(to, root.path().join(link)).unwrap();
    }
    let manifests = read(root.path());
    assert_eq!((names(&manifests), manifests.mistakes.len()), (vec!["default/web".to_owned()], 0));
}

#[test]
fn a_config_map_is_read_once_through_its_links() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("..2026_11_30");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("web.yaml"), service("web")).unwrap();
    symlink("..2026_11_30", root.path().join("..data")).unwrap();
    symlink("..data/web.yaml", root.path().join("web.yaml")).unwrap();
    let manifests = read(root.path());
    assert_eq!((names(&manifests), manifests.mistakes.len()), (vec!["default/web".to_owned()], 0));
}

#[test]
fn too_large_too_many_and_too_deep_are_mistakes_and_the_others_are_read() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    std::fs::write(at("web.yaml"), service("web")).unwrap();
    std::fs::File::create(at("large.yaml")).unwrap().set_len(MAX_FILE + 1).unwrap();
    std::fs::write(at("values.yaml"), "[],".repeat(3_000_000)).unwrap();
    std::fs::write(at("deep.yaml"), "[".repeat(100_000)).unwrap();
    let manifests = read(root.path());
    assert_eq!(names(&manifests), ["default/web"]);
    let broken: Vec<&str> =
        manifests.broken.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(broken, ["deep.yaml", "large.yaml", "values.yaml"]);
    assert!(!manifests.may_pass);
    // All files together have a limit as well: with names in order the first ones are read.
    for n in 0..5 {
        let file = std::fs::File::create(at(&format!("m{n}.yaml"))).unwrap();
        std::io::Write::write_all(&mut &file, &vec![b'#'; usize::try_from(MAX_FILE).unwrap()])
            .unwrap();
    }
    let manifests = read(root.path());
    let of = |name: &str| manifests.mistakes.iter().find(|mistake| mistake.file.ends_with(name));
    assert!(of("m0.yaml").is_none());
    assert!(of("m4.yaml").unwrap().message.contains("together"), "{:?}", of("m4.yaml"));
}

/// Waits until a reading holds exactly these Services.
async fn until_read(source: &mut FolderSource, wanted: &[String]) {
    let seen = async {
        loop {
            if names(&source.next().await.unwrap()) == wanted {
                return;
            }
        }
    };
    // Far longer than it takes on a busy machine; a lost edit never comes.
    tokio::time::timeout(Duration::from_secs(60), seen).await.expect("the edit is not lost");
}

#[tokio::test]
async fn no_edit_is_lost_whatever_else_the_loop_does() {
    let root = tempfile::tempdir().unwrap();
    let mut source = FolderSource::follow(root.path());
    until_read(&mut source, &[]).await;
    // The loop drops its wait again and again, as a `select!` does whenever another branch is ready.
    for edit in 0..20 {
        let name = format!("s{edit}");
        std::fs::write(root.path().join("a.yaml"), service(&name)).unwrap();
        let read = async {
            loop {
                tokio::select! {
                    biased;
                    reading = source.next() => {
                        if names(&reading.unwrap()) == [format!("default/{name}")] {
                            return;
                        }
                    }
                    () = tokio::time::sleep(Duration::from_millis(3)) => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), read).await.expect("the edit is not lost");
    }
}

#[tokio::test]
async fn a_folder_that_is_never_quiet_is_read_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let mut source = FolderSource::follow(root.path());
    until_read(&mut source, &[]).await;
    let path = root.path().to_owned();
    let writer = tokio::spawn(async move {
        for n in 0_u64.. {
            std::fs::write(path.join("noise.txt"), n.to_string()).unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    std::fs::write(root.path().join("a.yaml"), service("web")).unwrap();
    until_read(&mut source, &["default/web".to_owned()]).await;
    writer.abort();
}

#[tokio::test]
async fn what_cannot_be_read_is_tried_again_and_new_folders_are_followed() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    // Nothing changes in the folder when the link's end appears.
    symlink(outside.path().join("web.yaml"), root.path().join("web.yaml")).unwrap();
    let mut source = FolderSource::follow(root.path());
    until_read(&mut source, &[]).await;
    std::fs::write(outside.path().join("web.yaml"), service("web")).unwrap();
    until_read(&mut source, &["default/web".to_owned()]).await;
    std::fs::create_dir_all(root.path().join("b/c")).unwrap();
    std::fs::write(root.path().join("b/c/d.yaml"), service("deep")).unwrap();
    until_read(&mut source, &["default/deep".to_owned(), "default/web".to_owned()]).await;
    // The whole folder goes and comes.
    let moved = outside.path().join("moved");
    std::fs::rename(root.path(), &moved).unwrap();
    std::fs::create_dir(root.path()).unwrap();
    std::fs::write(root.path().join("e.yaml"), service("new")).unwrap();
    until_read(&mut source, &["default/new".to_owned()]).await;
}
