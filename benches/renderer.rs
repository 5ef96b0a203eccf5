//! The way out: a list of 10,000 Deployments sent by the whole server, plain and with gzip.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use instructions::{
    fixture,
    served::{self, Served},
};
use tokio::runtime::Builder;

const SIZE: usize = 10_000;

fn lists(criterion: &mut Criterion) {
    let built = Builder::new_current_thread().enable_all().build();
    let runtime = built.expect("a runtime needs no more than file descriptors");
    let served = runtime.block_on(async { Served::new(SIZE) });
    let served = served.expect("certificates can be made");
    let caller = runtime.block_on(async { served.plain("alice") });
    let mut changes = fixture::changes(SIZE);
    let mut group = criterion.benchmark_group("renderer");
    for (coding, headers) in [("plain", ""), ("gzip", served::GZIP)] {
        let request = served::get("/deployments", headers);
        let prepare = || {
            caller
                .prepare([request.clone()])
                .expect("nothing is encrypted here");
        };
        group.bench_function(format!("list, unchanged, {coding}"), |bencher| {
            bencher.iter_batched(
                prepare,
                |()| runtime.block_on(caller.send(1)),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(format!("list, one changed, {coding}"), |bencher| {
            bencher.iter_batched(
                || {
                    prepare();
                    changes.next()
                },
                |change| runtime.block_on(served.change_and_send(&caller, change.into_iter())),
                BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(benches, lists);
criterion_main!(benches);
