//! Paths: which resource a request is about, judged after percent-decoding.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use super::ApiError;
use crate::{access::Verb, name, telemetry::metrics::Template};

/// A path that exists. Names in it are decoded and not judged yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Page,
    PageFile {
        file: &'a str,
    },
    Health,
    WhoAmI,
    OpenApi,
    Docs,
    History,
    Deployments,
    Batches,
    BatchRestore,
    Leases,
    NamespaceDeployments {
        namespace: Cow<'a, str>,
    },
    Deployment {
        namespace: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    Replicas {
        namespace: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    Lease {
        namespace: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    Containers {
        namespace: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    Image {
        namespace: Cow<'a, str>,
        name: Cow<'a, str>,
        container: Cow<'a, str>,
    },
    Restart {
        namespace: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    Paused {
        namespace: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    Rollback {
        namespace: Cow<'a, str>,
        name: Cow<'a, str>,
    },
}

/// The methods of a path.
#[derive(Default)]
pub(super) struct Methods {
    get: bool,
    put: bool,
    patch: bool,
    post: bool,
    delete: bool,
    pub(super) header: &'static str,
}

impl Methods {
    pub(super) fn contains(&self, method: &Method) -> bool {
        match *method {
            Method::GET | Method::HEAD => self.get,
            Method::PUT => self.put,
            Method::PATCH => self.patch,
            Method::POST => self.post,
            Method::DELETE => self.delete,
            _ => false,
        }
    }
}

/// Whether requests with this method change something.
pub(super) fn writes(method: &Method) -> bool {
    matches!(
        *method,
        Method::PUT | Method::PATCH | Method::POST | Method::DELETE
    )
}

impl<'a> Route<'a> {
    pub(super) fn of(path: &'a str) -> Option<Self> {
        if path == "/" {
            return Some(Self::Page);
        }
        if let Some(file) = path.strip_prefix("/page/") {
            return Some(Self::PageFile { file });
        }
        let mut segments = segments(path.strip_prefix('/')?).map(decode);
        let (api, v1) = (segments.next()?, segments.next()?);
        if api != "api" || v1 != "v1" {
            return None;
        }
        let route = match &*segments.next()? {
            "health" => Self::Health,
            "whoami" => Self::WhoAmI,
            "openapi.json" => Self::OpenApi,
            "docs" => Self::Docs,
            "history" => Self::History,
            "deployments" => Self::Deployments,
            "batches" => match segments.next() {
                None => return Some(Self::Batches),
                Some(restore) if restore == "restore" => Self::BatchRestore,
                Some(_) => return None,
            },
            "leases" => Self::Leases,
            "namespaces" => {
                let namespace = segments.next()?;
                if segments.next()? != "deployments" {
                    return None;
                }
                let Some(name) = segments.next() else {
                    return Some(Self::NamespaceDeployments { namespace });
                };
                let Some(subresource) = segments.next() else {
                    // With a slash at its end it is no path, as elsewhere.
                    return (!name.is_empty()).then_some(Self::Deployment { namespace, name });
                };
                match (&*subresource, segments.next()) {
                    ("replicas", None) => return Some(Self::Replicas { namespace, name }),
                    ("lease", None) => return Some(Self::Lease { namespace, name }),
                    ("containers", None) => return Some(Self::Containers { namespace, name }),
                    ("restart", None) => return Some(Self::Restart { namespace, name }),
                    ("paused", None) => return Some(Self::Paused { namespace, name }),
                    ("rollback", None) => return Some(Self::Rollback { namespace, name }),
                    ("containers", Some(container)) if segments.next()? == "image" => Self::Image {
                        namespace,
                        name,
                        container,
                    },
                    _ => return None,
                }
            }
            _ => return None,
        };
        segments.next().is_none().then_some(route)
    }

    /// The permission that it needs with a method, if it needs one beyond a certificate.
    pub(super) fn verb(&self, method: &Method) -> Option<Verb> {
        Some(match self {
            Self::Page
            | Self::PageFile { .. }
            | Self::Health
            | Self::WhoAmI
            | Self::OpenApi
            | Self::Docs => return None,
            Self::History
            | Self::Deployments
            | Self::NamespaceDeployments { .. }
            | Self::Leases => Verb::List,
            Self::Batches | Self::BatchRestore => Verb::Scale,
            Self::Replicas { .. } | Self::Lease { .. } if writes(method) => Verb::Scale,
            Self::Replicas { .. }
            | Self::Lease { .. }
            | Self::Deployment { .. }
            | Self::Containers { .. } => Verb::Get,
            Self::Image { .. } => Verb::Image,
            Self::Restart { .. } => Verb::Restart,
            Self::Paused { .. } => Verb::Pause,
            Self::Rollback { .. } => Verb::Rollback,
        })
    }

    /// Namespace and name of the one Deployment that it is about, if it is about one.
    pub(super) fn names(&self) -> Option<(&str, &str)> {
        match self {
            Self::Page
            | Self::PageFile { .. }
            | Self::Health
            | Self::WhoAmI
            | Self::OpenApi
            | Self::Docs
            | Self::History
            | Self::Deployments
            | Self::Batches
            | Self::BatchRestore
            | Self::Leases
            | Self::NamespaceDeployments { .. } => None,
            Self::Deployment { namespace, name }
            | Self::Replicas { namespace, name }
            | Self::Lease { namespace, name }
            | Self::Containers { namespace, name }
            | Self::Restart { namespace, name }
            | Self::Paused { namespace, name }
            | Self::Rollback { namespace, name }
            | Self::Image {
                namespace, name, ..
            } => Some((namespace, name)),
        }
    }

    /// What metrics call it.
    pub(super) fn template(&self) -> Template {
        match self {
            Self::Page => Template::Page,
            Self::PageFile { .. } => Template::PageFile,
            Self::Health => Template::Health,
            Self::WhoAmI => Template::WhoAmI,
            Self::OpenApi => Template::OpenApi,
            Self::Docs => Template::Docs,
            Self::History => Template::History,
            Self::Deployments => Template::Deployments,
            Self::Batches => Template::Batches,
            Self::BatchRestore => Template::BatchRestore,
            Self::NamespaceDeployments { .. } => Template::NamespaceDeployments,
            Self::Deployment { .. } => Template::Deployment,
            Self::Replicas { .. } => Template::Replicas,
            Self::Leases => Template::Leases,
            Self::Lease { .. } => Template::Lease,
            Self::Containers { .. } => Template::Containers,
            Self::Image { .. } => Template::Image,
            Self::Restart { .. } => Template::Restart,
            Self::Paused { .. } => Template::Paused,
            Self::Rollback { .. } => Template::Rollback,
        }
    }

    pub(super) fn methods(&self) -> Methods {
        match self {
            Self::Replicas { .. } => Methods {
                get: true,
                put: true,
                patch: true,
                header: "GET, HEAD, PUT, PATCH",
                ..Methods::default()
            },
            Self::Lease { .. } => Methods {
                get: true,
                put: true,
                patch: true,
                delete: true,
                header: "GET, HEAD, PUT, PATCH, DELETE",
                ..Methods::default()
            },
            Self::Image { .. } => Methods {
                put: true,
                header: "PUT",
                ..Methods::default()
            },
            Self::Paused { .. } => Methods {
                put: true,
                header: "PUT",
                ..Methods::default()
            },
            Self::Restart { .. } | Self::Rollback { .. } | Self::Batches | Self::BatchRestore => {
                Methods {
                    post: true,
                    header: "POST",
                    ..Methods::default()
                }
            }
            _ => Methods {
                get: true,
                header: "GET, HEAD",
                ..Methods::default()
            },
        }
    }
}

/// As `split('/')`, byte by byte: for segments that are this short it takes a quarter of the time.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let path = rest?;
        match path.bytes().position(|byte| byte == b'/') {
            Some(at) => {
                rest = Some(&path[at + 1..]);
                Some(&path[..at])
            }
            None => rest.take(),
        }
    })
}

/// What isn't valid percent-encoding or UTF-8 keeps characters that no name has, so it is refused as a name.
fn decode(segment: &str) -> Cow<'_, str> {
    if segment.bytes().any(|byte| byte == b'%') {
        percent_decode_str(segment).decode_utf8_lossy()
    } else {
        segment.into()
    }
}

/// A namespace that Kubernetes would accept.
pub(super) fn valid_namespace(namespace: &str) -> Result<(), ApiError> {
    if !name::is_namespace(namespace) {
        return Err(ApiError::BadRequest(format!(
            "{} is not a namespace: it must be 1 to 63 characters of a-z, 0-9 and '-', with a letter or digit at both ends",
            shown(namespace)
        )));
    }
    Ok(())
}

/// Names that Kubernetes would accept.
pub(super) fn valid_names((namespace, name): (&str, &str)) -> Result<(), ApiError> {
    valid_namespace(namespace)?;
    valid_name(name)
}

/// A Deployment's name that Kubernetes would accept.
pub(super) fn valid_name(name: &str) -> Result<(), ApiError> {
    if !name::is_deployment(name) {
        return Err(ApiError::BadRequest(format!(
            "{} is not a Deployment's name: it must be 1 to 253 characters of a-z, 0-9, '-' and '.', with a letter or digit at both ends of each part",
            shown(name)
        )));
    }
    Ok(())
}

/// What a caller sent, quoted and cut, for an error sentence.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    if cut.len() < text.len() {
        format!("{cut:?}…")
    } else {
        format!("{cut:?}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_calls_have_paths_and_nothing_else_has() {
        assert_eq!(Route::of("/"), Some(Route::Page));
        assert_eq!(Route::of("/api/v1/health"), Some(Route::Health));
        assert_eq!(Route::of("/api/v1/deployments"), Some(Route::Deployments));
        assert_eq!(Route::of("/api/v1/history"), Some(Route::History));
        let replicas = Route::Replicas {
            namespace: "web".into(),
            name: "shop".into(),
        };
        assert_eq!(
            Route::of("/api/v1/namespaces/web/deployments/shop/replicas"),
            Some(replicas)
        );
        for path in [
            "",
            "//",
            "/page",
            "/api/v1",
            "/api/v1/",
            "/api/v1/health/",
            "/api/v2/health",
            "/api/v1/namespaces/web",
            "/api/v1/namespaces/web/deployments/",
            "/api/v1/namespaces/web/deployments/shop/",
            "/api/v1/namespaces/web/deployments/shop/replicas/",
            "//api/v1/health",
            "/api/v1/namespaces/web/statefulsets/shop/replicas",
            "/api/v1/namespaces/a/b/deployments/shop/replicas",
            "/API/v1/health",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn containers_and_their_images_have_paths_and_nothing_beside_them_has() {
        let (namespace, name) = ("web".into(), "shop".into());
        assert_eq!(
            Route::of("/api/v1/namespaces/web/deployments/shop/containers"),
            Some(Route::Containers { namespace, name })
        );
        let image = Route::of("/api/v1/namespaces/web/deployments/shop/containers/a%70p/image");
        let (namespace, name, container) = ("web".into(), "shop".into(), "app".into());
        assert_eq!(
            image,
            Some(Route::Image {
                namespace,
                name,
                container
            })
        );
        for path in [
            "/api/v1/namespaces/web/deployments/shop/containers/",
            "/api/v1/namespaces/web/deployments/shop/containers/app",
            "/api/v1/namespaces/web/deployments/shop/containers/app/",
            "/api/v1/namespaces/web/deployments/shop/containers/app/images",
            "/api/v1/namespaces/web/deployments/shop/containers/app/image/",
            "/api/v1/namespaces/web/deployments/shop/containers/app/image/x",
            "/api/v1/namespaces/web/deployments/shop/replicas/app/image",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn names_are_judged_after_decoding() {
        let encoded = Route::of("/api/v1/namespaces/w%65b/deployments/sh%6fp/replicas");
        assert_eq!(
            encoded,
            Some(Route::Replicas {
                namespace: "web".into(),
                name: "shop".into()
            })
        );
        for bad in [
            "..", "%2e%2e", "a%2Fb", "", "a%00", "%zz", "%ff", "a%", "WEB", "a%0Ab", "a b",
        ] {
            let path = format!("/api/v1/namespaces/{bad}/deployments/shop/replicas");
            let Some(Route::Replicas { namespace, name }) = Route::of(&path) else {
                panic!("{path} is a path")
            };
            assert!(valid_names((&namespace, &name)).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_accepted_name_changes_a_url(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let segment = percent_encoding::percent_encode(&bytes, percent_encoding::NON_ALPHANUMERIC).to_string();
            let path = format!("/api/v1/namespaces/{segment}/deployments/{segment}/replicas");
            let Some(Route::Replicas { namespace, name }) = Route::of(&path) else { panic!("{path} is a path") };
            if valid_names((&namespace, &name)).is_ok() {
                prop_assert!(namespace.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            }
        }
    }
}
