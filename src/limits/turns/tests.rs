use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;
use tokio::time::{advance, timeout};

use super::*;

const WAIT: Duration = Duration::from_secs(5);

fn turns(at_once: usize, waiting: usize) -> Turns {
    let places = Places {
        at_once,
        waiting,
        longest_wait: WAIT,
    };
    Turns::new(Limit::Requests, places)
}

fn caller(name: &str) -> CallerId {
    CallerId::new(name)
}

type Taking = Pin<Box<dyn Future<Output = Result<Turn, NoTurn>>>>;

/// Asks for a turn without waiting for it.
fn ask(turns: &Turns, who: &str) -> Taking {
    let (turns, who) = (turns.clone(), caller(who));
    // Polled more often than the runtime would.
    let taking = async move { turns.take(&who).await };
    let mut taking: Taking = Box::pin(tokio::task::unconstrained(taking));
    // Whoever has its turn at once keeps it, in the end of what is polled.
    match taking
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(done) => Box::pin(async { done }),
        Poll::Pending => taking,
    }
}

fn now(taking: &mut Taking) -> Option<Result<Turn, NoTurn>> {
    match taking
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

fn no(own: bool) -> NoTurn {
    let limit = Limit::Requests;
    NoTurn { limit, own }
}

fn is_idle(turns: &Turns) -> bool {
    let state = turns.0.state();
    (state.held, state.waiting) == (0, 0) && state.callers.is_empty() && state.rotation.is_empty()
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_a_quarter_and_then_waits_for_its_own() {
    let turns = turns(8, 8);
    let first = ask(&turns, "a").await.unwrap();
    let _second = ask(&turns, "a").await.unwrap();
    let mut third = ask(&turns, "a");
    assert!(now(&mut third).is_none());
    let _others = ask(&turns, "b").await.unwrap();
    drop(first);
    assert!(matches!(now(&mut third), Some(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_whose_share_it_was() {
    let turns = turns(4, 8);
    let held: Vec<Turn> = {
        let mut held = Vec::new();
        for who in ["a", "b", "c", "d"] {
            held.push(ask(&turns, who).await.unwrap());
        }
        held
    };
    let start = Instant::now();
    assert_eq!(ask(&turns, "a").await.err(), Some(no(true)));
    assert_eq!(start.elapsed(), WAIT);
    assert_eq!(ask(&turns, "e").await.err(), Some(no(false)));
    drop(held);
    assert!(is_idle(&turns));
}

#[tokio::test(start_paused = true)]
async fn a_full_line_has_a_place_for_whoever_has_less_of_it() {
    let turns = turns(1, 4);
    let held = ask(&turns, "hot").await.unwrap();
    let mut hot: Vec<Taking> = (0..4).map(|_| ask(&turns, "hot")).collect();
    assert_eq!(ask(&turns, "hot").await.err(), Some(no(true)));
    let mut other = ask(&turns, "other");
    assert_eq!(now(&mut hot[3]).map(Result::err), Some(Some(no(true))));
    let mut second = ask(&turns, "other");
    assert_eq!(now(&mut hot[2]).map(Result::err), Some(Some(no(true))));
    // Two each: the other one has no less of it any more, and a third one has.
    assert_eq!(ask(&turns, "other").await.err(), Some(no(true)));
    let mut third = ask(&turns, "third");
    let gone = [&mut hot[1], &mut second]
        .map(now)
        .map(|n| n.map(Result::err));
    assert_eq!(gone, [None, Some(Some(no(true)))]);
    // Turns go round, whoever came first and has how many in line.
    let mut turn = Some(Ok(held));
    let [first, last, ..] = &mut hot[..] else {
        unreachable!("there are four")
    };
    for next in [first, &mut other, &mut third, last] {
        assert!(now(next).is_none());
        drop(turn);
        turn = now(next);
        assert!(matches!(turn, Some(Ok(_))));
    }
    drop((turn, hot, other, second, third));
    assert!(is_idle(&turns));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_line_leaves_nothing_behind() {
    let turns = turns(4, 8);
    let held = ask(&turns, "a").await.unwrap();
    let left = ask(&turns, "a");
    let mut stays = ask(&turns, "a");
    drop(left);
    drop(held);
    assert!(matches!(now(&mut stays), Some(Ok(_))));
    // It had a turn that it never took note of.
    let held = ask(&turns, "a").await.unwrap();
    let unaware = ask(&turns, "a");
    drop(held);
    drop(unaware);
    assert!(is_idle(&turns));
}

#[tokio::test(start_paused = true)]
async fn more_turns_are_passed_on_at_once_and_fewer_as_they_come_back() {
    let turns = turns(4, 8);
    let held = ask(&turns, "a").await.unwrap();
    let mut second = ask(&turns, "a");
    assert!(now(&mut second).is_none());
    let places = turns.0.state().places;
    turns.resize(Places {
        at_once: 8,
        ..places
    });
    let second = now(&mut second).unwrap().unwrap();
    turns.resize(Places {
        at_once: 1,
        ..places
    });
    let mut third = ask(&turns, "b");
    drop(held);
    assert!(now(&mut third).is_none());
    drop(second);
    assert!(matches!(now(&mut third), Some(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_turn_and_not_with_the_time() {
    let turns = turns(1, 1);
    let held = ask(&turns, "a").await.unwrap();
    let other = caller("b");
    let waiting = turns.take(&other);
    let freed = async {
        advance(Duration::from_secs(1)).await;
        drop(held);
    };
    let (turn, ()) = tokio::join!(timeout(Duration::from_secs(2), waiting), freed);
    assert!(turn.unwrap().is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// However callers come, leave and are done: never more than there are, never more than a share, nobody is passed over.
    #[test]
    fn turns_go_round(
        at_once in 1usize..9,
        waiting in 1usize..12,
        steps in prop::collection::vec((0u8..4, 0usize..4, 0usize..64), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            const NAMES: [&str; 4] = ["a", "b", "c", "d"];
            let turns = turns(at_once, waiting);
            let share = (at_once / 4).max(1);
            let mut asking: Vec<(usize, Taking)> = Vec::new();
            let mut held: Vec<(usize, Turn)> = Vec::new();
            // How often others had a turn since a caller that waits and could have more last had one.
            let mut passed_over = [[0usize; 4]; 4];
            for (what, who, which) in steps {
                match what {
                    0 | 1 => asking.push((who, ask(&turns, NAMES[who]))),
                    2 if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                    3 if !asking.is_empty() => drop(asking.swap_remove(which % asking.len())),
                    _ => {}
                }
                let mut still = Vec::new();
                for (who, mut taking) in asking {
                    match now(&mut taking) {
                        None => still.push((who, taking)),
                        Some(Ok(turn)) => {
                            held.push((who, turn));
                            for other in &mut passed_over {
                                other[who] += 1;
                            }
                            passed_over[who] = [0; 4];
                        }
                        Some(Err(_)) => {}
                    }
                }
                asking = still;
                let has = |who: usize| held.iter().filter(|(w, _)| *w == who).count();
                prop_assert!(held.len() <= at_once && asking.len() <= waiting);
                for who in 0..4 {
                    prop_assert!(has(who) <= share);
                    let waits = asking.iter().any(|(w, _)| *w == who);
                    // Nobody waits while there is a turn that it may have.
                    prop_assert!(!waits || held.len() == at_once || has(who) == share);
                    if !waits || has(who) == share {
                        passed_over[who] = [0; 4];
                    }
                    prop_assert!(passed_over[who].iter().all(|n| *n <= 2), "{passed_over:?}");
                }
            }
            drop((asking, held));
            prop_assert!(is_idle(&turns));
            Ok(())
        })?;
    }
}
