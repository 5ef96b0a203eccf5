//! The ids of a request, which every line that is logged for it has, and that go on to Kubernetes (W3C Trace Context).
//!
//! A plain read logs nothing, so that its trace is made only when it is needed.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::task::JoinHandle;

/// The header of the trace context.
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header of the request's id.
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    /// The request that is worked for.
    static CURRENT: Ids;
}

/// A request's ids, as far as they are needed.
#[derive(Debug)]
pub(crate) struct OfRequest<'r> {
    headers: &'r HeaderMap,
    id: RequestId,
    ids: OnceLock<Box<Ids>>,
}

impl<'r> OfRequest<'r> {
    pub(crate) fn of(headers: &'r HeaderMap) -> Self {
        Self {
            headers,
            id: RequestId::of(headers),
            ids: OnceLock::new(),
        }
    }

    /// The value of the answer's `X-Request-Id`.
    pub(crate) fn id(&self) -> HeaderValue {
        self.id.0.clone()
    }

    /// All of them; once they are made they stay.
    pub(crate) fn ids(&self) -> &Ids {
        self.ids.get_or_init(|| {
            Box::new(Ids {
                id: self.id.clone(),
                trace: Trace::of(self.headers),
            })
        })
    }
}

/// The ids of a request.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    id: RequestId,
    trace: Trace,
}

impl Ids {
    /// Does what logs lines for the request.
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// Waits for what logs lines and calls Kubernetes for the request.
    pub(crate) fn scope<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), work)
    }

    /// By their names in a line.
    pub(crate) fn named(&self) -> [(&'static str, &str); 3] {
        let Trace {
            trace_id, span_id, ..
        } = &self.trace;
        [
            ("request_id", self.id.as_str()),
            ("trace_id", trace_id),
            ("span_id", span_id),
        ]
    }
}

/// Tells of the request that is worked for, if there is one.
pub(crate) fn with_current<T>(tell: impl FnOnce(&Ids) -> T) -> Option<T> {
    CURRENT.try_with(tell).ok()
}

/// Begins a task that works for the same request, if there is one.
pub(crate) fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match with_current(Ids::clone) {
        Some(ids) => tokio::spawn(ids.scope(work)),
        None => tokio::spawn(work),
    }
}

/// Has a call of Kubernetes go on with the trace of the request that it is made for.
pub(crate) fn go_on(headers: &mut HeaderMap) {
    let value = with_current(|ids| HeaderValue::from_str(&ids.trace.traceparent()));
    if let Some(Ok(value)) = value {
        headers.insert(&TRACEPARENT, value);
    }
}

/// The id of a request: the caller's, if it is sane, or one of ours.
#[derive(Debug, Clone)]
struct RequestId(HeaderValue);

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(&REQUEST_ID).iter();
        match (given.next(), given.next()) {
            (Some(id), None) if sane(id.as_bytes()) => Self(id.clone()),
            _ => Self(
                HeaderValue::try_from(hexadecimal(fastrand::u64(..)))
                    .unwrap_or(HeaderValue::from_static("")),
            ),
        }
    }

    fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Sixteen digits.
fn hexadecimal(number: u64) -> String {
    let digit = |place: u32| b"0123456789abcdef"[(number >> (4 * place)) as usize & 15];
    let mut digits = [0; 16];
    for (place, at) in digits.iter_mut().rev().zip(0..) {
        *place = digit(at);
    }
    // Written digit by digit into a String it takes four times as long.
    String::from_utf8_lossy(&digits).into_owned()
}

fn sane(id: &[u8]) -> bool {
    (1..=128).contains(&id.len())
        && id
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

/// W3C trace context: the caller's trace continued with a span of our own, or a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trace {
    trace_id: String,
    span_id: String,
    flags: String,
}

impl Trace {
    fn of(headers: &HeaderMap) -> Self {
        let span_id = hexadecimal(fastrand::u64(1..));
        let mut given = headers.get_all(&TRACEPARENT).iter();
        let given = match (given.next(), given.next()) {
            (Some(one), None) => one.to_str().ok().and_then(parse_traceparent),
            _ => None,
        };
        match given {
            Some((trace_id, flags)) => Self {
                trace_id: trace_id.into(),
                span_id,
                flags: flags.into(),
            },
            // Not sampled: nobody has asked for it.
            None => Self {
                trace_id: format!("{:032x}", fastrand::u128(1..)),
                span_id,
                flags: "00".into(),
            },
        }
    }

    fn traceparent(&self) -> String {
        format!("00-{}-{}-{}", self.trace_id, self.span_id, self.flags)
    }
}

/// The trace id and flags of a `traceparent` (W3C Trace Context, 3.2); later versions may have more behind the flags.
fn parse_traceparent(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length| {
        part.len() == length
            && part
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let nonzero = |part: &str| part.bytes().any(|b| b != b'0');
    let complete = version != "00" || parts.next().is_none();
    let valid = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && nonzero(trace)
        && hex(span, 16)
        && nonzero(span)
        && hex(flags, 2);
    (valid && complete).then_some((trace, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_another_is_replaced() {
        let of = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", HeaderValue::from_bytes(value).unwrap());
            RequestId::of(&headers).as_str().to_owned()
        };
        assert_eq!(of(b"Deploy_4711.a-b"), "Deploy_4711.a-b");
        assert_eq!(of(&[b'a'; 128]).len(), 128);
        for insane in [&b""[..], b"a b", b"a\tb", b"\xff", &[b'a'; 129], b"a;b"] {
            assert_ne!(of(insane).as_bytes(), insane);
        }
        assert_ne!(
            RequestId::of(&HeaderMap::new()).as_str(),
            RequestId::of(&HeaderMap::new()).as_str()
        );
    }

    #[test]
    fn a_trace_is_continued_with_a_new_span() {
        let with = |text: &str| {
            Trace::of(&HeaderMap::from_iter([(
                "traceparent".parse().unwrap(),
                text.parse().unwrap(),
            )]))
        };
        let trace = with("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(trace.trace_id, "0af7651916cd43dd8448eb211c80319c");
        assert_ne!(trace.span_id, "b7ad6b7169203331");
        assert!(trace.traceparent().ends_with("-01"));
        for bad in [
            "",
            "00-0-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert_ne!(
                with(bad).trace_id,
                "0af7651916cd43dd8448eb211c80319c",
                "{bad}"
            );
        }
    }
}
