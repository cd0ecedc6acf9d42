// SPDX-License-Identifier: Apache-2.0
//! A folder as a cluster: what an API server would have added, the state, and files that cannot be read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::path::Path;
use std::sync::Arc;

use cluster::model::Service;
use cluster::{ConfigScope, ObjectKey, Snapshot};
use folder::manifest::Manifests;
use folder::{Folder, FolderState, ServiceState, feed};
use folder::{StateError, StateFile};

fn manifests(files: &[(&str, &str)]) -> Manifests {
    let mut manifests = Manifests::default();
    for (file, text) in files {
        manifests.read(&Arc::from(Path::new(file)), text);
    }
    manifests
}

fn web(spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{type: LoadBalancer, ports: [{{port: 80}}], {spec}}}\n"
    )
}

fn fed(text: &str, state: &FolderState) -> Snapshot {
    let manifests = manifests(&[("a.yaml", text)]);
    assert_eq!(manifests.mistakes, []);
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    feed(&mut snapshot, manifests, state, "here");
    snapshot
}

fn service(snapshot: &Snapshot) -> &Service {
    snapshot.service(&ObjectKey::new("default", "web")).unwrap()
}

#[test]
fn a_service_gets_the_cluster_addresses_that_an_api_server_would_give() {
    let rows = [
        ("", "0.0.0.0"),
        ("ipFamilies: [IPv6]", "::"),
        ("ipFamilyPolicy: PreferDualStack", "0.0.0.0 ::"),
        ("ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]", ":: 0.0.0.0"),
        ("ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6, IPv4]", ":: 0.0.0.0"),
        ("loadBalancerIP: 'fd00::1'", "::"),
        ("loadBalancerIP: 10.0.0.1, ipFamilyPolicy: PreferDualStack", "0.0.0.0 ::"),
        ("clusterIP: 10.96.0.7", "10.96.0.7"),
        (
            "clusterIP: 'fd00::7', clusterIPs: ['fd00::7', 10.96.0.7], ipFamilyPolicy: PreferDualStack",
            "fd00::7 10.96.0.7",
        ),
        // As charts write a field that is not set.
        ("clusterIP: ''", "0.0.0.0"),
        ("clusterIPs: [], ipFamilies: []", "0.0.0.0"),
        ("clusterIP: null, clusterIPs: null, ipFamilyPolicy: null", "0.0.0.0"),
        ("clusterIP: '', clusterIPs: [], ipFamilies: [IPv6], externalTrafficPolicy: ''", "::"),
    ];
    for (spec, expected) in rows {
        let snapshot = fed(&web(spec), &FolderState::default());
        assert_eq!(service(&snapshot).cluster_ips.join(" "), expected, "{spec}");
    }
}

#[test]
fn requested_addresses_say_which_families_are_meant() {
    for (requested, expected) in
        [("'10.0.0.1,fd00::1'", "0.0.0.0 ::"), ("fd00::1", "::"), ("what", "0.0.0.0")]
    {
        let text = web("").replace(
            "{name: web}",
            &format!("{{name: web, annotations: {{metallb.io/loadBalancerIPs: {requested}}}}}"),
        );
        let snapshot = fed(&text, &FolderState::default());
        assert_eq!(service(&snapshot).cluster_ips.join(" "), expected, "{requested}");
    }
}

#[test]
fn the_state_is_restored_and_a_status_in_the_folder_counts_without_one() {
    let text = format!(
        "{}status: {{loadBalancer: {{ingress: [{{ip: 192.0.2.9}}]}}}}\n",
        web("").replace(
            "{name: web}",
            "{name: web, annotations: {metallb.io/ip-allocated-from-pool: q}}"
        )
    );
    let snapshot = fed(&text, &FolderState::default());
    let exported: Vec<_> = service(&snapshot).ingress_addresses().collect();
    assert_eq!(exported, ["192.0.2.9".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(service(&snapshot).annotation("ip-allocated-from-pool"), Some("q"));

    let given = ServiceState {
        addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        pool: Some("p".to_owned()),
        ..ServiceState::default()
    };
    let state = FolderState {
        services: [("default/web".to_owned(), given.clone())].into(),
        ..FolderState::default()
    };
    let snapshot = fed(&text, &state);
    assert_eq!(service(&snapshot).ingress_addresses().collect::<Vec<_>>(), given.addresses);
    assert_eq!(service(&snapshot).annotation("ip-allocated-from-pool"), Some("p"));
}

#[test]
fn without_nodes_the_local_host_is_the_only_one_and_with_nodes_it_is_none() {
    let mut snapshot = fed(&web(""), &FolderState::default());
    let names =
        |snapshot: &Snapshot| snapshot.nodes().keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&snapshot), ["here"]);
    assert_eq!(snapshot.nodes()["here"].labels.get("kubernetes.io/hostname"), Some("here"));
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n";
    feed(&mut snapshot, manifests(&[("n.yaml", node)]), &FolderState::default(), "here");
    assert_eq!(names(&snapshot), ["n1"]);
    assert!(snapshot.services().is_empty(), "what is no longer in the folder is gone");
}

