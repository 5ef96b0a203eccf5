//! Floods of HTTP/2 frames, each on one connection, which is ended for it by a limit with a name.

use super::{Attacked, flood, frames::*};

/// RFC 9113, 7: ENHANCE_YOUR_CALM.
const CALM: u32 = 11;

/// The frames that `each` makes of the streams' numbers, in pieces of some size, as an attacker who wants to be fast sends them.
fn frames(times: u32, each: impl Fn(u32) -> Vec<u8>) -> Vec<Vec<u8>> {
    let streams: Vec<u32> = (0..times).map(|number| 2 * number + 1).collect();
    let piece = |streams: &[u32]| streams.iter().flat_map(|stream| each(*stream)).collect();
    streams.chunks(500).map(piece).collect()
}

/// The connection on which these come is ended, and this limit named. What the server sent.
async fn is_ended(limit: &str, pieces: Vec<Vec<u8>>) -> Vec<u8> {
    let attacked = Attacked::new().await;
    let mut came = None;
    attacked
        .withstands(async {
            let mut stream = attacked.connect("h2").await;
            begin(&mut stream, &[]).await;
            came = flood(&mut stream, pieces).await;
        })
        .await;
    attacked.names(limit).await;
    came.expect("the connection is ended")
}

#[tokio::test]
async fn rapid_resets_end_a_connection() {
    let reset = |stream| [get(stream), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
    let came = is_ended("Http2Resets", frames(20_000, reset)).await;
    assert_eq!(go_away(&came), Some(CALM));
}

#[tokio::test]
async fn mistakes_that_make_the_server_reset_streams_end_a_connection() {
    // A window that grows beyond all bounds is an error of the stream.
    let most = [0x7f, 0xff, 0xff, 0xff];
    let too_wide = |stream| [put(stream), frame(WINDOW_UPDATE, 0, stream, &most)].concat();
    let came = is_ended("Http2Mistakes", frames(20_000, too_wide)).await;
    assert_eq!(go_away(&came), Some(CALM));
}

#[tokio::test]
async fn continuations_without_an_end_end_a_connection() {
    let block = request("GET", "/api/v1/health");
    let mut pieces = vec![frame(HEADERS, END_STREAM, 1, &block)];
    let tiny = header("x", "y");
    pieces.extend(frames(50_000, |_| frame(CONTINUATION, 0, 1, &tiny)));
    let came = is_ended("Http2Headers", pieces).await;
    assert_eq!(go_away(&came), Some(CALM));
}

#[tokio::test]
async fn empty_continuations_without_an_end_end_a_connection() {
    let block = request("GET", "/api/v1/health");
    let mut pieces = vec![frame(HEADERS, END_STREAM, 1, &block)];
    pieces.extend(frames(50_000, |_| frame(CONTINUATION, 0, 1, &[])));
    is_ended("Http2Headers", pieces).await;
}

#[tokio::test]
async fn a_bomb_of_compressed_headers_ends_a_connection() {
    // 62 is the newest entry of the dynamic table: each byte is a header of 4 KiB.
    let mut block = request("GET", "/api/v1/health");
    block.extend(remembered("x", &"y".repeat(3900)));
    block.extend([0x80 | 62; 12_000]);
    let bomb = |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &block);
    let came = is_ended("Http2Headers", frames(200, bomb)).await;
    assert_eq!(go_away(&came), Some(CALM));
}

#[tokio::test]
async fn settings_without_an_end_end_a_connection() {
    let table = [0, 1, 0, 0, 0, 0];
    is_ended(
        "Http2Overhead",
        frames(200_000, |_| frame(SETTINGS, 0, 0, &table)),
    )
    .await;
}

#[tokio::test]
async fn pings_without_an_end_end_a_connection() {
    is_ended(
        "Http2Overhead",
        frames(200_000, |_| frame(PING, 0, 0, &[0; 8])),
    )
    .await;
}

#[tokio::test]
async fn answers_to_pings_that_were_never_sent_end_a_connection() {
    is_ended(
        "Http2Overhead",
        frames(200_000, |_| frame(PING, ACK, 0, &[0; 8])),
    )
    .await;
}

#[tokio::test]
async fn window_updates_without_an_end_end_a_connection() {
    // One that can't be refused: it is for a stream whose answer is on the way.
    let one = |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    is_ended("Http2Overhead", frames(200_000, one)).await;
}

#[tokio::test]
async fn priorities_without_an_end_end_a_connection() {
    let priority = |stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 7]);
    is_ended("Http2Overhead", frames(200_000, priority)).await;
}

#[tokio::test]
async fn frames_of_no_known_kind_end_a_connection() {
    is_ended(
        "Http2Overhead",
        frames(200_000, |stream| frame(0x42, 0xff, stream, &[1])),
    )
    .await;
}

#[tokio::test]
async fn resets_of_streams_that_are_over_end_a_connection() {
    let mut pieces = vec![get(1)];
    pieces.extend(frames(200_000, |_| frame(RST_STREAM, 0, 1, &[0; 4])));
    is_ended("Http2Overhead", pieces).await;
}

#[tokio::test]
async fn empty_data_without_an_end_ends_a_connection() {
    let mut pieces = vec![put(1)];
    pieces.extend(frames(200_000, |_| frame(DATA, 0, 1, &[])));
    let came = is_ended("Http2Data", pieces).await;
    assert_eq!(go_away(&came), Some(CALM));
}

#[tokio::test]
async fn padding_without_content_ends_a_connection() {
    let mut pieces = vec![put(1)];
    // All of it is padding: one byte of length, and that many zeros.
    pieces.extend(frames(50_000, |_| {
        frame(DATA, 8, 1, &[&[99][..], &[0; 99]].concat())
    }));
    is_ended("Http2Data", pieces).await;
}

#[tokio::test]
async fn headers_behind_headers_end_a_connection() {
    // Trailers that don't end their stream are an error of the stream.
    let trailers = |stream| {
        [
            put(stream),
            frame(HEADERS, END_HEADERS, stream, &header("x", "y")),
        ]
        .concat()
    };
    is_ended("Http2Mistakes", frames(20_000, trailers)).await;
}

#[tokio::test]
async fn more_streams_than_there_may_be_are_refused_and_end_a_connection() {
    // The first 128 wait for their bodies, the others are refused one by one: each is a mistake of the client's.
    is_ended("Http2Mistakes", frames(20_000, put)).await;
}
