//! The program as its users meet it: the whole of what it shows, and its exit code, on small sites in temporary
//! folders. No host is contacted but this machine.

mod accounts;
mod addresses;
mod ahead;
mod arguments;
mod beforehand;
mod failures;
mod firstday;
mod folder;
mod foresight;
mod hosts;
mod lists;
mod missing;
mod passwords;
mod programs;
mod reference;
mod runs;
mod site;
mod sites;
mod together;
mod tune;
mod vagrant;
mod variables;
mod vault;
mod yaml;
