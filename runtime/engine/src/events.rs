//! What happened lately, and those who want to hear of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use berth_wire::docker::{EventActor, EventMessage};
use tokio::sync::broadcast;

use crate::clock;

/// How many events are kept for `since`; Docker's number. The oldest goes first.
const KEPT: usize = 256;

/// How many events a listener may lag behind before it is cut off.
const LISTENER_LAG: usize = 1024;

/// The ring of recent events and the channel to listeners.
#[derive(Debug)]
pub(crate) struct Events {
    kept: Mutex<VecDeque<Arc<EventMessage>>>,
    sender: broadcast::Sender<Arc<EventMessage>>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            kept: Mutex::new(VecDeque::with_capacity(KEPT)),
            sender: broadcast::channel(LISTENER_LAG).0,
        }
    }

    /// Publishes an event with the present time.
    pub(crate) fn publish(&self, kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) {
        let event = Arc::new(message(kind, action, id, attributes, clock::now()));
        // Sending under the lock keeps ring and channel in one order: `subscribe` misses nothing and sees nothing twice.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&event));
        // Nobody listening is no failure.
        let _ = self.sender.send(event);
    }

    /// The kept events and a receiver of all later ones.
    pub(crate) fn subscribe(&self) -> (Vec<Arc<EventMessage>>, broadcast::Receiver<Arc<EventMessage>>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.iter().cloned().collect(), self.sender.subscribe())
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }
}

fn message(
    kind: &str,
    action: &str,
    id: &str,
    attributes: BTreeMap<String, String>,
    now: i64,
) -> EventMessage {
    let has_short_form = matches!(kind, "container" | "image");
    let short = |text: &str| {
        if has_short_form {
            text.to_owned()
        } else {
            String::new()
        }
    };
    EventMessage {
        status: short(action),
        id: short(id),
        from: if kind == "container" {
            attributes.get("image").cloned().unwrap_or_default()
        } else {
            String::new()
        },
        kind: kind.to_owned(),
        action: action.to_owned(),
        actor: EventActor {
            id: id.to_owned(),
            attributes,
        },
        scope: "local".to_owned(),
        time: now.div_euclid(clock::NANOS_PER_SECOND),
        time_nano: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_last_and_listeners_hear_the_rest() {
        let events = Events::new();
        for number in 0..300 {
            events.publish("container", "start", &number.to_string(), BTreeMap::new());
        }
        let (kept, mut receiver) = events.subscribe();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[0].actor.id, "44");
        events.publish("network", "connect", "n", BTreeMap::new());
        let event = receiver.try_recv().expect("an event");
        assert_eq!((event.kind.as_str(), event.status.as_str()), ("network", ""));
    }

    #[test]
    fn a_container_event_has_the_old_fields_too() {
        let attributes = BTreeMap::from([("image".to_owned(), "app".to_owned())]);
        let event = message("container", "die", "c", attributes, 5_000_000_001);
        let text = serde_json::to_string(&event).expect("json");
        assert_eq!(
            text,
            r#"{"status":"die","id":"c","from":"app","Type":"container","Action":"die","Actor":{"ID":"c","Attributes":{"image":"app"}},"scope":"local","time":5,"timeNano":5000000001}"#
        );
    }
}
