//! The folder that `headcount pki` keeps: a root (`ca`), an intermediate if there is one (`intermediate`), and what they issued.
//!
//! Its state is plain files that other tools understand: `NAME.crt`, `NAME.key`, `NAME.crl`. Whoever changes them holds the
//! folder's lock, makes everything new first and renames it into place last.

mod error;

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

pub use error::FolderError;
use rustls::pki_types::CertificateDer;

use super::{
    Authority, DAY, Error, Leaf, Pair, Reason, RevocationList,
    certificate::{issued_by, leaf_of, parse, read_certificates, read_file, system_time},
    files::{NewFile, create_folder, write_all},
};

/// How long a command waits for another one that changes the same folder.
const PATIENCE: Duration = Duration::from_secs(10);
const ROOT: &str = "ca";
const INTERMEDIATE: &str = "intermediate";

/// What `init` is to make.
#[derive(Debug, Clone)]
pub struct NewAuthority<'a> {
    /// The root's common name.
    pub name: &'a str,
    /// Whether an intermediate issues, so that the root's key can be kept elsewhere.
    pub intermediate: bool,
    /// Whether an authority that is there already is replaced.
    pub force: bool,
    /// After how long the first revocation lists have to be replaced.
    pub list_lifetime: Duration,
}

/// What `renew` did.
#[derive(Debug)]
pub struct Renewal {
    /// The files; the key's may be missing.
    pub pair: Pair,
    /// The last second of the new certificate.
    pub not_after: SystemTime,
}

/// What `revoke` did.
#[derive(Debug)]
pub struct Revocation {
    /// The list that has it now.
    pub list: PathBuf,
    /// Whether it stood there already, and nothing was changed.
    pub before: bool,
}

/// The folder of an authority, locked against other commands that change it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

/// An authority of the folder, whose key may be elsewhere.
struct Place {
    stem: &'static str,
    certificate: PathBuf,
    key: PathBuf,
    list: PathBuf,
    der: CertificateDer<'static>,
}

impl Folder {
    /// Makes an authority in a folder, which is created with access for its owner alone; the files that were written.
    ///
    /// # Errors
    /// When there is one already and `force` isn't given, or something can't be made or written.
    pub fn create(path: &Path, new: &NewAuthority<'_>) -> Result<Vec<PathBuf>, FolderError> {
        create_folder(path)?;
        let folder = Self::lock(path)?;
        if !new.force {
            for stem in [ROOT, INTERMEDIATE] {
                for ending in ["key", "crt", "crl"] {
                    refuse_existing(&folder.file(stem, ending), "--dir")?;
                }
            }
        }
        let root = Authority::with_path_len(new.name, new.intermediate.into())?;
        let mut made = Vec::new();
        if new.intermediate {
            let name = format!("{} intermediate", new.name);
            made.push((INTERMEDIATE, root.intermediate(&name, 0)?));
        }
        made.push((ROOT, root));
        let mut files = Vec::new();
        for (stem, authority) in &made {
            let list = folder.file(stem, "crl");
            let pem = signed(
                &mut RevocationList::empty(0),
                authority,
                new.list_lifetime,
                &list,
            )?;
            files.push((folder.file(stem, "key"), authority.key_pem(), true));
            files.push((list, pem, false));
            files.push((folder.file(stem, "crt"), authority.certificate_pem(), false));
        }
        if !new.intermediate {
            // An earlier one would go on issuing under a root that isn't there any more.
            for ending in ["crt", "key", "crl"] {
                remove(&folder.file(INTERMEDIATE, ending))?;
            }
        }
        let new_files: Vec<_> = files
            .iter()
            .map(|(path, content, private)| match private {
                true => NewFile::private(path, content),
                false => NewFile::public(path, content),
            })
            .collect();
        write_all(&new_files)?;
        Ok(files.into_iter().map(|(path, ..)| path).collect())
    }

