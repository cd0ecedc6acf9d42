// SPDX-License-Identifier: Apache-2.0
//! Flows of UDP that outlive a move: those of this node's conntrack, for the node that has their address now, and those that other nodes
//! have told this one.
//!
//! ```text
//!   new owner                 this node, which had the address
//!     ── Order ────────────────> ListFlows ──> conntrack
//!     <── Flows, then Ready ───────── ListedFlows
//!     ── claim ────────────────> the same at once, and after [`AGAIN`]: flows that have begun between, without Ready
//! ```
//!
//! A node that begins hears the flows again that it is to lead on, before the orders count as told: see [`Flows::introduce`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ownership::KeepingMessage;
use steer::{Flow, Keeper, Layer, MOST_FLOWS, Order, Ready, SETTLE_TIME, SWITCH_TIME, ToldFlows};

use super::Core;

/// The time from a claim to the last telling: clients have heard the new owner by then.
const AGAIN: Duration = Duration::from_secs(1);
/// The time that flows wait for further ones before the kernel is told: they come in many notices.
const GATHER: Duration = Duration::from_millis(10);

/// The time between flows and the answer that they belong to: notices overtake one another, and a lost one is sent again after 10 ms.
const BEHIND: Duration = Duration::from_millis(15);

/// A place that datagrams come from.
type Client = (IpAddr, u16);

/// The flows of UDP of these addresses are to be listed from conntrack, and given to [`Core::handle_flows`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRequest {
    /// Grows with each request. A list answers all requests up to its number.
    pub number: u64,
    /// The addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// The answer to [`FlowRequest`]s, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFlows {
    /// The number of the newest request that is answered.
    pub number: u64,
    /// The flows; none where they cannot be listed.
    pub flows: Vec<Flow>,
    /// True for the last part.
    pub complete: bool,
}

/// Flows that another node has told of one address.
#[derive(Debug, Default)]
struct Told {
    generation: u64,
    clients: BTreeSet<Client>,
    /// Those of the generation before, until the last one has settled: the messages of a telling come one by one.
    before: BTreeSet<Client>,
}

/// Flows of one address that this node tells another one.
#[derive(Debug)]
struct Telling {
    generation: u64,
    /// The number of the request that is to be answered.
    waits: Option<u64>,
    /// The time before which no answer follows the flows.
    answers_at: Option<Instant>,
    /// The flows that were told already.
    told: BTreeSet<Client>,
    /// The times at which those are told that have begun meanwhile.
    due: Vec<Instant>,
}

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Flows {
    told: BTreeMap<IpAddr, BTreeMap<Arc<str>, Told>>,
    /// The addresses whose flows have changed since the kernel was told, and the time of the first change.
    changed: BTreeSet<IpAddr>,
    changed_at: Option<Instant>,
    tellings: BTreeMap<(IpAddr, Arc<str>), Telling>,
    /// The number of the last request, and the addresses of the next one.
    asked: u64,
    request: BTreeSet<IpAddr>,
    /// The messages that wait until the request of this number is answered.
    owed: Vec<(u64, Arc<str>, KeepingMessage)>,
    /// The nodes that parts of the list under way were told to.
    told_to: BTreeSet<Arc<str>>,
    /// The messages that flows are on their way before, each with its time.
    behind: Vec<(Instant, Arc<str>, KeepingMessage)>,
}

impl Told {
    fn len(&self) -> usize {
        self.clients.len() + self.before.len()
    }
}

impl Flows {
    /// This node or another one has told an order. If this node has served the address before, those that serve it by the order are to
    /// hear of the flows.
    pub(super) fn follow(&mut self, now: Instant, own: &Arc<str>, order: &Order) {
        let is_spread = order.owners().is_none();
        // A node that serves buckets may have had others before.
        let mut served = order.layers.iter().skip(usize::from(!is_spread));
        if !served.any(|layer| layer.has(own)) {
            return;
        }
        let time = if is_spread { SWITCH_TIME } else { SETTLE_TIME };
        let nodes = order.layers.first().into_iter().flat_map(Layer::nodes);
        for node in nodes.filter(|node| *node != own) {
            self.tell(order.address, node, order.generation, vec![now + time]);
        }
    }

    fn tell(&mut self, address: IpAddr, to: &Arc<str>, generation: u64, due: Vec<Instant>) {
        let key = (address, Arc::clone(to));
        if self.tellings.get(&key).is_some_and(|telling| telling.generation >= generation) {
            return;
        }
        let waits = Some(self.asked + 1);
        self.tellings.insert(
            key,
            Telling { generation, waits, answers_at: None, told: BTreeSet::new(), due },
        );
        self.request.insert(address);
    }

