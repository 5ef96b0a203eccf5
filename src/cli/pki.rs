//! `headcount pki`: a small certificate authority in a folder, and what certificates say in a person's words.

use std::{
    io::{self, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand};

use super::{BAD_CONFIGURATION, say};
use crate::{
    numbers::whole_number,
    pki::{
        self, CertificateError, DenyBy, DenyError, Folder, FolderError, Leaf, NewAuthority,
        PresentedError, Reason, Trust, Usage, in_words, is_common_name, is_dns_name, is_file_stem,
        is_uri, printable,
    },
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a certificate is valid unless told else, in days.
const LEAF_DAYS: u32 = 90;
/// How long a revocation list holds unless told else, in days.
const LIST_DAYS: u32 = 30;

/// The arguments of `headcount pki`.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = false,
    after_help = "This is for development and small installations: keys are plain files, and nothing renews by itself.\nIn a cluster use cert-manager (https://cert-manager.io); headcount takes its certificates as they are."
)]
pub(super) struct PkiArgs {
    #[command(subcommand)]
    command: PkiCommand,
}

#[derive(Debug, Subcommand)]
enum PkiCommand {
    /// Make a CA with an empty revocation list
    Init(InitArgs),
    /// Issue a client's or a server's certificate and its key
    Issue(IssueArgs),
    /// Replace a certificate by one that says the same, with new times and a new serial number
    Renew(RenewArgs),
    /// Add a certificate to the revocation list of its CA
    Revoke(RevokeArgs),
    /// Sign the revocation lists again, with the same entries and new times
    Crl(CrlArgs),
    /// Add a certificate to a deny list, for CAs that publish no revocation list
    Deny(DenyArgs),
    /// Say what a file holds or a server presents: certificates and revocation lists
    Show(ShowArgs),
}

/// Where the CA is.
#[derive(Debug, Args)]
struct Dir {
    /// The CA's folder
    #[arg(long, value_name = "DIR", default_value = "headcount-pki")]
    dir: PathBuf,
}

/// How long a revocation list holds.
#[derive(Debug, Args)]
struct ListDays {
    /// Days until the revocation list must be replaced; an expired one may lock everyone out
    #[arg(long = "crl-days", value_name = "N", default_value_t = LIST_DAYS, value_parser = days())]
    list_days: u32,
}

#[derive(Debug, Args)]
struct InitArgs {
    #[command(flatten)]
    folder: Dir,
    /// The CA's common name
    #[arg(long, value_name = "CN", default_value = "headcount CA", value_parser = common_name)]
    name: String,
    /// Let an intermediate CA issue, so that the root's key can be kept elsewhere
    #[arg(long)]
    intermediate: bool,
    #[command(flatten)]
    lists: ListDays,
    /// Replace the CA that is in the folder; everything that it issued becomes worthless
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("kind").required(true).args(["client", "server"])))]
struct IssueArgs {
    #[command(flatten)]
    folder: Dir,
    /// A client with this common name
    #[arg(long, value_name = "NAME", value_parser = common_name)]
    client: Option<String>,
    /// A server with these DNS names and IP addresses; the first is its common name too
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = server_name)]
    server: Vec<String>,
    /// A further DNS name; repeatable
    #[arg(long, value_name = "NAME", value_parser = dns_name)]
    dns: Vec<String>,
    /// A further IP address; repeatable
    #[arg(long, value_name = "ADDR")]
    ip: Vec<IpAddr>,
    /// A URI, as in spiffe://example.org/ci; repeatable
    #[arg(long, value_name = "URI", value_parser = uri)]
    uri: Vec<String>,
    /// An organization of the subject, which can stand for a group; at most two
    #[arg(long, value_name = "NAME", value_parser = common_name)]
    organization: Vec<String>,
    /// Days of validity
    #[arg(long, value_name = "N", default_value_t = LEAF_DAYS, value_parser = days())]
    days: u32,
    /// Write to NAME.crt and NAME.key in the folder [default: the first name]
    #[arg(long, value_name = "NAME")]
    out: Option<String>,
    /// Replace the files if they exist, the key included
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct RenewArgs {
    /// The certificate's file; the new one takes its place
    #[arg(value_name = "CERT")]
    certificate: PathBuf,
    #[command(flatten)]
    folder: Dir,
    /// Days of validity [default: as long as the old one was valid]
    #[arg(long, value_name = "N", value_parser = days())]
    days: Option<u32>,
    /// Make a new key too, in place of the one beside the certificate
    #[arg(long)]
    new_key: bool,
}

#[derive(Debug, Args)]
struct RevokeArgs {
    /// The certificate's file
    #[arg(value_name = "CERT")]
    certificate: PathBuf,
    #[command(flatten)]
    folder: Dir,
    /// Why; readers of the list see it
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    reason: Reason,
    #[command(flatten)]
    lists: ListDays,
}

