//! `GET /namespaces/{namespace}/deployments/{name}/containers` and `PUT …/containers/{container}/image`: which images run.
//!
//! The store has no containers: they are read from Kubernetes when somebody asks.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use http::{Response, StatusCode, request::Parts};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Api, ApiError, Body, authorization,
    deployments::{caught_up, not_modified},
    headers::describe,
    json::one_object,
    limits,
    path::{shown, valid_names},
    preconditions,
    replicas::{no_such, version_in},
    request::min_resource_version,
    write::{Failure, Parameter, Write, log_write},
};
use crate::{
    access::{Caller, Verb},
    image_reference::ImageReference,
    kubernetes::{Container, Details, WriteError, WriteRequest, Written},
    name,
    pki::hexadecimal,
};

/// The longest name that a log line keeps of a container that can't exist.
const LONGEST_NAME: usize = 63;

pub(super) async fn get(
    api: &Api,
    caller: &Caller,
    names: (&str, &str),
    request: &Parts,
) -> Result<Response<Body>, ApiError> {
    valid_names(names)?;
    let (namespace, name) = names;
    let wanted = min_resource_version(&request.headers)?;
    caught_up(api, caller, wanted, version_in(namespace)).await?;
    let stored = api.deployments.stored_version(names);
    let stored = stored.ok_or_else(|| no_such(names))?;
    let _turn = limits::turn(api, caller).await?;
    let by = caller.allowance.id();
    let read = api.deployments.details(namespace, name, stored, by).await;
    let (found, age) = read.map_err(|error| ApiError::of_read(error, names))?;
    // Its labels may have changed since the request was judged.
    authorization::permit(caller, Verb::Get, names, &found.labels)?;
    let tag = tag(&found);
    let mut response = if preconditions::not_modified(&request.headers, &tag) {
        not_modified()
    } else {
        let list = List {
            namespace,
            name,
            containers: &found.containers,
            init_containers: &found.init_containers,
        };
        // Structs of strings always have a JSON form.
        Body::json(
            StatusCode::OK,
            serde_json::to_vec(&list).unwrap_or_default(),
        )
    };
    describe(response.headers_mut(), tag, found.resource_version, age);
    Ok(response)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    namespace: &'a str,
    name: &'a str,
    containers: &'a [Container],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    init_containers: &'a [Container],
}

/// The strong tag of a Deployment's containers: which object, which names and images. A new count or status leaves it as it was.
fn tag(containers: &Details) -> String {
    let mut context = Context::new(&SHA256);
    context.update(containers.uid.as_bytes());
    for list in [&containers.containers, &containers.init_containers] {
        // Lengths stand before what has them, so that no two lists look alike: images may have any characters.
        context.update(&list.len().to_be_bytes());
        for Container { name, image } in list {
            for part in [name, image] {
                context.update(&part.len().to_be_bytes());
                context.update(part.as_bytes());
            }
        }
    }
    let digest = context.finish();
    format!("\"{}\"", hexadecimal(&digest.as_ref()[..16]))
}

/// The image of one container as a parameter that is set.
pub(super) struct Image {
    /// Judged before it is used; no longer than that needs.
    container: String,
}

impl Image {
    pub(super) fn of(container: &str) -> Self {
        let container = container.chars().take(LONGEST_NAME + 1).collect();
        Self { container }
    }

    fn image<'a>(&self, containers: &'a Details) -> &'a str {
        containers.get(&self.container).map_or("", |c| &c.image)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    image: String,
}

impl Parameter for Image {
    type Wish = ImageReference;
    type State = Arc<Details>;
    const VERB: Verb = Verb::Image;
    const NOUN: &'static str = "image";
    const REQUESTED: &'static str = "image.requested";
    const APPLIED: &'static str = "image.applied";
    const FAILED: &'static str = "image.failed";
    const EVENT: &'static str = "ImageSetByHeadcount";
    const DONE: &'static str = "Image updated";
    const UPDATED: &'static str = r#"{"message":"Image updated successfully."}"#;
    const UPDATED_UNSEEN: &'static str =
        r#"{"message":"Image updated; this server's copy has not caught up yet."}"#;

