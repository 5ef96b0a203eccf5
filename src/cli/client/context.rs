//! `headcount context`: servers by name.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failed,
    arguments::{OutputArgs, namespace},
    failed::Code,
    output::{self, Format, Table, words},
};
use crate::client::{
    Client, ClientFiles, ServerAddress,
    contexts::{Context, Contexts},
};

/// The arguments of `headcount context`.
#[derive(Debug, Args)]
#[command(
    after_help = "The contexts are in $HEADCOUNT_CONTEXTS, or in headcount/contexts.yaml of $XDG_CONFIG_HOME or ~/.config."
)]
pub(in crate::cli) struct ContextArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the contexts; a star marks the current one
    List(OutputArgs),
    /// Make a context the current one
    Use(NameArgs),
    /// Add a context; the first one is the current one
    Add(Box<AddArgs>),
    /// Forget a context; files of certificates stay
    Remove(NameArgs),
    /// Show a context, the current one if none is named
    Show(ShowArgs),
}

#[derive(Debug, Args)]
struct NameArgs {
    /// The context
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The context
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct AddArgs {
    /// Its name
    #[arg(value_name = "NAME", value_parser = context_name)]
    name: String,
    /// The server: https://HOST, with :PORT unless it is 443
    #[arg(long, value_name = "URL")]
    server: ServerAddress,
    /// The CAs that the server's certificate may come from, PEM
    #[arg(long, value_name = "FILE", required_unless_present = "pki")]
    ca: Option<PathBuf>,
    /// The client's certificate chain, PEM
    #[arg(long, value_name = "FILE", required_unless_present = "pki")]
    cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", required_unless_present = "pki")]
    key: Option<PathBuf>,
    /// A folder of `headcount pki` or `headcount demo` that has the files: ca.crt, CLIENT.crt and CLIENT.key
    #[arg(long, value_name = "DIR", conflicts_with_all = ["ca", "cert", "key"])]
    pki: Option<PathBuf>,
    /// Whose files of that folder
    #[arg(
        long,
        value_name = "CLIENT",
        default_value = "client",
        requires = "pki"
    )]
    client: String,
    /// The namespace of names without one
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace)]
    namespace: Option<String>,
    /// Make it the current one
    #[arg(long = "use")]
    make_current: bool,
    /// Replace one of the same name
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &ContextArgs) -> Result<(), Failed> {
    let path = Contexts::file()?;
    match &args.command {
        Command::List(args) => list(&Contexts::read(&path)?, args.output),
        Command::Show(args) => show(&Contexts::read(&path)?, args, &path),
        Command::Use(args) => Contexts::change(&path, |contexts| {
            contexts.named(&args.name, &path)?;
            contexts.current = Some(args.name.clone());
            words(&format!("{} is the current context", args.name));
            Ok(())
        }),
        Command::Remove(args) => Contexts::change(&path, |contexts| {
            contexts.named(&args.name, &path)?;
            contexts.contexts.remove(&args.name);
            if contexts.current.as_ref() == Some(&args.name) {
                contexts.current = None;
                words("there is no current context now; choose one with `headcount context use`");
            }
            Ok(())
        }),
        Command::Add(args) => Contexts::change(&path, |contexts| add(contexts, args)),
    }
}

fn add(contexts: &mut Contexts, args: &AddArgs) -> Result<(), Failed> {
    let name = &args.name;
    if contexts.contexts.contains_key(name) && !args.force {
        return Err(Failed::usage(format!(
            "there is a context {name} already; replace it with --force, or take another name"
        )));
    }
    let file = |given: &Option<PathBuf>, of_folder: String| {
        let path = match (given, &args.pki) {
            (Some(given), _) => given.clone(),
            (None, folder) => folder.clone().unwrap_or_default().join(of_folder),
        };
        // The command is run elsewhere the next time.
        std::path::absolute(&path)
            .map_err(|error| Failed::usage(format!("failed to tell where {path:?} is: {error}")))
    };
    let files = ClientFiles {
        ca: file(&args.ca, "ca.crt".into())?,
        cert: file(&args.cert, format!("{}.crt", args.client))?,
        key: file(&args.key, format!("{}.key", args.client))?,
    };
    // What can't be used is told now and not at the first request.
    Client::new(
        args.server.clone(),
        &files,
        std::time::Duration::from_secs(1),
    )?;
    let ClientFiles { ca, cert, key } = files;
    let context = Context {
        server: args.server.clone(),
        ca,
        cert,
        key,
        namespace: args.namespace.clone(),
    };
    contexts.contexts.insert(name.clone(), context);
    if args.make_current || contexts.current.is_none() {
        contexts.current = Some(name.clone());
        words(&format!("{name} is the current context"));
    }
    Ok(())
}

fn list(contexts: &Contexts, format: Format) -> Result<(), Failed> {
    if matches!(format, Format::Json | Format::Yaml) {
        return output::value(format, &value(contexts)?);
    }
    if contexts.contexts.is_empty() {
        words("there are no contexts; make one with `headcount context add`");
        return Ok(());
    }
    if format == Format::Name {
        let lines = contexts
            .contexts
            .keys()
            .map(|name| format!("{}\n", crate::pki::printable(name)));
        return output::data(&lines.collect::<String>());
    }
    let mut table = Table::new(if format == Format::Wide {
        &["CURRENT", "NAME", "SERVER", "NAMESPACE", "CERT", "CA"]
    } else {
        &["CURRENT", "NAME", "SERVER", "NAMESPACE"]
    });
    for (name, context) in &contexts.contexts {
        let current = if contexts.current.as_ref() == Some(name) {
            "*"
        } else {
            ""
        };
        let namespace = context.namespace.clone().unwrap_or_else(|| "-".into());
        let mut cells = vec![
            current.into(),
            name.clone(),
            context.server.to_string(),
            namespace,
        ];
        if format == Format::Wide {
            cells.extend([&context.cert, &context.ca].map(|path| path.display().to_string()));
        }
        table.row(cells);
    }
    output::table(&table)
}

fn show(contexts: &Contexts, args: &ShowArgs, path: &Path) -> Result<(), Failed> {
    let name = args.name.as_ref().or(contexts.current.as_ref());
    let name = name.ok_or_else(|| {
        Failed::usage(
            "there is no current context; name one, or choose one with `headcount context use`",
        )
    })?;
    let context = contexts.named(name, path)?;
    match args.output.output {
        Format::Name => output::data(&format!("{}\n", crate::pki::printable(name))),
        Format::Json => output::value(Format::Json, &json!({ name: value(context)? })),
        Format::Yaml | Format::Table | Format::Wide => {
            output::value(Format::Yaml, &json!({ name: value(context)? }))
        }
    }
}

fn value(of: &impl serde::Serialize) -> Result<serde_json::Value, Failed> {
    serde_json::to_value(of)
        .map_err(|error| Failed::new(Code::Failed, format!("failed to write that down: {error}")))
}

/// What needs no quotes anywhere.
fn context_name(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    let fits =
        (1..=64).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with(['.', '-']);
    fits.then(|| text.to_owned())
        .ok_or("a context's name is 1 to 64 of A-Z, a-z, 0-9, '.', '_', '@' and '-', not beginning with a dot or a hyphen")
}
