//! The commands that change a Deployment.

mod told;

use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use told::{count_words, lease_words, renewal_words, words_of_count};

use super::{
    Failed,
    arguments::{
        Deployment, Named, NamespaceArgs, OutputArgs, ServerArgs, Target, lease_time, named,
        one_line, reason, time,
    },
    asker::{Asker, understood},
    counts::count,
    failed::Code,
    output::{self, Format, words},
    rollout::{self, Awaited},
};
use crate::{
    client::{Answer, Call},
    image_reference::ImageReference,
    name,
    numbers::{replicas, whole_number},
    pki::printable,
};

/// How often a step without an answer is sent again, with the same key.
const REPETITIONS: u32 = 3;
/// How long the first repetition waits; the next ones longer.
const PAUSE: Duration = Duration::from_millis(200);

/// How to write.
#[derive(Debug, Args)]
pub(in crate::cli) struct WriteArgs {
    #[command(flatten)]
    namespace: NamespaceArgs,
    /// Go as far as the cluster's own admission, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait until the rollout has ended, at most so long
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "5m", value_parser = time)]
    wait: Option<Duration>,
    /// Why, for the log, the audit trail and the Deployment's Events
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Only if the entity tag is still this one
    #[arg(long, value_name = "ETAG", value_parser = one_line)]
    if_match: Option<String>,
    /// Say nothing of what was done
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The arguments of `headcount set`.
#[derive(Debug, Args)]
pub(in crate::cli) struct SetArgs {
    /// The Deployment
    #[arg(value_name = "[NAMESPACE/]NAME", value_parser = named)]
    name: Named,
    /// Its new count
    #[arg(value_name = "COUNT", value_parser = count, allow_negative_numbers = true)]
    count: i32,
    /// Only if the count is this one now
    #[arg(long, value_name = "COUNT", value_parser = whole_number(0, i32::MAX), conflicts_with = "if_match")]
    current: Option<i32>,
    /// Lease the count for so long: then it is again what it was, unless somebody else has set another
    #[arg(long = "for", value_name = "TIME", value_parser = lease_time)]
    lease: Option<u32>,
    #[command(flatten)]
    write: WriteArgs,
}

/// The arguments of `headcount step`.
#[derive(Debug, Args)]
pub(in crate::cli) struct StepArgs {
    /// The Deployment
    #[arg(value_name = "[NAMESPACE/]NAME", value_parser = named)]
    name: Named,
    /// So many replicas more or fewer, like +2 or -1
    #[arg(value_name = "+N|-N", value_parser = delta, allow_negative_numbers = true)]
    delta: i32,
    /// Only if the count is this one now
    #[arg(long, value_name = "COUNT", value_parser = whole_number(0, i32::MAX), conflicts_with = "if_match")]
    current: Option<i32>,
    #[command(flatten)]
    write: WriteArgs,
}

/// The arguments of `headcount image`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ImageArgs {
    /// The Deployment
    #[arg(value_name = "[NAMESPACE/]NAME", value_parser = named)]
    name: Named,
    /// The container, and its new image
    #[arg(value_name = "CONTAINER=IMAGE", value_parser = container_and_image)]
    image: (String, String),
    #[command(flatten)]
    write: WriteArgs,
}

/// The arguments of `headcount restart`, `pause` and `resume`.
#[derive(Debug, Args)]
pub(in crate::cli) struct PlainArgs {
    /// The Deployment
    #[arg(value_name = "[NAMESPACE/]NAME", value_parser = named)]
    name: Named,
    #[command(flatten)]
    write: WriteArgs,
}

/// The arguments of `headcount rollback`.
#[derive(Debug, Args)]
pub(in crate::cli) struct RollbackArgs {
    /// The Deployment
    #[arg(value_name = "[NAMESPACE/]NAME", value_parser = named)]
    name: Named,
    /// The revision to go to, in place of the previous one
    #[arg(long, value_name = "REVISION", value_parser = whole_number(1, u64::MAX))]
    to: Option<u64>,
    #[command(flatten)]
    write: WriteArgs,
}

/// Sets a count.
pub(super) async fn set(args: &SetArgs) -> Result<(), Failed> {
    let target = args.write.server.target_of_writes()?;
    let mut write = Writing::new(&args.name, &args.write, &target)?;
    write.only_if_now(args.current).await?;
    let Some(seconds) = args.lease else {
        let body = json!({ "replicaCount": args.count });
        let dry_run = args.write.dry_run;
        return write
            .send(Method::PUT, "replicas", &body, |done| {
                words_of_count(done, dry_run)
            })
            .await;
    };
    write.leases = true;
    let body = json!({ "replicaCount": args.count, "durationSeconds": seconds });
    write
        .send(Method::PUT, "lease", &body, |done| {
            let counts = count_words(&done["previousReplicaCount"], &done["replicaCount"]);
            let renews = renewal_words(done);
            format!("{counts}{}{renews}", lease_words(&done["lease"], seconds))
        })
        .await
}

