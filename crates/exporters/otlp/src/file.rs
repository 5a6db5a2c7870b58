//! A file as a wire: one payload a line, appended.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use hiq_core::config::ConfigError;
use hiq_core::export::Deadline;
use hiq_core::transport::{
    Outcome, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind,
    TransportLimits,
};

/// Bytes of a line at most: readers hold a line in memory.
const MAX_LINE_BYTES: usize = 16 << 20;

/// Appends each payload as a line of its own, whole or not at all: several processes may write to one file.
#[derive(Debug)]
pub struct FileTransport {
    path: PathBuf,
    file: File,
    line: Vec<u8>,
    settled: Vec<Outcome>,
}

impl FileTransport {
    /// Opens `path` for appending; it is made if need be. `/dev/stdout` is what this process has as its standard output.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let file = open(path).map_err(|error| {
            let problem = format!("{} cannot be written: {error}", path.display());
            let fix = "name a file in a folder that exists and that you may write to";
            ConfigError::new("path", problem, fix)
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            line: Vec::new(),
            settled: Vec::new(),
        })
    }

    fn append(&mut self, body: &[u8]) -> Result<Reply, TransportError> {
        self.line.clear();
        self.line.extend_from_slice(body);
        self.line.push(b'\n');
        self.append_line()
            .map(|()| Reply::Acknowledged)
            .map_err(|error| {
                let path = self.path.display();
                let message = format!("{path} cannot be written: {error}");
                TransportError::new(TransportErrorKind::Io, message)
            })
    }

    /// In one write, so that lines of several processes do not mix. Of a line that does not fit nothing stays.
    fn append_line(&mut self) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let written = self.file.write(&self.line)?;
        let rest = self.file.write_all(&self.line[written..]);
        if rest.is_err() && self.file.metadata()?.len() == before + written as u64 {
            self.file.set_len(before)?;
        }
        rest
    }
}

impl Transport for FileTransport {
    fn limits(&self) -> TransportLimits {
        TransportLimits::one_at_a_time(MAX_LINE_BYTES)
    }

    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, _deadline: &Deadline) {
        let result = self.append(payload.body);
        self.settled.push(Outcome::new(id, result));
    }

    fn poll(&mut self, _deadline: &Deadline, outcomes: &mut Vec<Outcome>) {
        outcomes.append(&mut self.settled);
    }
}

fn open(path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    if path == Path::new("/dev/stdout") {
        use std::os::fd::AsFd as _;
        // Opened anew, a file would have two places where it is written, ours and the program's.
        return io::stdout().as_fd().try_clone_to_owned().map(File::from);
    }
    OpenOptions::new().create(true).append(true).open(path)
}