    /// A node has begun: it is to hear the flows of each address whose order has both nodes. Returns the message if it need not wait for
    /// them.
    pub(super) fn introduce(
        &mut self,
        keeper: &Keeper,
        to: &Arc<str>,
        message: KeepingMessage,
    ) -> Option<KeepingMessage> {
        let mut waits = false;
        for (address, generation) in keeper.shared_with(to) {
            // What was told to the process before counts no more.
            self.tellings.remove(&(address, Arc::clone(to)));
            self.tell(address, to, generation, Vec::new());
            waits = true;
        }
        if !waits {
            return Some(message);
        }
        self.owed.push((self.asked + 1, Arc::clone(to), message));
        None
    }

    /// Keeps back the answers to orders whose flows have not been told. Returns the others.
    pub(super) fn hold_back(
        &mut self,
        now: Instant,
        to: &Arc<str>,
        ready: Vec<Ready>,
    ) -> Vec<Ready> {
        let (mut free, mut owed) = (Vec::new(), BTreeMap::<u64, Vec<Ready>>::new());
        for ready in ready {
            let telling = self.tellings.get(&(ready.address, Arc::clone(to)));
            let at = telling.and_then(|telling| telling.answers_at).filter(|at| now < *at);
            match (telling.and_then(|telling| telling.waits), at) {
                (Some(number), _) => owed.entry(number).or_default().push(ready),
                (None, Some(at)) => {
                    let message = KeepingMessage::Ready(vec![ready]);
                    self.behind.push((at, Arc::clone(to), message));
                }
                (None, None) => free.push(ready),
            }
        }
        let owed = owed.into_iter();
        self.owed.extend(
            owed.map(|(number, ready)| (number, Arc::clone(to), KeepingMessage::Ready(ready))),
        );
        free
    }

    /// A node announces these addresses: what has begun here since the first telling is told at once, and once more.
    pub(super) fn claimed(&mut self, now: Instant, from: &str, addresses: &[IpAddr]) {
        for address in addresses {
            if let Some(telling) = self.tellings.get_mut(&(*address, from.into())) {
                telling.due = vec![now, now + AGAIN];
            }
        }
    }

    /// The request for conntrack, if there is one.
    pub(super) fn take_request(&mut self) -> Option<FlowRequest> {
        if self.request.is_empty() {
            return None;
        }
        self.asked += 1;
        Some(FlowRequest { number: self.asked, addresses: std::mem::take(&mut self.request) })
    }

    /// Conntrack has these flows. Returns the messages to send, in this sequence.
    pub(super) fn listed(
        &mut self,
        now: Instant,
        keeper: &Keeper,
        listed: ListedFlows,
    ) -> Vec<(Arc<str>, KeepingMessage)> {
        let ListedFlows { number, flows, complete } = listed;
        let mut clients: BTreeMap<IpAddr, Vec<Client>> = BTreeMap::new();
        for Flow { address, client, client_port } in flows {
            clients.entry(address).or_default().push((client, client_port));
        }
        if complete {
            self.add_departed(keeper, number, &mut clients);
        }
        let mut messages: BTreeMap<Arc<str>, Vec<ToldFlows>> = BTreeMap::new();
        for ((address, to), telling) in &mut self.tellings {
            if telling.waits.is_none_or(|waits| waits > number) {
                continue;
            }
            let new = clients.get(address).into_iter().flatten().copied();
            let new: Vec<Client> = new.filter(|client| telling.told.insert(*client)).collect();
            if !new.is_empty() {
                telling.answers_at = Some(now + BEHIND);
                let (address, generation) = (*address, telling.generation);
                let told = ToldFlows { address, generation, clients: new };
                messages.entry(Arc::clone(to)).or_default().push(told);
            }
            telling.waits.take_if(|_| complete);
        }
        let flows = messages.into_iter().map(|(to, told)| (to, KeepingMessage::Flows(told)));
        let mut messages: Vec<_> = flows.collect();
        self.told_to.extend(messages.iter().map(|(to, _)| Arc::clone(to)));
        if complete {
            self.tellings.retain(|_, telling| telling.waits.is_some() || !telling.due.is_empty());
            let owed = std::mem::take(&mut self.owed);
            let (due, owed): (Vec<_>, Vec<_>) =
                owed.into_iter().partition(|(waits, ..)| *waits <= number);
            self.owed = owed;
            for (_, to, message) in due {
                if self.told_to.contains(&to) {
                    self.behind.push((now + BEHIND, to, message));
                } else {
                    messages.push((to, message));
                }
            }
            self.told_to.clear();
        }
        messages
    }