    fn valid(&self) -> Result<(), ApiError> {
        if name::is_container(&self.container) {
            return Ok(());
        }
        Err(ApiError::BadRequest(format!(
            "{} is not a container's name: it must be 1 to {LONGEST_NAME} characters of a-z, 0-9 and '-', with a letter or digit at both ends",
            shown(&self.container)
        )))
    }

    fn wish(&self, body: &[u8]) -> Result<ImageReference, ApiError> {
        let wanted: Wanted = one_object(body).map_err(ApiError::BadImageBody)?;
        ImageReference::parse(&wanted.image).map_err(|why| {
            ApiError::BadImageBody(format!(
                ": {} is no reference, since {why}",
                shown(&wanted.image)
            ))
        })
    }

    fn container(&self) -> Option<&str> {
        Some(&self.container)
    }

    fn value(wish: &ImageReference) -> Value {
        wish.as_str().into()
    }

    fn known(&self, api: &Api, (namespace, name): (&str, &str)) -> Value {
        let known = api.deployments.last_details(namespace, name);
        known.as_deref().map(|c| self.image(c).to_owned()).into()
    }

    fn values(&self, written: &Written<Arc<Details>>) -> (Value, Value) {
        let image = |containers| self.image(containers).into();
        (image(&written.previous), image(&written.now))
    }

    fn shown(&self, wish: &ImageReference) -> String {
        format!("image {} in container {}", wish.as_str(), self.container)
    }

    async fn set(
        &self,
        write: &Write<Self>,
    ) -> Result<Written<Arc<Details>>, WriteError<ApiError>> {
        let names = (
            write.request.namespace.as_str(),
            write.request.name.as_str(),
        );
        let permit = |containers: &Details| {
            let caller = write.caller()?;
            authorization::permit(&caller, Verb::Image, names, &containers.labels)
                .map(|decision| write.decided(&decision))
        };
        let judge = |containers: &Details| {
            if containers.deleting {
                return Err(ApiError::BeingDeleted);
            }
            preconditions::unless_changed(
                &write.headers,
                || tag(containers),
                |tag| ApiError::ContainersChanged {
                    container: self.container.clone(),
                    now: self.image(containers).to_owned(),
                    tag,
                },
            )?;
            let caller = write.caller()?;
            authorization::judge_image(&caller, names, containers, &write.wish)?;
            // All are made anew, unless they have it.
            let same = self.image(containers) == write.wish.as_str();
            let pods = if same { 0 } else { containers.replicas.max(0) };
            write.charge(&caller, pods.unsigned_abs().into())
        };
        let (request, image) = (&write.request, write.wish.as_str());
        let deployments = &write.api.deployments;
        deployments
            .set_image(request, &self.container, image, permit, judge)
            .await
    }

    fn tag(&self, written: &Written<Arc<Details>>) -> String {
        tag(&written.now)
    }

    fn pods(&self, written: &Written<Arc<Details>>) -> u64 {
        // Admission may have left it as it was.
        let same = self.image(&written.previous) == self.image(&written.now);
        if same { 0 } else { u64::MAX }
    }

    fn representation<'a>(
        &'a self,
        request: &'a WriteRequest,
        written: &'a Written<Arc<Details>>,
    ) -> impl Serialize + 'a {
        let (image, previous_image) = (self.image(&written.now), self.image(&written.previous));
        Representation {
            namespace: &request.namespace,
            name: &request.name,
            container: &self.container,
            image,
            previous_image,
            changed: image != previous_image,
            resource_version: written.resource_version.to_string(),
        }
    }

    fn log_applied(
        &self,
        write: &Write<Self>,
        written: &Written<Arc<Details>>,
        result: &'static str,
    ) {
        let WriteRequest {
            namespace, name, ..
        } = &write.request;
        let container = &self.container;
        // What a Deployment has may be anything, so the message has only what was asked for.
        let (from, to) = (self.image(&written.previous), self.image(&written.now));
        let dry = write.line_begins();
        log_write!(info, "image.applied", write.origin, (namespace, name),
            { container = %container, from = %from, to = %to, result, resource_version = written.resource_version },
            "{dry}Deployment {namespace}/{name} set to {}", self.shown(&write.wish));
    }

    fn log_failed(&self, failure: &Failure<'_, Self>) {
        let (namespace, name) = failure.names;
        let known = failure.api.deployments.last_details(namespace, name);
        let from = known.as_deref().and_then(|c| c.get(&self.container));
        log_write!(warn, "image.failed", failure.origin, (namespace, name),
            { container = %self.container, from = from.map(|c| c.image.as_str()), to = failure.wish.map(ImageReference::as_str),
                result = failure.result, error = %failure.error },
            "{}", failure.message);
    }
}

