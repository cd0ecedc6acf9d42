// SPDX-License-Identifier: Apache-2.0

use super::*;
use steer::{HashBy, Wish};

const LINGER: Duration = Duration::from_secs(600);

fn name(index: usize) -> Arc<str> {
    format!("n{index}").into()
}

fn address() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn client(port: u16) -> Client {
    ("198.51.100.1".parse().unwrap(), port)
}

fn told(generation: u64, ports: impl IntoIterator<Item = u16>) -> Vec<ToldFlows> {
    let clients = ports.into_iter().map(client).collect();
    vec![ToldFlows { address: address(), generation, clients }]
}

fn listed(number: u64, ports: impl IntoIterator<Item = u16>, complete: bool) -> ListedFlows {
    let flow = |client_port| Flow { address: address(), client: client(0).0, client_port };
    ListedFlows { number, flows: ports.into_iter().map(flow).collect(), complete }
}

fn order(generation: u64, nodes: &[usize]) -> Order {
    let layers = nodes.iter().copied().map(name).map(Layer::owned).collect();
    Order { address: address(), generation, hash: HashBy::default(), layers }
}

#[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
fn start() -> Instant {
    Instant::now()
}

/// Node 0 with two fellows, which has been told these orders.
fn keeper(now: Instant, orders: &[(u64, &[usize])]) -> Keeper {
    let mut keeper = Keeper::new(name(0), LINGER);
    keeper.set_fellows(now, [name(1), name(2)].into());
    for (generation, nodes) in orders {
        keeper.told(now, &name(nodes[0]), vec![order(*generation, nodes)]);
    }
    keeper
}

fn ports(flows: &BTreeSet<Flow>) -> Vec<u16> {
    flows.iter().map(|flow| flow.client_port).collect()
}

#[test]
fn a_former_owner_tells_its_flows_before_its_answer_and_later_ones_after_the_claim() {
    let now = start();
    let keeper = keeper(now, &[(4, &[1, 0])]);
    let mut flows = Flows::default();
    flows.follow(now, &name(0), &order(4, &[1, 0]));
    let request = flows.take_request().unwrap();
    assert_eq!(request, FlowRequest { number: 1, addresses: [address()].into() });
    assert!(flows.take_request().is_none());
    let ready = Ready { address: address(), generation: 4 };
    let other = Ready { address: "192.0.2.2".parse().unwrap(), generation: 1 };
    assert_eq!(flows.hold_back(now, &name(1), vec![ready, other]), [other]);
    assert!(flows.listed(now, &keeper, listed(0, [9], true)).is_empty(), "an answer to others");
    let messages = flows.listed(now, &keeper, listed(1, [7, 8], false));
    assert_eq!(messages, [(name(1), KeepingMessage::Flows(told(4, [7, 8])))]);
    let messages = flows.listed(now, &keeper, listed(1, [9], true));
    assert_eq!(messages, [(name(1), KeepingMessage::Flows(told(4, [9])))]);
    let mut keeper = keeper;
    assert_eq!(flows.deadline(), Some(now + BEHIND));
    let messages = flows.expire(now + BEHIND, &mut keeper).collect::<Vec<_>>();
    assert_eq!(messages, [(name(1), KeepingMessage::Ready(vec![ready]))]);
    assert!(flows.hold_back(now, &name(1), vec![ready]).is_empty(), "the flows are on their way");
    assert_eq!(flows.expire(now + BEHIND, &mut keeper).count(), 1);
    assert_eq!(flows.hold_back(now + BEHIND, &name(1), vec![ready]), [ready], "all is told");

    let claim = now + Duration::from_millis(100);
    flows.claimed(claim, "n2", &[address()]);
    assert_eq!(flows.deadline(), Some(now + SETTLE_TIME), "another node's claim");
    flows.claimed(claim, "n1", &[address()]);
    for (at, number, new) in [(claim, 2, 10), (claim + AGAIN, 3, 11)] {
        assert_eq!(flows.deadline(), Some(at));
        assert_eq!(flows.expire(at, &mut keeper).count(), 0);
        assert_eq!(flows.take_request().map(|request| request.number), Some(number));
        assert_eq!(flows.deadline(), None, "the list is on its way");
        let messages = flows.listed(now, &keeper, listed(number, [7, new], true));
        assert_eq!(messages, [(name(1), KeepingMessage::Flows(told(4, [new])))]);
    }
    assert!(flows.deadline().is_none() && flows.tellings.is_empty(), "told for the last time");
}

#[test]
fn nothing_is_listed_or_kept_back_for_an_address_that_this_node_has_not_had() {
    let now = start();
    let mut flows = Flows::default();
    for nodes in [&[1, 2][..], &[0, 1], &[0], &[1]] {
        flows.follow(now, &name(0), &order(4, nodes));
        assert!(flows.take_request().is_none() && flows.deadline().is_none(), "{nodes:?}");
    }
    let ready = Ready { address: address(), generation: 4 };
    assert_eq!(flows.hold_back(now, &name(1), vec![ready]), [ready]);
}

#[test]
fn the_nodes_that_serve_together_hear_the_flows_of_one_another() {
    let now = start();
    let layer = Layer::spread([(name(0), 1), (name(1), 1), (name(2), 1)].into()).unwrap();
    let order = Order { layers: vec![layer], ..order(4, &[]) };
    let mut flows = Flows::default();
    flows.follow(now, &name(0), &order);
    assert!(flows.take_request().is_some());
    let keeper = keeper(now, &[]);
    let messages = flows.listed(now, &keeper, listed(1, [7], true));
    let all = [1, 2].map(|node| (name(node), KeepingMessage::Flows(told(4, [7]))));
    assert_eq!(messages, all);
    assert_eq!(flows.deadline(), Some(now + SWITCH_TIME));
}

