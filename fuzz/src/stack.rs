//! The server behind a connection in memory: HTTP, the order of judgement, handlers, store. Time is paused, so that every deadline
//! is met at once.

use std::time::Duration;

use instructions::served::Served;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split},
    runtime::{Builder, Runtime},
    time::timeout,
};

/// Deployments in the store: enough for a list, few enough to be sent often.
const DEPLOYMENTS: usize = 5;
/// Bytes on their way in each direction.
const PIPE: usize = 1 << 20;
/// By then a connection on which nothing more is said has ended: idleness, a body that doesn't come, and a reader that stalls.
const ENDED: Duration = Duration::from_secs(150);

thread_local! {
    static SERVER: (Runtime, Served) = server();
}

fn server() -> (Runtime, Served) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("a runtime needs no more than file descriptors");
    let served = runtime.block_on(async { Served::new(DEPLOYMENTS) });
    let served = served.unwrap_or_else(|why| panic!("no server: {why}"));
    (runtime, served)
}

/// What the server says on a connection on which these bytes come, in chunks of so many, and then nothing more.
pub(crate) fn said(bytes: &[u8], chunk: usize, multiplexed: bool) -> Vec<u8> {
    SERVER.with(|(runtime, served)| {
        runtime.block_on(async {
            let (caller, stream) = duplex(PIPE);
            served.serve(stream, multiplexed);
            let (mut answers, mut requests) = split(caller);
            let mut said = Vec::new();
            let sending = async {
                for piece in bytes.chunks(chunk) {
                    // A server that has heard enough closes.
                    if requests.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            };
            let listening = answers.read_to_end(&mut said);
            let ended = timeout(ENDED, async { tokio::join!(sending, listening) });
            ended
                .await
                .expect("the connection ends by itself")
                .1
                .unwrap_or(0);
            said
        })
    })
}
