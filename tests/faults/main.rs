//! Bad luck and bad input on real hosts: wrong keys, lost connections, full disks, killed runs, odd values. Needs root.
//!
//! One lab serves all steps. Every run's output is searched for the marks of a crash.

#![allow(clippy::print_stderr)]

mod bench;
mod held;
mod interrupted;
mod login;
mod mixed;
mod secrets;
mod troubled;
mod values;
mod waiting;

use bench::Bench;

#[test]
fn lab_bad_luck_and_bad_input() {
    let bench = Bench::new("faults", 71);
    held::one_run_at_a_time(&bench);
    login::keys_of_users_and_hosts(&bench);
    login::becoming_root(&bench);
    mixed::a_site_of_all_kinds_of_tasks(&bench);
    interrupted::killed_at_ten_moments(&bench);
    interrupted::stopped_by_its_user(&bench);
    interrupted::stopped_while_a_file_is_written(&bench);
    waiting::hosts_wait_for_each_other(&bench);
    waiting::tags_and_limits_choose(&bench);
    values::arrive_as_they_are(&bench);
    secrets::are_never_shown(&bench);
    troubled::hung_command(&bench);
    troubled::full_disk(&bench);
    troubled::missing_tools(&bench);
    troubled::lost_connection(&bench);
}
