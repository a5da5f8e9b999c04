//! The netlink wire format: messages, attributes, and reading them back without trusting any length.

/// Bytes of the header of a message.
pub(crate) const HEADER: usize = 16;

/// Bytes of the header of an attribute.
const ATTRIBUTE_HEADER: usize = 4;

/// Everything in netlink starts at a multiple of this.
const ALIGNMENT: usize = 4;

/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;

/// The two top bits of an attribute's type are flags.
const TYPE_MASK: u16 = 0x3fff;

/// A message under construction.
#[derive(Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A request of this kind; `flags` in addition to `NLM_F_REQUEST`.
    pub(crate) fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&0_u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&0_u32.to_ne_bytes());
        bytes.extend_from_slice(&0_u32.to_ne_bytes());
        Self { bytes }
    }

    /// Appends the fixed part that follows the header in the protocol at hand.
    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.put(bytes);
        self
    }

    /// Appends an attribute.
    pub(crate) fn attribute(mut self, kind: u16, payload: &[u8]) -> Self {
        let start = self.open(kind);
        // The kernel checks the exact length: the padding that `put` adds is not part of it.
        self.close(start, start + ATTRIBUTE_HEADER + payload.len());
        self.put(payload);
        self
    }

    /// Appends text that ends with a zero byte.
    pub(crate) fn text(self, kind: u16, text: &str) -> Self {
        let mut payload = Vec::with_capacity(text.len() + 1);
        payload.extend_from_slice(text.as_bytes());
        payload.push(0);
        self.attribute(kind, &payload)
    }

    /// Appends an attribute that holds what `fill` appends.
    pub(crate) fn nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.open(kind | NESTED);
        let mut filled = fill(self);
        filled.close(start, filled.bytes.len());
        filled
    }

    /// The finished message.
    pub(crate) fn finish(mut self, sequence: u32, more_flags: u16) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).expect("a message is far below 4 GiB");
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | more_flags;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }

    /// Begins an attribute whose length is not known yet.
    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0_u16.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize, end: usize) {
        let length = u16::try_from(end - start).expect("attributes are built in bounded pieces");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

/// A message as it came from the kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages of one datagram; ends at the first that does not fit.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(word(bytes, 0)?).ok()?;
        let message = Received {
            kind: half(bytes, 4)?,
            flags: half(bytes, 6)?,
            sequence: word(bytes, 8)?,
            payload: bytes.get(HEADER..length)?,
        };
        bytes = bytes
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
        Some(message)
    })
}

/// The attributes of a payload: type without flags, and content; ends at the first that does not fit.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(bytes, 0)?);
        let kind = half(bytes, 2)? & TYPE_MASK;
        let payload = bytes.get(ATTRIBUTE_HEADER..length)?;
        bytes = bytes
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
        Some((kind, payload))
    })
}

/// The first attribute of this type.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, payload)| payload)
}

/// Text without the zero byte at its end.
pub(crate) fn text(payload: &[u8]) -> String {
    let end = payload
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(payload.len());
    String::from_utf8_lossy(&payload[..end]).into_owned()
}

/// A word in the machine's order.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

const REQUEST: u16 = 1;

#[cfg(test)]
mod tests {
    use super::{HEADER, Message, attribute, attributes, messages, text};

    #[test]
    fn what_is_written_is_read_back() {
        let message = Message::new(16, 4)
            .fixed(&[1, 2, 3])
            .text(3, "eth0")
            .nested(18, |inner| inner.attribute(1, &[9]).text(2, "veth"))
            .finish(7, 2);
        let read: Vec<_> = messages(&message).collect();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].kind, read[0].flags, read[0].sequence), (16, 7, 7));
        let body = &read[0].payload[4..];
        assert_eq!(text(attribute(body, 3).unwrap()), "eth0");
        let inner = attribute(body, 18).unwrap();
        assert_eq!(
            attributes(inner).collect::<Vec<_>>(),
            [(1, &[9_u8][..]), (2, &b"veth\0"[..])]
        );
    }

    #[test]
    fn lengths_that_lie_end_the_reading() {
        let message = Message::new(16, 0).text(3, "eth0").finish(1, 0);
        for length in [0_u32, 1, 15, 17, 4096, u32::MAX] {
            let mut bad = message.clone();
            bad[0..4].copy_from_slice(&length.to_ne_bytes());
            for received in messages(&bad) {
                assert!(received.payload.len() <= bad.len() - HEADER);
                attributes(received.payload).for_each(drop);
            }
        }
        for length in [0_u16, 3, 40, u16::MAX] {
            let mut bad = message[HEADER..].to_vec();
            bad[0..2].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(attributes(&bad).count(), 0);
        }
    }
}
