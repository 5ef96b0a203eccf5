//! The commands of a page as one script for bash, as if somebody pasted them from top to bottom.

use std::fmt::Write as _;

use super::page::{Block, Note, Page};

/// `$STAGE` is a folder outside of the one in which the commands run.
const BEGINNING: &str = r#"set -euo pipefail
server=
stop() {
	[[ -n $server ]] || return 0
	kill -KILL -- "-$server" 2>/dev/null || true
	wait "$server" || true
	server=
}
trap 'stop; kill $(jobs -p) 2>/dev/null || true' EXIT
trap 'exit 143' TERM
"#;

/// In a page whose reader has installed headcount before, with values of no matter in `values.yaml`.
const ASSUMES: &str = "<!-- assumes a release in the cluster -->\n";

/// What a page runs, and what it says comes out.
pub(super) struct Script {
    pub(super) text: String,
    /// Each command that the page shows the output of writes it to `$STAGE/said-N`.
    pub(super) said: Vec<Said>,
}

/// What a command is shown to write.
pub(super) struct Said {
    pub(super) place: String,
    pub(super) command: String,
    /// `…` stands for any text.
    pub(super) output: String,
}

impl Script {
    /// `None` where the page has no commands that run.
    pub(super) fn of(page: &Page) -> Option<Self> {
        let runs = |block: &&Block| block.is_commands() && !matches!(block.note, Note::NotRun(_));
        page.blocks.iter().find(runs)?;
        let mut script = Self {
            text: BEGINNING.to_owned(),
            said: vec![],
        };
        if page.text.contains(ASSUMES) {
            script.say("echo '{}' >values.yaml && make deploy VALUES=values.yaml");
        }
        for block in &page.blocks {
            script.add(block);
        }
        Some(script)
    }

    fn add(&mut self, block: &Block) {
        let Block { place, text, .. } = block;
        match (&block.note, block.language.as_str()) {
            (Note::NotRun(_), _) => {}
            (Note::File(name), _) => {
                self.say(&format!(
                    "cat >{name} <<'END OF THE FILE'\n{text}END OF THE FILE"
                ));
            }
            (Note::Server, "sh") => {
                self.at(place);
                self.say("stop\nset -m");
                self.say(&format!(
                    "{{\n{text}}} >\"$STAGE/server\" 2>&1 &\nserver=$!\nset +m"
                ));
                self.say(
                    "until grep --quiet ' server.listening ' \"$STAGE/server\"; do\n\
                     kill -0 \"$server\" || { cat \"$STAGE/server\"; exit 1; }\nsleep 0.05\ndone",
                );
            }
            (Note::None, "sh") => {
                self.at(place);
                self.say(text.trim_end());
            }
            (Note::None, "console") => self.console(block),
            (Note::None, _) => {}
            (note, language) => panic!("{place}: {note:?} of a block of {language}"),
        }
    }

    fn console(&mut self, block: &Block) {
        let mut lines = block.text.lines().peekable();
        while let Some(line) = lines.next() {
            let first = line.strip_prefix("$ ");
            let mut command = first
                .unwrap_or_else(|| panic!("{}: output of no command: {line}", block.place))
                .to_owned();
            while command.ends_with('\\') {
                command.push('\n');
                command.push_str(lines.next().unwrap());
            }
            let mut output = String::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                output.push_str(line);
                output.push('\n');
            }
            self.at(&block.place);
            let number = self.said.len();
            self.say(&format!(
                "{{ {command}\n}} >\"$STAGE/said-{number}\" 2>&1 || true"
            ));
            self.said.push(Said {
                place: block.place.clone(),
                command,
                output: output.trim_end().to_owned(),
            });
        }
    }

    fn at(&mut self, place: &str) {
        self.say(&format!("echo '{place}' >\"$STAGE/at\""));
    }

    fn say(&mut self, lines: &str) {
        writeln!(self.text, "{lines}").unwrap();
    }
}

impl Said {
    /// Whether a text is what is shown.
    pub(super) fn is(&self, text: &str) -> bool {
        let mut parts = self.output.split('…');
        let Some(mut rest) = text
            .trim_end()
            .strip_prefix(parts.next().unwrap_or_default())
        else {
            return false;
        };
        let parts: Vec<_> = parts.collect();
        let Some((last, between)) = parts.split_last() else {
            return rest.is_empty();
        };
        for part in between {
            let Some((_, after)) = rest.split_once(part) else {
                return false;
            };
            rest = after;
        }
        rest.ends_with(last)
    }
}
