use http_body_util::Full;
use tokio::time::advance;

use super::*;
use crate::limits::{Http2, Times};

fn activity(multiplexed: bool) -> Arc<Activity> {
    Arc::new(Activity::new(multiplexed, Arc::default()))
}

fn times() -> Times {
    Times::default()
}

/// Looks as often as a connection does until `time` has gone by, and tells when something was overdue.
async fn looking(activity: &Activity, time: Duration) -> Option<(Limit, Duration)> {
    let began = Instant::now();
    while Instant::now() < began + time {
        let next = activity.look_again().min(began + time);
        advance(next - Instant::now()).await;
        if let Some(limit) = activity.overdue() {
            return Some((limit, began.elapsed()));
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_cut_after_ten_seconds() {
    let activity = activity(false);
    let cut = looking(&activity, Duration::from_mins(1)).await;
    assert_eq!(cut, Some((Limit::HeaderTime, Duration::from_secs(10))));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_seventy_five_seconds_and_slow_headers_are_not() {
    let activity = activity(false);
    drop(activity.request());
    advance(times().idle - Duration::from_secs(1)).await;
    assert_eq!(activity.overdue(), None);
    activity.read(1);
    advance(times().headers).await;
    assert_eq!(activity.overdue(), Some(Limit::HeaderTime));
    drop(activity.request());
    advance(times().idle).await;
    assert_eq!(activity.overdue(), Some(Limit::IdleTime));
}

#[tokio::test(start_paused = true)]
async fn pings_do_not_keep_an_idle_connection_open() {
    let activity = activity(true);
    drop(activity.request());
    for _ in 0..7 {
        activity.read(17);
        advance(Duration::from_secs(10)).await;
        assert_eq!(activity.overdue(), None);
    }
    advance(Duration::from_secs(5)).await;
    assert_eq!(activity.overdue(), Some(Limit::IdleTime));
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_has_time_and_a_peer_that_reads_nothing_has_not() {
    let activity = activity(true);
    let _under_way = activity.request();
    assert_eq!(looking(&activity, Duration::from_mins(5)).await, None);
    activity.written(None);
    advance(times().stalled).await;
    assert_eq!(activity.overdue(), Some(Limit::StalledReader));
    activity.written(Some(1));
    assert_eq!(activity.overdue(), None);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_a_window_holds_back_is_found_though_the_connection_is_busy() {
    let activity = activity(true);
    let held_back = Going::new(Full::new(Bytes::from("x")), activity.request());
    let (limit, after) = looking(&activity, Duration::from_mins(2)).await.unwrap();
    assert_eq!(limit, Limit::StalledReader);
    assert!(
        after >= times().stalled && after <= times().stalled * 3 / 2,
        "{after:?}"
    );
    drop(held_back);
    let others = async {
        for _ in 0..60 {
            drop(Going::new(Full::new(Bytes::from("x")), activity.request()));
            assert_eq!(looking(&activity, Duration::from_secs(1)).await, None);
        }
    };
    others.await;
}

/// A body of pieces without an end.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece")))))
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_taken_slowly_for_five_minutes_and_no_longer() {
    let activity = activity(true);
    let mut answer = Going::new(Endless, activity.request());
    let began = Instant::now();
    let limit = loop {
        let context = &mut Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut answer).poll_frame(context).is_ready());
        if let Some((limit, _)) = looking(&activity, Duration::from_secs(20)).await {
            break limit;
        }
    };
    assert_eq!(limit, Limit::AnswerTime);
    let taken = began.elapsed();
    assert!(
        taken >= times().answer && taken < times().answer + Duration::from_secs(40),
        "{taken:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_neither_request_nor_body_is_a_flood_beyond_an_allowance() {
    let allowed = Http2::default().overhead;
    let flooded = activity(true);
    flooded.read(allowed);
    assert!(!flooded.floods());
    flooded.read(1);
    assert!(flooded.floods());
    drop(flooded.request());
    assert!(!flooded.floods(), "the last request counts");
    // HTTP/1.1 has nothing that could be one.
    let plain = activity(false);
    plain.read(10 * allowed);
    assert!(!plain.floods());
}

#[tokio::test(start_paused = true)]
async fn window_updates_for_large_answers_and_the_bytes_of_bodies_are_no_flood() {
    let activity = activity(true);
    let under_way = activity.request();
    // As careless as a client can be: two updates for every 4 KiB.
    for _ in 0..100_000 {
        activity.written(Some(4096));
        activity.read(26);
    }
    assert!(!activity.floods());
    drop(under_way);
    assert!(!activity.floods());

    let mut body = Coming::new(Full::new(Bytes::from(vec![0; 250 << 10])), &activity);
    activity.read(251 << 10);
    assert!(!activity.floods());
    let context = &mut Context::from_waker(std::task::Waker::noop());
    assert!(Pin::new(&mut body).poll_frame(context).is_ready());
    drop(body);
    assert!(!activity.floods());
}

#[tokio::test(start_paused = true)]
async fn a_request_begins_when_all_of_its_headers_are_there() {
    for multiplexed in [false, true] {
        let activity = activity(multiplexed);
        let connected = Instant::now();
        let second = Duration::from_secs(1);
        advance(second).await;
        activity.read(100);
        assert_eq!(activity.request().began(), connected + second);
        // In one piece, after a pause; nobody comes to read it at once.
        advance(second).await;
        activity.read(100);
        assert_eq!(activity.request().began(), connected + 2 * second);
        // In two, and its client waited between them.
        activity.read(50);
        advance(second).await;
        activity.read(50);
        assert_eq!(activity.request().began(), connected + 3 * second);
        // Two in one piece: the second has been there since then too, and is looked at when the first is answered.
        advance(second).await;
        activity.read(200);
        drop(activity.request());
        advance(second).await;
        assert_eq!(activity.request().began(), connected + 5 * second);
    }
}
