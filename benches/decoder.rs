//! The way in: list pages and watch frames of an API server that replays, decoded into the store by the informer.

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use instructions::{
    cluster::{Cluster, modified},
    fixture,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

const SIZE: usize = 100_000;

fn runtime() -> Runtime {
    let built = Builder::new_current_thread().enable_all().build();
    built.expect("a runtime needs no more than file descriptors")
}

async fn followed(cluster: &Cluster) -> tokio::task::JoinHandle<()> {
    let (informer, status) = cluster.informer();
    let following = tokio::spawn(informer.run());
    let deadline = Instant::now() + Duration::from_secs(60);
    assert!(status.wait_until(deadline, |now| now.synced()).await);
    following
}

fn list_page(criterion: &mut Criterion) {
    let runtime = runtime();
    let cluster = Cluster::new(fixture::PAGE);
    let mut group = criterion.benchmark_group("decoder");
    group.throughput(Throughput::Elements(fixture::PAGE as u64));
    group.bench_function("list page", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let following = followed(&cluster).await;
                following.abort();
            });
        });
    });
}

fn watch_frame(criterion: &mut Criterion) {
    let runtime = runtime();
    let cluster = Cluster::new(SIZE);
    let following = runtime.block_on(followed(&cluster));
    let mut frames = fixture::changes(SIZE).map(|change| modified(&change));
    let mut group = criterion.benchmark_group("decoder");
    group.throughput(Throughput::Elements(100));
    group.bench_function("100 watch frames", |bencher| {
        bencher.iter_batched(
            || frames.by_ref().take(100).collect::<Vec<_>>(),
            |frames| runtime.block_on(cluster.send(frames)),
            BatchSize::SmallInput,
        );
    });
    following.abort();
}

criterion_group!(benches, list_page, watch_frame);
criterion_main!(benches);
