//! What the commands of a client are told: the server, the Deployment, how to write.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use jiff::SignedDuration;

use super::{
    Failed,
    output::{self, Format},
};
use crate::{
    api::reason::{LONGEST as LONGEST_REASON, is_reason},
    client::{Client, ClientFiles, ServerAddress, contexts::Contexts},
    name,
};

/// How long the answer of a read is waited for.
const READ: Duration = Duration::from_secs(10);
/// How long that of a write: longer than the server itself takes for one (15 s), which then says what became of it.
const WRITE: Duration = Duration::from_secs(30);
/// How long that of many writes: a server begins the last one within 20 s, and takes 15 s for it.
const WRITES: Duration = Duration::from_secs(60);
/// The longest time to wait.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Which server, and who asks it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(in crate::cli) struct ServerArgs {
    /// The context to use, in place of the current one
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// The server: https://HOST, with :PORT unless it is 443
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<ServerAddress>,
    /// The CAs that the server's certificate may come from, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// The client's certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// How long each answer is waited for, connecting included; without it 10s, 30s where something is written, and 60s of batches
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) timeout: Option<Duration>,
    /// Say each request, its answer's status and id, and how long it took
    #[arg(short, long)]
    pub(super) verbose: bool,
}

/// Where and how to ask.
pub(in crate::cli) struct Target {
    pub(in crate::cli) client: Client,
    pub(in crate::cli) server: ServerAddress,
    pub(in crate::cli) timeout: Duration,
    pub(super) namespace: Option<String>,
    pub(in crate::cli) verbose: bool,
}

impl ServerArgs {
    /// What the flags say, and where they don't, the context; to read from.
    pub(in crate::cli) fn target(&self) -> Result<Target, Failed> {
        self.target_within(READ)
    }

    /// The same, to write to.
    pub(super) fn target_of_writes(&self) -> Result<Target, Failed> {
        self.target_within(WRITE)
    }

    /// The same, to write to many Deployments at once.
    pub(super) fn target_of_batches(&self) -> Result<Target, Failed> {
        self.target_within(WRITES)
    }

    fn target_within(&self, usual: Duration) -> Result<Target, Failed> {
        let timeout = self.timeout.unwrap_or(usual);
        let flags = (&self.server, &self.ca, &self.cert, &self.key);
        let whole = matches!(flags, (Some(_), Some(_), Some(_), Some(_)));
        let mut instead = String::new();
        let context = if whole && self.context.is_none() {
            None
        } else {
            let path = Contexts::file()?;
            let contexts = Contexts::read(&path)?;
            match self.context.as_ref().or(contexts.current.as_ref()) {
                Some(name) => {
                    let context = contexts.named(name, &path)?;
                    Some((context.clone(), context.files(&path)))
                }
                None => {
                    instead = match contexts.contexts.is_empty() {
                        true => format!(
                            "make a context with `headcount context add`, for there is none in {path:?}"
                        ),
                        false => "choose a context with `headcount context use`".into(),
                    };
                    None
                }
            }
        };
        let (context, files) = context.unzip();
        let missing = |what: &str| {
            Failed::usage(format!(
                "no {what} is named: give --server, --ca, --cert and --key, or {instead}"
            ))
        };
        let file = |flag: &Option<PathBuf>, of: fn(&ClientFiles) -> &PathBuf| {
            flag.clone()
                .or_else(|| files.as_ref().map(|f| of(f).clone()))
        };
        let server = self
            .server
            .clone()
            .or_else(|| context.as_ref().map(|c| c.server.clone()));
        let server = server.ok_or_else(|| missing("server"))?;
        let files = ClientFiles {
            ca: file(&self.ca, |f| &f.ca).ok_or_else(|| missing("CA"))?,
            cert: file(&self.cert, |f| &f.cert).ok_or_else(|| missing("client certificate"))?,
            key: file(&self.key, |f| &f.key).ok_or_else(|| missing("private key"))?,
        };
        Ok(Target {
            client: Client::new(server.clone(), &files, timeout)?,
            server,
            timeout,
            namespace: context.and_then(|context| context.namespace),
            verbose: self.verbose,
        })
    }
}

/// How a command tells what it was told.
#[derive(Debug, Args)]
pub(in crate::cli) struct OutputArgs {
    /// How to write what was answered
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(super) output: Format,
}

impl OutputArgs {
    /// Whether programs are to read it.
    pub(in crate::cli) const fn is_structured(&self) -> bool {
        matches!(self.output, Format::Json | Format::Yaml)
    }

    /// Writes what programs are to read.
    pub(in crate::cli) fn write(&self, value: &serde_json::Value) -> Result<(), Failed> {
        output::value(self.output, value)
    }
}

/// One namespace, or all of them.
#[derive(Debug, Args)]
pub(super) struct WhereArgs {
    /// Those of this namespace alone; without it all that you may see
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace)]
    pub(super) namespace: Option<String>,
    /// Those of all namespaces, which is what you get without --namespace
    #[arg(short = 'A', long = "all-namespaces", conflicts_with = "namespace")]
    _all: bool,
}

