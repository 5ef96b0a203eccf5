//! Kubernetes' messages, declared from its own definitions.

use std::collections::HashMap;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Unknown {
    #[prost(message, optional, tag = "1")]
    pub(super) type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) raw: Option<Vec<u8>>,
    #[prost(string, optional, tag = "3")]
    pub(super) content_encoding: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(super) content_type: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TypeMeta {
    #[prost(string, tag = "1")]
    pub(super) api_version: String,
    #[prost(string, tag = "2")]
    pub(super) kind: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeploymentList {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ListMeta>,
    #[prost(message, repeated, tag = "2")]
    pub(super) items: Vec<Deployment>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListMeta {
    #[prost(string, tag = "2")]
    pub(super) resource_version: String,
    #[prost(string, tag = "3")]
    pub(super) continue_token: String,
    #[prost(int64, optional, tag = "4")]
    pub(super) remaining_item_count: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Deployment {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<DeploymentSpec>,
    #[prost(message, optional, tag = "3")]
    pub(super) status: Option<DeploymentStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ObjectMeta {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
    #[prost(string, tag = "5")]
    pub(super) uid: String,
    #[prost(string, tag = "6")]
    pub(super) resource_version: String,
    #[prost(int64, tag = "7")]
    pub(super) generation: i64,
    #[prost(message, optional, tag = "8")]
    pub(super) creation_timestamp: Option<Time>,
    #[prost(message, optional, tag = "9")]
    pub(super) deletion_timestamp: Option<Time>,
    #[prost(map = "string, string", tag = "11")]
    pub(super) labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "12")]
    pub(super) annotations: HashMap<String, String>,
    #[prost(string, repeated, tag = "14")]
    pub(super) finalizers: Vec<String>,
    #[prost(message, repeated, tag = "17")]
    pub(super) managed_fields: Vec<ManagedFieldsEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Time {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ManagedFieldsEntry {
    #[prost(string, tag = "1")]
    pub(super) manager: String,
    #[prost(message, optional, tag = "7")]
    pub(super) fields_v1: Option<Raw>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Raw {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeploymentSpec {
    #[prost(int32, optional, tag = "1")]
    pub(super) replicas: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub(super) selector: Option<LabelSelector>,
    #[prost(message, optional, tag = "3")]
    pub(super) template: Option<PodTemplate>,
    #[prost(int32, optional, tag = "9")]
    pub(super) progress_deadline_seconds: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelSelector {
    #[prost(map = "string, string", tag = "1")]
    pub(super) match_labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodTemplate {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<PodSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodSpec {
    #[prost(message, repeated, tag = "2")]
    pub(super) containers: Vec<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Container {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) image: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeploymentStatus {
    #[prost(int64, tag = "1")]
    pub(super) observed_generation: i64,
    #[prost(int32, tag = "2")]
    pub(super) replicas: i32,
    #[prost(int32, tag = "3")]
    pub(super) updated_replicas: i32,
    #[prost(int32, tag = "4")]
    pub(super) available_replicas: i32,
    #[prost(int32, tag = "5")]
    pub(super) unavailable_replicas: i32,
    #[prost(int32, tag = "7")]
    pub(super) ready_replicas: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchEvent {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(message, optional, tag = "2")]
    pub(super) object: Option<Raw>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ListMeta>,
    #[prost(string, tag = "2")]
    pub(super) status: String,
    #[prost(string, tag = "3")]
    pub(super) message: String,
    #[prost(string, tag = "4")]
    pub(super) reason: String,
    #[prost(message, optional, tag = "5")]
    pub(super) details: Option<StatusDetails>,
    #[prost(int32, tag = "6")]
    pub(super) code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusDetails {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) group: String,
    #[prost(string, tag = "3")]
    pub(super) kind: String,
    #[prost(int32, tag = "5")]
    pub(super) retry_after_seconds: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Scale {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<ScaleNumber>,
    #[prost(message, optional, tag = "3")]
    pub(super) status: Option<ScaleNumber>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScaleNumber {
    #[prost(int32, tag = "1")]
    pub(super) replicas: i32,
}
