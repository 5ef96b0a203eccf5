//! HTTP/2 streams that are never finished, or whose answers nobody takes.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, time::sleep};

use super::{Attacked, frames::*, rest};
use crate::support::eventually;

/// Streams on one connection.
const STREAMS: u32 = 128;
/// RFC 9113, 6.5.2: SETTINGS_INITIAL_WINDOW_SIZE.
const WINDOW: u16 = 4;

fn each(make: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..STREAMS).flat_map(|n| make(2 * n + 1)).collect()
}

#[tokio::test]
async fn bodies_that_never_come_cost_little_and_hold_up_nobody() {
    let attacked = Attacked::limited("times: {body: 2s}").await;
    let mut held = Vec::new();
    attacked
        .withstands(async {
            for _ in 0..16 {
                let mut stream = attacked.connect("h2").await;
                begin(&mut stream, &[]).await;
                stream.write_all(&each(put)).await.unwrap();
                held.push(stream);
            }
            attacked.names("BodyTime").await;
        })
        .await;
}

#[tokio::test]
async fn bodies_that_almost_come_cost_what_was_allowed() {
    let attacked = Attacked::new().await;
    let mut held = Vec::new();
    attacked
        .withstands(async {
            // All but the last byte of as much as there may be.
            let body = vec![b' '; 16 << 10];
            for _ in 0..4 {
                let mut stream = attacked.connect("h2").await;
                begin(&mut stream, &[]).await;
                let one = |id| [put(id), frame(DATA, 0, id, &body)].concat();
                let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&each(one)))
                    .await;
                held.push(stream);
            }
            sleep(Duration::from_secs(1)).await;
        })
        .await;
}

#[tokio::test]
async fn lists_that_nobody_takes_are_held_back_and_then_given_up() {
    let attacked = Attacked::with("times: {stalled: 2s}", 3000).await;
    attacked
        .withstands(async {
            let block = request("GET", "/api/v1/deployments");
            let list = |id| frame(HEADERS, END_STREAM | END_HEADERS, id, &block);
            let mut connections = Vec::new();
            for _ in 0..4 {
                let mut stream = attacked.connect("h2").await;
                // No byte of any answer may be sent, while the connection itself is well.
                begin(&mut stream, &[(WINDOW, 0)]).await;
                stream.write_all(&each(list)).await.unwrap();
                connections.push(stream);
            }
            for mut stream in connections {
                rest(&mut stream).await;
            }
        })
        .await;
    attacked.names("StalledReader").await;
}

#[tokio::test]
async fn compressed_lists_of_which_a_byte_is_taken_are_held_back_and_then_given_up() {
    let attacked = Attacked::with("times: {stalled: 2s}", 1).await;
    // Of such names little can be compressed.
    let name = |number: u64| format!("s-{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (1..=5000).for_each(|number| attacked.cluster.create("web", &name(number), 3));
    let client = attacked.client("h2");
    eventually(Duration::from_secs(10), "all of them", async || {
        client.count("web", &name(5000)).await == Ok(3)
    })
    .await;
    attacked
        .withstands(async {
            let mut block = request("GET", "/api/v1/deployments");
            block.extend(header("accept-encoding", "gzip"));
            let list = |id| frame(HEADERS, END_STREAM | END_HEADERS, id, &block);
            let mut stream = attacked.connect("h2").await;
            // The first piece of each is wanted, and no more: what is behind it stays reserved until it is given up.
            begin(&mut stream, &[(WINDOW, 1)]).await;
            stream.write_all(&each(list)).await.unwrap();
            rest(&mut stream).await;
        })
        .await;
    attacked.names("StalledReader").await;
}

#[tokio::test]
async fn answers_that_nobody_takes_are_bounded_over_all_connections_of_a_caller() {
    let attacked = Attacked::limited("http2: {streamsPerCaller: 300}").await;
    let mut connections = Vec::new();
    attacked
        .withstands(async {
            for _ in 0..32 {
                let mut stream = attacked.connect("h2").await;
                begin(&mut stream, &[(WINDOW, 0)]).await;
                stream.write_all(&each(get)).await.unwrap();
                connections.push(stream);
            }
            attacked.names("CallerStreams").await;
            let answer = attacked.client("h2").get(super::COUNT).await;
            assert_eq!(answer.status, 429);
            assert_eq!(answer.header("retry-after"), "1");
            // Whoever is told so has no window for a sentence, either.
            assert_eq!(answer.text(), "");
            connections.clear();
            while attacked.client("h2").get(super::COUNT).await.status != 200 {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
}

#[tokio::test]
async fn a_list_taken_byte_by_byte_is_given_up_in_the_end() {
    let attacked = Attacked::with("times: {answer: 1s}", 3000).await;
    attacked
        .withstands(async {
            let mut stream = attacked.connect("h2").await;
            begin(&mut stream, &[(WINDOW, 0)]).await;
            let block = request("GET", "/api/v1/deployments");
            let list = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block);
            stream.write_all(&list).await.unwrap();
            // Steadily, and slower than what a second may take.
            let more = frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 200]);
            while stream.write_all(&more).await.is_ok() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    attacked.names("AnswerTime").await;
}

#[tokio::test]
async fn pings_of_a_peer_that_reads_nothing_end_its_connection() {
    let attacked = Attacked::new().await;
    attacked
        .withstands(async {
            let mut stream = attacked.connect("h2").await;
            begin(&mut stream, &[]).await;
            let pings: Vec<u8> = (0..1000).flat_map(|_| frame(PING, 0, 0, &[0; 8])).collect();
            while stream.write_all(&pings).await.is_ok() {}
        })
        .await;
    attacked.names("Http2Overhead").await;
}

/// Large headers on every stream of another connection; it lasts as long as what this returns.
async fn large_headers(attacked: &Attacked) -> impl Sized + use<> {
    let mut block = request("PUT", &format!("/api/v1{}", super::COUNT));
    block.extend(header("content-type", "application/json"));
    for number in 0..90 {
        block.extend(header(&format!("x-{number}"), &"y".repeat(160)));
    }
    let large = |id| frame(HEADERS, END_HEADERS, id, &block);
    let mut stream = attacked.connect("h2").await;
    begin(&mut stream, &[]).await;
    stream.write_all(&each(large)).await.unwrap();
    stream
}

#[tokio::test]
async fn large_headers_on_every_stream_cost_little() {
    let attacked = Attacked::new().await;
    let mut held = Vec::new();
    attacked
        .withstands(async {
            for _ in 0..4 {
                held.push(large_headers(&attacked).await);
            }
            sleep(Duration::from_secs(1)).await;
        })
        .await;
}

#[tokio::test]
async fn large_headers_on_many_connections_are_refused_beyond_a_few() {
    let attacked = Attacked::new().await;
    let mut held = Vec::new();
    attacked
        .withstands(async {
            for _ in 0..32 {
                held.push(large_headers(&attacked).await);
            }
            attacked.names("LargeHeads").await;
        })
        .await;
}

#[tokio::test]
async fn more_than_a_hundred_headers_are_refused_over_http_2_too() {
    let attacked = Attacked::new().await;
    let client = attacked.client("h2");
    let names: Vec<_> = (0..101).map(|number| format!("x-{number}")).collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "y")).collect();
    let answer = client
        .send(http::Method::GET, "/health", &headers, "")
        .await;
    assert_eq!(answer.status, 431);
    assert!(answer.error().contains("100 headers"), "{}", answer.error());
    attacked.names("HeaderSize").await;
}