#[test]
fn a_file_that_breaks_takes_nothing_down_and_one_that_goes_does() {
    let pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec: {addresses: [10.0.0.0/30]}\n";
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n";
    let both = format!("{pool}---\n{node}");
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    let mut folder = Folder::default();
    let mut read = |snapshot: &mut Snapshot, files: &[(&str, &str)]| {
        folder.feed(snapshot, manifests(files), &FolderState::default(), "here");
        snapshot.take_dirty()
    };
    assert!(read(&mut snapshot, &[("d/a.yaml", &both), ("d/b.yaml", &web(""))]).all);

    let half = both.split_at(both.len() - 30).0;
    for broken in ["{", half, &pool.replace("name: p", "name: [p]")] {
        let dirty = read(&mut snapshot, &[("d/a.yaml", broken), ("d/b.yaml", &web(""))]);
        assert!(dirty.is_empty(), "{broken}: {dirty:?}");
        assert!(snapshot.config().pools.contains_key("p"));
        assert_eq!(snapshot.nodes().len(), 1);
    }
    let dirty = read(&mut snapshot, &[("d/a.yaml", &both), ("d/b.yaml", "kind: Service")]);
    assert!(dirty.is_empty(), "{dirty:?}");
    let dirty = read(&mut snapshot, &[("d/a.yaml", pool)]);
    assert!(snapshot.services().is_empty() && dirty.all);
    assert!(snapshot.nodes().contains_key("here"), "the only Node was taken out of its file");
}

#[test]
fn a_folder_that_cannot_be_read_takes_nothing_down() {
    let root = tempfile::tempdir().unwrap();
    let inner = root.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("web.yaml"), web("")).unwrap();
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    let mut folder = Folder::default();
    let mut read = |snapshot: &mut Snapshot| {
        let mut manifests = Manifests::default();
        manifests.read_paths(&[root.path().to_owned()]);
        folder.feed(snapshot, manifests, &FolderState::default(), "here");
        snapshot.services().len()
    };
    assert_eq!(read(&mut snapshot), 1);
    std::fs::rename(root.path(), root.path().with_extension("gone")).unwrap();
    assert_eq!(read(&mut snapshot), 1);
    std::fs::rename(root.path().with_extension("gone"), root.path()).unwrap();
    std::fs::remove_dir_all(&inner).unwrap();
    assert_eq!(read(&mut snapshot), 0);
}

#[test]
fn a_file_that_shrank_to_nothing_keeps_its_objects_until_it_is_deleted_or_holds_others() {
    let other = web("").replace("name: web", "name: other");
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    let mut folder = Folder::default();
    let mut names = |files: &[(&str, &str)]| {
        let said = folder.feed(&mut snapshot, manifests(files), &FolderState::default(), "here");
        let names: Vec<String> = snapshot.services().keys().map(ToString::to_string).collect();
        (names.join(" "), said.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    let say = "a.yaml: it holds nothing any more; what it held stays until it is deleted";
    let kept = ("default/web".to_owned(), say.to_owned());
    let fine = |name: &str| (name.to_owned(), String::new());
    assert_eq!(names(&[("a.yaml", &web(""))]), fine("default/web"));
    for nothing in ["", "\n", "# nothing\n", "---\n"] {
        assert_eq!(names(&[("a.yaml", nothing)]), kept, "{nothing:?}");
    }
    // Half of it: as it was, and the reader says what is wrong.
    assert_eq!(names(&[("a.yaml", "apiVersion: v1\nkind: Serv")]).0, "default/web");
    assert_eq!(names(&[("a.yaml", ""), ("b.yaml", &web(""))]), fine("default/web"), "it moved");
    assert_eq!(names(&[("a.yaml", ""), ("b.yaml", &other)]), fine("default/other"));
    assert_eq!(names(&[("a.yaml", ""), ("b.yaml", "")]).0, "default/other");
    assert_eq!(names(&[("a.yaml", "")]), fine(""), "the file is deleted");
}

#[test]
fn a_state_file_comes_back_as_it_was_written() {
    let root = tempfile::tempdir().unwrap();
    let file =
        StateFile::new(&root.path().join("state/deep"), &root.path().join("manifests")).unwrap();
    assert_eq!(file.read().unwrap(), FolderState::default());
    let given = ServiceState {
        addresses: vec!["fd00::1".parse().unwrap()],
        pool: Some("p".to_owned()),
        announced_by: Some("n1".to_owned()),
        reason: None,
    };
    let state =
        FolderState { node: "n1".to_owned(), services: [("default/web".to_owned(), given)].into() };
    file.write(&state).unwrap();
    assert_eq!(file.read().unwrap(), state);
}

/// The old state is there until the new one is there as a whole: a write that fails half-way changes nothing.
#[test]
fn a_write_that_fails_leaves_the_old_state() {
    let root = tempfile::tempdir().unwrap();
    let file = StateFile::new(root.path(), Path::new("/nowhere")).unwrap();
    let old = FolderState { node: "old".to_owned(), ..FolderState::default() };
    file.write(&old).unwrap();
    // What is written first cannot be created, as on a full disk.
    std::fs::create_dir(root.path().join(".status.json.new")).unwrap();
    let new = FolderState { node: "new".to_owned(), ..FolderState::default() };
    assert!(matches!(file.write(&new), Err(StateError::Io { .. })));
    assert_eq!(file.read().unwrap(), old);
    std::fs::remove_dir(root.path().join(".status.json.new")).unwrap();
    // What an interrupted write left behind is in nobody's way.
    std::fs::write(root.path().join(".status.json.new"), "{\"node\":").unwrap();
    assert_eq!(file.read().unwrap(), old);
    file.write(&new).unwrap();
    assert_eq!(file.read().unwrap(), new);
    let names: Vec<_> =
        std::fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["status.json"]);
}

#[test]
fn a_damaged_state_file_is_refused_and_stays() {
    let root = tempfile::tempdir().unwrap();
    let file = StateFile::new(root.path(), Path::new("/nowhere")).unwrap();
    for damaged in
        ["", "{\"node\": \"n1\"", "[]", "{\"services\": {\"a/b\": {\"addresses\": [\"x\"]}}}"]
    {
        std::fs::write(file.path(), damaged).unwrap();
        let error = file.read().unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("status.json is damaged"), "{message}");
        assert!(message.ends_with("move it away to begin anew"), "{message}");
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), damaged);
    }
}

