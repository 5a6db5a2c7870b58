//! Many processes behind one scrape: the workers of gunicorn or uvicorn, and whatever forks.
//!
//! ```text
//! folder of user, service and address
//!   join         locked while a process comes or goes
//!   owner        locked by the process that holds the port
//!   slot-000     locked by its process: header in shared memory, what it has counted, laid down every second
//!   slot-001
//!   base         what processes that have ended had counted, and the spans that were lost with them
//! ```
//!
//! A scrape is the owner's own count, the slots of those that live, and the base, [as one](hiq_core::metric::merge). A slot
//! whose lock is free is of a dead process: it is added to the base and goes, so that a scrape costs the same however many
//! have come and gone. When the owner ends, another process takes the port over, within a second.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use arc_swap::{ArcSwap, Guard};
use hiq_core::config::ConfigError;
use hiq_core::fork;
use hiq_core::metric::reader::watch_series;
use hiq_core::metric::record::Registry;

use crate::exposition::ClashReport;
use crate::form::Form;
use crate::group::folder::Folder;
use crate::group::gather::Gather;
use crate::group::lock::Presence;
use crate::group::slot::Slot;
use crate::scrape::page;
use crate::scrape_config::ScrapeSettings;
use crate::serve::{Answer, ScrapeServer, cannot_listen, listen};

mod folder;
mod gather;
mod header;
mod lock;
mod slot;

/// A process's part in a group behind one scrape endpoint, until it is dropped. Processes of one user, service name and
/// address are a group; a forked child is one of its own from its first measurement on.
///
/// ```no_run
/// use hiq_core::config::Env;
/// use hiq_core::metric::record::Registry;
/// use hiq_prometheus::{ScrapeGroup, ScrapeOptions, ScrapeSettings};
///
/// let registry = Registry::new();
/// let settings = ScrapeSettings::new(&ScrapeOptions::default(), &Env::process(), &mut Vec::new());
/// let group = ScrapeGroup::join(&registry, &settings)?;
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct ScrapeGroup {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    settings: ScrapeSettings,
    /// Of this process, or of the one that it was forked from. `None`: it could not join.
    member: ArcSwap<Joined>,
}

#[derive(Debug)]
struct Joined {
    generation: u32,
    member: Result<Member, ConfigError>,
}

/// One process in the group.
#[derive(Debug)]
struct Member {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    registry: Registry,
    settings: ScrapeSettings,
    _presence: Presence,
    folder: Folder,
    slot: Slot,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    owner: Option<Owner>,
    stopping: bool,
}

/// What the process that holds the port has. The server ends before the lock is given back.
#[derive(Debug)]
struct Owner {
    server: ScrapeServer,
    _lock: File,
}

impl ScrapeGroup {
    /// Joins the group, and answers its scrapes when nobody else does. Fails when the port is held by a process that is not
    /// of the group, or the folder cannot be used.
    pub fn join(registry: &Registry, settings: &ScrapeSettings) -> Result<Self, ConfigError> {
        let member = Member::join(registry, settings)?;
        let inner = Arc::new(Inner {
            registry: registry.clone(),
            settings: settings.clone(),
            member: ArcSwap::from_pointee(Joined {
                generation: fork::generation(),
                member: Ok(member),
            }),
        });
        let watched = Arc::downgrade(&inner);
        watch_series(move || {
            if let Some(inner) = watched.upgrade() {
                inner.member();
            }
        });
        Ok(Self { inner })
    }

    /// Where this process answers scrapes; `None` while another one of the group does.
    pub fn address(&self) -> Option<SocketAddr> {
        let joined = self.inner.member();
        let member = joined.member.as_ref().ok()?;
        let state = member.shared.state();
        state.owner.as_ref().map(|owner| owner.server.address())
    }

    /// Lays down what has been counted now, instead of within a second; takes the port over, if that is free.
    pub fn publish(&self) -> Result<(), ConfigError> {
        let joined = self.inner.member();
        let member = joined.member.as_ref().map_err(Clone::clone)?;
        member.shared.publish()?;
        member.shared.take_over()
    }
}

