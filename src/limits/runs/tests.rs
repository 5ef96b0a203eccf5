use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    task::{JoinHandle, yield_now},
    time::sleep,
};

use super::*;

/// Goes to the end of the queue.
async fn again() {
    let mut been_there = false;
    poll_fn(|context| {
        if std::mem::replace(&mut been_there, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// So many tasks of one peer that are always ready, each with a count of its polls.
fn busy(of: &Arc<Runs>, count: usize) -> (Vec<JoinHandle<()>>, Arc<Vec<AtomicUsize>>) {
    let polls: Arc<Vec<_>> = Arc::new((0..count).map(|_| AtomicUsize::new(0)).collect());
    let task = |number: usize| {
        let polls = Arc::clone(&polls);
        let busy = async move {
            loop {
                polls[number].fetch_add(1, Ordering::Relaxed);
                again().await;
            }
        };
        tokio::spawn(in_runs(Arc::clone(of), busy))
    };
    let tasks = (0..count).map(task).collect();
    (tasks, polls)
}

fn is_idle(runs: &Runs) -> bool {
    let state = runs.state();
    state.awake == 0 && state.line.iter().all(|t| t.state().phase == Phase::Done)
}

/// How many polls of two hundred tasks that are always ready come between two of somebody else's task, at most.
async fn polls_between(most: usize) -> usize {
    let (tasks, polls) = busy(&Runs::new(most), 200);
    let sum = move || -> usize { polls.iter().map(|n| n.load(Ordering::Relaxed)).sum() };
    let somebody_else = tokio::spawn(async move {
        let mut between = 0;
        for turn in 0..100 {
            let before = sum();
            again().await;
            // Until all of the others have come.
            if turn >= 10 {
                between = between.max(sum() - before);
            }
        }
        between
    });
    let between = somebody_else.await.unwrap();
    tasks.iter().for_each(JoinHandle::abort);
    between
}

#[tokio::test]
async fn a_peer_whose_tasks_are_all_ready_has_a_few_polls_before_somebody_elses() {
    assert_eq!(polls_between(200).await, 200, "all, if all may");
    assert_eq!(polls_between(1).await, 1);
    assert_eq!(polls_between(4).await, 4);
}

#[tokio::test]
async fn every_task_of_a_peer_has_its_turn() {
    let runs = Runs::new(3);
    let (tasks, polls) = busy(&runs, 50);
    for _ in 0..100 {
        yield_now().await;
        let counts = polls.iter().map(|n| n.load(Ordering::Relaxed));
        let (least, most) = (counts.clone().min(), counts.max());
        // Those that came first may have been polled once more when the others came.
        assert!(most.unwrap() - least.unwrap() <= 2);
    }
    tasks.iter().for_each(JoinHandle::abort);
    yield_now().await;
    assert!(is_idle(&runs), "whoever ends leaves its run to the next");
}

#[tokio::test]
async fn a_task_that_is_woken_is_polled_and_one_that_is_not_is_not() {
    let runs = Runs::new(1);
    let (tell, told) = oneshot::channel();
    let waits = tokio::spawn(in_runs(Arc::clone(&runs), told));
    let ends = tokio::spawn(in_runs(Arc::clone(&runs), async { 7 }));
    assert_eq!(
        ends.await.unwrap(),
        7,
        "one that waits leaves its run to others"
    );
    tell.send(8).unwrap();
    assert_eq!(waits.await.unwrap(), Ok(8));
    assert!(is_idle(&runs));
}

#[tokio::test]
async fn a_future_that_is_to_be_polled_again_is() {
    let mut runner = Runner::new(Runs::new(1));
    let mut polls = 0;
    let mut future = pin!(poll_fn(|_| {
        polls += 1;
        if polls == 2 {
            Poll::Ready(polls)
        } else {
            Poll::Pending
        }
    }));
    let mut context = Context::from_waker(Waker::noop());
    assert!(runner.poll(future.as_mut(), &mut context).is_pending());
    assert!(runner.poll(future.as_mut(), &mut context).is_pending());
    runner.wake();
    assert_eq!(runner.poll(future.as_mut(), &mut context), Poll::Ready(2));
}

#[tokio::test]
async fn a_task_that_panics_or_is_dropped_in_line_leaves_nothing_behind() {
    let runs = Runs::new(1);
    let panics = tokio::spawn(in_runs(Arc::clone(&runs), async { panic!("as it should") }));
    assert!(panics.await.is_err());
    let (tasks, _) = busy(&runs, 10);
    yield_now().await;
    for task in tasks {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    assert!(is_idle(&runs));
    let after = tokio::spawn(in_runs(Arc::clone(&runs), async {}));
    after.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_whatever_the_threads_do() {
    let runs = Runs::new(2);
    let passing = (0..64).map(|_| {
        let (there, mut arrived) = tokio::sync::mpsc::channel::<u32>(1);
        let (back, mut returned) = tokio::sync::mpsc::channel::<u32>(1);
        tokio::spawn(in_runs(Arc::clone(&runs), async move {
            while let Some(n) = arrived.recv().await {
                back.send(n).await.unwrap();
            }
        }));
        tokio::spawn(in_runs(Arc::clone(&runs), async move {
            for n in 0..500 {
                there.send(n).await.unwrap();
                assert_eq!(returned.recv().await, Some(n));
            }
        }))
    });
    let passing: Vec<_> = passing.collect();
    let all = async {
        for task in passing {
            task.await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .unwrap();
    // Those that were waiting for more end too.
    while !is_idle(&runs) {
        sleep(Duration::from_millis(1)).await;
    }
}