/// What was written, for those who ask for it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Representation<'a> {
    namespace: &'a str,
    name: &'a str,
    container: &'a str,
    image: &'a str,
    previous_image: &'a str,
    changed: bool,
    resource_version: String,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn container(name: &str, image: &str) -> Container {
        Container {
            name: name.into(),
            image: image.into(),
        }
    }

    fn containers(version: u64, regular: &[(&str, &str)], init: &[(&str, &str)]) -> Details {
        let all = |list: &[(&str, &str)]| list.iter().map(|(n, i)| container(n, i)).collect();
        Details {
            uid: Uuid::from_u128(7),
            resource_version: version,
            deleting: false,
            replicas: 1,
            generation: 1,
            paused: false,
            restarted_at: None,
            status: Default::default(),
            last_set_by: None,
            sole_mark: None,
            marks: Vec::new(),
            managers: Vec::new(),
            selector: Default::default(),
            labels: Default::default(),
            annotations: Default::default(),
            containers: all(regular),
            init_containers: all(init),
        }
    }

    #[test]
    fn a_tag_changes_with_names_images_places_and_the_object_and_with_nothing_else() {
        let of = containers(1, &[("a", "x"), ("b", "y")], &[]);
        assert_eq!(tag(&of).len(), 34);
        assert_eq!(
            tag(&of),
            tag(&containers(2, &[("a", "x"), ("b", "y")], &[]))
        );
        let mut again = of.clone();
        again.uid = Uuid::from_u128(8);
        for other in [
            containers(1, &[("a", "x"), ("b", "z")], &[]),
            containers(1, &[("b", "y"), ("a", "x")], &[]),
            containers(1, &[("a", "x")], &[("b", "y")]),
            containers(1, &[("ax", ""), ("b", "y")], &[]),
            containers(1, &[("a", "x\nb\ny")], &[]),
            containers(1, &[("a", "x\n"), ("b", "y")], &[]),
            again,
        ] {
            assert_ne!(tag(&of), tag(&other), "{other:?}");
        }
    }

    #[test]
    fn a_body_is_exactly_one_object_with_one_reference() {
        let wish = |body: &str| Image::of("app").wish(body.as_bytes());
        let image = wish(r#" {"image" : "example.org/shop:1"} "#).unwrap();
        assert_eq!(image.as_str(), "example.org/shop:1");
        for body in [
            "",
            "{}",
            "null",
            r#""shop""#,
            r#"["shop"]"#,
            r#"{"image":null}"#,
            r#"{"image":1}"#,
            r#"{"image":""}"#,
            r#"{"image":"Shop"}"#,
            r#"{"image":"shop\n"}"#,
            r#"{"image":"shop","image":"shop"}"#,
            r#"{"image":"shop","x":1}"#,
            r#"{"Image":"shop"}"#,
            r#"{"image":"shop"} x"#,
            r#"{"image":"shop"}{"image":"shop"}"#,
            r#"{"image":"shop""#,
        ] {
            assert!(
                matches!(wish(body), Err(ApiError::BadImageBody(_))),
                "{body}"
            );
        }
        let long = wish(&format!(r#"{{"image":"{}"}}"#, "X".repeat(60_000)));
        let told = long.unwrap_err();
        assert!(told.to_string().len() < 500 && !told.logged().contains("XXX"));
    }

    #[test]
    fn a_container_has_a_label_as_its_name() {
        assert_eq!(Image::of("app-1").valid(), Ok(()));
        for bad in [
            "",
            "App",
            "a.b",
            "a/b",
            "..",
            &"a".repeat(64),
            &"a".repeat(9000),
        ] {
            let told = Image::of(bad).valid().unwrap_err().to_string();
            assert!(told.len() < 300, "{told}");
        }
    }
}
