//! Floods and shapes of HTTP/1.1 that are meant to cost much, or to put the two ends out of step.

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt as _,
    time::{sleep, timeout},
};

use super::{Attacked, COUNT, PATIENCE, flood, rest};

const HEALTH: &str = "GET /api/v1/health HTTP/1.1\r\nHost: a\r\n\r\n";

fn put(headers: &str) -> String {
    format!(
        "PUT /api/v1{COUNT} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{headers}\r\n"
    )
}

/// All that is answered to these bytes until the server closes.
async fn answers(attacked: &Attacked, sent: &str) -> String {
    let mut stream = attacked.connect("http/1.1").await;
    let came = flood(&mut stream, [sent.as_bytes().to_vec()]).await;
    String::from_utf8_lossy(&came.expect("the server closes")).into_owned()
}

#[tokio::test]
async fn headers_that_drip_are_cut_and_hold_up_nobody() {
    let attacked = Attacked::limited("times: {headers: 2s}").await;
    attacked
        .withstands(async {
            let mut dripping = Vec::new();
            for _ in 0..100 {
                let mut stream = attacked.connect("http/1.1").await;
                stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
                dripping.push(stream);
            }
            let mut open = true;
            while open {
                sleep(Duration::from_millis(300)).await;
                open = false;
                for stream in &mut dripping {
                    open |= stream.write_all(b"x: y\r\n").await.is_ok();
                }
            }
        })
        .await;
    attacked.names("HeaderTime").await;
}

