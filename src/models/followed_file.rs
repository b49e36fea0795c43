//! Follows the file of models (`--model_config_file`): applies what has changed in it since it was read last.
//!
//! Only differences between two readings count. An entry that stays the same leaves its model alone, so that a model which an
//! administrator has changed or removed meanwhile stays as the administrator wanted it.

use std::future::Future;
use std::sync::{Arc, Weak};

use actix_web::web;
use futures::channel::oneshot;
use tfweb_engine::Error;

use super::config_file::{self, ModelConfigFile};
use super::spec::ModelSpec;
use super::watchers::{Pending, Watchers};
use crate::watched_files::{LookAgain, WatchedFiles};

/// An entry of the file that was read.
struct Entry {
    spec: ModelSpec,
    /// Whether the entry has no effect, because a flag or a request had added a model of that name before.
    is_ignored: bool,
    /// The text of the entry now, while the watcher of the model makes this change.
    change: Option<(ModelSpec, Pending)>,
}

/// Follows a file, whose entries (`first`) are served already, as long as there are watchers. If the file cannot be read, nothing
/// changes.
pub(super) fn follow(watchers: &Arc<Watchers>, file: ModelConfigFile, first: Vec<ModelSpec>) -> impl Future<Output = ()> {
    let again = watchers.look_again.clone();
    follow_weakly(Arc::downgrade(watchers), again, file, first)
}

async fn follow_weakly(watchers: Weak<Watchers>, mut again: LookAgain, file: ModelConfigFile, first: Vec<ModelSpec>) {
    let ModelConfigFile { path, poll } = file;
    let mut wanted = first.clone();
    let mut entries: Vec<Entry> = first.into_iter().map(|spec| Entry { spec, is_ignored: false, change: None }).collect();
    let watched = Arc::new((WatchedFiles::new(vec![path.clone()]), path));
    let mut last_error = String::new();
    loop {
        again.pause(poll).await;
        let file = Arc::clone(&watched);
        let look = move || file.0.look()?.map(|contents| config_file::parse(&file.1, &contents)).transpose();
        let looked = web::block(look).await.unwrap_or_else(|error| Err(Error::internal(error.to_string())));
        let Some(watchers) = watchers.upgrade() else { return };
        match looked {
            Ok(changed) => {
                last_error.clear();
                wanted = changed.unwrap_or(wanted);
                apply(&watchers, &mut entries, &wanted);
            }
            // Logs the same error only once.
            Err(error) if last_error != error.message => {
                tracing::warn!("{error}; what was read before stays");
                last_error = error.message;
            }
            Err(_) => {}
        }
    }
}

/// Applies the differences between the entries that were read before and those that the file has now (`wanted`).
fn apply(watchers: &Arc<Watchers>, entries: &mut Vec<Entry>, wanted: &[ModelSpec]) {
    entries.retain(|entry| {
        let stays = wanted.iter().any(|spec| spec.name == entry.spec.name);
        if !stays && !entry.is_ignored {
            tracing::info!("model {:?}: no longer in the file of models", entry.spec.name);
            // An administrator may have removed it already.
            let _ = watchers.remove(&entry.spec.name);
        }
        stays
    });
    for spec in wanted {
        let known = entries.iter().position(|entry| entry.spec.name == spec.name);
        let Some(index) = known else {
            entries.push(add(watchers, spec.clone()));
            continue;
        };
        let entry = &mut entries[index];
        entry.end_change(watchers);
        if entry.change.is_some() || entry.spec == *spec {
            continue;
        }
        if entry.is_ignored || !watchers.has(&spec.name) {
            *entry = add(watchers, spec.clone());
        } else {
            // If too many changes wait for this model, the next reading tries again.
            entry.change = watchers.pass(spec.clone(), None).ok().map(|pending| (spec.clone(), pending));
        }
    }
}

impl Entry {
    /// Notes what has become of a change. If it has failed, the old model stays, and the change is tried again, unless somebody has
    /// removed the model meanwhile.
    fn end_change(&mut self, watchers: &Watchers) {
        let Some((spec, mut pending)) = self.change.take() else { return };
        match pending.ready.try_recv() {
            Ok(None) => self.change = Some((spec, pending)),
            Ok(Some(Err(_))) if watchers.has(&spec.name) => {}
            Ok(Some(_)) | Err(oneshot::Canceled) => self.spec = spec,
        }
    }
}

/// Adds the model of an entry. If the first update fails, its watcher tries again.
fn add(watchers: &Arc<Watchers>, spec: ModelSpec) -> Entry {
    let is_ignored = watchers.has(&spec.name);
    if is_ignored {
        let name = &spec.name;
        tracing::warn!("model {name:?} of the file of models is ignored: a flag or a request has added a model of that name");
    } else {
        watchers.add(spec.clone());
    }
    Entry { spec, is_ignored, change: None }
}
