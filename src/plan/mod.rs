//! From playbook and inventory to what each host is to do, with every check that needs no host.

mod ahead;
mod barrier;
mod bind;
mod compile;
mod cursor;
mod echo;
mod handlers;
mod inherit;
mod library;
mod lint;
mod program;
mod reads;
mod record;
mod role_args;
mod scope;
mod select;
mod site;

pub use ahead::Ahead;
pub use barrier::{arrange, arrange_program};
pub use bind::{Binder, framed, place, search_path};
pub use compile::{Compiler, Handler, PlayPlan};
pub use cursor::{Cursor, Landing, Next};
pub use echo::Echo;
pub use handlers::{addressed, next_in_flush};
pub use library::{Library, Sources};
pub use lint::{
    Findings, HostLint, item_label, item_scopes, lint_handlers, lint_host, lint_words, merge, of_item,
};
pub use program::{Argument, Barrier, Layer, Layers, Op, Program, Role, Step, StepCall};
pub use reads::{Brought, Crossing, Reader};
pub use record::Record;
pub use scope::{HostScope, Values};
pub use select::Tags;
pub use site::load_site;