/// Makes a count larger or smaller, once, however often it has to be sent.
pub(super) async fn step(args: &StepArgs) -> Result<(), Failed> {
    let target = args.write.server.target_of_writes()?;
    let mut write = Writing::new(&args.name, &args.write, &target)?;
    write.only_if_now(args.current).await?;
    if write.precondition.is_none() {
        let key = format!("{:032x}", fastrand::u128(..));
        write.key = Some(key);
    }
    let body = json!({ "delta": args.delta });
    let dry_run = args.write.dry_run;
    write
        .send(Method::PATCH, "replicas", &body, |done| {
            words_of_count(done, dry_run)
        })
        .await
}

/// Sets an image.
pub(super) async fn image(args: &ImageArgs) -> Result<(), Failed> {
    let target = args.write.server.target_of_writes()?;
    let write = Writing::new(&args.name, &args.write, &target)?;
    let (container, image) = &args.image;
    let path = format!("containers/{container}/image");
    write
        .send(Method::PUT, &path, &json!({ "image": image }), |done| {
            let text = |field: &str| done[field].as_str().unwrap_or("?").to_owned();
            match done["changed"] == false {
                true => format!("{container} has the image {} already", text("image")),
                false => format!(
                    "{container} has the image {}, before {}",
                    text("image"),
                    text("previousImage")
                ),
            }
        })
        .await
}

/// Restarts all Pods.
pub(super) async fn restart(args: &PlainArgs) -> Result<(), Failed> {
    let target = args.write.server.target_of_writes()?;
    let write = Writing::new(&args.name, &args.write, &target)?;
    write
        .send(Method::POST, "restart", &json!({}), |_| {
            "is being restarted".into()
        })
        .await
}

/// Holds rollouts, or lets them go on.
pub(super) async fn pause(args: &PlainArgs, paused: bool) -> Result<(), Failed> {
    let target = args.write.server.target_of_writes()?;
    let write = Writing::new(&args.name, &args.write, &target)?;
    write
        .send(
            Method::PUT,
            "paused",
            &json!({ "paused": paused }),
            |done| {
                match (paused, done["changed"] != false) {
                    (true, true) => "is paused",
                    (true, false) => "is paused already",
                    (false, true) => "is not paused",
                    (false, false) => "was not paused",
                }
                .into()
            },
        )
        .await
}

/// Goes back to a revision.
pub(super) async fn rollback(args: &RollbackArgs) -> Result<(), Failed> {
    let target = args.write.server.target_of_writes()?;
    let write = Writing::new(&args.name, &args.write, &target)?;
    let body = args
        .to
        .map_or_else(|| json!({}), |to| json!({ "revision": to }));
    write
        .send(
            Method::POST,
            "rollback",
            &body,
            |done| match done["revision"].as_u64() {
                Some(revision) => format!("rolled back to what revision {revision} was"),
                None => "rolled back".into(),
            },
        )
        .await
}

/// A write that is about to be sent.
struct Writing<'a> {
    asker: Asker<'a>,
    args: &'a WriteArgs,
    deployment: Deployment,
    precondition: Option<String>,
    /// By which a server knows a repetition from another write.
    key: Option<String>,
    /// Whether it is a count for a time.
    leases: bool,
}

impl<'a> Writing<'a> {
    fn new(name: &Named, args: &'a WriteArgs, target: &'a Target) -> Result<Self, Failed> {
        if args.dry_run && args.wait.is_some() {
            return Err(Failed::usage(
                "--dry-run changes nothing, so there is nothing to --wait for; leave out one of them",
            ));
        }
        Ok(Self {
            asker: Asker::new(target),
            args,
            deployment: name.in_namespace(&args.namespace, target)?,
            precondition: args.if_match.clone(),
            key: None,
            leases: false,
        })
    }

    /// Makes it a condition that the count is this one, if there is to be one.
    async fn only_if_now(&mut self, current: Option<i32>) -> Result<(), Failed> {
        let Some(current) = current else {
            return Ok(());
        };
        let (now, tag) = match self.asker.count(&self.deployment).await {
            Ok(now) => now,
            Err(failed) => return Err(self.asker.helped(failed, &self.deployment).await),
        };
        if now != current {
            return Err(Failed::new(
                Code::Conflict,
                format!(
                    "{} has {} now and not {current}, as --current says; nothing was changed",
                    self.deployment,
                    replicas(now)
                ),
            ));
        }
        self.precondition = Some(tag);
        Ok(())
    }

