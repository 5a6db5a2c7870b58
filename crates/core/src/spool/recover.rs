//! What dead processes left: adopted, read one record at a time, handed out once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::format::{self, FILE_HEADER_BYTES, FileHeader, Parts};
use super::home::{self, Home, HomeKey, SegmentFile};
use super::scan::{Found, Scanner};
use super::segment::{Segment, SegmentKey};
use super::{RecordId, Spool, SpoolError, StoredRecord, files};
use crate::time::{Clock, duration_nanos};

/// What [`Spool::next_recovered`] found.
#[derive(Debug)]
#[non_exhaustive]
pub enum Recovered {
    /// A payload to be delivered and then settled.
    Record(StoredRecord),
    /// A record that is older than the age limit; it is settled already.
    Expired {
        /// What was in it.
        items: u32,
    },
    /// A record whose bytes are damaged; it is passed over.
    Corrupt {
        /// What was in it, as far as that can still be told; else 0.
        items: u32,
    },
}

/// What was found damaged since the spool was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Places where a record should have been and was not whole.
    pub records: u64,
    /// Items in them, as far as that could be told.
    pub items: u64,
    /// Bytes passed over.
    pub bytes: u64,
    /// Files that end in a record whose writing was cut off: the trace of a killed process, not a defect.
    pub torn_ends: u64,
    /// Files in which nothing could be read, put into quarantine.
    pub files: u64,
    /// Files of a newer version, left alone.
    pub newer_files: u64,
}

/// Homes that are owned and not read to the end.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    homes: BTreeMap<HomeKey, AdoptedHome>,
    next_home: u32,
    waiting: VecDeque<(HomeKey, SegmentFile)>,
    reading: Option<(SegmentKey, Scanner)>,
    /// Whole records in the file that is read, settled ones among them.
    records_in_file: u64,
    damaged_in_file: bool,
    /// More orphans were seen than may be held at once.
    more: bool,
    /// Homes with files that are left as they are; not adopted again.
    left_alone: BTreeSet<PathBuf>,
    damage: Damage,
}

#[derive(Debug)]
struct AdoptedHome {
    home: Home,
    segments: usize,
}

/// Homes held at once: each costs a descriptor.
const MAX_HOMES: usize = 16;

impl Spool {
    /// The next record that a dead process left; `None` when there is none left. Reads one record into memory.
    ///
    /// Each record is handed out once; those of living processes, this one among them, are not.
    pub fn next_recovered(&mut self) -> Option<Recovered> {
        loop {
            if let Some((key, scanner)) = &mut self.backlog.reading {
                let (key, next) = (*key, scanner.next());
                match next {
                    Ok(Some(found)) => {
                        let recovered = self.judge(key, found);
                        if recovered.is_some() {
                            return recovered;
                        }
                    }
                    Ok(None) => self.finish_reading(key),
                    Err(error) => self.stop_reading(key, error),
                }
            } else if let Some((home, file)) = self.backlog.waiting.pop_front() {
                if let Err(error) = self.begin_reading(home, &file) {
                    self.notices.push(error.to_string());
                    self.leave_alone(home, &file);
                }
            } else if !self.adopt_more() {
                return None;
            }
        }
    }

    /// What was found damaged since the spool was opened.
    pub fn damage(&self) -> Damage {
        self.backlog.damage
    }

    /// Takes over the homes of dead processes, as many as may be held at once.
    pub(super) fn adopt_orphans(&mut self) {
        self.backlog.more = false;
        home::remove_unfinished(&self.exporter_dir);
        for path in home::orphan_paths(&self.exporter_dir) {
            if self.backlog.left_alone.contains(&path) {
                continue;
            }
            if self.backlog.homes.len() >= MAX_HOMES {
                self.backlog.more = true;
                return;
            }
            match Home::adopt(&path) {
                Ok(Some(home)) => self.take_in(home),
                Ok(None) => {}
                Err(error) => {
                    self.notices.push(error.to_string());
                    self.backlog.left_alone.insert(path);
                }
            }
        }
    }

    fn adopt_more(&mut self) -> bool {
        if self.backlog.more && self.backlog.homes.len() < MAX_HOMES {
            self.adopt_orphans();
        }
        !self.backlog.waiting.is_empty()
    }

    fn take_in(&mut self, home: Home) {
        let found = home::segments(home.path());
        if found.is_empty() {
            home.remove();
            return;
        }
        let key = HomeKey(self.backlog.next_home);
        self.backlog.next_home += 1;
        let segments = found.len();
        self.backlog
            .homes
            .insert(key, AdoptedHome { home, segments });
        for file in found {
            self.used_bytes += file.bytes;
            self.backlog.waiting.push_back((key, file));
        }
    }

