//! What may be asked of a host and done on it, as data; and the POSIX sh text that carries it.
//!
//! Modules speak in [`Ask`]s and [`Action`]s. Nothing here touches a host: the transport layer sends what
//! [`compile`] made and hands back the replies for parsing.

mod action;
mod ask;
mod cause;
mod compile;
mod digest;
pub mod limits;
mod output;
mod quote;
mod record;
mod reply;
mod secret;

pub use action::{Action, CHANGED_MEANWHILE, Follow, LocalWrite, Over, Put, Run};
pub use ask::{
    Account, Answer, Answers, Ask, CONTENT_BYTES, Content, FileAsk, FileKind, FileState, GroupEntry,
    LocalAsk, PackageState, SMALL_BYTES, UnitState,
};
pub use cause::{Cause, cause_of};
pub use compile::{ACTION_SECONDS, Frame, Hold, Item, PROBE_SECONDS, Wire, bootstrap, compile, hello};
pub use digest::sha256;
pub use output::Output;
pub use quote::{join, quote};
pub use record::{Decoder, Record};
pub use reply::{ItemReply, parse};
pub use secret::{MASK, Masker, Secret};
