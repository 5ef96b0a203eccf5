//! Many Deployments, quickly, each about as large as Helm leaves one of an ordinary service.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Error;

const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
/// Requests under way at a time: enough to keep an API server of a few cores busy.
const WORKERS: usize = 32;
const SERVICES: [&str; 8] = [
    "orders",
    "billing",
    "catalog",
    "checkout",
    "identity",
    "inventory",
    "search",
    "shipping",
];

/// What to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// How many Deployments.
    pub deployments: u32,
    /// Over how many namespaces they are spread; at least 1.
    pub namespaces: u32,
    /// Which counts they have.
    pub replicas: SeedReplicas,
}

/// The replica counts of seeded Deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedReplicas {
    /// All have 0: no Pod starts where controllers run.
    Zero,
    /// Deployment `i` has `i % 10`.
    Spread,
}

impl Seed {
    /// The namespace of Deployment `i`.
    #[must_use]
    pub fn namespace(&self, i: u32) -> String {
        format!("team-{:03}", i % self.namespaces.max(1))
    }

    /// The name of Deployment `i`.
    #[must_use]
    pub fn name(&self, i: u32) -> String {
        format!("{}-api-{i:06}", SERVICES[i as usize % SERVICES.len()])
    }

    /// The replica count of Deployment `i`.
    #[must_use]
    pub fn count(&self, i: u32) -> u32 {
        match self.replicas {
            SeedReplicas::Zero => 0,
            SeedReplicas::Spread => i % 10,
        }
    }

    fn deployment(&self, i: u32) -> Value {
        let (namespace, name) = (self.namespace(i), self.name(i));
        let labels = json!({
            "app.kubernetes.io/name": name,
            "app.kubernetes.io/instance": name,
            "app.kubernetes.io/version": "2.7.1",
            "app.kubernetes.io/part-of": SERVICES[i as usize % SERVICES.len()],
            "app.kubernetes.io/managed-by": "Helm",
            "helm.sh/chart": "service-5.3.0",
            "team": namespace,
        });
        let selector =
            json!({ "app.kubernetes.io/name": name, "app.kubernetes.io/instance": name });
        let environment: Vec<_> = (0..12)
            .map(|n| {
                json!({
                    "name": format!("DEPENDENCY_{n}_URL"),
                    "value": format!("http://dependency-{n}.{namespace}.svc.cluster.local:8080/v2?timeout=2s"),
                })
            })
            .collect();
        let probe = |path: &str, period: u32| json!({ "httpGet": { "path": path, "port": "http" }, "periodSeconds": period, "timeoutSeconds": 2 });
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "namespace": namespace,
                "name": name,
                "labels": labels,
                "annotations": {
                    "meta.helm.sh/release-name": name,
                    "meta.helm.sh/release-namespace": namespace,
                },
            },
            "spec": {
                "replicas": self.count(i),
                "revisionHistoryLimit": 5,
                "selector": { "matchLabels": selector },
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": 0 } },
                "template": {
                    "metadata": {
                        "labels": labels,
                        "annotations": { "checksum/config": format!("{i:064x}") },
                    },
                    "spec": {
                        "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
                        "terminationGracePeriodSeconds": 30,
                        "containers": [{
                            "name": "app",
                            "image": format!("images.invalid/{name}:2.7.1"),
                            "ports": [{ "name": "http", "containerPort": 8080 }],
                            "env": environment,
                            "resources": {
                                "requests": { "cpu": "100m", "memory": "128Mi" },
                                "limits": { "memory": "256Mi" },
                            },
                            "startupProbe": probe("/startupz", 2),
                            "livenessProbe": probe("/livez", 10),
                            "readinessProbe": probe("/readyz", 5),
                            "securityContext": {
                                "allowPrivilegeEscalation": false,
                                "readOnlyRootFilesystem": true,
                                "capabilities": { "drop": ["ALL"] },
                            },
                        }],
                    },
                },
            },
        })
    }
}

/// Creates what `seed` says, many requests at a time, and returns how long that took. What exists already is left alone.
///
/// # Errors
///
/// [`Error::Request`] or [`Error::Deadline`] with the first request that failed; the others stop.
pub async fn seed(client: &Client, seed: &Seed) -> Result<Duration, Error> {
    let started = Instant::now();
    let namespaces = seed.namespaces.max(1).min(seed.deployments);
    for i in 0..namespaces {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": seed.namespace(i) } });
        create(client, "/api/v1/namespaces", &namespace).await?;
    }
    let next = Arc::new(AtomicU32::new(0));
    let mut workers: JoinSet<Result<(), Error>> = JoinSet::new();
    for _ in 0..WORKERS {
        let (client, seed, next) = (client.clone(), seed.clone(), Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= seed.deployments {
                    return Ok(());
                }
                let path = format!(
                    "/apis/apps/v1/namespaces/{}/deployments?fieldManager=helm",
                    seed.namespace(i)
                );
                create(&client, &path, &seed.deployment(i)).await?;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.map_err(Error::request("create Deployments"))??;
    }
    Ok(started.elapsed())
}

async fn create(client: &Client, path: &str, object: &Value) -> Result<(), Error> {
    let action = || format!("create {}", object["metadata"]["name"]);
    let request = Request::post(path)
        .header(CONTENT_TYPE, "application/json")
        .body(object.to_string().into_bytes())
        .map_err(Error::request(action()))?;
    let answer = client.request::<IgnoredAny>(request);
    match tokio::time::timeout(REQUEST_DEADLINE, answer).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if status.reason == "AlreadyExists" => Ok(()),
        Ok(Err(error)) => Err(Error::request(action())(error)),
        Err(_) => Err(Error::Deadline {
            action: action(),
            after: REQUEST_DEADLINE,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployments_are_spread_over_namespaces_and_counts() {
        let seed = Seed {
            deployments: 100,
            namespaces: 7,
            replicas: SeedReplicas::Spread,
        };
        assert_eq!(seed.namespace(9), "team-002");
        assert_eq!(seed.name(9), "billing-api-000009");
        assert_eq!(seed.count(19), 9);
        let object = seed.deployment(19);
        assert_eq!(object["spec"]["replicas"], 9);
        let container = &object["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["env"].as_array().map(Vec::len), Some(12));
    }
}