/// The namespace of names without one.
#[derive(Debug, Args)]
pub(super) struct NamespaceArgs {
    /// The namespace, where the name has none; without it the context's
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace)]
    pub(super) namespace: Option<String>,
}

/// The flags that may stand before the command, too, as with kubectl.
#[derive(clap::Parser)]
pub(super) struct LeadingArgs {
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// A Deployment as it was named: `NAMESPACE/NAME` or `NAME`.
#[derive(Debug, Clone)]
pub(super) struct Named {
    namespace: Option<String>,
    name: String,
}

/// A Deployment.
#[derive(Debug, Clone)]
pub(super) struct Deployment {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Deployment {
    /// Its path in the API.
    pub(super) fn path(&self) -> String {
        format!(
            "/api/v1/namespaces/{}/deployments/{}",
            self.namespace, self.name
        )
    }
}

impl std::fmt::Display for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Named {
    /// In the namespace that it names, or the flag, or else the context.
    pub(super) fn in_namespace(
        &self,
        args: &NamespaceArgs,
        target: &Target,
    ) -> Result<Deployment, Failed> {
        let flag = args.namespace.as_ref();
        if let (Some(own), Some(flag)) = (&self.namespace, flag)
            && own != flag
        {
            return Err(Failed::usage(format!(
                "{own}/{} is in the namespace {own} and not in {flag}; leave out one of them",
                self.name
            )));
        }
        let namespace = self
            .namespace
            .as_ref()
            .or(flag)
            .or(target.namespace.as_ref());
        let namespace = namespace.ok_or_else(|| {
            let name = &self.name;
            Failed::usage(format!("the namespace of {name} is missing: give NAMESPACE/{name} or --namespace, or a context with a namespace"))
        })?;
        Ok(Deployment {
            namespace: namespace.clone(),
            name: self.name.clone(),
        })
    }
}

/// The argument whose flag a word is, and whether the word has its value, too.
pub(super) fn flag_of<'a>(
    mut arguments: impl Iterator<Item = &'a clap::Arg>,
    word: &str,
) -> Option<(&'a clap::Arg, bool)> {
    if let Some(long) = word.strip_prefix("--") {
        let name = long.split('=').next();
        let argument = arguments.find(|a| a.get_long() == name)?;
        return Some((argument, long.contains('=')));
    }
    let mut short = word.strip_prefix('-')?.chars();
    let name = short.next()?;
    let argument = arguments.find(|a| a.get_short() == Some(name))?;
    Some((argument, short.next().is_some()))
}

/// Reads `[NAMESPACE/]NAME`.
pub(super) fn named(text: &str) -> Result<Named, &'static str> {
    let (own, name) = match text.split_once('/') {
        Some((own, name)) => (Some(namespace(own)?), name),
        None => (None, text),
    };
    if !name::is_deployment(name) {
        return Err("give NAME or NAMESPACE/NAME, of a-z, 0-9, '-' and '.'");
    }
    Ok(Named {
        namespace: own,
        name: name.to_owned(),
    })
}

pub(super) fn namespace(text: &str) -> Result<String, &'static str> {
    name::is_namespace(text)
        .then(|| text.to_owned())
        .ok_or("a namespace is 1 to 63 characters of a-z, 0-9 and '-'")
}

/// How long a count is leased, in whole seconds: what is longer than a server's longest time is the server's to say.
pub(super) fn lease_time(text: &str) -> Result<u32, &'static str> {
    const WRONG: &str = "give a time of 10s or more, as long as the server lets it be, in whole seconds, like 30m, 2h or 1h30m";
    let time = text.parse::<SignedDuration>().map_err(|_| WRONG)?;
    let seconds = u32::try_from(time.as_secs()).map_err(|_| WRONG)?;
    let whole = time.subsec_nanos() == 0 && seconds >= 10;
    whole.then_some(seconds).ok_or(WRONG)
}

/// Text that can stand in a header and in one line of a log.
pub(super) fn one_line(text: &str) -> Result<String, &'static str> {
    let fits = !text.is_empty() && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
        .ok_or("it must be some text without control characters")
}

/// Why something is written, as a server takes it.
pub(super) fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    match is_reason(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "give 1 to {LONGEST_REASON} characters without control characters and those that hide or reorder text"
        )),
    }
}

/// A time to wait.
pub(in crate::cli) fn time(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "give a time from 1ms to 24h, like 10s, 500ms or 1m30s";
    let time = text.parse::<SignedDuration>().map_err(|_| WRONG)?;
    let time = Duration::try_from(time).map_err(|_| WRONG)?;
    (Duration::from_millis(1)..=LONGEST)
        .contains(&time)
        .then_some(time)
        .ok_or(WRONG)
}
