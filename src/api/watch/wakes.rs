//! Wakes all watches together: at once after a change, and then not again for a moment, so that a burst costs each of them little.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::super::Api;
use crate::{generation::Session, kubernetes::InformerStatus, store::Shown};

/// How long watches that were woken sleep at least: a lone change isn't delayed, one of a burst by no more than this.
const PAUSE: Duration = Duration::from_millis(50);

/// What watches wait for. Its task runs only while somebody watches.
#[derive(Debug)]
pub(in crate::api) struct Wakes {
    /// Whose changes: nobody is woken by what isn't told there.
    shown: Shown,
    /// Up to which of the store's changes: all watches stop at the same ones, so that what they are told is rendered once.
    tell: watch::Sender<u64>,
    running: Mutex<bool>,
}

impl Wakes {
    /// Of watches that show this.
    pub(in crate::api) fn of(shown: Shown) -> Self {
        Self {
            shown,
            tell: watch::Sender::new(0),
            running: Mutex::new(false),
        }
    }

    /// Moves when the store has changed, when a reload came and when the server closes.
    pub(in crate::api) fn subscribe(
        self: &Arc<Self>,
        api: &Api,
        session: &Session,
    ) -> watch::Receiver<u64> {
        let woken = self.tell.subscribe();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if !*running {
            *running = true;
            let run = Arc::clone(self).run(
                Arc::clone(&api.status),
                session.reloads(),
                api.closing.clone(),
            );
            tokio::spawn(run);
        }
        woken
    }

    async fn run(
        self: Arc<Self>,
        status: Arc<InformerStatus>,
        mut reloads: Option<watch::Receiver<u64>>,
        closing: CancellationToken,
    ) {
        let mut progress = status.progress();
        let mut position = None;
        loop {
            // Most versions that are reached change nothing that anybody is told of.
            let now = status.store().position(self.shown);
            let mut news = position.replace(now) != Some(now);
            while !news {
                let reloaded = async {
                    if let Some(reloads) = &mut reloads
                        && reloads.changed().await.is_ok()
                    {
                        return;
                    }
                    std::future::pending().await
                };
                tokio::select! {
                    () = closing.cancelled() => {
                        // Those who come after this one find the server closing themselves.
                        self.tell.send_replace(status.store().position(self.shown));
                        return;
                    }
                    () = reloaded => news = true,
                    moved = progress.changed() => {
                        if moved.is_err() {
                            return;
                        }
                        let now = status.store().position(self.shown);
                        news = position.replace(now) != Some(now);
                    }
                }
            }
            self.tell.send_replace(status.store().position(self.shown));
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = closing.cancelled() => {}
            }
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if self.tell.receiver_count() == 0 {
                *running = false;
                return;
            }
        }
    }
}
