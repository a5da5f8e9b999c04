//! Black-box tests of TLS: what gets in, and what is kept out.
