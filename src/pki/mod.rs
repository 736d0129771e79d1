//! The project's own certificate authority: one CA per site, one leaf per host and per role.
//!
//! ```text
//! LeafPolicy + what lies there -needs-> Keep | Issue{because} -Ca::issue-> PEM text
//! ```
//!
//! Everything here takes texts and gives texts: the clock, the key and the serial number come from the caller
//! ([`generate_key`] is the one entry that draws random bytes, for the edge to call; ECDSA and RSA signatures use the
//! crypto library's own nonces). Nothing valid is ever issued again: [`needs`] and [`ca_needs`] decide that, with the
//! reason in words. A CA that is there but cannot be used is a refusal, never a reason to make another one.
//!
//! The CA key lies on the control machine as text that `vault::seal` made, in a file of mode
//! [`KEY_MODE`].

mod bundle;
mod ca;
mod crl;
mod foreign;
mod inspect;
mod key;
mod keygen;
mod leaf;
mod policy;
mod rotation;
mod state;

pub use bundle::{contains, join, trusts, without};
pub use ca::{Ca, CaVerdict, ca_needs};
pub use crl::{is_revoked, with_list, without_list};
pub use foreign::foreign;
pub use inspect::CertInfo;
pub use key::{key_kind, key_matches, public_key_pem};
pub use keygen::generate_key;
pub use leaf::{Verdict, needs, needs_with_key};
pub use policy::{BACKDATE, CaPolicy, KEY_MODE, KeyKind, LeafPolicy, Permit, SERIAL_LEN, San, Usage};
pub use rotation::{Phase, Rotation, Told, hanging_on, successor, to_replace};
pub use state::{Entry, Files, State, record_name, stamp};
