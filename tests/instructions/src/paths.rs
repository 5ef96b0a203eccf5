//! The hot paths that are measured, each set up, warmed up, and then run in [`measured`].

use std::{pin::Pin, time::Duration};

use headcount::{kubernetes::InformerStatus, store::Deployment};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

use crate::{
    cluster::{Cluster, modified},
    fixture,
    served::{GZIP, Served, decrypted, get},
};

/// Why a path couldn't be run.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A hot path of the server.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// Its name in the baseline.
    pub name: &'static str,
    /// What one iteration of it does.
    pub what: &'static str,
    /// How often it is run while it is measured.
    pub iterations: usize,
    run: fn(usize) -> Result<(), Failure>,
}

/// Deployments of a large cluster, and of a usual one.
const LARGE: usize = 100_000;
const USUAL: usize = 10_000;

/// All that is measured. A new one needs a baseline: `.ci/gate --bless`.
pub const ALL: [Path; 7] = [
    Path {
        name: "read",
        what: "one count of 100,000 Deployments read over mutual TLS and HTTP/1.1",
        iterations: 2000,
        run: read,
    },
    Path {
        name: "event",
        what: "one watch event decoded and applied to 100,000 Deployments",
        iterations: 500,
        run: event,
    },
    Path {
        name: "list-page",
        what: "a list page of 2,000 Deployments decoded into the store, of five pages",
        iterations: USUAL / fixture::PAGE,
        run: list_pages,
    },
    Path {
        name: "list-changed",
        what: "one of 10,000 counts changed, and the list sent whole over HTTP/1.1",
        iterations: 30,
        run: list_changed,
    },
    Path {
        name: "list-filtered",
        what: "the part of 10,000 Deployments that ten rules show, decided and listed",
        iterations: 30,
        run: list_filtered,
    },
    Path {
        name: "gzip-unchanged",
        what: "the unchanged list of 10,000 Deployments sent with gzip",
        iterations: 1000,
        run: gzip_unchanged,
    },
    Path {
        name: "gzip-changed",
        what: "one of 10,000 counts changed, and the list sent with gzip",
        iterations: 5,
        run: gzip_changed,
    },
];

impl Path {
    /// The path of that name.
    pub fn of(name: &str) -> Option<Self> {
        ALL.into_iter().find(|path| path.name == name)
    }

    /// Sets the path up and runs it, [`measured`].
    ///
    /// # Errors
    ///
    /// When the path can't be set up, or doesn't do what it is to do.
    pub fn run(self) -> Result<(), Failure> {
        (self.run)(self.iterations)
    }
}

/// Callgrind starts at 0 when this function is entered: what came before was preparation.
#[inline(never)]
pub fn measured(runtime: &Runtime, work: Pin<&mut dyn Future<Output = ()>>) {
    counted(runtime, work);
    // Something behind the call: a jump in place of a call would hide one of the two functions.
    std::hint::black_box(runtime);
}

/// Callgrind tells what it has counted, on all threads, when this function is left.
#[inline(never)]
fn counted(runtime: &Runtime, work: Pin<&mut dyn Future<Output = ()>>) {
    runtime.block_on(work);
    std::hint::black_box(runtime);
}

