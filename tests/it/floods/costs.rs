//! What connections cost that do nothing: figures, not verdicts. `cargo test --test it costs -- --ignored --nocapture --test-threads 1`

use std::time::Duration;

use http::Method;
use tokio::{io::AsyncWriteExt as _, time::sleep};

use super::{Attacked, COUNT, handshakes::hello};

/// As many as one address may have, but for a few of the others'.
const MANY: usize = 4000;

#[tokio::test]
#[ignore = "a measurement"]
async fn what_thousands_of_connections_cost() {
    for what in [
        "silent",
        "half a handshake",
        "idle http/1.1",
        "idle h2",
        "used http/1.1",
        "used h2",
    ] {
        let attacked = Attacked::limited(
            "times: {handshake: 5m, headers: 5m, idle: 5m}, connections: {handshakes: 4096}",
        )
        .await;
        let before = attacked.serving.program.resident();
        let hello = hello(&attacked);
        let (mut sockets, mut streams, mut used) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..MANY {
            match what {
                "silent" => sockets.push(attacked.tcp().await),
                "half a handshake" => {
                    let mut tcp = attacked.tcp().await;
                    tcp.write_all(&hello).await.unwrap();
                    sockets.push(tcp);
                }
                "idle http/1.1" | "idle h2" => streams.push(attacked.connect(&what[5..]).await),
                _ => {
                    let client = attacked.client(&what[5..]);
                    let mut connection = client.open().await.unwrap();
                    let request = client.request(Method::GET, COUNT, &[], "");
                    assert_eq!(connection.send(request).await.unwrap().status, 200);
                    used.push(connection);
                }
            }
        }
        sleep(Duration::from_secs(3)).await;
        let grown = attacked.serving.program.resident() - before;
        println!("{what}: {} bytes each", grown / MANY);
    }
}
