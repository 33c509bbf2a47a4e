//! Which message has reached which node, and how long that took.

use std::{cell::RefCell, rc::Rc, time::Instant};

use crate::measure::now;

/// Bytes at the beginning of a payload that say which message it is.
const NUMBER: usize = 4;

/// One message on its way.
#[derive(Debug)]
struct Message {
    published: Instant,
    /// By node: whether it has been delivered there. The origin counts from the start.
    reached: Vec<bool>,
    /// Seconds from the call that published it to each delivery.
    latencies: Vec<f64>,
}

/// All messages of a run. A number is a message's place in it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    nodes: usize,
    payload: usize,
    messages: Vec<Message>,
    /// Deliveries that should not have been: a second one at a node, or of what nobody published.
    wrong: u64,
}

/// A tally as all nodes of the one thread share it.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Rc<RefCell<Tally>>);

impl Shared {
    pub(crate) fn new(nodes: usize, payload: usize) -> Self {
        Self(Rc::new(RefCell::new(Tally { nodes, payload, ..Tally::default() })))
    }

    /// The number of the message that `origin` publishes now.
    pub(crate) fn published(&self, origin: usize) -> usize {
        let mut tally = self.0.borrow_mut();
        let mut reached = vec![false; tally.nodes];
        if let Some(origin) = reached.get_mut(origin) {
            *origin = true;
        }
        let latencies = Vec::with_capacity(tally.nodes);
        tally.messages.push(Message { published: now(), reached, latencies });
        tally.messages.len() - 1
    }

    /// How many messages there have been.
    pub(crate) fn messages(&self) -> usize {
        self.0.borrow().messages.len()
    }

    /// Counts what a node's application was given.
    pub(crate) fn delivered(&self, node: usize, payload: &[u8]) {
        let at = now();
        let mut tally = self.0.borrow_mut();
        let fits = payload.len() == tally.payload;
        let message = number_of(payload).filter(|_| fits).and_then(|n| tally.messages.get_mut(n));
        if let Some(message) = message
            && let Some(reached @ false) = message.reached.get_mut(node)
        {
            *reached = true;
            message.latencies.push(at.duration_since(message.published).as_secs_f64());
        } else {
            tally.wrong += 1;
        }
    }

    /// Whether a message has reached every node.
    pub(crate) fn is_everywhere(&self, number: usize) -> bool {
        let tally = self.0.borrow();
        tally.messages.get(number).is_some_and(|message| message.reached.iter().all(|&is| is))
    }

    /// Whether the messages from `first` on have reached every node.
    pub(crate) fn are_everywhere(&self, first: usize) -> bool {
        (first..self.messages()).all(|number| self.is_everywhere(number))
    }

    /// The latencies of the messages from `first` on, in seconds, the least first.
    pub(crate) fn latencies(&self, first: usize) -> Vec<f64> {
        let tally = self.0.borrow();
        let messages = tally.messages.iter().skip(first);
        let mut all: Vec<f64> = messages.flat_map(|message| message.latencies.clone()).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// Deliveries that should not have been.
    pub(crate) fn wrong(&self) -> u64 {
        self.0.borrow().wrong
    }
}

/// Makes `payload` that of this message.
pub(crate) fn mark(payload: &mut [u8], number: usize) {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    if let Some(head) = payload.first_chunk_mut::<NUMBER>() {
        *head = number.to_be_bytes();
    }
}

fn number_of(payload: &[u8]) -> Option<usize> {
    let head = payload.first_chunk::<NUMBER>()?;
    usize::try_from(u32::from_be_bytes(*head)).ok()
}
