//! The store alone: how long a look-up, an event and a list take as the cluster grows.

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use instructions::fixture;

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];

fn look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look-up");
    for size in SIZES {
        let store = fixture::store(size);
        // Keys made beforehand: only finding them is measured.
        let wanted = fixture::scattered(size)
            .take(4096)
            .map(|position| fixture::deployment(position, 1, 1));
        let mut wanted = wanted.collect::<Vec<_>>().into_iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched(
                || wanted.next(),
                |wanted| {
                    let snapshot = store.snapshot();
                    let found = wanted
                        .as_ref()
                        .and_then(|d| snapshot.get(&d.namespace, &d.name));
                    black_box(found.map(|record| record.json()))
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

fn event(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    for size in SIZES {
        let store = fixture::store(size);
        let scope = fixture::all(&store);
        let mut changes = fixture::changes(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched(
                || changes.next(),
                |change| {
                    change
                        .into_iter()
                        .for_each(|change| fixture::apply(&store, scope, change));
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

fn list(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("list");
    for size in SIZES {
        let store = fixture::store(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let pieces = Arc::clone(&store.snapshot()).list();
                pieces.map(|piece| black_box(piece).len()).sum::<usize>()
            });
        });
    }
}

fn view(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("view");
    for size in SIZES {
        let store = fixture::store(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let view = store.snapshot().view(fixture::ten_rules);
                view.list()
                    .map(|piece| black_box(piece).len())
                    .sum::<usize>()
            });
        });
    }
}

criterion_group!(benches, look_up, event, list, view);
criterion_main!(benches);