impl Inner {
    /// This process's part.
    fn member(&self) -> Guard<Arc<Joined>> {
        let joined = self.member.load();
        if joined.generation == fork::generation() {
            return joined;
        }
        drop(joined);
        self.join_after_fork();
        self.member.load()
    }

    /// The parent's part is leaked: its locks may be held, and its threads do not exist here.
    #[cold]
    fn join_after_fork(&self) {
        let generation = fork::generation();
        let joined = Arc::new(Joined {
            generation,
            member: Member::join(&self.registry, &self.settings),
        });
        let parents = self.member.rcu(|known| {
            let is_ours = known.generation == generation;
            Arc::clone(if is_ours { known } else { &joined })
        });
        if parents.generation != generation {
            std::mem::forget(parents);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let joined = self.member.load_full();
        if joined.generation != fork::generation() {
            std::mem::forget(joined);
        }
    }
}

impl Member {
    fn join(registry: &Registry, settings: &ScrapeSettings) -> Result<Self, ConfigError> {
        let folder = Folder::open(settings, &registry.resource())?;
        let presence = Presence::in_folder(folder.path()).ok_or_else(|| {
            let twice = io::Error::other("this process is in the group already");
            cannot_listen(settings, &twice)
        })?;
        let slot = {
            let _one_at_a_time = folder.lock_for_joining()?;
            folder.begin_anew_if_nobody_lives()?;
            Slot::take(&folder)?
        };
        registry.mirror_offered_spans(slot.offered());
        let shared = Arc::new(Shared {
            registry: registry.clone(),
            settings: settings.clone(),
            _presence: presence,
            folder,
            slot,
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        if let Err(error) = shared.publish().and_then(|()| shared.take_over()) {
            shared.folder.leave(&shared.slot);
            return Err(error);
        }
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("hiq-metric-slot".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| cannot_listen(settings, &error))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.state().stopping = true;
        self.shared.wake.notify_all();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // It is about to end; what it had to say it has laid down.
            let _ = thread.join();
        }
        // What cannot be laid down any more, nobody can be told.
        let _ = self.shared.publish();
        let owner = self.shared.state().owner.take();
        drop(owner);
        self.shared.folder.leave(&self.shared.slot);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.state();
        while !state.stopping {
            let interval = self.settings.publish_interval;
            let waited = self.wake.wait_timeout(state, interval);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !state.stopping {
                drop(state);
                // Tried again after the next interval.
                let _ = self.publish();
                let _ = self.take_over();
                state = self.state();
            }
        }
    }

    fn publish(&self) -> Result<(), ConfigError> {
        self.slot.publish(&self.registry)
    }

    /// Answers scrapes if nobody of the group does. Fails when somebody else holds the port.
    fn take_over(&self) -> Result<(), ConfigError> {
        let mut state = self.state();
        if state.owner.is_some() || state.stopping {
            return Ok(());
        }
        let Some(lock) = self.folder.lock_as_owner()? else {
            return Ok(());
        };
        let owner = self.serve(lock);
        state.owner = Some(owner.map_err(|error| cannot_listen(&self.settings, &error))?);
        Ok(())
    }

    fn serve(&self, lock: File) -> io::Result<Owner> {
        let listener = listen(&self.settings)?;
        let gather = Gather::new(
            self.registry.clone(),
            self.folder.clone(),
            self.slot.path().to_owned(),
        );
        Ok(Owner {
            server: ScrapeServer::serve(listener, answering(gather, &self.settings))?,
            _lock: lock,
        })
    }
}

/// Answers scrapes with what `gather` finds.
fn answering(gather: Gather, settings: &ScrapeSettings) -> Arc<Answer> {
    let alphabet = settings.alphabet;
    let report = ClashReport::to(settings.status.clone());
    Arc::new(move |asked| {
        asked.answer(|| {
            let form = Form::negotiate(asked.accept, alphabet);
            page(&gather.collect(), form, asked.accept_encoding, &report)
        })
    })
}
