//! The workflows for GitHub: the same make targets as a person's, few rights, and an end.

use std::{fs, path::Path};

use serde_json::{Value, json};

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn workflows_run_what_a_person_runs_with_few_rights_and_an_end() {
    let mut writing = Vec::new();
    let mut run = Vec::new();
    for name in ["ci", "release"] {
        let path = checkout().join(format!(".github/workflows/{name}.yml"));
        let text = fs::read_to_string(path).unwrap();
        let workflow: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(
            workflow["permissions"],
            json!({"contents": "read"}),
            "{name}"
        );
        assert!(workflow["concurrency"]["group"].is_string(), "{name}");
        for (job, is) in workflow["jobs"].as_object().unwrap() {
            if is["permissions"] != Value::Null {
                writing.push((job.clone(), is["permissions"].clone()));
            }
            if is["uses"] == "./.github/workflows/ci.yml" {
                continue;
            }
            assert!(is["timeout-minutes"].is_u64(), "{name}: {job}");
            for step in is["steps"].as_array().unwrap() {
                run.extend(
                    step["run"]
                        .as_str()
                        .map(|line| (job.clone(), line.to_owned())),
                );
                let Some(action) = step["uses"].as_str() else {
                    continue;
                };
                assert!(action.starts_with("actions/"), "{name}: {action}");
                if action.starts_with("actions/checkout@") {
                    assert_eq!(step["with"]["persist-credentials"], false, "{name}: {job}");
                }
            }
        }
    }
    // One job alone may write, and it runs nothing of the checkout's, nor of what was built.
    assert_eq!(
        writing,
        [("publish".to_owned(), json!({"contents": "write"}))]
    );
    let of = |job: &str| -> Vec<_> {
        let all = run.iter().filter(|(of, _)| of == job);
        all.map(|(_, line)| line.as_str()).collect()
    };
    let as_root = r#"sudo --preserve-env env "PATH=$PATH" .ci/run"#;
    assert!(of("lint-and-test").contains(&as_root));
    assert!(of("build").contains(&"make release"));
    for line in of("publish") {
        assert!(
            line.starts_with("sha256sum ") || line.starts_with("gh "),
            "{line}"
        );
    }
    let script = fs::read_to_string(checkout().join(".ci/run")).unwrap();
    assert!(script.ends_with("exec make lint test\n"), "{script}");
}
