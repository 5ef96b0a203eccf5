//! The control groups that this process is in, and the memory that they allow: what is taken beyond that ends it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Limits from here on are none: version 1 writes the largest multiple of a page that there is.
const UNLIMITED: u64 = 1 << 60;

/// A group that may have a limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    folder: PathBuf,
    files: Files,
}

/// How the files of a version of control groups are called.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    limits: &'static [&'static str],
    usage: &'static str,
    /// In `memory.stat`: what the kernel gives back before it ends anybody.
    cache: &'static str,
}

const VERSION_1: Files = Files {
    limits: &["memory.limit_in_bytes"],
    usage: "memory.usage_in_bytes",
    cache: "total_inactive_file",
};
const VERSION_2: Files = Files {
    // Above `high` nobody is ended, but slowed down until nothing is served in time.
    limits: &["memory.max", "memory.high"],
    usage: "memory.current",
    cache: "inactive_file",
};

/// The groups of the process itself and those around them.
pub(super) fn own() -> Vec<Group> {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    groups(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
}

/// What they allow together, in bytes; `None` without a limit.
pub(crate) fn group_limit() -> Option<u64> {
    let groups = own();
    let limits = groups.iter().filter_map(|group| Some(group.memory()?.0));
    limits.min()
}

/// The groups that a process with this `/proc/PID/cgroup` and `/proc/PID/mountinfo` is in.
fn groups(memberships: &str, mounts: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for line in memberships.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let unified = number == "0" && controllers.is_empty();
        if !unified && !controllers.split(',').any(|name| name == "memory") {
            continue;
        }
        let Some((root, mounted)) = mounts.lines().find_map(|line| mount(line, unified)) else {
            continue;
        };
        // What is mounted may be a part of the tree: a container's own group, which its path may or may not begin with.
        let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        // Joined to nothing a path would end in a slash.
        let own: PathBuf = mounted.join(below).components().collect();
        let folders = own.ancestors().take_while(|f| f.starts_with(mounted));
        groups.extend(folders.map(|folder| Group {
            folder: folder.to_owned(),
            files: if unified { VERSION_2 } else { VERSION_1 },
        }));
    }
    groups
}

/// What of the groups' tree is mounted, and where, if this line of a mountinfo is that of the memory controller.
fn mount(line: &str, unified: bool) -> Option<(&Path, &Path)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, mounted) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let (kind, options) = (kind.next()?, kind.nth(1)?);
    let fits = match unified {
        true => kind == "cgroup2",
        false => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
    };
    fits.then_some((Path::new(root), Path::new(mounted)))
}

impl Group {
    /// Its limit and what is used of it, in bytes; `None` without a limit. As kubelets count it: without files that the kernel
    /// keeps because there is room.
    pub(super) fn memory(&self) -> Option<(u64, u64)> {
        let read = |name| fs::read_to_string(self.folder.join(name)).ok();
        let number = |name| read(name)?.trim().parse::<u64>().ok();
        let limits = self.files.limits.iter().filter_map(|name| number(*name));
        let limit = limits.min().filter(|limit| *limit < UNLIMITED)?;
        let stat = read("memory.stat").unwrap_or_default();
        let cache = stat.lines().find_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            (name == self.files.cache).then(|| bytes.parse::<u64>().ok())?
        });
        let used = number(self.files.usage)?.saturating_sub(cache.unwrap_or(0));
        Some((limit, used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(memberships: &str, mounts: &str) -> Vec<String> {
        let groups = groups(memberships, mounts);
        let shown = groups.iter().map(|g| g.folder.display().to_string());
        shown.collect()
    }

    #[test]
    fn a_container_sees_its_group_at_the_root_of_the_mount() {
        let mount = "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n";
        assert_eq!(folders("0::/\n", mount), ["/sys/fs/cgroup"]);
    }

    #[test]
    fn the_groups_around_a_process_count_too() {
        let mount =
            "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,memory_recursiveprot\n";
        assert_eq!(
            folders("0::/system.slice/headcount.service\n", mount),
            [
                "/sys/fs/cgroup/system.slice/headcount.service",
                "/sys/fs/cgroup/system.slice",
                "/sys/fs/cgroup"
            ]
        );
    }

    #[test]
    fn version_1_has_the_memory_controller_in_a_place_of_its_own() {
        let mounts = "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            36 25 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let memberships = "12:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/docker/abc\n";
        assert_eq!(folders(memberships, mounts), ["/sys/fs/cgroup/memory"]);
        assert_eq!(folders("4:memory:/x\n", ""), [""; 0]);
        assert_eq!(folders("", mounts), [""; 0]);
    }

    #[test]
    fn the_smaller_limit_counts_and_what_the_kernel_gives_back_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let group = Group {
            folder: folder.path().to_owned(),
            files: VERSION_2,
        };
        assert_eq!(group.memory(), None);
        write("memory.max", "max\n");
        write("memory.current", "1000\n");
        assert_eq!(group.memory(), None);
        write("memory.high", "5000\n");
        assert_eq!(group.memory(), Some((5000, 1000)));
        write("memory.max", "4000\n");
        write(
            "memory.stat",
            "anon 1\ninactive_file 300\nactive_file 200\n",
        );
        assert_eq!(group.memory(), Some((4000, 700)));
        let old = Group {
            folder: folder.path().to_owned(),
            files: VERSION_1,
        };
        write("memory.limit_in_bytes", "9223372036854771712\n");
        write("memory.usage_in_bytes", "1000\n");
        assert_eq!(old.memory(), None);
        write("memory.limit_in_bytes", "2000\n");
        assert_eq!(old.memory(), Some((2000, 1000)));
    }
}
