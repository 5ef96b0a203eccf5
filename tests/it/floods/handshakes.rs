//! Peers before anybody knows who they are: silent ones, ones that stop half-way, and what is no handshake.

use std::{sync::Arc, time::Duration};

use rustls::{ClientConnection, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};

use super::{Attacked, COUNT, PATIENCE, SANE};

/// The first message of a handshake that is never finished.
pub(super) fn hello(attacked: &Attacked) -> Vec<u8> {
    let name = ServerName::IpAddress(attacked.serving.address.ip().into());
    let tls = Arc::clone(attacked.serving.client.tls());
    let mut client = ClientConnection::new(tls, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn silent_connections_take_nobodys_turn() {
    let attacked = Attacked::limited("connections: {handshakes: 2}, times: {handshake: 4s}").await;
    attacked
        .withstands(async {
            let mut silent = Vec::new();
            for _ in 0..500 {
                silent.push(attacked.tcp().await);
            }
            timeout(SANE, attacked.answers("http/1.1")).await.unwrap();
            for mut tcp in silent {
                let end = timeout(PATIENCE, tcp.read(&mut [0; 1])).await;
                assert_eq!(end.unwrap().unwrap_or(0), 0);
            }
        })
        .await;
    attacked.names("HandshakeTimeout").await;
    assert_eq!(attacked.reached("Handshakes").await, 0);
}

#[tokio::test]
async fn half_a_handshake_makes_room_for_whole_ones() {
    let attacked = Attacked::limited("connections: {handshakes: 8}").await;
    let hello = hello(&attacked);
    attacked
        .withstands(async {
            let mut half = Vec::new();
            for _ in 0..40 {
                let mut tcp = attacked.tcp().await;
                tcp.write_all(&hello).await.unwrap();
                half.push(tcp);
            }
            sleep(Duration::from_millis(100)).await;
            let client = attacked.client("http/1.1");
            // Five at a time were before it, each for a quarter of a second.
            let answer = timeout(2 * SANE, client.get(COUNT)).await.unwrap();
            assert_eq!(answer.status, 200);
        })
        .await;
    attacked.names("Handshakes").await;
}

#[tokio::test]
async fn half_handshakes_cost_little() {
    let attacked = Attacked::new().await;
    let hello = hello(&attacked);
    attacked
        .withstands(async {
            let mut half = Vec::new();
            for _ in 0..500 {
                let mut tcp = attacked.tcp().await;
                tcp.write_all(&hello).await.unwrap();
                half.push(tcp);
            }
            sleep(Duration::from_secs(1)).await;
        })
        .await;
}

#[tokio::test]
async fn a_hello_without_an_end_is_cut() {
    let attacked = Attacked::new().await;
    // A record of a handshake message that says it is 16 MiB long.
    let mut first = vec![22, 3, 1, 64, 0, 1, 255, 255, 255];
    first.extend([0; 16_380]);
    let mut more = vec![22, 3, 1, 64, 0];
    more.extend([0; 16_384]);
    let mut shorter = vec![22, 3, 1, 64, 0, 1, 0, 255, 0];
    shorter.extend([0; 16_380]);
    attacked
        .withstands(async {
            for first in [&first, &shorter] {
                for _ in 0..100 {
                    let mut tcp = attacked.tcp().await;
                    let _ = tcp.write_all(first).await;
                    while timeout(PATIENCE, tcp.write_all(&more))
                        .await
                        .unwrap()
                        .is_ok()
                    {}
                }
            }
        })
        .await;
    attacked.names("HandshakeSize").await;
}

#[tokio::test]
async fn garbage_and_single_bytes_cost_little() {
    let attacked = Attacked::limited("times: {handshake: 2s}").await;
    let hello = hello(&attacked);
    attacked
        .withstands(async {
            let mut dripping = Vec::new();
            for number in 0..300 {
                let mut tcp = attacked.tcp().await;
                let garbage = vec![u8::try_from(number % 251).unwrap(); 4000];
                let _ = tcp.write_all(&garbage).await;
                let mut tcp = attacked.tcp().await;
                tcp.write_all(&hello[..1]).await.unwrap();
                dripping.push(tcp);
            }
            for byte in &hello[1..100] {
                for tcp in &mut dripping {
                    let _ = tcp.write_all(&[*byte]).await;
                }
            }
        })
        .await;
}