    fn begin_reading(&mut self, home: HomeKey, found: &SegmentFile) -> Result<(), SpoolError> {
        let file = files::open(&found.path)?;
        let failed = |error| SpoolError::io("read", &found.path, error);
        let records_at = match read_header(&file).map_err(failed)? {
            FileHeader::Good { records_at } => records_at,
            // The salt is in the file's name: records behind a damaged header can still be told.
            FileHeader::Damaged => 0,
            FileHeader::Newer { version } => {
                self.backlog.damage.newer_files += 1;
                let (path, known) = (found.path.clone(), format::VERSION);
                return Err(SpoolError::Newer {
                    path,
                    version,
                    known,
                });
            }
        };
        let scanner = Scanner::new(file, found.salt, records_at).map_err(failed)?;
        let key = SegmentKey(self.next_key);
        self.next_key += 1;
        let segment = Segment {
            path: found.path.clone(),
            salt: found.salt,
            home: Some(home),
            bytes: found.bytes,
            live: 0,
            complete: false,
        };
        self.segments.insert(key, segment);
        self.backlog.records_in_file = 0;
        self.backlog.damaged_in_file = false;
        self.backlog.reading = Some((key, scanner));
        Ok(())
    }

    /// A file that cannot be used stays where it is.
    fn leave_alone(&mut self, home: HomeKey, file: &SegmentFile) {
        self.used_bytes = self.used_bytes.saturating_sub(file.bytes);
        if let Some(adopted) = self.backlog.homes.get(&home) {
            let path = adopted.home.path().to_owned();
            self.backlog.left_alone.insert(path);
        }
        self.leave_home(Some(home));
    }

    fn judge(&mut self, key: SegmentKey, found: Found) -> Option<Recovered> {
        let (offset, header, content) = match found {
            Found::Record {
                offset,
                header,
                content,
            } => (offset, header, content),
            Found::Damaged { items, bytes } => return Some(self.corrupt(items, bytes)),
            Found::Torn { .. } => {
                self.backlog.damage.torn_ends += 1;
                return None;
            }
        };
        self.backlog.records_in_file += 1;
        let segment = self.segments.get_mut(&key)?;
        if header.is_settled {
            return None;
        }
        let age_nanos = duration_nanos(header.written(), Clock::unix_nanos());
        if u128::from(age_nanos) >= self.limits.max_age.as_nanos() {
            segment.mark_settled(offset);
            return Some(Recovered::Expired {
                items: header.items,
            });
        }
        let Ok(content) = Parts::parse(&content, &header) else {
            return Some(self.corrupt(header.items, header.content_bytes()));
        };
        segment.live += 1;
        let id = RecordId {
            segment: key,
            offset,
        };
        Some(Recovered::Record(content.into_stored(id, &header)))
    }

    fn corrupt(&mut self, items: u32, bytes: u64) -> Recovered {
        let damage = &mut self.backlog.damage;
        damage.records += 1;
        damage.items += u64::from(items);
        damage.bytes += bytes;
        self.backlog.damaged_in_file = true;
        Recovered::Corrupt { items }
    }

    /// All records of the file are known now.
    fn finish_reading(&mut self, key: SegmentKey) {
        self.backlog.reading = None;
        let unreadable = self.backlog.damaged_in_file && self.backlog.records_in_file == 0;
        if unreadable {
            self.put_into_quarantine(key);
        }
        let Some(segment) = self.segments.get_mut(&key) else {
            return;
        };
        segment.complete = true;
        if segment.is_done() {
            self.delete_segment(key);
        }
    }

    fn put_into_quarantine(&mut self, key: SegmentKey) {
        let Some(segment) = self.segments.get(&key) else {
            return;
        };
        self.backlog.damage.files += 1;
        let notice = match home::quarantine(&self.exporter_dir, &segment.path) {
            Ok(there) => format!(
                "nothing in {} could be read; it is kept as {}",
                segment.path.display(),
                there.display()
            ),
            Err(error) => error.to_string(),
        };
        self.notices.push(notice);
    }

    /// The rest of the file is for the next process to try.
    fn stop_reading(&mut self, key: SegmentKey, error: io::Error) {
        self.backlog.reading = None;
        let path = self.segments.get(&key).map(|segment| segment.path.clone());
        let error = SpoolError::io("read", &path.unwrap_or_default(), error);
        self.notices.push(error.to_string());
    }

    /// One segment less in a home; an empty one is removed.
    pub(super) fn leave_home(&mut self, home: Option<HomeKey>) {
        let Some(key) = home else {
            return;
        };
        let Some(adopted) = self.backlog.homes.get_mut(&key) else {
            return;
        };
        adopted.segments -= 1;
        if adopted.segments == 0 {
            adopted.home.remove();
            self.backlog.homes.remove(&key);
        }
    }
}

fn read_header(file: &File) -> io::Result<FileHeader> {
    let mut bytes = [0; FILE_HEADER_BYTES];
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(FileHeader::Damaged),
        Err(error) => Err(error),
        Ok(()) => Ok(FileHeader::parse(&bytes)),
    }
}