#[test]
fn a_node_that_begins_hears_flows_before_the_orders_count_as_told() {
    let now = start();
    let mut keeper = keeper(now, &[(4, &[1, 0, 2])]);
    let mut flows = Flows::default();
    let message =
        || KeepingMessage::Attachments { asks: false, orders: 1, attachments: Vec::new() };
    assert_eq!(flows.introduce(&keeper, &name(3), message()), Some(message()));
    assert_eq!(flows.introduce(&keeper, &name(2), message()), None);
    assert!(flows.take_request().is_some());
    let messages = flows.listed(now, &keeper, listed(1, [7], true));
    assert_eq!(messages, [(name(2), KeepingMessage::Flows(told(4, [7])))]);
    let messages = flows.expire(now + BEHIND, &mut keeper).collect::<Vec<_>>();
    assert_eq!(messages, [(name(2), message())]);
    // A process that begins once more knows nothing; and one whose speaker has left tells nothing itself.
    flows.hear(now, &name(1), told(4, [8]));
    keeper.departs(now, &name(1));
    keeper.set_fellows(now, [name(2)].into());
    assert_eq!(flows.introduce(&keeper, &name(2), message()), None);
    assert!(flows.take_request().is_some());
    let messages = flows.listed(now, &keeper, listed(2, [7], true));
    assert_eq!(messages, [(name(2), KeepingMessage::Flows(told(4, [7, 8])))]);
}

#[test]
fn the_kernel_follows_told_flows_before_their_address_is_announced() {
    let now = start();
    let mut keeper = keeper(now, &[(4, &[1])]);
    let mut flows = Flows::default();
    while keeper.poll().is_some() {}
    assert_eq!(keeper.gain(now, &[Wish::alone(address(), name(0))]), [address()]);
    let ready = Ready { address: address(), generation: 5 };
    let version = |keeper: &mut Keeper| {
        let outputs = std::iter::from_fn(|| keeper.poll());
        outputs
            .filter_map(|it| if let steer::KeeperOutput::Apply(it) = it { Some(it) } else { None })
            .last()
    };
    let first = version(&mut keeper).unwrap();
    keeper.applied(first);
    flows.hear(now, &name(1), told(5, [7]));
    assert_eq!(flows.deadline(), Some(now + GATHER));
    flows.heard_ready(&mut keeper, &[ready]);
    keeper.ready(&name(1), &[ready]);
    assert!(keeper.is_held(address()), "the table with the flow is missing");
    assert_eq!(ports(&flows.table(&keeper)), [7]);
    let second = version(&mut keeper).unwrap();
    keeper.applied(second);
    assert!(!keeper.is_held(address()));
    assert!(flows.deadline().is_none());
    // Later ones do not wait for an answer.
    flows.hear(now, &name(1), told(5, [7]));
    assert!(flows.deadline().is_none(), "known already");
    flows.hear(now, &name(1), told(5, [8]));
    assert_eq!(flows.expire(now + GATHER, &mut keeper).count(), 0);
    assert!(version(&mut keeper).is_some_and(|version| version > second));
}

#[test]
fn flows_are_forgotten_with_the_steps_that_lead_to_their_node() {
    let now = start();
    let settled = now + SETTLE_TIME;
    let mut keeper = keeper(now, &[(4, &[1]), (5, &[0, 1, 2])]);
    let mut flows = Flows::default();
    flows.hear(now, &name(1), told(5, [7]));
    flows.hear(now, &name(1), told(4, [6]));
    flows.hear(now, &name(2), told(5, [8]));
    flows.hear(now, &name(3), told(5, [9]));
    assert_eq!(ports(&flows.table(&keeper)), [7, 8], "of nodes of the order, by the newest one");
    // The generation before counts until the next one has settled: it may be told in many messages.
    flows.hear(now, &name(1), told(6, [10]));
    assert_eq!(ports(&flows.table(&keeper)), [7, 8, 10]);
    keeper.expire(settled);
    assert_eq!(ports(&flows.table(&keeper)), [8, 10]);
    // Node 1 has the address again: a flow that it tells at its next move is a new one.
    keeper.told(settled, &name(1), vec![order(6, &[1, 0, 2])]);
    assert_eq!(ports(&flows.table(&keeper)), [8, 10], "both orders hold");
    keeper.expire(settled + SETTLE_TIME);
    assert_eq!(ports(&flows.table(&keeper)), [8]);
    keeper.expire(settled + SETTLE_TIME + LINGER);
    assert!(flows.table(&keeper).is_empty() && flows.told.is_empty());
}

#[test]
fn no_more_flows_are_kept_than_the_kernel_takes() {
    let now = start();
    let keeper = keeper(now, &[(4, &[1]), (5, &[0, 1, 2])]);
    let mut flows = Flows::default();
    flows.hear(now, &name(1), told(5, 0..=u16::MAX));
    assert_eq!(flows.table(&keeper).len(), MOST_FLOWS);
    flows.hear(now, &name(2), told(5, [7]));
    flows.hear(now, &name(1), told(6, [7]));
    let count = |flows: &Flows| {
        flows.told.values().flat_map(BTreeMap::values).map(Told::len).sum::<usize>()
    };
    assert!(count(&flows) <= MOST_FLOWS);
}
