//! A core dump would have the private key in it, and every Deployment's name.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// From now on no crash writes this process's memory to a file, and nobody but root reads it.
pub(super) fn forbid() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    // A pipe that the kernel hands cores to doesn't ask for the limit.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