    /// Opens the folder of an authority, waiting at most 10 s for another command that holds it.
    ///
    /// # Errors
    /// When there is no authority in it, or another command doesn't end.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let missing = path.join("ca.crt");
        if !missing.exists() {
            return Err(FolderError::NoAuthority {
                folder: path.to_owned(),
                missing,
            });
        }
        Self::lock(path)
    }

    /// Issues a certificate and its key to `STEM.crt` and `STEM.key`; by the intermediate if there is one.
    ///
    /// # Errors
    /// When the files exist and `force` isn't given, it would outlive its authority, or something can't be made or written.
    pub fn issue(&self, leaf: &Leaf, stem: &str, force: bool) -> Result<Pair, FolderError> {
        let pair = Pair::in_folder(&self.path, stem);
        if !force {
            refuse_existing(&pair.key, "name with --out")?;
            refuse_existing(&pair.certificate, "name with --out")?;
        }
        let place = self.issuing()?;
        let authority = place.load()?;
        place.outlives(leaf.not_after)?;
        pair.write(&authority.issue(leaf)?)?;
        Ok(pair)
    }

    /// Replaces a certificate by one that says the same with new times and a new serial number; for as long as the old one
    /// was valid unless `lifetime` says else, and for the same key unless a new one is asked for, which replaces `NAME.key`.
    ///
    /// # Errors
    /// When no authority of the folder issued it, it is revoked, it says more than is issued here, or the new one would
    /// outlive its authority.
    pub fn renew(
        &self,
        path: &Path,
        lifetime: Option<Duration>,
        new_key: bool,
    ) -> Result<Renewal, FolderError> {
        let old = leaf_file(path)?;
        let unlike = |what| FolderError::Unlike {
            path: path.to_owned(),
            what,
        };
        let mut leaf = leaf_of(&old).map_err(unlike)?;
        let place = self.issuer_of(&old, path)?;
        if place.revoked(&old)? {
            return Err(FolderError::Revoked(path.to_owned()));
        }
        if place.stem == INTERMEDIATE {
            self.refuse_revoked_intermediate()?;
        }
        let lived = leaf
            .not_after
            .duration_since(leaf.not_before)
            .unwrap_or(DAY);
        leaf = leaf.valid_for(lifetime.unwrap_or(lived.saturating_sub(super::CLOCK_SKEW)));
        place.outlives(leaf.not_after)?;
        let authority = place.load()?;
        let pair = Pair {
            certificate: path.to_owned(),
            key: path.with_extension("key"),
        };
        if new_key {
            pair.write(&authority.issue(&leaf)?)?;
        } else {
            let key = super::certificate::public_key(&old).unwrap_or_default();
            let chain = authority.issue_for(&leaf, key)?;
            write_all(&[NewFile::replacing(path, &chain)])?;
        }
        Ok(Renewal {
            pair,
            not_after: leaf.not_after,
        })
    }

    /// Adds a certificate to the revocation list of the authority that issued it.
    ///
    /// # Errors
    /// When no authority of the folder issued it, or the list can't be read, signed or written.
    pub fn revoke(
        &self,
        path: &Path,
        reason: Reason,
        list_lifetime: Duration,
    ) -> Result<Revocation, FolderError> {
        let certificate = leaf_file(path)?;
        if issued_by(&certificate, &certificate) {
            return Err(FolderError::Root(path.to_owned()));
        }
        let place = self.issuer_of(&certificate, path)?;
        let mut list = place
            .read_list()?
            .ok_or_else(|| FolderError::NoList(place.list.clone()))?;
        let serial = parse(&certificate)
            .map(|parsed| parsed.raw_serial().to_vec())
            .unwrap_or_default();
        let before = !list.revoke(&serial, reason, SystemTime::now());
        if !before {
            let authority = place.load()?;
            let pem = signed(&mut list, &authority, list_lifetime, &place.list)?;
            write_all(&[NewFile::replacing(&place.list, &pem)])?;
        }
        Ok(Revocation {
            list: place.list,
            before,
        })
    }

    /// Signs the revocation lists of all authorities whose keys are here again, with the same entries and new times.
    ///
    /// `start_over` makes a new list where one is missing. Its number is higher than any that was counted up to.
    /// What comes back are the lists that were written, and those whose key isn't here.
    ///
    /// # Errors
    /// When a list is missing or can't be read, signed or written, or no key is here.
    pub fn refresh(
        &self,
        list_lifetime: Duration,
        start_over: bool,
    ) -> Result<(Vec<PathBuf>, Vec<PathBuf>), FolderError> {
        let mut files = Vec::new();
        let mut without_key = Vec::new();
        for place in self.places()? {
            // A root's key that is kept elsewhere is no mistake while there is an intermediate.
            if !place.key.exists() && self.file(INTERMEDIATE, "key").exists() {
                without_key.push(place.list);
                continue;
            }
            let authority = place.load()?;
            let mut list = match place.read_list()? {
                Some(list) => list,
                None if start_over => RevocationList::empty(seconds_since_1970()),
                None => return Err(FolderError::NoList(place.list)),
            };
            let pem = signed(&mut list, &authority, list_lifetime, &place.list)?;
            files.push((place.list, pem));
        }
        let new_files: Vec<_> = files
            .iter()
            .map(|(path, pem)| NewFile::replacing(path, pem))
            .collect();
        write_all(&new_files)?;
        Ok((
            files.into_iter().map(|(path, _)| path).collect(),
            without_key,
        ))
    }

    fn lock(path: &Path) -> Result<Self, FolderError> {
        Ok(Self {
            path: path.to_owned(),
            _lock: lock_folder(path)?,
        })
    }

    fn file(&self, stem: &str, ending: &str) -> PathBuf {
        self.path.join(format!("{stem}.{ending}"))
    }

    fn place(&self, stem: &'static str) -> Result<Place, FolderError> {
        let certificate = self.file(stem, "crt");
        Ok(Place {
            stem,
            der: leaf_file(&certificate)?,
            certificate,
            key: self.file(stem, "key"),
            list: self.file(stem, "crl"),
        })
    }

    /// The authorities that are there, the issuing one first.
    fn places(&self) -> Result<Vec<Place>, FolderError> {
        let mut places = Vec::new();
        for stem in [INTERMEDIATE, ROOT] {
            if stem == ROOT || self.file(stem, "crt").exists() {
                places.push(self.place(stem)?);
            }
        }
        Ok(places)
    }

    /// The authority that issues: the intermediate, or the root where there is none.
    fn issuing(&self) -> Result<Place, FolderError> {
        if !self.file(INTERMEDIATE, "crt").exists() {
            return self.place(ROOT);
        }
        self.refuse_revoked_intermediate()?;
        self.place(INTERMEDIATE)
    }

    fn refuse_revoked_intermediate(&self) -> Result<(), FolderError> {
        let intermediate = self.place(INTERMEDIATE)?;
        if self.place(ROOT)?.revoked(&intermediate.der)? {
            return Err(FolderError::IntermediateRevoked(intermediate.certificate));
        }
        Ok(())
    }

    fn issuer_of(&self, der: &CertificateDer<'_>, path: &Path) -> Result<Place, FolderError> {
        self.places()?
            .into_iter()
            .find(|place| issued_by(der, &place.der))
            .ok_or_else(|| FolderError::Foreign {
                certificate: path.to_owned(),
                folder: self.path.clone(),
            })
    }
}

