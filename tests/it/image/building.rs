//! `make image` with builders that are there, that don't answer, or that are missing; and what both Dockerfiles say of their images.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use super::{all, checkout, stages};

/// A folder of programs that is all of `PATH`: what scripts need, and builders that do as they are told.
struct Programs(TempDir);

impl Programs {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        let path = std::env::var_os("PATH").unwrap();
        for name in ["bash", "dirname", "git", "sed", "timeout"] {
            let mut folders = std::env::split_paths(&path).map(|folder| folder.join(name));
            let program = folders.find(|program| program.exists()).unwrap();
            symlink(program, this.0.path().join(name)).unwrap();
        }
        this
    }

    /// A builder that writes down what it is asked for; `info` and `build` are exit codes.
    fn with(self, name: &str, info: u8, build: u8) -> Self {
        let path = self.0.path().join(name);
        let script = format!(
            "#!/bin/sh\necho {name} \"$@\" >>{}\n[ \"$1\" = info ] && exit {info}\nexit {build}\n",
            self.log().display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    /// The last that a builder was asked for.
    fn asked(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }

    fn image(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        Command::new(checkout().join("deploy/image"))
            .args(arguments)
            .env_clear()
            .env("PATH", self.0.path())
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn without_a_builder_that_works_it_is_said_what_each_of_them_lacks() {
    let programs = Programs::new().with("docker", 1, 0);
    for arguments in [&[][..], &["--builder"]] {
        let output = programs.image(arguments, &[]);
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        for part in [
            "no image can be built here",
            "docker's daemon does not answer",
            "podman is not installed",
            "buildah is not installed",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    // It was asked whether it is there, and for nothing else.
    assert_eq!(programs.asked(), "docker info");
}

#[test]
fn the_first_builder_that_works_builds_with_version_and_revision() {
    let programs = Programs::new().with("docker", 1, 0).with("podman", 0, 0);
    let output = programs.image(&["--platform", "linux/arm64"], &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let asked = programs.asked();
    assert!(
        asked.starts_with(&format!(
            "podman build --file deploy/Dockerfile --tag headcount:{VERSION} --build-arg VERSION={VERSION} --build-arg REVISION="
        )),
        "{asked}"
    );
    assert!(asked.ends_with(" --platform linux/arm64 ."), "{asked}");

    let programs = Programs::new().with("buildah", 0, 0);
    let environment = [("IMAGE", "registry.example/team/headcount:7")];
    assert!(programs.image(&[], &environment).status.success());
    let asked = programs.asked();
    assert!(
        asked.contains("--tag registry.example/team/headcount:7 "),
        "{asked}"
    );

    let output = programs.image(&[], &[("COLLECTOR", "1")]);
    assert!(output.status.success(), "{output:?}");
    let asked = programs.asked();
    let tag = format!("--file deploy/collector/Dockerfile --tag headcount-collector:{VERSION} ");
    assert!(asked.contains(&tag) && asked.ends_with(" ."), "{asked}");
    let output = programs.image(&[], &[("COLLECTOR", "yes")]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
}

#[test]
fn a_build_that_fails_is_a_failure_and_nobody_else_is_asked_to_build() {
    let programs = Programs::new().with("docker", 0, 17).with("podman", 0, 0);
    let output = programs.image(&[], &[]);
    assert_eq!(output.status.code(), Some(17), "{output:?}");
    assert!(
        programs.asked().starts_with("docker build "),
        "{}",
        programs.asked()
    );
}

#[test]
fn both_images_run_as_nobody_on_nothing_and_say_what_they_are() {
    for (path, name) in [
        ("deploy/Dockerfile", "headcount"),
        ("deploy/collector/Dockerfile", "headcount-collector"),
    ] {
        let dockerfile = fs::read_to_string(checkout().join(path)).unwrap();
        let stages = stages(&dockerfile);
        let last = stages.last().unwrap();
        assert_eq!(all(last, "FROM"), ["scratch"], "{path}");
        assert_eq!(all(last, "USER"), ["65532:65532"], "{path}");
        assert_eq!(
            all(last, "ENTRYPOINT"),
            [format!(r#"["/usr/local/bin/{name}"]"#)],
            "{path}"
        );
        let labels = all(last, "LABEL").concat();
        for label in [
            format!("title=\"{name}\""),
            "version=\"${VERSION}\"".to_owned(),
            "revision=\"${REVISION}\"".to_owned(),
            "licenses=\"Apache-2.0\"".to_owned(),
            "authors=\"the headcount authors\"".to_owned(),
        ] {
            assert!(
                labels.contains(&format!("org.opencontainers.image.{label}")),
                "{path}: {label}"
            );
        }
        // No place that isn't ours to name.
        assert!(!labels.contains("://"), "{path}: {labels}");
    }
}

#[test]
fn what_a_build_needs_is_not_kept_from_it() {
    let ignored = fs::read_to_string(checkout().join("deploy/Dockerfile.dockerignore")).unwrap();
    let manifest = fs::read_to_string(checkout().join("Cargo.toml")).unwrap();
    let members = manifest
        .lines()
        .find_map(|l| l.strip_prefix("members = "))
        .unwrap();
    let needed: Vec<_> = members
        .split('"')
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .chain([
            ".ci/sbom",
            "deploy/image-root",
            "LICENSE",
            "src",
            "benches",
            ".cargo",
        ])
        .collect();
    assert!(needed.len() > 8, "{needed:?}");
    for path in needed {
        assert!(Path::new(&checkout().join(path)).exists(), "{path}");
        for line in ignored.lines() {
            assert!(
                !Path::new(path).starts_with(line),
                "{path} is kept away by {line}"
            );
        }
    }
}
