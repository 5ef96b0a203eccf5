//! `make release` and the version: what is built, that it is the same each time, and what nothing is built of.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::skipped;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const TODAY: &str = "2031-07-19";

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a command wrote to stdout; it must succeed.
fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts that a command failed with this code and a sentence that has these parts.
fn refused(output: &Output, code: i32, parts: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    for part in parts {
        assert!(said.contains(part), "{part:?} isn't in {said:?}");
    }
}

/// A checkout of what has a version, and the scripts; all of it committed.
struct Small(TempDir);

impl Small {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        for file in [
            ".ci/version",
            ".ci/release",
            "Cargo.toml",
            "Cargo.lock",
            "CHANGELOG.md",
            "deploy/chart/Chart.yaml",
        ] {
            let place = this.path(file);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(checkout().join(file), place).unwrap();
        }
        // Whatever the project's state is: not released yet.
        let changelog = this.read("CHANGELOG.md");
        let lines = changelog.lines().map(|line| match line {
            _ if line.starts_with(&format!("## [{VERSION}]")) => {
                format!("## [{VERSION}] – unreleased\n")
            }
            _ => format!("{line}\n"),
        });
        this.write("CHANGELOG.md", &lines.collect::<String>());
        this.git(&["init", "--quiet"]);
        this.commit();
        this
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=test", "-c", "user.email=test@localhost"]);
        done(git.args(arguments).current_dir(self.0.path()));
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=all"]);
    }

    fn version(&self, arguments: &[&str]) -> Output {
        let mut script = Command::new(self.path(".ci/version"));
        script.args(arguments).output().unwrap()
    }

    fn release(&self) -> Output {
        let mut script = Command::new(self.path(".ci/release"));
        script.env("PROGRAM", env!("CARGO_BIN_EXE_headcount"));
        script.env_remove("DIRTY").output().unwrap()
    }
}

#[test]
fn everything_has_the_same_version() {
    let said = done(&mut Command::new(checkout().join(".ci/version")));
    assert_eq!(said.trim_end(), VERSION);
}

#[test]
fn whoever_has_another_version_is_named() {
    for (file, old, new) in [
        (
            "Cargo.toml",
            format!("version = \"{VERSION}\""),
            "version = \"9.8.7\"",
        ),
        (
            "deploy/chart/Chart.yaml",
            format!("\nversion: {VERSION}"),
            "\nversion: 9.8.7",
        ),
        (
            "deploy/chart/Chart.yaml",
            format!("\nappVersion: {VERSION}"),
            "\nappVersion: \"9.8.7\"",
        ),
        ("CHANGELOG.md", format!("## [{VERSION}]"), "## [9.8.7]"),
    ] {
        let small = Small::new();
        let text = small.read(file);
        assert!(text.contains(&old), "{file}");
        small.write(file, &text.replacen(&old, new, 1));
        let parts = [VERSION, "9.8.7", "make them the same", file];
        refused(&small.version(&[]), 1, &parts);
        refused(&small.release(), 1, &parts);
    }
}

#[test]
fn a_version_gets_its_date_once_and_the_next_one_begins_everywhere() {
    let small = Small::new();
    refused(
        &small.version(&["notes"]),
        1,
        &["unreleased", ".ci/version date"],
    );
    refused(
        &small.version(&["next", "0.99.0"]),
        1,
        &["unreleased", "release it first"],
    );
    refused(
        &small.version(&["date", "tomorrow"]),
        64,
        &["like 2031-07-19"],
    );

    assert!(small.version(&["date", TODAY]).status.success());
    assert!(
        small
            .read("CHANGELOG.md")
            .contains(&format!("\n## [{VERSION}] – {TODAY}\n"))
    );
    refused(&small.version(&["date", TODAY]), 1, &["has a date", TODAY]);
    let notes = String::from_utf8(small.version(&["notes"]).stdout).unwrap();
    assert!(
        notes.starts_with(&format!("## [{VERSION}] – {TODAY}\n")),
        "{notes}"
    );
    assert_eq!(notes.matches("\n## ").count(), 0, "{notes}");

    refused(&small.version(&["next", "1"]), 64, &["like 1.2.3"]);
    let before = small.read("Cargo.lock");
    assert!(small.version(&["next", "99.0.0"]).status.success());
    let said = small.version(&[]);
    assert_eq!(
        String::from_utf8_lossy(&said.stdout),
        "99.0.0\n",
        "{said:?}"
    );
    let changelog = small.read("CHANGELOG.md");
    let (new, old) = (
        changelog.find("## [99.0.0] – unreleased\n\n## ["),
        changelog.find(TODAY),
    );
    assert!(new < old && new.is_some(), "{changelog}");
    // Cargo takes it as its own: nothing but the versions of this workspace's crates is another.
    let after = small.read("Cargo.lock");
    assert_eq!(before.lines().count(), after.lines().count());
    let changed: BTreeSet<_> = before
        .lines()
        .zip(after.lines())
        .filter(|(before, after)| before != after)
        .collect();
    let version = format!("version = \"{VERSION}\"");
    assert_eq!(
        changed,
        BTreeSet::from([(version.as_str(), "version = \"99.0.0\"")])
    );
}

