use std::io;

use http_body_util::Full;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::advance,
};

use super::*;
use crate::limits::{Http2, Times};

fn activity(multiplexed: bool) -> Arc<Activity> {
    Arc::new(Activity::new(multiplexed, Arc::default(), Arc::default()))
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

/// A peer that has sent more than anybody reads, and takes whatever is written.
#[derive(Default)]
struct Busy;

impl AsyncRead for Busy {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = buffer.remaining();
        buffer.put_slice(&vec![0; most]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Busy {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Reads until it has to wait; how many bytes that were.
fn read(watched: &mut Watched<Busy>, context: &mut Context<'_>) -> usize {
    let (mut bytes, mut space) = (0, [0; 8192]);
    loop {
        let mut buffer = ReadBuf::new(&mut space);
        match Pin::new(&mut *watched).poll_read(context, &mut buffer) {
            Poll::Ready(read) => read.unwrap(),
            Poll::Pending => return bytes,
        }
        bytes += buffer.filled().len();
        assert!(bytes < 1 << 20, "it never waits");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_reads_and_writes_a_portion_and_is_repeated_for_the_rest() {
    for (multiplexed, portion) in [(false, 512), (true, 256)] {
        let activity = activity(multiplexed);
        let mut watched = Watched::new(Busy, Arc::clone(&activity));
        let woken = Arc::new(Woken::default());
        let waker = std::task::Waker::from(Arc::clone(&woken));
        let context = &mut Context::from_waker(&waker);
        for polls in 1..4 {
            activity.polled();
            assert_eq!(read(&mut watched, context), portion);
            assert_eq!(woken.0.load(Relaxed), polls);
        }
        activity.polled();
        let mut written = 0;
        while let Poll::Ready(bytes) = Pin::new(&mut watched).poll_write(context, &[0; 16 << 10]) {
            written += bytes.unwrap();
            assert!(written < 1 << 20, "it never waits");
        }
        assert_eq!(written, 128 << 10);
        assert_eq!(woken.0.load(Relaxed), 4);
        assert_eq!(activity.overdue(), None, "nobody is slow");
        activity.polled();
        let more = Pin::new(&mut watched).poll_write(context, b"more");
        assert!(matches!(more, Poll::Ready(Ok(4))));
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_and_behind_resets_whatever_comes_are_read_in_larger_portions() {
    let activity = activity(true);
    let mut watched = Watched::new(Busy, Arc::clone(&activity));
    let context = &mut Context::from_waker(std::task::Waker::noop());
    let mut portion = || {
        activity.polled();
        read(&mut watched, context)
    };
    let context = &mut Context::from_waker(std::task::Waker::noop());
    let mut body = Coming::new(Full::new(Bytes::from(vec![0; 9000])), &activity);
    assert!(Pin::new(&mut body).poll_frame(context).is_ready());
    assert_eq!((portion(), portion()), (256 + 9000, 256));
    let mut answer = Going::new(Full::new(Bytes::from("x")), activity.request());
    assert!(Pin::new(&mut answer).poll_frame(context).is_ready());
    drop(answer);
    assert_eq!(portion(), 256, "it was taken");
    for _ in 0..2 {
        drop(Going::new(Full::new(Bytes::from("x")), activity.request()));
        drop(activity.request());
        assert_eq!((portion(), portion()), (256 + 16384, 256));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_many_large_heads_waits_for_a_turn_with_the_next_and_nobody_else_does() {
    let share = Arc::<Share>::default();
    let connection =
        |share: &Arc<Share>| Arc::new(Activity::new(true, Arc::default(), Arc::clone(share)));
    let large = |activity: &Arc<Activity>| {
        let mut watched = Watched::new(Busy, Arc::clone(activity));
        let context = &mut Context::from_waker(std::task::Waker::noop());
        let mut bytes = 0;
        for _ in 0..64 {
            activity.polled();
            bytes += read(&mut watched, context);
        }
        bytes
    };
    let all = 64 * 256;
    let mut coming = Vec::new();
    loop {
        let activity = connection(&share);
        if large(&activity) < all {
            break;
        }
        coming.push(activity);
        assert!(coming.len() < 1000, "there is no bound");
    }
    assert_eq!(coming.len(), 128);
    let next = connection(&share);
    assert_eq!(large(&next), LARGE_HEAD, "small ones are read as ever");
    assert_eq!(large(&connection(&Arc::default())), all, "somebody else's");
    let complete = coming[0].request();
    assert_eq!(large(&next), all);
    // Beside a request it may be a body.
    assert_eq!(large(&coming[0]), all);
    drop(complete);
    // A turn is given back with its connection, too.
    let another = connection(&share);
    assert_eq!(large(&another), LARGE_HEAD);
    drop(next);
    assert_eq!(large(&another), all);
}

#[tokio::test(start_paused = true)]
async fn requests_over_http_2_count_among_their_callers_until_they_are_over() {
    let share = Arc::<Share>::default();
    let most = Http2::default().streams_per_caller;
    let connections: Vec<_> = (0..2)
        .map(|_| Arc::new(Activity::new(true, Arc::default(), Arc::clone(&share))))
        .collect();
    let mut under_way: Vec<_> = (0..most).map(|n| connections[n % 2].request()).collect();
    assert!(under_way.iter().all(|request| !request.is_too_many()));
    assert!(connections[0].request().is_too_many());
    under_way.pop();
    assert!(!connections[1].request().is_too_many());
    // A body that comes is no request more, and HTTP/1.1 has one at a time.
    let _coming = Coming::new(Full::new(Bytes::from("x")), &connections[0]);
    let plain = Arc::new(Activity::new(false, Arc::default(), Arc::clone(&share)));
    let _plain = plain.request();
    assert!(!connections[1].request().is_too_many());
}
