//! A mounted Secret or ConfigMap, as the kubelet keeps it: files that all change at once.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{PermissionsExt as _, chown, lchown, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";

/// Who may read a volume's files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ownership {
    pub(crate) mode: u32,
    /// `None`: the group of who mounts.
    pub(crate) group: Option<u32>,
}

/// The folder of one volume. Each of its files is a link through `..data`, a link to the folder of one generation, which a rename
/// replaces: no reader finds files of two generations under it, though one who reads file after file may still see two.
pub(crate) struct KubeletVolume {
    folder: PathBuf,
    ownership: Option<Ownership>,
    generations: AtomicU32,
}

impl KubeletVolume {
    /// A volume in a folder that is made for it, with these files.
    pub(crate) fn mount(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> io::Result<Self> {
        Self::create(folder, files, None)
    }

    /// The same with a mode and a group, as a Pod's security context has them.
    pub(crate) fn mount_as(
        folder: &Path,
        files: &BTreeMap<String, Vec<u8>>,
        ownership: Ownership,
    ) -> io::Result<Self> {
        Self::create(folder, files, Some(ownership))
    }

    fn create(
        folder: &Path,
        files: &BTreeMap<String, Vec<u8>>,
        ownership: Option<Ownership>,
    ) -> io::Result<Self> {
        fs::create_dir(folder)?;
        let volume = Self {
            folder: folder.to_owned(),
            ownership,
            generations: AtomicU32::new(0),
        };
        volume.give_folder(folder)?;
        volume.update(files)?;
        Ok(volume)
    }

    /// The path of a file, which stays the same.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Puts these files in the place of all that were there, at once; nothing happens where they are the same.
    pub(crate) fn update(&self, files: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        let data = self.folder.join(DATA);
        let old = fs::read_link(&data).ok();
        let old_files = match &old {
            Some(old) => read(&self.folder.join(old))?,
            None => BTreeMap::new(),
        };
        if old.is_some() && old_files == *files {
            return Ok(());
        }
        let number = self.generations.fetch_add(1, Ordering::Relaxed);
        let generation = format!("..2026_01_02_03_04_05.{number:09}");
        let folder = self.folder.join(&generation);
        fs::create_dir(&folder)?;
        self.give_folder(&folder)?;
        for (name, content) in files {
            let file = folder.join(name);
            fs::write(&file, content)?;
            if let Some(Ownership { mode, group }) = self.ownership {
                chown(&file, None, group)?;
                fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
            }
        }
        symlink(&generation, self.folder.join(NEXT))?;
        fs::rename(self.folder.join(NEXT), &data)?;
        for name in files.keys().filter(|name| !old_files.contains_key(*name)) {
            symlink(Path::new(DATA).join(name), self.folder.join(name))?;
        }
        for name in old_files.keys().filter(|name| !files.contains_key(*name)) {
            fs::remove_file(self.folder.join(name))?;
        }
        match old {
            Some(old) => fs::remove_dir_all(self.folder.join(old)),
            None => Ok(()),
        }
    }

    /// A folder is entered by whoever is of the group; its files' modes decide the rest.
    fn give_folder(&self, folder: &Path) -> io::Result<()> {
        let Some(Ownership { group, .. }) = self.ownership else {
            return Ok(());
        };
        lchown(folder, None, group)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o2755))
    }
}

fn read(folder: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    fs::read_dir(folder)?
        .map(|entry| {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap();
            Ok((name, fs::read(entry.path())?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec()))
            .collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with("..2"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_volume_has_the_files_of_one_generation() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("volume");
        let volume =
            KubeletVolume::mount(&folder, &files(&[("tls.crt", "1"), ("ca.crt", "a")])).unwrap();
        let generation = fs::read_link(folder.join(DATA)).unwrap();
        volume
            .update(&files(&[("tls.crt", "1"), ("ca.crt", "a")]))
            .unwrap();
        assert_eq!(fs::read_link(folder.join(DATA)).unwrap(), generation);

        volume
            .update(&files(&[("tls.crt", "2"), ("tls.key", "b")]))
            .unwrap();
        assert_eq!(fs::read_to_string(volume.path("tls.crt")).unwrap(), "2");
        assert_eq!(fs::read_to_string(volume.path("tls.key")).unwrap(), "b");
        assert_eq!(names(&folder), ["..data", "tls.crt", "tls.key"]);
        assert!(!folder.join(generation).exists());
    }
}
