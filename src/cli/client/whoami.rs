//! `whoami`: the caller.

use clap::Args;
use serde_json::Value;

use super::{
    Failed,
    arguments::{OutputArgs, ServerArgs},
    asker::Asker,
    output::{self, Format, words},
};
use crate::pki::printable;

/// The arguments of `headcount whoami`.
#[derive(Debug, Args)]
pub(in crate::cli) struct WhoamiArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Shows whom the server takes the caller for.
pub(super) async fn whoami(args: &WhoamiArgs) -> Result<(), Failed> {
    let target = args.server.target()?;
    let told: Value = Asker::new(&target).read("/api/v1/whoami".into()).await?;
    let format = args.output.output;
    let principal = told["principal"]
        .as_str()
        .or(told["noPrincipal"].as_str())
        .unwrap_or("nobody");
    match format {
        Format::Json => output::value(format, &told),
        Format::Name => output::data(&format!("{}\n", printable(principal))),
        // What it is made of has no columns: YAML is what is easily read of it.
        Format::Yaml => output::value(format, &told),
        Format::Table | Format::Wide => {
            output::value(Format::Yaml, &told)?;
            if let Some(bound) = bound(&told["certificate"]) {
                words(&bound);
            }
            Ok(())
        }
    }
}

/// What ends before the certificate does, and whose business that is; nothing if nothing does.
fn bound(certificate: &Value) -> Option<String> {
    let until = certificate["validUntil"].as_str()?;
    let own = certificate["notAfter"].as_str()?;
    let what = match certificate["validUntilOf"].as_str()? {
        "issuer" => "the certificate of a CA above yours ends; get one of its successor before",
        "revocationList" => {
            "the server's revocation list ends; with a newer one in its place, which is for whoever runs the server, it goes on"
        }
        _ => return None,
    };
    Some(format!(
        "your certificate is valid until {own}, and this server takes it until {until}, when {what}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_before_the_certificate_is_said_in_words() {
        let of = |bound: &str| {
            bound_of(bound).map(|words| words.split_once(", when ").unwrap().1.to_owned())
        };
        fn bound_of(what: &str) -> Option<String> {
            bound(&serde_json::json!({
                "validUntil": "2026-12-24T00:00:00Z", "validUntilOf": what, "notAfter": "2027-03-01T00:00:00Z",
            }))
        }
        let list = bound_of("revocationList").unwrap();
        let begin = "your certificate is valid until 2027-03-01T00:00:00Z, and this server takes it until 2026-12-24T00:00:00Z, when";
        assert!(list.starts_with(begin), "{list}");
        assert!(of("revocationList").unwrap().contains("revocation list"));
        assert!(of("issuer").unwrap().contains("CA above yours"));
        assert_eq!((of("certificate"), of("more")), (None, None));
        // A server of an earlier version says nothing of it.
        let earlier = serde_json::json!({"validUntil": "2026-12-24T00:00:00Z"});
        assert_eq!(bound(&earlier), None);
    }
}