impl Place {
    fn load(&self) -> Result<Authority, FolderError> {
        let Self {
            stem,
            certificate,
            key,
            ..
        } = self;
        let key_pem = fs::read_to_string(key).map_err(|source| FolderError::Key {
            path: key.clone(),
            source,
        })?;
        let certificate_pem = String::from_utf8_lossy(&read_file(certificate)?).into_owned();
        Authority::load(&certificate_pem, &key_pem, *stem == INTERMEDIATE).map_err(|source| {
            FolderError::Authority {
                certificate: certificate.clone(),
                key: key.clone(),
                source,
            }
        })
    }

    /// `None` when there is no list.
    fn read_list(&self) -> Result<Option<RevocationList>, FolderError> {
        if !self.list.exists() {
            return Ok(None);
        }
        let bytes = read_file(&self.list)?;
        let list = RevocationList::read(&bytes, &self.der).map_err(|source| FolderError::List {
            path: self.list.clone(),
            source,
        })?;
        Ok(Some(list))
    }

    fn revoked(&self, der: &CertificateDer<'_>) -> Result<bool, FolderError> {
        let list = self.read_list()?;
        let serial = parse(der).map(|parsed| parsed.raw_serial().to_vec());
        Ok(match (list, serial) {
            (Some(list), Ok(serial)) => list.find(&serial).is_some(),
            _ => false,
        })
    }

    fn outlives(&self, not_after: SystemTime) -> Result<(), FolderError> {
        let Ok(parsed) = parse(&self.der) else {
            return Ok(());
        };
        let end = system_time(parsed.validity().not_after);
        if not_after <= end {
            return Ok(());
        }
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        Err(FolderError::Outlives {
            authority: self.certificate.clone(),
            days: left.as_secs() / DAY.as_secs(),
        })
    }
}

/// Locks a folder against other commands that change what is in it, until the file is dropped.
pub(super) fn lock_folder(path: &Path) -> Result<File, FolderError> {
    let failed = |source| FolderError::Lock {
        path: path.to_owned(),
        source,
    };
    // The folder itself is locked, so that no file of ours lies about in it.
    let file = File::open(path).map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                return Err(FolderError::Busy(path.to_owned()));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn leaf_file(path: &Path) -> Result<CertificateDer<'static>, FolderError> {
    Ok(read_certificates(path)?.remove(0))
}

fn signed(
    list: &mut RevocationList,
    authority: &Authority,
    lifetime: Duration,
    path: &Path,
) -> Result<String, FolderError> {
    list.sign(authority, SystemTime::now(), lifetime)
        .map_err(|source| FolderError::List {
            path: path.to_owned(),
            source,
        })
}

/// A link to nowhere stands in the way too.
fn refuse_existing(path: &Path, other: &'static str) -> Result<(), FolderError> {
    match path.symlink_metadata() {
        Ok(_) => Err(FolderError::Exists(path.to_owned(), other)),
        Err(_) => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), FolderError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Write {
            path: path.to_owned(),
            source,
        }
        .into()),
        _ => Ok(()),
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Whether it can be the name of an issued certificate's files, without ending: 1 to 64 of `A–Z a–z 0–9 . _ @ -`, not
/// beginning with a dot or a hyphen, and not an authority's name.
#[must_use]
pub fn is_file_stem(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    (1..=64).contains(&text.len())
        && text.bytes().all(plain)
        && !text.starts_with(['.', '-'])
        && ![ROOT, INTERMEDIATE].contains(&text.to_ascii_lowercase().as_str())
}
