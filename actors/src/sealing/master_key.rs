//! The one key that is in no database: a file that only its owner can read.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use crate::{
    random,
    sealing::{SealingError, cipher::Cipher},
};

const FILE: &str = "master.key";
const KEY_BYTES: usize = 32;

/// Reads the master key; makes it if there is none.
pub(super) fn open(data_dir: &Path) -> Result<Cipher, SealingError> {
    let path = data_dir.join(FILE);
    read_or_make(data_dir, &path)
        .map(|key| Cipher::new(&key))
        .map_err(|reason| SealingError::MasterKey { path: path.display().to_string(), reason })
}

pub(super) fn is_there(data_dir: &Path) -> bool {
    data_dir.join(FILE).exists()
}

/// What to say where there has to be one.
pub(super) fn missing(data_dir: &Path) -> SealingError {
    SealingError::MasterKey {
        path: data_dir.join(FILE).display().to_string(),
        reason: "it is missing, and this database has keys that only it opens: copy it from the \
                 data directory of the first server"
            .to_owned(),
    }
}

fn read_or_make(data_dir: &Path, path: &Path) -> Result<[u8; KEY_BYTES], String> {
    match File::open(path) {
        Ok(file) => read(file),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(data_dir, path).map_err(|error| error.to_string())?;
            read(File::open(path).map_err(|error| error.to_string())?)
        }
        Err(error) => Err(error.to_string()),
    }
}

fn read(mut file: File) -> Result<[u8; KEY_BYTES], String> {
    const READABLE_BY_OTHERS: u32 = 0o077;
    let mode = file.metadata().map_err(|error| error.to_string())?.permissions().mode();
    if mode & READABLE_BY_OTHERS != 0 {
        return Err("others may read it: chmod 600".to_owned());
    }
    let mut key = Vec::with_capacity(KEY_BYTES);
    file.read_to_end(&mut key).map_err(|error| error.to_string())?;
    key.try_into().map_err(|_| format!("it does not have {KEY_BYTES} bytes"))
}

/// Written beside its place first, so that a crash leaves a whole key or none.
fn make(data_dir: &Path, path: &Path) -> std::io::Result<()> {
    let draft = data_dir.join(format!("{FILE}.{}", random::hex(&random::bytes::<4>())));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(&random::bytes::<KEY_BYTES>())?;
    file.sync_all()?;
    // A hard link does not replace a key that somebody else has put there meanwhile.
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    File::open(data_dir)?.sync_all()?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
