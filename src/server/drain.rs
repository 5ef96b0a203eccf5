//! The steps of a shutdown, which everybody who serves follows.

use tokio::sync::watch;

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Step {
    /// None is under way.
    #[default]
    Serving,
    /// The server isn't ready any more and serves everybody who comes nevertheless: whoever sends clients here needs a while to notice.
    Leaving,
    /// Nobody new is let in, and what is under way is finished.
    Closing,
}

/// Waits until nobody new is let in; for ever where no shutdown can come.
pub(super) async fn closing(step: &mut watch::Receiver<Step>) {
    if step.wait_for(|step| *step == Step::Closing).await.is_err() {
        std::future::pending().await
    }
}
