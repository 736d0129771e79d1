//! The tuner beside others and beside real servers.

mod rivals;
