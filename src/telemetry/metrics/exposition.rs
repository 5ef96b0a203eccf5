//! The same metrics in Prometheus' older text, for whoever doesn't take OpenMetrics.

/// OpenMetrics text as Prometheus' text format 0.0.4: there a counter's family has the name of its samples, there is no type
/// `info`, units have no line, and nothing marks the end.
pub(crate) fn plain(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        // A family's help comes before its type.
        let of = match line.split(' ').nth(1) {
            Some("HELP") => lines.peek().copied().unwrap_or_default(),
            _ => line,
        };
        let suffix = match of
            .strip_prefix("# TYPE ")
            .and_then(|of| of.split(' ').nth(1))
        {
            Some("counter") => "_total",
            Some("info") => "_info",
            _ => "",
        };
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            ["#", keyword, family, rest] => {
                let rest = if rest == "info" { "gauge" } else { rest };
                text.extend(["# ", keyword, " ", family, suffix, " ", rest]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_their_samples_names_and_units_have_no_line() {
        let open_metrics = "# HELP a_seconds Some counter.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1\n\
            # HELP b A gauge: no counter\n# TYPE b gauge\nb{c=\"# HELP x y\"} 2\n\
            # HELP d What info\n# TYPE d info\nd_info{e=\"1\"} 1\n# EOF\n";
        let expected = "# HELP a_seconds_total Some counter.\n# TYPE a_seconds_total counter\na_seconds_total 1\n\
            # HELP b A gauge: no counter\n# TYPE b gauge\nb{c=\"# HELP x y\"} 2\n\
            # HELP d_info What info\n# TYPE d_info gauge\nd_info{e=\"1\"} 1\n";
        assert_eq!(plain(open_metrics), expected);
    }
}
