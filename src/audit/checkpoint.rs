//! Checkpoints: how far a trail had come, as the log was told.

use serde::Deserialize;

/// How far a trail had come at some time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Checkpoint {
    /// Of which chain.
    pub chain: String,
    /// The number of its last record.
    pub count: u64,
    /// That record's hash.
    pub head: String,
}

/// The checkpoint that a line of headcount's log has, whichever form it has and whatever a container runtime put before it.
pub fn in_log(line: &str) -> Option<Checkpoint> {
    if !line.contains("audit.checkpoint") {
        return None;
    }
    // As runtimes write it: TIME STREAM F LINE.
    let line = ["stderr", "stdout"]
        .into_iter()
        .find_map(|stream| Some(line.split_once(&format!(" {stream} F "))?.1))
        .unwrap_or(line);
    if line.starts_with('{') {
        #[derive(Deserialize)]
        struct Line {
            event: String,
            #[serde(flatten)]
            checkpoint: Checkpoint,
        }
        let line: Line = serde_json::from_str(line).ok()?;
        return (line.event == "audit.checkpoint").then_some(line.checkpoint);
    }
    if line.split_whitespace().nth(2) != Some("audit.checkpoint") {
        return None;
    }
    let field = |name: &str| {
        let (_, value) = line.split_once(&format!(" {name}="))?;
        value.split_whitespace().next()
    };
    let text = |name: &str| Some(field(name)?.trim_matches('"').to_owned());
    Some(Checkpoint {
        chain: text("chain")?,
        count: field("count")?.parse().ok()?,
        head: text("head")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_from_text_json_and_what_a_runtime_writes() {
        let text = r#"2026-01-01T00:00:00.000000Z INFO  audit.checkpoint the audit trail has 7 records chain="00ff" count=7 head="abc" file="/a""#;
        let json = r#"{"timestamp":"2026-01-01T00:00:00.000000Z","severity":"INFO","event":"audit.checkpoint","message":"m","chain":"00ff","count":7,"head":"abc"}"#;
        let expected = Checkpoint {
            chain: "00ff".into(),
            count: 7,
            head: "abc".into(),
        };
        for line in [text, json] {
            assert_eq!(in_log(line), Some(expected.clone()));
            let wrapped = format!("2026-01-01T00:00:00.1Z stderr F {line}");
            assert_eq!(in_log(&wrapped), Some(expected.clone()));
        }
    }

    #[test]
    fn another_event_that_has_the_words_is_none() {
        let text = r#"2026-01-01T00:00:00Z WARN  scale.failed audit.checkpoint chain="0" count=9 head="f""#;
        let json = r#"{"event":"scale.failed","error":"audit.checkpoint","chain":"0","count":9,"head":"f"}"#;
        for line in [text, json, "audit.checkpoint", "{audit.checkpoint"] {
            assert_eq!(in_log(line), None, "{line}");
        }
    }
}
