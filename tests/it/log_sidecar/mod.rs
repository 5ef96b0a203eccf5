//! The collector of the log sidecar, with the configuration that is shipped, on the files of the real program.

mod forging;
mod forwarding;
mod otlp;
mod restarting;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::support::{
    SimCluster, eventually,
    lines::Line,
    program::{Program, Serving},
};

/// How long records may take from a file to the other end.
const PATIENCE: Duration = Duration::from_secs(30);

/// One record as the collector forwarded it.
#[derive(Debug, Clone, PartialEq)]
struct Forwarded {
    nanoseconds: u64,
    severity: String,
    trace: String,
    body: String,
    attributes: BTreeMap<String, Value>,
    resource: BTreeMap<String, Value>,
}

/// The shared volume, the collector's own folder, and what both programs are configured with.
struct Volumes {
    folder: TempDir,
}

impl Volumes {
    /// headcount logs in this form, and begins another file every 64 KiB.
    fn new(format: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let this = Self { folder };
        for name in ["logs", "collector"] {
            fs::create_dir(this.path(name)).unwrap();
        }
        let file = |name: &str| {
            let path = this.path("logs").join(name);
            format!("{{path: {}, maxSize: 64Ki, keep: 100}}", path.display())
        };
        let text = format!(
            "apiVersion: headcount/v1alpha1\nkind: Configuration\nlogging: {{format: {format}, level: debug, file: {}}}\naudit: {{file: {}}}\nlimits: {{rates: {{writes: unlimited}}}}\n",
            file("headcount.log"),
            file("audit.log")
        );
        fs::write(this.path("headcount.yaml"), text).unwrap();
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    async fn serve(&self, cluster: &SimCluster) -> Serving {
        let flag = format!("--config={}", self.path("headcount.yaml").display());
        Serving::healthy(cluster.kubeconfig(), &[&flag]).await
    }

    /// The collector with further variables.
    async fn collect(&self, more: &[(&str, &str)]) -> Program {
        let mut command = Command::new(&*program().await);
        let configuration =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/chart/files/collector.yaml");
        command.env_clear().arg("--config").arg(configuration);
        command.env("COLLECTOR_LOG_FILES", self.logs().join("headcount.log*"));
        command.env("COLLECTOR_AUDIT_FILES", self.logs().join("audit*.log"));
        command.env("COLLECTOR_STATE", self.path("collector"));
        command.env("COLLECTOR_OUTPUT", self.path("collector"));
        command
            .env("POD_NAME", "headcount-0")
            .envs(more.iter().copied());
        Program::start(command)
    }

    /// What has arrived of a stream (`application`, `audit`).
    fn arrived(&self, stream: &str) -> Vec<Forwarded> {
        let path = self.path("collector").join(format!("{stream}.jsonl"));
        let text = fs::read_to_string(path).unwrap_or_default();
        // The last line may be about to be written, and a kill may have left half of one: then its records come again.
        let whole = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        whole.flat_map(|line: Value| records(&line)).collect()
    }

    /// All lines of the files that headcount wrote, whose names begin like this.
    fn written(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.logs())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(name)
        });
        let texts: Vec<_> = files
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        texts
            .iter()
            .flat_map(|text| text.lines())
            .map(str::to_owned)
            .collect()
    }

    /// The ids of all lines that the log's files have and that aren't filtered out.
    fn expected(&self) -> BTreeSet<String> {
        let lines = self.written("headcount.log");
        let lines = lines.iter().map(|line| Line::parse(line));
        let told = lines.filter(|line| line.severity != "DEBUG");
        told.map(|line| line.text("record_id").to_owned()).collect()
    }

    /// Waits until everything that was written has arrived.
    async fn all_arrive(&self) {
        eventually(PATIENCE, "every line", async || {
            ids(&self.arrived("application")).is_superset(&self.expected())
        })
        .await;
        let audited = self.written("audit").len();
        eventually(PATIENCE, "every record", async || {
            places(&self.arrived("audit")).len() >= audited
        })
        .await;
    }
}

/// Sets a count again and again, so that there are lines.
async fn write(serving: &Serving, times: i64, headers: &[(&str, &str)]) {
    for count in 0..times {
        let answer = serving.client.scale("web", "shop", 1 + count % 2, headers);
        assert_eq!(answer.await.status, 200);
    }
}

/// The program, built once.
async fn program() -> Arc<PathBuf> {
    static BUILT: OnceCell<Arc<PathBuf>> = OnceCell::const_new();
    let build = async || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/collector/build");
        let built = tokio::process::Command::new(script).output().await.unwrap();
        let errors = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{errors}");
        let path = PathBuf::from(String::from_utf8(built.stdout).unwrap().trim());
        assert!(path.metadata().unwrap().permissions().mode() & 0o100 != 0);
        Arc::new(path)
    };
    Arc::clone(BUILT.get_or_init(build).await)
}

/// The records of one request in OTLP's JSON form.
fn records(request: &Value) -> Vec<Forwarded> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all = Vec::new();
    for of_resource in list(&request["resourceLogs"]) {
        let resource = attributes(&of_resource["resource"]["attributes"]);
        for scope in list(&of_resource["scopeLogs"]) {
            for record in list(&scope["logRecords"]) {
                all.push(Forwarded {
                    nanoseconds: text(&record["timeUnixNano"]).parse().unwrap_or_default(),
                    severity: text(&record["severityText"]),
                    trace: text(&record["traceId"]),
                    body: text(&record["body"]["stringValue"]),
                    attributes: attributes(&record["attributes"]),
                    resource: resource.clone(),
                });
            }
        }
    }
    all
}

fn attributes(list: &Value) -> BTreeMap<String, Value> {
    let list = list.as_array().into_iter().flatten();
    let one = |pair: &Value| {
        let value = match pair["value"].as_object().unwrap().iter().next().unwrap() {
            // A number of 64 bits is a text in JSON.
            (kind, value) if kind == "intValue" => {
                value.as_str().unwrap().parse::<i64>().unwrap().into()
            }
            (_, value) => value.clone(),
        };
        (pair["key"].as_str().unwrap().to_owned(), value)
    };
    list.map(one).collect()
}

/// The ids of lines.
fn ids(records: &[Forwarded]) -> BTreeSet<String> {
    let ids = records
        .iter()
        .filter_map(|record| record.attributes.get("record_id"));
    ids.map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// The places of audit records: chain and number.
fn places(records: &[Forwarded]) -> BTreeSet<(String, i64)> {
    let place = |record: &Forwarded| {
        let attributes = &record.attributes;
        let chain = attributes.get("chain")?.as_str()?.to_owned();
        Some((chain, attributes.get("record")?.as_i64()?))
    };
    records.iter().filter_map(place).collect()
}
