//! How keywords pass from play to role to block to task.

use crate::playbook::Keywords;

/// The keywords of an inner place: conditions, tags, notifications and environment add up; of the rest the
/// inner one holds where it is given. Variables are layers of their own and are not joined here.
pub(super) fn inherit(outer: &Keywords, inner: &Keywords) -> Keywords {
    fn both<T: Clone>(outer: &[T], inner: &[T]) -> Vec<T> {
        outer.iter().chain(inner).cloned().collect()
    }
    fn nearest<T: Clone>(outer: &Option<T>, inner: &Option<T>) -> Option<T> {
        inner.clone().or_else(|| outer.clone())
    }
    Keywords {
        when: both(&outer.when, &inner.when),
        tags: both(&outer.tags, &inner.tags),
        vars: Vec::new(),
        r#become: nearest(&outer.r#become, &inner.r#become),
        become_user: nearest(&outer.become_user, &inner.become_user),
        environment: both(&outer.environment, &inner.environment),
        no_log: nearest(&outer.no_log, &inner.no_log),
        ignore_errors: nearest(&outer.ignore_errors, &inner.ignore_errors),
        check_mode: nearest(&outer.check_mode, &inner.check_mode),
        run_once: nearest(&outer.run_once, &inner.run_once),
        delegate_to: nearest(&outer.delegate_to, &inner.delegate_to),
        delegate_facts: nearest(&outer.delegate_facts, &inner.delegate_facts),
        any_errors_fatal: nearest(&outer.any_errors_fatal, &inner.any_errors_fatal),
        notify: both(&outer.notify, &inner.notify),
        register: inner.register.clone(),
        listen: inner.listen.clone(),
        r#loop: inner.r#loop.clone(),
        until: inner.until.clone(),
        retries: inner.retries.clone(),
        delay: inner.delay.clone(),
        changed_when: inner.changed_when.clone(),
        failed_when: inner.failed_when.clone(),
        timeout: inner.timeout.clone(),
    }
}
