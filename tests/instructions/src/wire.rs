//! Writes what an API server sends in protobuf: Deployments as Helm and the controllers leave them, about 4 kB each.
//!
//! Field numbers are those of Kubernetes' `generated.proto` files.

use headcount::store::Deployment;

const MAGIC: &[u8] = b"k8s\0";
/// What the field managers and the Pod template of a usual Deployment take.
const MANAGED_FIELDS: usize = 800;
const TEMPLATE: usize = 1200;

/// A page of a list in its envelope.
pub(crate) fn page(items: &[Deployment], version: u64, continue_token: &str) -> Vec<u8> {
    let mut metadata = Vec::new();
    text(&mut metadata, 2, &version.to_string());
    text(&mut metadata, 3, continue_token);
    let mut list = Vec::new();
    bytes(&mut list, 1, &metadata);
    for item in items {
        bytes(&mut list, 2, &object(item));
    }
    envelope("DeploymentList", &list)
}

/// A frame of a watch: its length, then a bare event whose object is in an envelope.
pub(crate) fn frame(kind: &str, item: &Deployment) -> Vec<u8> {
    let mut raw = Vec::new();
    bytes(&mut raw, 1, &envelope("Deployment", &object(item)));
    let mut event = Vec::new();
    text(&mut event, 1, kind);
    bytes(&mut event, 2, &raw);
    let mut frame = u32::try_from(event.len())
        .unwrap_or(0)
        .to_be_bytes()
        .to_vec();
    frame.extend(event);
    frame
}

fn envelope(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut type_meta = Vec::new();
    text(&mut type_meta, 1, "apps/v1");
    text(&mut type_meta, 2, kind);
    let mut out = MAGIC.to_vec();
    bytes(&mut out, 1, &type_meta);
    bytes(&mut out, 2, object);
    text(&mut out, 3, "");
    text(&mut out, 4, "");
    out
}

fn object(item: &Deployment) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 1, &metadata(item));
    bytes(&mut out, 2, &spec(item));
    bytes(&mut out, 3, &status(item));
    out
}

fn metadata(item: &Deployment) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 1, &item.name);
    text(&mut out, 2, "");
    text(&mut out, 3, &item.namespace);
    text(&mut out, 4, "");
    text(&mut out, 5, &item.uid.to_string());
    text(&mut out, 6, &item.resource_version.to_string());
    number(&mut out, 7, 12);
    bytes(&mut out, 8, &time());
    for (key, value) in labels(item) {
        bytes(&mut out, 11, &entry(key, &value));
    }
    for (key, value) in [
        ("deployment.kubernetes.io/revision", "12"),
        ("meta.helm.sh/release-name", &*item.name),
        ("meta.helm.sh/release-namespace", &*item.namespace),
    ] {
        bytes(&mut out, 12, &entry(key, value));
    }
    for manager in ["helm", "kube-controller-manager"] {
        let mut fields = Vec::new();
        text(&mut fields, 1, manager);
        text(&mut fields, 2, "Update");
        text(&mut fields, 3, "apps/v1");
        bytes(&mut fields, 4, &time());
        text(&mut fields, 6, "FieldsV1");
        let mut raw = Vec::new();
        bytes(&mut raw, 1, &vec![b'f'; MANAGED_FIELDS]);
        bytes(&mut fields, 7, &raw);
        bytes(&mut out, 17, &fields);
    }
    out
}

fn labels(item: &Deployment) -> [(&'static str, String); 4] {
    [
        ("app.kubernetes.io/instance", item.name.to_string()),
        ("app.kubernetes.io/managed-by", "Helm".into()),
        ("app.kubernetes.io/name", "checkout-worker".into()),
        ("helm.sh/chart", "checkout-worker-3.14.1".into()),
    ]
}

fn spec(item: &Deployment) -> Vec<u8> {
    let mut out = Vec::new();
    number(&mut out, 1, u64::try_from(item.replicas).unwrap_or(0));
    let mut selector = Vec::new();
    bytes(
        &mut selector,
        1,
        &entry("app.kubernetes.io/instance", &item.name),
    );
    bytes(&mut out, 2, &selector);
    bytes(&mut out, 3, &vec![b't'; TEMPLATE]);
    number(&mut out, 5, 0);
    number(&mut out, 6, 10);
    number(&mut out, 7, 0);
    number(&mut out, 9, 600);
    out
}

fn status(item: &Deployment) -> Vec<u8> {
    let mut out = Vec::new();
    let replicas = u64::try_from(item.replicas).unwrap_or(0);
    for (tag, value) in [
        (1, 12),
        (2, replicas),
        (3, replicas),
        (4, replicas),
        (5, 0),
        (7, replicas),
    ] {
        number(&mut out, tag, value);
    }
    for (kind, reason) in [
        ("Available", "MinimumReplicasAvailable"),
        ("Progressing", "NewReplicaSetAvailable"),
    ] {
        let mut condition = Vec::new();
        text(&mut condition, 1, kind);
        text(&mut condition, 2, "True");
        text(&mut condition, 4, reason);
        text(&mut condition, 5, "Deployment has minimum availability.");
        bytes(&mut condition, 6, &time());
        bytes(&mut condition, 7, &time());
        bytes(&mut out, 6, &condition);
    }
    out
}

fn time() -> Vec<u8> {
    let mut out = Vec::new();
    number(&mut out, 1, 1_750_000_000);
    number(&mut out, 2, 0);
    out
}

fn entry(key: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 1, key);
    text(&mut out, 2, value);
    out
}

fn text(out: &mut Vec<u8>, tag: u64, value: &str) {
    bytes(out, tag, value.as_bytes());
}

fn bytes(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    varint(out, tag << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn number(out: &mut Vec<u8>, tag: u64, value: u64) {
    varint(out, tag << 3);
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
