//! Waiting for a named condition with a deadline: the only place where a test pauses.

use std::time::{Duration, Instant};

/// Pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `condition` gives a value, at most `limit`.
///
/// # Panics
/// When the limit has passed; the message names the condition.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "waited {} s for {what}",
            limit.as_secs_f32()
        );
        std::thread::sleep(PAUSE);
    }
}