#[tokio::test]
async fn empty_lines_are_no_request() {
    let attacked = Attacked::limited("times: {headers: 2s}").await;
    attacked
        .withstands(async {
            let mut stream = attacked.connect("http/1.1").await;
            while stream
                .write_all("\r\n".repeat(500).as_bytes())
                .await
                .is_ok()
            {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
}

#[tokio::test]
async fn a_body_that_drips_is_408() {
    let attacked = Attacked::limited("times: {body: 1s}").await;
    attacked
        .withstands(async {
            let mut stream = attacked.connect("http/1.1").await;
            let head = put("Content-Length: 1000\r\n");
            let drops = (0..1000).map(|_| b" ".to_vec());
            let mut pieces = vec![head.into_bytes()];
            pieces.extend(drops.take(500));
            let dripping = async {
                for piece in pieces {
                    if stream.write_all(&piece).await.is_err() {
                        break;
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            };
            let _ = timeout(Duration::from_secs(2), dripping).await;
            let answer = String::from_utf8_lossy(&rest(&mut stream).await).into_owned();
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        })
        .await;
    attacked.names("BodyTime").await;
}

#[tokio::test]
async fn a_hundred_thousand_headers_are_431() {
    let attacked = Attacked::new().await;
    let head = format!(
        "GET /api/v1/health HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "a:b\r\n".repeat(100_000)
    );
    attacked
        .withstands(async {
            let answer = answers(&attacked, &head).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        })
        .await;
    attacked.names("HeaderSize").await;
}

#[tokio::test]
async fn a_header_or_uri_of_megabytes_is_refused() {
    let attacked = Attacked::new().await;
    let long = "x".repeat(8 << 20);
    attacked
        .withstands(async {
            for head in [
                format!("GET /api/v1/health HTTP/1.1\r\nHost: a\r\nx: {long}\r\n\r\n"),
                format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            ] {
                let answer = answers(&attacked, &head).await;
                assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
            }
        })
        .await;
    attacked.names("HeaderSize").await;
}

#[tokio::test]
async fn requests_whose_answers_nobody_reads_are_held_back_and_then_cut() {
    let attacked = Attacked::with("times: {stalled: 2s}", 3000).await;
    let lists = "GET /api/v1/deployments HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    attacked
        .withstands(async {
            let mut streams = Vec::new();
            for _ in 0..4 {
                let mut stream = attacked.connect("http/1.1").await;
                // It takes as many as fit its buffers.
                let _ = timeout(Duration::from_secs(1), stream.write_all(lists.as_bytes())).await;
                streams.push(stream);
            }
            attacked.names("StalledReader").await;
        })
        .await;
}

#[tokio::test]
async fn whoever_only_sends_requests_is_answered_and_costs_no_memory() {
    let attacked = Attacked::new().await;
    attacked
        .withstands(async {
            let mut stream = attacked.connect("http/1.1").await;
            let mut requests = vec![HEALTH.repeat(100).into_bytes(); 50];
            requests.push(
                HEALTH
                    .replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
                    .into_bytes(),
            );
            let came = flood(&mut stream, requests)
                .await
                .expect("the last one closes");
            let answers = String::from_utf8(came)
                .unwrap()
                .matches("HTTP/1.1 200 OK")
                .count();
            assert_eq!(answers, 5001);
        })
        .await;
}

#[tokio::test]
async fn ambiguous_bodies_are_refused_or_end_the_connection() {
    let attacked = Attacked::new().await;
    attacked
        .withstands(async {
            for headers in [
                "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
                "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
                "Content-Length: 5\r\nContent-Length: 6\r\n",
                "Content-Length: 5, 6\r\n",
                "Content-Length: +6\r\n",
                "Content-Length: 0x6\r\n",
                "Content-Length: -1\r\n",
                "Content-Length: 99999999999999999999999\r\n",
                "Transfer-Encoding: xchunked\r\n",
                "Transfer-Encoding: chunked, identity\r\n",
                "Transfer-Encoding: gzip\r\n",
                "Transfer-Encoding : chunked\r\n",
                " Transfer-Encoding: chunked\r\n",
                "X: a\r\n b\r\nContent-Length: 6\r\n",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            ] {
                // Whatever is taken for the first request's body, the second must not be answered as one of its own.
                let sent = format!("{}0\r\n\r\n{HEALTH}", put(headers));
                let answer = answers(&attacked, &sent).await;
                assert_eq!(
                    answer.matches("HTTP/1.1 ").count(),
                    1,
                    "{headers:?}: {answer}"
                );
                assert!(answer.starts_with("HTTP/1.1 4"), "{headers:?}: {answer}");
            }
        })
        .await;
}

#[tokio::test]
async fn chunks_that_are_mostly_extension_or_trailer_end_the_connection() {
    // What says that it is longer than anything is waited for, and not for long.
    let attacked = Attacked::limited("times: {body: 1s}").await;
    attacked
        .withstands(async {
            for chunks in [
                format!("1;{}\r\n \r\n", "x".repeat(1 << 20)),
                "1;a=b\r\n \r\n".repeat(100_000),
                format!("0\r\n{}\r\n", "x: y\r\n".repeat(100_000)),
                "FFFFFFFFFFFFFFFFF\r\n \r\n".to_owned(),
                "ffffffffffffffff\r\n \r\n".to_owned(),
                "-1\r\n \r\n".to_owned(),
                "0x1\r\n \r\n".to_owned(),
                "1\n \n0\n\n".to_owned(),
                "\r\n\r\n".to_owned(),
                "1\r\nab\r\n0\r\n\r\n".to_owned(),
            ] {
                let sent = format!("{}{chunks}{HEALTH}", put("Transfer-Encoding: chunked\r\n"));
                let answer = answers(&attacked, &sent).await;
                let shown: String = chunks.chars().take(40).collect();
                assert!(
                    answer.matches("HTTP/1.1 ").count() <= 1,
                    "{shown:?}: {answer}"
                );
                assert!(!answer.contains("HTTP/1.1 200"), "{shown:?}: {answer}");
            }
        })
        .await;
}

#[tokio::test]
async fn an_upgrade_to_http_2_is_not_offered() {
    let attacked = Attacked::new().await;
    let upgrade = "GET /api/v1/health HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answer = answers(&attacked, upgrade).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let prior = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let answer = answers(&attacked, prior).await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
}

#[tokio::test]
async fn whoever_stops_sending_still_gets_its_answer_or_an_end() {
    let attacked = Attacked::new().await;
    attacked
        .withstands(async {
            let mut half = Vec::new();
            for _ in 0..50 {
                let mut stream = attacked.connect("http/1.1").await;
                stream.write_all(HEALTH.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                half.push(stream);
            }
            for mut stream in half {
                timeout(PATIENCE, rest(&mut stream)).await.unwrap();
            }
        })
        .await;
}
