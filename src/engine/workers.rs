//! Work on several hosts side by side. A fault of this program costs the host it happened on, never the run, and that
//! host stays in the report.

use super::event::Event;
use super::host::{Host, State};
use super::play::Crew;
use crate::diag::Diagnostic;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

impl Crew {
    /// Works on these hosts, at most `limit` of them at once. What each came to, as they end.
    pub(super) async fn side_by_side<T, F>(
        &mut self,
        names: &[String],
        limit: usize,
        work: impl Fn(Host) -> F,
    ) -> Vec<(String, T)>
    where
        T: Send + 'static,
        F: Future<Output = (Host, T)> + Send + 'static,
    {
        let permits = Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)));
        let mut tasks = JoinSet::new();
        let mut away = HashMap::new();
        for name in names {
            let Some(host) = self.hosts.remove(name) else { continue };
            let remains = host.remains();
            let (permits, working) = (Arc::clone(&permits), work(host));
            let task = tasks.spawn(async move {
                let _permit = permits.acquire_owned().await;
                working.await
            });
            away.insert(task.id(), remains);
        }
        let mut done = Vec::new();
        while let Some(joined) = tasks.join_next_with_id().await {
            match joined {
                Ok((_, (host, outcome))) => {
                    done.push((host.name.clone(), outcome));
                    self.hosts.insert(host.name.clone(), host);
                }
                Err(error) => {
                    let Some(mut host) = away.remove(&error.id()) else { continue };
                    host.broke(&self.shared);
                    self.hosts.insert(host.name.clone(), host);
                }
            }
        }
        done
    }
}

impl Host {
    /// What is left of a host when the work on it breaks off: all but its connection and its place.
    fn remains(&self) -> Self {
        let mut host = Self::new(&self.name);
        host.scope = self.scope.clone();
        host.stats = self.stats;
        host.diagnostics = self.diagnostics.clone();
        host
    }

    /// The work on it broke off by a fault of this program.
    fn broke(&mut self, shared: &super::shared::Shared) {
        let message = format!("a fault of ishprov itself ended the work on `{}`", self.name);
        let diagnostic = Diagnostic::error("internal", message.clone())
            .host(self.name.clone())
            .hint("please report it; the next run goes on where this one stopped");
        self.state = State::Failed;
        self.stats.failed += 1;
        self.diagnostics.push(diagnostic);
        shared.tell(Event::Note(message));
        shared.tell(Event::HostDone { host: self.name.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::play::HostSetup;
    use crate::engine::shared::{Options, Shared, Stop};
    use crate::engine::{Local, Site};
    use crate::plan::{HostScope, Library, Sources, Tags};
    use crate::shell::{Masker, Secret};
    use crate::template::{NoLookups, Templates};
    use crate::transport::Endpoint;

    struct NoFiles;

    impl Sources for NoFiles {
        fn bytes(&self, _: &str) -> Option<Result<Vec<u8>, String>> {
            None
        }

        fn is_dir(&self, _: &str) -> bool {
            false
        }

        fn names(&self, _: &str) -> Vec<String> {
            Vec::new()
        }

        fn decrypt(&self, _: &str) -> Result<Secret, String> {
            Err("no vault".to_owned())
        }
    }

    fn crew(names: &[&str]) -> Crew {
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        let shared = Shared {
            library: Arc::new(Library::new(Arc::new(NoFiles), Masker::new())),
            templates: Arc::new(Templates::new(Masker::new(), Arc::new(NoLookups))),
            site_dir: String::new(),
            options: Options { check: false, window: 1, forks: 2, step_seconds: 1, tags: Tags::all() },
            handlers: std::sync::RwLock::default(),
            events,
            local: Arc::new(Local::default()),
            stop: Stop::default(),
            acted: std::sync::atomic::AtomicUsize::new(0),
            in_step: std::sync::atomic::AtomicBool::new(false),
            ids: std::sync::atomic::AtomicUsize::new(0),
        };
        let setup = |name: &&str| HostSetup {
            endpoint: Endpoint::local(*name),
            scope: HostScope::default(),
            become_root: None,
            become_user: None,
            out_of_reach: None,
        };
        let hosts = names.iter().map(|name| ((*name).to_owned(), setup(name))).collect();
        let mut crew = Crew::new(Arc::new(shared), Site { plays: Vec::new(), hosts });
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        crew.enlist(&names);
        crew
    }

    /// The others go on, and the host is in the report with what it came to before and with its failure.
    #[tokio::test]
    async fn a_fault_of_ours_costs_one_host() {
        let mut crew = crew(&["a", "b", "c"]);
        if let Some(host) = crew.hosts.get_mut("b") {
            host.stats.ok = 7;
        }
        let work = |host: Host| async move {
            assert_ne!(host.name, "b", "a fault");
            (host, 1)
        };
        let names = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let mut done = crew.side_by_side(&names, 2, work).await;
        done.sort();
        assert_eq!(done, [("a".to_owned(), 1), ("c".to_owned(), 1)]);
        let report = crew.report();
        let hosts: Vec<_> = report
            .hosts
            .iter()
            .map(|host| (host.host.as_str(), host.stats.ok, host.stats.failed, host.diagnostics.len()))
            .collect();
        assert_eq!(hosts, [("a", 0, 0, 0), ("b", 7, 1, 1), ("c", 0, 0, 0)]);
    }
}