#[test]
fn what_is_not_committed_or_not_dated_is_not_released() {
    let small = Small::new();
    refused(&small.release(), 1, &["unreleased", ".ci/version date"]);
    assert!(small.version(&["date", TODAY]).status.success());
    refused(
        &small.release(),
        1,
        &["not committed", "CHANGELOG.md", "DIRTY=1"],
    );
    small.commit();
    small.write("forgotten", "");
    refused(&small.release(), 1, &["not committed", "forgotten"]);
    fs::remove_dir_all(small.path(".git")).unwrap();
    refused(&small.release(), 1, &["no git checkout", "DIRTY=1"]);
    assert!(!small.path("target").exists());
}

/// A program that does what the one under test does, by becoming it: small, since it is packed four times.
fn deputy(folder: &Path) -> PathBuf {
    let (source, program) = (folder.join("deputy.rs"), folder.join("deputy"));
    let text = format!(
        "use std::{{env, os::unix::process::CommandExt as _, process::Command}};\n\
         fn main() {{ panic!(\"{{}}\", Command::new({:?}).args(env::args_os().skip(1)).exec()) }}\n",
        env!("CARGO_BIN_EXE_headcount")
    );
    fs::write(&source, text).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "-Cstrip=symbols", "-o"]);
    done(rustc.arg(&program).arg(source));
    program
}

/// A release of this program, in this folder.
fn released(program: &Path, out: &Path) {
    let mut script = Command::new(checkout().join(".ci/release"));
    script
        .env("DIRTY", "1")
        .env("OUT", out)
        .env("PROGRAM", program);
    // An epoch of its own: the checkout may have no commit.
    done(script.env("SOURCE_DATE_EPOCH", "1700000000"));
}

#[test]
fn a_release_is_whole_is_what_its_checksums_say_and_comes_out_the_same_again() {
    if cfg!(not(target_os = "linux")) {
        return skipped("no release is built, because images are of Linux programs");
    }
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    // What was there is replaced, and not added to.
    fs::create_dir(&second).unwrap();
    fs::write(second.join("old"), "").unwrap();
    let program = deputy(folder.path());
    released(&program, &first);
    released(&program, &second);
    let sums = fs::read_to_string(first.join("SHA256SUMS")).unwrap();
    assert_eq!(sums, fs::read_to_string(second.join("SHA256SUMS")).unwrap());
    done(
        Command::new("sha256sum")
            .args(["--check", "--strict", "SHA256SUMS"])
            .current_dir(&first),
    );

    let mut files: BTreeSet<_> = sums
        .lines()
        .map(|l| l.split_once("  ").unwrap().1)
        .collect();
    let target = done(Command::new("rustc").arg("-vV"));
    let target = target
        .lines()
        .find_map(|l| l.strip_prefix("host: "))
        .unwrap();
    let architecture = target.split('-').next().unwrap();
    let program = format!("headcount-{VERSION}-{target}.tar.gz");
    let image = |name: &str| format!("{name}-{VERSION}-image-{architecture}.oci.tar");
    let (server, collector) = (image("headcount"), image("headcount-collector"));
    let chart = format!("headcount-{VERSION}.tgz");
    for file in [
        &program,
        &server,
        &collector,
        &chart,
        &format!("headcount-{VERSION}.cdx.json"),
        "NOTES.md",
    ] {
        assert!(files.remove(file), "{file}: {sums}");
    }
    assert_eq!(files, BTreeSet::new());
    let present = fs::read_dir(&second).unwrap().count();
    assert_eq!(present, sums.lines().count() + 1);

    in_the_program(&first.join(program));
    in_the_chart(&first.join(chart));
    let started = in_the_image("headcount", &first.join(server));
    assert_eq!(started["Cmd"], json!(["serve"]));
    assert_eq!(
        started["ExposedPorts"],
        json!({"8443/tcp": {}, "8081/tcp": {}})
    );
    let started = in_the_image("headcount-collector", &first.join(collector));
    let configured = "--config=/etc/headcount-collector/config.yaml";
    assert_eq!(started["Cmd"], json!([configured]));
    assert_eq!(started["ExposedPorts"], json!({}));
}

/// Unpacks an archive and returns the folder and the paths of all files in it, as tar lists them.
fn unpacked(archive: &Path) -> (TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let list = done(
        Command::new("tar")
            .arg("--extract")
            .arg("--verbose")
            .arg("--directory")
            .arg(folder.path())
            .arg("--file")
            .arg(archive),
    );
    let files = list.lines().filter(|path| !path.ends_with('/'));
    (folder, files.map(str::to_owned).collect())
}

