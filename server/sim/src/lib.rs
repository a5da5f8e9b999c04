//! The seeded simulator of store members.
