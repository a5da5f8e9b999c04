//! The parts of a rule as the kernel's virtual machine takes them: load into a register, compare, act.

use crate::netlink::Message;

/// Register 1, 16 bytes; the verdict has register 0.
const REGISTER: u32 = 1;

/// The words of 32 bits behind the first one of register 1.
const SECOND_WORD: u32 = 9;
const THIRD_WORD: u32 = 10;

const EXPRESSION: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;

/// Names of interfaces and of their kinds are compared over all of their bytes.
const NAME_BYTES: usize = 16;

const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const SOURCE_OFFSET: u32 = 12;
const DESTINATION_OFFSET: u32 = 16;
const DESTINATION_PORT_OFFSET: u32 = 2;

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const META_IIFKIND: u32 = 26;
const META_OIFKIND: u32 = 27;

const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const STATE_ESTABLISHED_OR_RELATED: u32 = 0b110;
const STATUS_DESTINATION_TRANSLATED: u32 = 1 << 5;

const FIB_RESULT_TYPE: u32 = 3;
const FIB_DESTINATION: u32 = 2;
const ROUTE_LOCAL: u32 = 2;

const NFPROTO_IPV4: u8 = 2;
const NAT_DESTINATION: u32 = 1;

const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;

/// One expression, or the few that make one test.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    /// The packet is IPv4.
    Ipv4,
    /// It came in by this interface, or did not.
    CameFrom(String, Test),
    /// It goes out by this interface, or does not.
    GoesTo(String, Test),
    /// It came in by an interface of this kind.
    CameFromKind(&'static str),
    /// It goes out by an interface of this kind.
    GoesToKind(&'static str),
    /// Its source is in this network.
    From([u8; 4], u32),
    /// Its destination is in this network.
    To([u8; 4], u32),
    /// Its destination is an address of the host.
    ToHost,
    /// It belongs to a connection that was let through.
    Established,
    /// Its destination was translated.
    Translated,
    /// Translates the destination by protocol and port, when this map has them.
    TranslateByPort(&'static str),
    /// Translates the destination by address, protocol and port, when this map has them.
    TranslateByAddress(&'static str),
    /// Gives it the address of the interface by which it goes out.
    Masquerade,
    /// Lets it pass this chain.
    Accept,
    /// Ends it.
    Drop,
}

/// Whether a test asks for the value or for any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// The value.
    Is,
    /// Any other.
    IsNot,
}

impl Expression {
    /// Appends the expression to the list of a rule.
    pub(super) fn put(&self, list: Message) -> Message {
        match self {
            Self::Ipv4 => compare(meta(list, META_NFPROTO, REGISTER), EQUAL, &[NFPROTO_IPV4]),
            Self::CameFrom(name, test) => named(list, META_IIFNAME, name, *test),
            Self::GoesTo(name, test) => named(list, META_OIFNAME, name, *test),
            Self::CameFromKind(kind) => named(list, META_IIFKIND, kind, Test::Is),
            Self::GoesToKind(kind) => named(list, META_OIFKIND, kind, Test::Is),
            Self::From(network, mask) => in_network(list, SOURCE_OFFSET, *network, *mask),
            Self::To(network, mask) => in_network(list, DESTINATION_OFFSET, *network, *mask),
            Self::ToHost => {
                let list = expression(list, "fib", |fib| {
                    number(
                        number(number(fib, 1, REGISTER), 2, FIB_RESULT_TYPE),
                        3,
                        FIB_DESTINATION,
                    )
                });
                compare(list, EQUAL, &ROUTE_LOCAL.to_ne_bytes())
            }
            Self::Established => tracked(list, CT_STATE, STATE_ESTABLISHED_OR_RELATED),
            Self::Translated => tracked(list, CT_STATUS, STATUS_DESTINATION_TRANSLATED),
            Self::TranslateByPort(map) => {
                let list = meta(list, META_L4PROTO, REGISTER);
                let list = payload(list, TRANSPORT_HEADER, DESTINATION_PORT_OFFSET, 2, SECOND_WORD);
                translate(list, map)
            }
            Self::TranslateByAddress(map) => {
                let list = payload(list, NETWORK_HEADER, DESTINATION_OFFSET, 4, REGISTER);
                let list = meta(list, META_L4PROTO, SECOND_WORD);
                let list = payload(list, TRANSPORT_HEADER, DESTINATION_PORT_OFFSET, 2, THIRD_WORD);
                translate(list, map)
            }
            Self::Masquerade => expression(list, "masq", |masquerade| masquerade),
            Self::Accept => verdict(list, 1),
            Self::Drop => verdict(list, 0),
        }
    }
}

fn expression(list: Message, name: &str, fill: impl FnOnce(Message) -> Message) -> Message {
    list.nested(EXPRESSION, |one| {
        one.text(EXPRESSION_NAME, name).nested(EXPRESSION_DATA, fill)
    })
}

/// Numbers of nftables are in network order; values in registers are not touched.
fn number(message: Message, kind: u16, value: u32) -> Message {
    message.attribute(kind, &value.to_be_bytes())
}

fn meta(list: Message, key: u32, register: u32) -> Message {
    expression(list, "meta", |meta| number(number(meta, 2, key), 1, register))
}

fn payload(list: Message, base: u32, offset: u32, length: u32, register: u32) -> Message {
    expression(list, "payload", |payload| {
        number(
            number(number(number(payload, 1, register), 2, base), 3, offset),
            4,
            length,
        )
    })
}

fn compare(list: Message, operation: u32, value: &[u8]) -> Message {
    expression(list, "cmp", |compare| {
        number(number(compare, 1, REGISTER), 2, operation).nested(3, |data| data.attribute(DATA_VALUE, value))
    })
}

fn and(list: Message, mask: [u8; 4]) -> Message {
    expression(list, "bitwise", |bitwise| {
        number(number(number(bitwise, 1, REGISTER), 2, REGISTER), 3, 4)
            .nested(4, |data| data.attribute(DATA_VALUE, &mask))
            .nested(5, |data| data.attribute(DATA_VALUE, &[0; 4]))
    })
}

fn named(list: Message, key: u32, name: &str, test: Test) -> Message {
    let mut value = [0; NAME_BYTES];
    let length = name.len().min(NAME_BYTES - 1);
    value[..length].copy_from_slice(&name.as_bytes()[..length]);
    let operation = match test {
        Test::Is => EQUAL,
        Test::IsNot => NOT_EQUAL,
    };
    compare(meta(list, key, REGISTER), operation, &value)
}

fn in_network(list: Message, offset: u32, network: [u8; 4], mask: u32) -> Message {
    let list = payload(list, NETWORK_HEADER, offset, 4, REGISTER);
    compare(and(list, mask.to_be_bytes()), EQUAL, &network)
}

fn tracked(list: Message, key: u32, bits: u32) -> Message {
    let list = expression(list, "ct", |ct| number(number(ct, 2, key), 1, REGISTER));
    compare(and(list, bits.to_ne_bytes()), NOT_EQUAL, &[0; 4])
}

fn translate(list: Message, map: &str) -> Message {
    let list = expression(list, "lookup", |lookup| {
        number(number(lookup.text(1, map), 2, REGISTER), 3, REGISTER)
    });
    expression(list, "nat", |nat| {
        let nat = number(number(nat, 1, NAT_DESTINATION), 2, u32::from(NFPROTO_IPV4));
        number(number(nat, 3, REGISTER), 5, SECOND_WORD)
    })
}

fn verdict(list: Message, code: u32) -> Message {
    expression(list, "immediate", |immediate| {
        number(immediate, 1, 0).nested(2, |data| {
            data.nested(DATA_VERDICT, |verdict| number(verdict, VERDICT_CODE, code))
        })
    })
}