fn in_the_program(archive: &Path) {
    let (folder, files) = unpacked(archive);
    let mut sorted = files.clone();
    sorted.sort();
    assert_eq!(files, sorted, "in order");
    let top = folder.path().join(format!("headcount-{VERSION}"));
    for file in [
        "LICENSE",
        "README.md",
        "completions/headcount.bash",
        "completions/_headcount",
        "completions/headcount.fish",
        "man/man1/headcount.1",
        "man/man1/headcount-serve.1",
    ] {
        assert!(
            fs::metadata(top.join(file)).is_ok_and(|m| m.len() > 0),
            "{file}"
        );
    }
    let notes = fs::read_to_string(top.join("CHANGELOG.md")).unwrap();
    assert!(notes.starts_with(&format!("## [{VERSION}]")), "{notes}");
    let said = done(Command::new(top.join("headcount")).arg("--version"));
    assert_eq!(said, format!("headcount {VERSION}\n"));
}

fn in_the_chart(archive: &Path) {
    let (folder, files) = unpacked(archive);
    let chart = fs::read_to_string(folder.path().join("headcount/Chart.yaml")).unwrap();
    for line in [
        "name: headcount".to_owned(),
        format!("version: {VERSION}"),
        format!("appVersion: {VERSION}"),
    ] {
        assert!(
            chart.lines().any(|l| l.replace('"', "") == line),
            "{line}: {chart}"
        );
    }
    for file in [
        "values.yaml",
        "values.schema.json",
        "templates/deployment.yaml",
    ] {
        assert!(
            files.contains(&format!("headcount/{file}")),
            "{file}: {files:?}"
        );
    }
}

/// Each descriptor's digest and size are its blob's, and what the image is called is what its Dockerfile says. Returns what it is started with.
fn in_the_image(name: &str, archive: &Path) -> Value {
    let (folder, _) = unpacked(archive);
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |descriptor: &Value| -> PathBuf {
        let digest = descriptor["digest"]
            .as_str()
            .unwrap()
            .strip_prefix("sha256:")
            .unwrap();
        let path = folder.path().join("blobs/sha256").join(digest);
        let sum = done(Command::new("sha256sum").arg(&path));
        assert!(sum.starts_with(digest), "{sum}");
        assert_eq!(
            fs::metadata(&path).unwrap().len(),
            descriptor["size"].as_u64().unwrap()
        );
        path
    };
    assert_eq!(
        read(&folder.path().join("oci-layout"))["imageLayoutVersion"],
        "1.0.0"
    );
    let index = read(&folder.path().join("index.json"));
    let named = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
    assert_eq!(named, &format!("{name}:{VERSION}"));
    let manifest = read(&blob(&index["manifests"][0]));
    let config = read(&blob(&manifest["config"]));
    let layer = blob(&manifest["layers"][0]);
    let for_docker = read(&folder.path().join("manifest.json"));
    for (path, own) in [
        (&for_docker[0]["Config"], &manifest["config"]),
        (&for_docker[0]["Layers"][0], &manifest["layers"][0]),
    ] {
        let digest = own["digest"]
            .as_str()
            .unwrap()
            .replace("sha256:", "blobs/sha256/");
        assert_eq!(path, &digest);
    }

    let plain = done(
        Command::new("bash")
            .args(["-c", "gzip -dc \"$0\" | sha256sum"])
            .arg(&layer),
    );
    let diff = config["rootfs"]["diff_ids"][0].as_str().unwrap();
    assert_eq!(plain.split(' ').next(), diff.strip_prefix("sha256:"));
    let started = &config["config"];
    assert_eq!(started["User"], "65532:65532");
    assert_eq!(
        started["Entrypoint"],
        json!([format!("/usr/local/bin/{name}")])
    );
    let dockerfile = match name {
        "headcount" => "deploy/Dockerfile",
        _ => "deploy/collector/Dockerfile",
    };
    let dockerfile = fs::read_to_string(checkout().join(dockerfile)).unwrap();
    let labels = started["Labels"].as_object().unwrap();
    assert_eq!(
        labels.len(),
        dockerfile.matches("org.opencontainers.image.").count()
    );
    assert_eq!(labels["org.opencontainers.image.title"], name);
    assert_eq!(labels["org.opencontainers.image.version"], VERSION);
    for value in labels.values() {
        assert!(!value.as_str().unwrap().contains('$'), "{labels:?}");
    }

    // Root's, for everyone to read and nobody else to write, whoever has built it.
    let list = done(
        Command::new("tar")
            .arg("--list")
            .arg("--verbose")
            .arg("--numeric-owner")
            .arg("--file")
            .arg(&layer),
    );
    for line in list.lines() {
        assert!(
            line.contains(" 0/0 ") && &line[4..6] == "r-" && &line[7..9] == "r-",
            "{line}"
        );
    }
    let program = format!(" usr/local/bin/{name}");
    let runs = |line: &str| line.starts_with("-rwxr-xr-x") && line.ends_with(&program);
    assert!(list.lines().any(runs), "{list}");
    started.clone()
}