#[derive(Debug, Args)]
struct CrlArgs {
    #[command(flatten)]
    folder: Dir,
    #[command(flatten)]
    lists: ListDays,
    /// Begin a new list where one is missing: what was revoked before counts no more
    #[arg(long)]
    start_over: bool,
}

#[derive(Debug, Args)]
struct DenyArgs {
    /// The certificate's file
    #[arg(value_name = "CERT")]
    certificate: PathBuf,
    #[command(flatten)]
    folder: Dir,
    /// The deny list, made if it isn't there [default: deny-list.yaml in the folder]
    #[arg(long, value_name = "FILE")]
    deny_list: Option<PathBuf>,
    /// What is denied; repeatable
    #[arg(long, value_name = "WHAT", default_value = "serial")]
    by: Vec<DenyBy>,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// A file of certificates or revocation lists (PEM or DER), or a server
    #[arg(value_name = "FILE|HOST:PORT")]
    target: String,
    /// Say whether it verifies against these CAs
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A revocation list to verify with; repeatable
    #[arg(long, value_name = "FILE", requires = "ca")]
    crl: Vec<PathBuf>,
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
enum PkiError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Deny(#[from] DenyError),
    #[error(transparent)]
    Presented(#[from] PresentedError),
    #[error("failed to read a certificate that {0} presented: {1}")]
    Damaged(String, String),
    #[error(
        "{0:?} can't be the name of files: give --out NAME, of letters, digits and `.`, `_`, `@`, `-`, at most 64, and not `ca` or `intermediate`"
    )]
    Stem(String),
    #[error(
        "{0:?} is longer than the 64 characters of a common name: put a shorter name first, and this one behind it"
    )]
    LongName(String),
}

impl PkiError {
    /// A failure of the machine is no fault of the command line's.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Folder(error) | Self::Deny(DenyError::Folder(error))
                if error.is_of_the_system() =>
            {
                ExitCode::FAILURE
            }
            Self::Damaged(..)
            | Self::Presented(PresentedError::Connect { .. } | PresentedError::Handshake { .. }) => {
                ExitCode::FAILURE
            }
            _ => ExitCode::from(BAD_CONFIGURATION),
        }
    }
}

/// Runs one of the subcommands; what it did goes to stdout, why it didn't to stderr.
pub(super) fn run(args: PkiArgs) -> ExitCode {
    let done = match args.command {
        PkiCommand::Init(args) => init(&args),
        PkiCommand::Issue(args) => issue(args),
        PkiCommand::Renew(args) => renew(&args),
        PkiCommand::Revoke(args) => revoke(&args),
        PkiCommand::Crl(args) => crl(&args),
        PkiCommand::Deny(args) => deny(&args),
        PkiCommand::Show(args) => show(&args),
    };
    match done {
        Ok(words) => {
            // A closed stdout changes nothing about what was done.
            let _ = io::stdout().write_all(words.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&error);
            error.exit_code()
        }
    }
}

fn init(args: &InitArgs) -> Result<String, PkiError> {
    let InitArgs {
        folder: Dir { dir },
        name,
        intermediate,
        lists,
        force,
    } = args;
    Folder::create(
        dir,
        &NewAuthority {
            name,
            intermediate: *intermediate,
            force: *force,
            list_lifetime: DAY * lists.list_days,
        },
    )?;
    let file = |name: &str| dir.join(name).display().to_string();
    let mut words = format!(
        "A CA for development and small installations; for more use cert-manager.\n\
         {}: what those trust who are to trust its certificates (--client-ca)\n\
         {}: its private key; whoever has it can issue\n",
        file("ca.crt"),
        file("ca.key"),
    );
    if *intermediate {
        words += &format!(
            "{}, {}: the intermediate that issues; {} isn't needed for that and is better kept elsewhere\n",
            file("intermediate.crt"),
            file("intermediate.key"),
            file("ca.key"),
        );
    }
    let also = if *intermediate {
        format!(", {}", file("intermediate.crl"))
    } else {
        String::new()
    };
    words += &format!(
        "{}{also}: revocation, empty, to be replaced before {}: headcount pki crl --dir {}\n",
        file("ca.crl"),
        end_of(lists),
        dir.display()
    );
    Ok(words)
}

