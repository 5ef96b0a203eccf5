//! `history`: who changed which count, as far back as the server knows.

use clap::Args;
use serde::Deserialize;

use super::{
    Failed,
    arguments::{Named, NamespaceArgs, OutputArgs, ServerArgs, named},
    asker::{Asker, understood},
    output::{self, Format, Table, words},
};
use crate::{client::Call, numbers::whole_number, pki::printable};

/// The arguments of `headcount history`.
#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    /// The changes of this Deployment alone; without it those of the namespace, or else of all that you may see
    #[arg(value_name = "[NAMESPACE/]NAME", value_parser = named)]
    name: Option<Named>,
    #[command(flatten)]
    namespace: NamespaceArgs,
    /// The latest so many alone
    #[arg(long, value_name = "N", value_parser = whole_number(1_u32, 1000))]
    limit: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Deserialize)]
struct History {
    /// From when on nothing is missing.
    since: Option<String>,
    changes: Vec<Change>,
}

/// A count that was another before.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    time: String,
    namespace: String,
    name: String,
    from: i64,
    to: i64,
    by: Option<Author>,
    /// `ended`, where the count came back at the end of a lease; `cancelled`, where somebody ended one.
    lease: Option<String>,
    resource_version: Option<String>,
}

/// Who changed it, as far as that is known.
#[derive(Default, Deserialize)]
struct Author {
    principal: Option<String>,
    manager: Option<String>,
}

/// Shows changes of counts, the newest first.
pub(super) async fn history(args: &HistoryArgs) -> Result<(), Failed> {
    let target = args.server.target()?;
    let mut query = Vec::new();
    let mut of = None;
    match &args.name {
        Some(name) => {
            let deployment = name.in_namespace(&args.namespace, &target)?;
            query.push(format!("namespace={}", deployment.namespace));
            query.push(format!("name={}", deployment.name));
            of = Some(deployment);
        }
        None => query.extend(
            args.namespace
                .namespace
                .iter()
                .map(|n| format!("namespace={n}")),
        ),
    }
    query.extend(args.limit.map(|limit| format!("limit={limit}")));
    let mark = if query.is_empty() { "" } else { "?" };
    let path = format!("/api/v1/history{mark}{}", query.join("&"));
    let mut asker = Asker::new(&target);
    let answer = asker.send(&Call::get(path)).await?;
    let format = args.output.output;
    if matches!(format, Format::Json | Format::Yaml) {
        return output::value(format, &understood(&answer)?);
    }
    let History { since, changes } = understood(&answer)?;
    if changes.is_empty() {
        let since = since.unwrap_or_else(|| "this server has begun".into());
        let (what, near) = match &of {
            Some(one) => (format!("of {one} no count"), asker.near(one).await),
            None => ("no count".to_owned(), None),
        };
        // Of a name that isn't there nothing was changed either.
        let more = near.map_or_else(String::new, |more| format!("; {more}"));
        words(&format!(
            "{what} that you may see was changed since {since}, from when on this server knows{more}"
        ));
        return Ok(());
    }
    if format == Format::Name {
        let lines = changes
            .iter()
            .map(|one| printable(&format!("{}/{}", one.namespace, one.name)) + "\n");
        return output::data(&lines.collect::<String>());
    }
    let wide = format == Format::Wide;
    let mut headers = vec!["TIME", "NAMESPACE", "NAME", "FROM", "TO", "BY"];
    if wide {
        headers.extend(["MANAGER", "VERSION"]);
    }
    let mut table = Table::new(&headers);
    for one in changes {
        let Author { principal, manager } = one.by.unwrap_or_default();
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let by = principal.or_else(|| manager.clone());
        let by = by.unwrap_or_else(|| "unknown".into());
        let by = with_lease(by, one.lease.as_deref());
        let mut cells = vec![
            one.time,
            one.namespace,
            one.name,
            one.from.to_string(),
            one.to.to_string(),
            by,
        ];
        if wide {
            cells.extend([or_none(manager), or_none(one.resource_version)]);
        }
        table.row(cells);
    }
    output::table(&table)
}

/// Who made a change, and what the end of a lease has to do with it: a count that came back by itself is no decision of its holder's.
fn with_lease(by: String, lease: Option<&str>) -> String {
    match lease {
        Some("ended") => format!("{by} (end of lease)"),
        Some("cancelled") => format!("{by} (ended the lease)"),
        _ => by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_came_back_by_itself_is_told_from_one_that_somebody_brought_back() {
        let of = |lease| with_lease("alice".into(), lease);
        assert_eq!(of(None), "alice");
        assert_eq!(of(Some("ended")), "alice (end of lease)");
        assert_eq!(of(Some("cancelled")), "alice (ended the lease)");
        assert_eq!(of(Some("of a later server")), "alice");
    }
}
