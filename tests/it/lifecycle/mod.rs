//! How the server starts, what it survives, and how it ends.

#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
mod confined;
mod draining;
#[cfg(target_os = "linux")]
mod panics;
mod rolling;
mod starting;
