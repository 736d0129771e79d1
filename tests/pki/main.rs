//! Certificates judged by verifiers that had no part in making them: `openssl` and `webpki`, at fixed dates.

mod chains;
mod decisions;
mod names;
mod state;
mod support;