fn issue(args: IssueArgs) -> Result<String, PkiError> {
    let IssueArgs {
        folder: Dir { dir },
        client,
        server,
        dns,
        ip,
        uri,
        organization,
        days,
        out,
        force,
    } = args;
    let mut leaf = match client {
        Some(name) => Leaf::client(&name),
        None => {
            let names: Vec<_> = server.iter().map(String::as_str).collect();
            Leaf::server(&names)
        }
    };
    if !is_common_name(&leaf.common_name) {
        return Err(PkiError::LongName(leaf.common_name));
    }
    leaf.dns_names.extend(dns);
    leaf.ip_addresses.extend(ip);
    leaf.uris.extend(uri);
    leaf.organizations.extend(organization);
    let leaf = leaf.valid_for(DAY * days);
    let stem = out.unwrap_or_else(|| leaf.common_name.clone());
    if !is_file_stem(&stem) {
        return Err(PkiError::Stem(stem));
    }
    let pair = Folder::open(&dir)?.issue(&leaf, &stem, force)?;
    let role = match leaf.usage {
        Usage::Client => "client",
        _ => "server",
    };
    Ok(format!(
        "{}: the {role} {}, until {}\n{}: its private key\n",
        pair.certificate.display(),
        printable(&leaf.common_name),
        in_words(leaf.not_after),
        pair.key.display(),
    ))
}

fn renew(args: &RenewArgs) -> Result<String, PkiError> {
    let RenewArgs {
        certificate,
        folder: Dir { dir },
        days,
        new_key,
    } = args;
    let lifetime = days.map(|days| DAY * days);
    let renewal = Folder::open(dir)?.renew(certificate, lifetime, *new_key)?;
    let key = renewal.pair.key.display();
    Ok(format!(
        "{}: renewed, until {}\n{}",
        renewal.pair.certificate.display(),
        in_words(renewal.not_after),
        if *new_key {
            format!("{key}: its new private key\n")
        } else {
            "The key is the same as before; --new-key makes a new one.\n".to_owned()
        }
    ))
}

fn revoke(args: &RevokeArgs) -> Result<String, PkiError> {
    let RevokeArgs {
        certificate,
        folder: Dir { dir },
        reason,
        lists,
    } = args;
    let done = Folder::open(dir)?.revoke(certificate, *reason, DAY * lists.list_days)?;
    let list = done.list.display();
    Ok(if done.before {
        format!(
            "{list}: {} was revoked before; nothing is changed\n",
            certificate.display()
        )
    } else {
        format!(
            "{list}: {} is revoked; the list is to be replaced before {}\n",
            certificate.display(),
            end_of(lists)
        )
    })
}

fn crl(args: &CrlArgs) -> Result<String, PkiError> {
    let CrlArgs {
        folder: Dir { dir },
        lists,
        start_over,
    } = args;
    let lifetime = DAY * lists.list_days;
    let (written, without_key) = Folder::open(dir)?.refresh(lifetime, *start_over)?;
    let mut words = String::new();
    for list in written {
        words += &format!(
            "{}: to be replaced before {}\n",
            list.display(),
            end_of(lists)
        );
    }
    for list in without_key {
        words += &format!(
            "{}: left as it was, because its CA's key isn't here\n",
            list.display()
        );
    }
    Ok(words)
}

fn deny(args: &DenyArgs) -> Result<String, PkiError> {
    let DenyArgs {
        certificate,
        folder: Dir { dir },
        deny_list,
        by,
    } = args;
    let list = deny_list
        .clone()
        .unwrap_or_else(|| dir.join("deny-list.yaml"));
    let added = pki::deny(&list, certificate, by)?;
    let (list, certificate) = (list.display(), certificate.display());
    Ok(if added {
        format!("{list}: {certificate} is denied\n")
    } else {
        format!("{list}: {certificate} was denied before; nothing is changed\n")
    })
}

fn show(args: &ShowArgs) -> Result<String, PkiError> {
    let ShowArgs { target, ca, crl } = args;
    let trust = match ca {
        Some(ca) => Some(Trust::load(ca, crl)?),
        None => None,
    };
    let path = Path::new(target);
    let now = SystemTime::now();
    if path.exists() || !target.contains(':') {
        return Ok(pki::show_file(path, trust.as_ref(), now)?);
    }
    let presented = pki::presented_by(target)?;
    pki::show_presented(&presented, trust.as_ref(), now)
        .map_err(|why| PkiError::Damaged(target.clone(), why))
}

fn end_of(lists: &ListDays) -> String {
    in_words(SystemTime::now() + DAY * lists.list_days)
}

fn days() -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync + 'static {
    whole_number(1, 3650)
}

fn common_name(text: &str) -> Result<String, &'static str> {
    is_common_name(text)
        .then(|| text.to_owned())
        .ok_or("it must be 1 to 64 characters, none of them a control character or one that hides or turns text")
}

fn server_name(text: &str) -> Result<String, &'static str> {
    match text.parse::<IpAddr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            dns_name(text).map_err(|_| "it must be a DNS name or an IP address, without a port")
        }
    }
}

fn dns_name(text: &str) -> Result<String, &'static str> {
    is_dns_name(text)
        .then(|| text.to_owned())
        .ok_or("it must be a DNS name, such as headcount.example.org or *.example.org")
}

fn uri(text: &str) -> Result<String, &'static str> {
    is_uri(text)
        .then(|| text.to_owned())
        .ok_or("it must be a URI with a scheme, such as spiffe://example.org/ci")
}
