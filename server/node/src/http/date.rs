//! The `Date` of an answer, formatted once a second.

use crate::clock::wall_ms;
use crate::http::keys_render::moment;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// The date as last shown. Each connection keeps its own: nothing is shared for the sake of thirty bytes.
#[derive(Debug, Default)]
pub(crate) struct Date {
    second: i64,
    text: String,
}

impl Date {
    /// The date now.
    pub(crate) fn now(&mut self) -> &str {
        let wall = wall_ms();
        let second = wall.div_euclid(1000);
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text = moment(wall).format(FORMAT).unwrap_or_default();
        }
        &self.text
    }
}