    /// Sends it, says what was done in `words_of` its representation, and waits if it is asked to.
    async fn send(
        mut self,
        method: Method,
        path: &str,
        body: &Value,
        words_of: impl FnOnce(&Value) -> String,
    ) -> Result<(), Failed> {
        let query = if self.args.dry_run {
            "?dryRun=true"
        } else {
            ""
        };
        let mut headers = vec![("prefer", "return=representation".to_owned())];
        let given = [
            ("if-match", &self.precondition),
            ("idempotency-key", &self.key),
            ("x-reason", &self.args.reason),
        ];
        headers.extend(
            given
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.clone()?))),
        );
        let call = Call {
            method,
            path: format!("{}/{path}{query}", self.deployment.path()),
            headers,
            body: Some(body.to_string()),
        };
        let answer = match self.sent(&call).await {
            Ok(answer) => answer,
            Err(failed) => return Err(self.asker.helped(failed, &self.deployment).await),
        };
        let done: Value = understood(&answer)?;
        self.tell(&answer, &done, words_of)?;
        let Some(time) = self.args.wait else {
            return Ok(());
        };
        let awaited = Awaited {
            deployment: &self.deployment,
            version: answer.header("x-resource-version"),
            count: done["replicaCount"].as_i64(),
            time,
            quiet: self.args.quiet,
        };
        rollout::wait(&mut self.asker, &awaited).await.map(drop)
    }

    /// The answer; what has a key is sent again while there is none.
    async fn sent(&mut self, call: &Call) -> Result<Answer, Failed> {
        let mut tries = 0;
        loop {
            let failed = match self.asker.send(call).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            // The first one may be under way, which is what a conflict says of a repetition.
            let unknown = matches!(failed.code, Code::Late)
                || (!failed.answered && failed.code == Code::Away);
            let under_way = tries > 0 && failed.code == Code::Conflict;
            if self.key.is_none() || tries == REPETITIONS || !(unknown || under_way) {
                return Err(self.unsettled(failed));
            }
            tries += 1;
            sleep(PAUSE * tries).await;
        }
    }

    /// Who got no answer has to know what may have happened.
    fn unsettled(&self, mut failed: Failed) -> Failed {
        let name = &self.deployment;
        let see = if self.leases {
            // It may take hold later, and then ends by itself.
            format!("`headcount get {name}` and `headcount leases`")
        } else {
            format!("`headcount get {name}`")
        };
        if !failed.answered && failed.sent {
            failed.sentence = format!("{failed}; whether it was done isn't known: see with {see}");
        } else if self.leases && failed.answered && failed.code == Code::Late {
            failed.sentence = format!("{}; see with {see}", failed.sentence.trim_end_matches('.'));
        }
        failed
    }

    fn tell(
        &self,
        answer: &Answer,
        done: &Value,
        words_of: impl FnOnce(&Value) -> String,
    ) -> Result<(), Failed> {
        for warning in warnings(answer, done) {
            words(&format!("warning: {warning}"));
        }
        if answer.status == http::StatusCode::ACCEPTED && !self.args.quiet {
            words("it is done, and this server's copy has not caught up yet");
        }
        let name = &self.deployment;
        match self.args.output.output {
            Format::Json | Format::Yaml => output::value(self.args.output.output, done),
            Format::Name => output::data(&format!("{name}\n")),
            Format::Table | Format::Wide if self.args.quiet => Ok(()),
            Format::Table | Format::Wide => {
                let dry = if self.args.dry_run {
                    " (dry run: nothing was changed)"
                } else {
                    ""
                };
                output::data(&format!("{name} {}{dry}\n", printable(&words_of(done))))
            }
        }
    }
}

/// What the server warns of: in the representation, or else in the headers.
pub(super) fn warnings(answer: &Answer, done: &Value) -> Vec<String> {
    if let Some(all) = done["warnings"].as_array() {
        let text = |warning: &Value| warning.as_str().map(str::to_owned);
        return all.iter().filter_map(text).collect();
    }
    let headers = answer.headers.get_all("warning").iter();
    // Code, agent and a quoted text (RFC 7234, 5.5).
    let text = |header: &http::HeaderValue| {
        let quoted = header.to_str().ok()?.splitn(3, ' ').nth(2)?.trim();
        let text = quoted.strip_prefix('"')?.strip_suffix('"')?;
        Some(text.replace("\\\"", "\"").replace("\\\\", "\\"))
    };
    headers.filter_map(text).collect()
}

fn delta(text: &str) -> Result<i32, &'static str> {
    let signed = text.starts_with(['+', '-']);
    let delta = text.parse().ok().filter(|delta| signed && *delta != 0);
    delta.ok_or("give a step with its sign, like +2 or -1; `headcount set` sets a count")
}

fn container_and_image(text: &str) -> Result<(String, String), String> {
    let (container, image) = text.split_once('=').ok_or("give CONTAINER=IMAGE")?;
    if !name::is_container(container) {
        return Err("give CONTAINER=IMAGE, the container's name of a-z, 0-9 and '-'".into());
    }
    ImageReference::parse(image).map_err(|error| {
        format!("give CONTAINER=IMAGE, the image like example.org/shop:1.2: {error}")
    })?;
    Ok((container.to_owned(), image.to_owned()))
}