#[test]
fn the_state_cannot_be_kept_inside_the_folder() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("manifests");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, root.path().join("link")).unwrap();
    for state in ["manifests", "manifests/state", "link/state", "manifests/../manifests/x"] {
        let error = StateFile::new(&root.path().join(state), &folder).unwrap_err();
        assert!(error.to_string().contains("must be kept elsewhere"), "{state}: {error}");
    }
    assert!(StateFile::new(&root.path().join("manifests-state"), &folder).is_ok());
}

#[test]
fn after_a_restart_a_service_of_a_broken_file_keeps_what_it_had() {
    let state = FolderState {
        node: "here".into(),
        services: [(
            "default/web".to_owned(),
            ServiceState {
                addresses: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
                pool: Some("p".to_owned()),
                ..ServiceState::default()
            },
        )]
        .into(),
    };
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    let mut folder = Folder::default();
    let broken = manifests(&[("a.yaml", "kind: [")]);
    folder.feed(&mut snapshot, broken, &state, "here");
    let addresses: Vec<String> =
        service(&snapshot).ingress_addresses().map(|ip| ip.to_string()).collect();
    assert_eq!(addresses, ["192.0.2.7", "2001:db8::7"]);
    // As soon as all can be read, it is gone if it is not there.
    folder.feed(&mut snapshot, manifests(&[("a.yaml", "")]), &state, "here");
    assert!(snapshot.service(&ObjectKey::new("default", "web")).is_none());
}

#[test]
fn of_two_programs_on_one_state_folder_the_second_is_refused_until_the_first_has_ended() {
    let root = tempfile::tempdir().unwrap();
    let state = || StateFile::new(root.path(), Path::new("/nowhere")).unwrap();
    let first = state().hold().unwrap();
    let error = state().hold().unwrap_err();
    assert!(matches!(error, StateError::InUse(_)), "{error}");
    assert!(error.to_string().contains("is in use by another program"), "{error}");
    drop(first);
    state().hold().unwrap();
}

#[test]
fn hosts_that_come_and_go_are_nodes_at_once_and_a_folders_own_nodes_stay() {
    let hosts = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    let nodes = |snapshot: &Snapshot| -> Vec<String> {
        snapshot.nodes().keys().map(ToString::to_string).collect()
    };
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    let mut folder = Folder::default();
    folder.feed(&mut snapshot, manifests(&[("a.yaml", "")]), &FolderState::default(), "here");
    assert_eq!(nodes(&snapshot), ["here"]);
    folder.set_hosts(&mut snapshot, hosts(&["a", "here"]), "here");
    assert_eq!(nodes(&snapshot), ["a", "here"]);
    folder.set_hosts(&mut snapshot, hosts(&["b"]), "here");
    assert_eq!(nodes(&snapshot), ["b", "here"]);
    folder.feed(&mut snapshot, manifests(&[("a.yaml", "")]), &FolderState::default(), "here");
    assert_eq!(nodes(&snapshot), ["b", "here"]);
    let own = "apiVersion: v1\nkind: Node\nmetadata: {name: own}\n";
    folder.feed(&mut snapshot, manifests(&[("a.yaml", own)]), &FolderState::default(), "here");
    folder.set_hosts(&mut snapshot, hosts(&["c"]), "here");
    assert_eq!(nodes(&snapshot), ["own"]);
}
