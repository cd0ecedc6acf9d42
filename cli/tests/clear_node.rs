// SPDX-License-Identifier: Apache-2.0
//! `ferrolb clear --node` on the kernel of a namespace.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use testlab::Namespace;

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn tables_of_a_speaker_go_and_those_of_others_stay() {
    let node = Namespace::new("clear", "node");
    let nft = |words: &str| {
        let mut command = node.command("nft");
        let output = testlab::output(command.args(words.split(' '))).unwrap();
        assert!(output.status.success(), "nft {words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    nft("add table ip other");
    nft("add table ip6 ferrolb");
    let before = nft("list ruleset");
    nft("add table ip ferrolb { comment \"made by ferrolb, format 0\"; }");
    let mut ferrolb = node.command("setpriv");
    ferrolb.args(["--bounding-set=-net_admin", env!("CARGO_BIN_EXE_ferrolb"), "clear", "--node"]);
    let refused = testlab::output(&mut ferrolb).unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("NET_ADMIN"), "{said}");
    assert!(nft("list ruleset").contains("format 0"));

    let mut ferrolb = node.command(env!("CARGO_BIN_EXE_ferrolb"));
    let cleared = testlab::output(ferrolb.args(["clear", "--node"])).unwrap();
    let said = String::from_utf8(cleared.stdout).unwrap();
    assert!(cleared.status.success(), "{said}");
    assert!(said.contains("table ip ferrolb: taken away\n"), "{said}");
    assert!(said.contains("table ip6 ferrolb: left as it is"), "{said}");
    assert_eq!(nft("list ruleset"), before);
}