fn runtime() -> Result<Runtime, Failure> {
    // One thread: the order in which tasks run is always the same.
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn read(iterations: usize) -> Result<(), Failure> {
    const WARM: usize = 100;
    let runtime = runtime()?;
    let served = runtime.block_on(async { Served::new(LARGE) })?;
    let caller = runtime.block_on(served.over_tls())?;
    let requests = fixture::scattered(LARGE).map(|position| {
        let Deployment {
            namespace, name, ..
        } = fixture::deployment(position, 3, 1);
        get(
            &format!("/namespaces/{namespace}/deployments/{name}/replicas"),
            "",
        )
    });
    caller.prepare(requests.take(WARM + iterations))?;
    let mut client = caller.detach().ok_or("the connection has no client")?;
    runtime.block_on(caller.send(1));
    let answer = decrypted(&mut client, &caller.last_answer())?;
    if !answer.starts_with("HTTP/1.1 200 ") || !answer.ends_with(r#""replicaCount":3}"#) {
        return Err(format!("a read was answered with {answer}").into());
    }
    runtime.block_on(caller.send(WARM - 1));
    measured(&runtime, std::pin::pin!(caller.send(iterations)));
    Ok(())
}

fn event(iterations: usize) -> Result<(), Failure> {
    const WARM: usize = 50;
    let runtime = runtime()?;
    let cluster = Cluster::new(LARGE);
    let (informer, status) = runtime.block_on(async { cluster.informer() });
    let frames = |from, count| {
        let changes = fixture::changes(LARGE).skip(from).take(count);
        changes.map(|change| modified(&change)).collect::<Vec<_>>()
    };
    let (warm, counted) = (frames(0, WARM), frames(WARM, iterations));
    runtime.block_on(async {
        tokio::spawn(informer.run());
        synced(&status).await?;
        cluster.send(warm).await;
        Ok::<_, Failure>(())
    })?;
    measured(&runtime, std::pin::pin!(cluster.send(counted)));
    let reached = status.store().snapshot().resource_version();
    let expected = fixture::FIRST_VERSION + (WARM + iterations) as u64;
    if reached != expected {
        return Err(format!("the store reached version {reached}, not {expected}").into());
    }
    Ok(())
}

fn list_pages(iterations: usize) -> Result<(), Failure> {
    let runtime = runtime()?;
    let cluster = Cluster::new(iterations * fixture::PAGE);
    let (informer, status) = runtime.block_on(async { cluster.informer() });
    measured(
        &runtime,
        std::pin::pin!(async {
            tokio::spawn(informer.run());
            let _ = synced(&status).await;
        }),
    );
    match status.store().snapshot().len() {
        listed if listed == iterations * fixture::PAGE => Ok(()),
        listed => Err(format!("{listed} Deployments were listed").into()),
    }
}

async fn synced(status: &InformerStatus) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(600);
    match status.wait_until(deadline, |now| now.synced()).await {
        true => Ok(()),
        false => Err("the informer didn't sync".into()),
    }
}

fn list_changed(iterations: usize) -> Result<(), Failure> {
    changed_and_sent(iterations, "")
}

fn list_filtered(iterations: usize) -> Result<(), Failure> {
    let runtime = runtime()?;
    let store = fixture::store(USUAL);
    let list = || {
        let view = store.snapshot().view(fixture::ten_rules);
        let pieces = view.list().map(|piece| piece.len());
        (pieces.sum::<usize>(), view.list_len(), view.len())
    };
    let (sent, length, seen) = list();
    if sent != length || seen != USUAL / 4 {
        return Err(format!("{seen} Deployments in {sent} of {length} bytes were listed").into());
    }
    measured(
        &runtime,
        std::pin::pin!(async {
            for _ in 0..iterations {
                std::hint::black_box(list());
            }
        }),
    );
    Ok(())
}

fn gzip_changed(iterations: usize) -> Result<(), Failure> {
    changed_and_sent(iterations, GZIP)
}

fn changed_and_sent(iterations: usize, headers: &str) -> Result<(), Failure> {
    const WARM: usize = 2;
    let runtime = runtime()?;
    let served = runtime.block_on(async { Served::new(USUAL) })?;
    let caller = runtime.block_on(async { served.plain("alice") });
    caller.prepare(vec![get("/deployments", headers); WARM + iterations])?;
    let changes: Vec<_> = fixture::changes(USUAL).take(WARM + iterations).collect();
    let mut changes = changes.into_iter();
    runtime.block_on(served.change_and_send(&caller, changes.by_ref().take(WARM)));
    measured(
        &runtime,
        std::pin::pin!(served.change_and_send(&caller, changes.by_ref())),
    );
    Ok(())
}

fn gzip_unchanged(iterations: usize) -> Result<(), Failure> {
    const WARM: usize = 20;
    let runtime = runtime()?;
    let served = runtime.block_on(async { Served::new(USUAL) })?;
    let caller = runtime.block_on(async { served.plain("alice") });
    caller.prepare(vec![get("/deployments", GZIP); WARM + iterations])?;
    runtime.block_on(caller.send(WARM));
    measured(&runtime, std::pin::pin!(caller.send(iterations)));
    Ok(())
}