    /// Adds the flows that this node leads on to nodes whose speaker has left: those cannot tell.
    fn add_departed(
        &self,
        keeper: &Keeper,
        number: u64,
        clients: &mut BTreeMap<IpAddr, Vec<Client>>,
    ) {
        let told = self.tellings.iter().filter(|(_, it)| it.waits.is_some_and(|it| it <= number));
        let addresses: BTreeSet<IpAddr> = told.map(|((address, _), _)| *address).collect();
        for address in addresses {
            for (_, told) in self
                .told
                .get(&address)
                .into_iter()
                .flatten()
                .filter(|(node, _)| keeper.has_departed(node))
            {
                clients.entry(address).or_default().extend(&told.clients);
            }
        }
    }

    /// Another node tells flows that it has.
    pub(super) fn hear(&mut self, now: Instant, from: &Arc<str>, all: Vec<ToldFlows>) {
        let known = self.told.values().flat_map(BTreeMap::values).map(Told::len).sum::<usize>();
        let mut free = MOST_FLOWS.saturating_sub(known);
        for ToldFlows { address, generation, clients } in all {
            if free == 0 {
                return;
            }
            let told = self.told.entry(address).or_default().entry(Arc::clone(from)).or_default();
            if generation < told.generation {
                continue;
            }
            if generation > told.generation {
                free += told.before.len();
                told.generation = generation;
                told.before = std::mem::take(&mut told.clients);
            }
            for client in clients {
                if free > 0 && told.clients.insert(client) {
                    free -= 1;
                    self.changed.insert(address);
                    self.changed_at.get_or_insert(now);
                }
            }
        }
    }

    /// This node's own table has to have the flows of these addresses before they are announced: those that told them follow their orders.
    pub(super) fn heard_ready(&mut self, keeper: &mut Keeper, ready: &[Ready]) {
        if ready.iter().any(|ready| self.changed.contains(&ready.address)) {
            self.apply(keeper);
        }
    }

    fn apply(&mut self, keeper: &mut Keeper) {
        self.changed_at = None;
        let changed = std::mem::take(&mut self.changed);
        keeper.refresh_for(&changed);
    }

    /// Does everything that has become due. Returns the messages to send.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        keeper: &mut Keeper,
    ) -> impl Iterator<Item = (Arc<str>, KeepingMessage)> + use<> {
        if self.changed_at.is_some_and(|at| at + GATHER <= now) {
            self.apply(keeper);
        }
        for ((address, _), telling) in &mut self.tellings {
            let before = telling.due.len();
            if telling.waits.is_none() {
                telling.due.retain(|due| now < *due);
            }
            if telling.due.len() < before {
                telling.waits = Some(self.asked + 1);
                self.request.insert(*address);
            }
        }
        let (due, behind): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.behind).into_iter().partition(|(at, ..)| *at <= now);
        self.behind = behind;
        due.into_iter().map(|(_, to, message)| (to, message))
    }

    /// The time at which [`Self::expire`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let free = self.tellings.values().filter(|telling| telling.waits.is_none());
        let due = free.flat_map(|telling| telling.due.iter().copied());
        let behind = self.behind.iter().map(|(at, ..)| *at);
        due.chain(behind).chain(self.changed_at.map(|at| at + GATHER)).min()
    }

    /// The flows that this node leads on. Those are forgotten to whose nodes no step of it leads any more.
    pub(super) fn table(&mut self, keeper: &Keeper) -> BTreeSet<Flow> {
        self.told.retain(|address, told| {
            let settled = keeper.is_settled(*address);
            let order = keeper.order(*address);
            told.retain(|node, told| {
                if settled {
                    told.before.clear();
                }
                order.as_ref().is_some_and(|order| leads(order, keeper.own(), node, settled))
            });
            !told.is_empty()
        });
        let mut flows = BTreeSet::new();
        for (address, told) in &self.told {
            let clients = told.values().flat_map(|told| told.clients.iter().chain(&told.before));
            flows.extend(clients.map(|(client, client_port)| Flow {
                address: *address,
                client: *client,
                client_port: *client_port,
            }));
        }
        flows
    }
}

/// True if a step of node `own` may lead to this node. A flow that goes on being in the table is not led on any more once it has run out there,
/// so flows of a node that has the address again have to go.
fn leads(order: &Order, own: &str, node: &str, settled: bool) -> bool {
    let place = |name: &str| order.layers.iter().position(|layer| layer.has(name));
    let Some(to) = place(node).filter(|_| node != own) else { return false };
    !settled || place(own).is_some_and(|from| from < to || order.owners().is_none())
}

impl Core {
    /// Conntrack has these flows of UDP: the answer to [`Effect::ListFlows`](super::Effect::ListFlows), in one part or several.
    pub fn handle_flows(&mut self, now: Instant, listed: ListedFlows) {
        if let Some(keeping) = &mut self.keeping {
            let messages = keeping.flows.listed(now, &keeping.keeper, listed);
            keeping.outbox.extend(messages.into_iter().map(|(to, message)| (Some(to), message)));
            self.settle_keeping(now);
        }
        self.go_on();
    }
}

#[cfg(test)]
mod tests;
