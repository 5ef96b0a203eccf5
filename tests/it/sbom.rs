//! The software bill of materials: what `make sbom` writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use serde_json::Value;

/// The checksums in Cargo.lock, by name and version; crates of this workspace have none.
fn locked() -> BTreeMap<String, Option<String>> {
    let lock = include_str!("../../Cargo.lock");
    let of = |package: &str, key: &str| {
        let start = format!("{key} = \"");
        let mut values = package.lines().filter_map(|line| line.strip_prefix(&start));
        values
            .next()
            .map(|value| value.trim_end_matches('"').to_owned())
    };
    let packages = lock.split("[[package]]").skip(1).map(|package| {
        let version = format!(
            "{}@{}",
            of(package, "name").unwrap(),
            of(package, "version").unwrap()
        );
        (version, of(package, "checksum"))
    });
    packages.collect()
}

#[test]
fn the_bill_of_materials_names_every_crate_with_licence_and_checksum_and_who_needs_it() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/sbom");
    let written = Command::new(script).output().unwrap();
    let said = String::from_utf8_lossy(&written.stderr);
    assert!(written.status.success(), "{said}");
    let bill: Value = serde_json::from_slice(&written.stdout).unwrap();
    assert_eq!(
        (&bill["bomFormat"], &bill["specVersion"]),
        (&"CycloneDX".into(), &"1.6".into())
    );
    let program = &bill["metadata"]["component"];
    assert_eq!(program["name"], "headcount");
    assert_eq!(program["version"], env!("CARGO_PKG_VERSION"));

    let locked = locked();
    let mut known = BTreeSet::from([program["bom-ref"].as_str().unwrap()]);
    for component in bill["components"].as_array().unwrap() {
        let reference = component["bom-ref"].as_str().unwrap();
        assert!(known.insert(reference), "twice: {reference}");
        assert_eq!(component["purl"], reference);
        let version = format!(
            "{}@{}",
            component["name"].as_str().unwrap(),
            component["version"].as_str().unwrap()
        );
        assert_eq!(reference, format!("pkg:cargo/{version}"));
        let checksum = &locked[&version];
        assert_eq!(
            component["hashes"][0]["content"].as_str(),
            checksum.as_deref(),
            "{version}"
        );
        let licence = component["licenses"][0]["expression"].as_str();
        assert!(
            licence.is_some_and(|l| !l.is_empty() && !l.contains('/')),
            "{version}: {licence:?}"
        );
    }
    for direct in ["rustls", "hyper", "kube", "tokio"] {
        assert!(
            known
                .iter()
                .any(|k| k.starts_with(&format!("pkg:cargo/{direct}@"))),
            "{direct}"
        );
    }
    // What only tests need isn't in the program.
    assert!(!known.iter().any(|k| k.starts_with("pkg:cargo/proptest@")));

    let dependencies = bill["dependencies"].as_array().unwrap();
    let subjects: BTreeSet<_> = dependencies
        .iter()
        .map(|d| d["ref"].as_str().unwrap())
        .collect();
    assert_eq!(subjects, known);
    let needed = dependencies
        .iter()
        .flat_map(|d| d["dependsOn"].as_array().unwrap());
    let mut needed: BTreeSet<_> = needed.map(|n| n.as_str().unwrap()).collect();
    // Nobody needs the program itself.
    needed.insert(program["bom-ref"].as_str().unwrap());
    assert_eq!(needed, known);
}
