//! Where a converted file comes to stand. What is there stays as it is until something whole can take its place.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use hiq_core::config::ConfigError;
use hiq_core::id::SpanId;

/// A place, and the file beside it that is being written; that one is gone with the value.
#[derive(Debug)]
pub(super) struct Place {
    target: Target,
    partial: PathBuf,
    /// What was made for `partial` alone.
    folder: Option<PathBuf>,
}

#[derive(Debug)]
enum Target {
    /// Nothing is there.
    New(PathBuf),
    /// A file, behind all links.
    File(PathBuf),
    /// A device, a named pipe: bytes go into it.
    Stream(PathBuf),
    Socket(PathBuf),
    StandardOutput,
}

/// The name of standard output, and of standard input.
pub(super) const DASH: &str = "-";

impl Place {
    /// The place called `path`.
    pub(super) fn of(path: &Path) -> Result<Self, ConfigError> {
        let target = Target::of(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!(".{}-{name}", std::process::id());
        let (folder, partial) = match &target {
            Target::New(path) | Target::File(path) => (None, path.with_file_name(name)),
            Target::Stream(_) | Target::Socket(_) | Target::StandardOutput => {
                let folder = own_folder().map_err(|error| {
                    let fix = "set TMPDIR to a folder with room";
                    ConfigError::new("OUT", format!("no place to write at: {error}"), fix)
                })?;
                let partial = folder.join(name);
                (Some(folder), partial)
            }
        };
        // What an earlier, interrupted run of the same number left behind.
        let _ = fs::remove_file(&partial);
        Ok(Self {
            target,
            partial,
            folder,
        })
    }

    /// The file to write.
    pub(super) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Brings what was written to its place. A file that is there gives way to a whole one only.
    pub(super) fn fill(&self, is_whole: bool) -> Result<(), String> {
        let said = |path: &Path, error: io::Error| {
            format!("{} cannot be written: {error}", path.display())
        };
        match &self.target {
            Target::New(path) => fs::rename(&self.partial, path).map_err(|error| said(path, error)),
            Target::File(path) if !is_whole => {
                let advice = "since not all could be read; name another file, or remove it first";
                Err(format!("{} stays as it was, {advice}", path.display()))
            }
            Target::File(path) => self.replace(path).map_err(|error| said(path, error)),
            Target::Stream(path) => {
                let stream = OpenOptions::new().write(true).open(path);
                let copied = stream.and_then(|mut stream| self.copy_to(&mut stream));
                copied.map_err(|error| said(path, error))
            }
            Target::Socket(path) => {
                let copied = self.copy_to_socket(path);
                copied.map_err(|error| said(path, error))
            }
            Target::StandardOutput => {
                let copied = standard_output().and_then(|mut stream| self.copy_to(&mut stream));
                copied.map_err(|error| said(Path::new("standard output"), error))
            }
        }
    }

    fn replace(&self, path: &Path) -> io::Result<()> {
        fs::set_permissions(&self.partial, fs::metadata(path)?.permissions())?;
        fs::rename(&self.partial, path)
    }

    fn copy_to(&self, stream: &mut dyn io::Write) -> io::Result<()> {
        io::copy(&mut File::open(&self.partial)?, stream)?;
        stream.flush()
    }

    #[cfg(unix)]
    fn copy_to_socket(&self, path: &Path) -> io::Result<()> {
        self.copy_to(&mut std::os::unix::net::UnixStream::connect(path)?)
    }

    #[cfg(not(unix))]
    fn copy_to_socket(&self, path: &Path) -> io::Result<()> {
        self.copy_to(&mut OpenOptions::new().write(true).open(path)?)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.partial);
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Target {
    fn of(path: &Path) -> Result<Self, ConfigError> {
        // What the shell opened is written on, wherever its end is.
        if path == Path::new(DASH) || path == Path::new("/dev/stdout") {
            return Ok(Self::StandardOutput);
        }
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::new(path),
            Err(error) => return Err(refused(path, &error.to_string())),
        };
        if found.is_dir() {
            return Err(refused(path, "it is a directory"));
        }
        if found.is_file() {
            let behind_links = fs::canonicalize(path);
            let behind_links = behind_links.map_err(|error| refused(path, &error.to_string()))?;
            return Ok(Self::File(behind_links));
        }
        let is_socket = is_socket(&found);
        let path = path.to_owned();
        Ok(if is_socket {
            Self::Socket(path)
        } else {
            Self::Stream(path)
        })
    }

    /// A file that is not there yet; a link to one makes that.
    fn new(path: &Path) -> Result<Self, ConfigError> {
        let mut path = path.to_owned();
        for _ in 0..40 {
            let Ok(link) = fs::read_link(&path) else {
                break;
            };
            path = path.parent().unwrap_or(Path::new("")).join(link);
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        match folder {
            Some(folder) if !folder.is_dir() => {
                let problem = format!("{} is no directory", folder.display());
                Err(refused(&path, &problem))
            }
            _ if path.file_name().is_none() => Err(refused(&path, "it is not the name of a file")),
            _ => Ok(Self::New(path)),
        }
    }
}

fn refused(path: &Path, problem: &str) -> ConfigError {
    let problem = format!("{} cannot be written: {problem}", path.display());
    ConfigError::new(
        "OUT",
        problem,
        "name a file in a folder that exists and that you may write to",
    )
}

/// A folder that nobody else can look into.
fn own_folder() -> io::Result<PathBuf> {
    let folder =
        std::env::temp_dir().join(format!("hiq-{}-{}", std::process::id(), SpanId::next()));
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder)?;
    Ok(folder)
}

#[cfg(unix)]
fn is_socket(found: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&found.file_type())
}

#[cfg(not(unix))]
fn is_socket(_: &fs::Metadata) -> bool {
    false
}

/// Another handle of this process's standard output.
#[cfg(unix)]
fn standard_output() -> io::Result<File> {
    use std::os::fd::AsFd as _;
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(not(unix))]
fn standard_output() -> io::Result<io::Stdout> {
    Ok(io::stdout())
}

/// Another handle of this process's standard input.
#[cfg(unix)]
pub(super) fn standard_input() -> io::Result<File> {
    use std::os::fd::AsFd as _;
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(not(unix))]
pub(super) fn standard_input() -> io::Result<File> {
    Err(io::Error::other(
        "standard input cannot be read on this system",
    ))
}
