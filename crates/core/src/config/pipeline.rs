//! Queue, batches, deadlines and spool.

use std::path::PathBuf;
use std::time::Duration;

use super::ConfigError;
use super::reader::{Reader, unlimited_if_zero};

/// How spans wait, leave and are given up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipelineSettings {
    /// `OTEL_BSP_SCHEDULE_DELAY`: how long a batch that is not full waits; 5 s.
    pub schedule_delay: Duration,
    /// `OTEL_BSP_EXPORT_TIMEOUT`: how long one series of attempts may take; 30 s, `None`: no limit.
    pub export_timeout: Option<Duration>,
    /// `OTEL_BSP_MAX_QUEUE_SIZE`: spans that wait at most; 65,536.
    pub max_queue_spans: usize,
    /// `HIQ_QUEUE_BYTES`: memory that waiting spans take at most; 64 MiB.
    pub max_queue_bytes: usize,
    /// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`: spans that are handed to an exporter together; 512, at most the queue.
    pub max_batch_spans: usize,
    /// `HIQ_QUEUE_MAX_AGE`: how long spans, or points, wait without a spool before they are given up; 5 min.
    pub max_age: Duration,
    /// `HIQ_SHUTDOWN_TIMEOUT`: the one deadline of flush and shutdown at exit; 5 s.
    pub shutdown_timeout: Duration,
    /// `HIQ_SPOOL_DIR` and its limits; `None`: spans wait in memory only.
    pub spool: Option<SpoolSettings>,
}

/// Where and how much is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolSettings {
    /// `HIQ_SPOOL_DIR`: the directory; each process makes its own inside.
    pub dir: PathBuf,
    /// `HIQ_SPOOL_MAX_BYTES`: bytes on disk for one exporter of one process; 512 MiB.
    pub max_bytes: u64,
    /// `HIQ_SPOOL_MAX_AGE`: how long a record is kept; 7 days.
    pub max_age: Duration,
}

impl Default for PipelineSettings {
    fn default() -> Self {
        Self {
            schedule_delay: Duration::from_secs(5),
            export_timeout: Some(Duration::from_secs(30)),
            max_queue_spans: 65_536,
            max_queue_bytes: 64 << 20,
            max_batch_spans: 512,
            max_age: Duration::from_secs(5 * 60),
            shutdown_timeout: Duration::from_secs(5),
            spool: None,
        }
    }
}

impl SpoolSettings {
    /// A spool in `dir` of at most 512 MiB, whose records live 7 days.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            max_bytes: 512 << 20,
            max_age: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

impl PipelineSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let mut settings = Self {
            schedule_delay: reader
                .millis(&["OTEL_BSP_SCHEDULE_DELAY"])
                .unwrap_or(default.schedule_delay),
            export_timeout: reader
                .millis(&["OTEL_BSP_EXPORT_TIMEOUT"])
                .map_or(default.export_timeout, unlimited_if_zero),
            max_queue_spans: reader
                .number(&["OTEL_BSP_MAX_QUEUE_SIZE"], 1)
                .unwrap_or(default.max_queue_spans),
            max_queue_bytes: reader
                .number(&["HIQ_QUEUE_BYTES"], 1)
                .unwrap_or(default.max_queue_bytes),
            max_batch_spans: reader
                .number(&["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"], 1)
                .unwrap_or(default.max_batch_spans),
            max_age: reader
                .millis(&["HIQ_QUEUE_MAX_AGE"])
                .unwrap_or(default.max_age),
            shutdown_timeout: reader
                .millis(&["HIQ_SHUTDOWN_TIMEOUT"])
                .unwrap_or(default.shutdown_timeout),
            spool: read_spool(reader),
        };
        settings.shrink_batch(reader);
        settings
    }

    /// Only a batch size that somebody wrote is worth a warning; the default just follows a small queue.
    fn shrink_batch(&mut self, reader: &mut Reader<'_>) {
        if self.max_batch_spans <= self.max_queue_spans {
            return;
        }
        if self.max_batch_spans != Self::default().max_batch_spans {
            reader.warn(
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                format!(
                    "{} spans are more than the queue holds; {} are used",
                    self.max_batch_spans, self.max_queue_spans
                ),
            );
        }
        self.max_batch_spans = self.max_queue_spans;
    }

    /// Checks values that code has set.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("max_queue_spans", self.max_queue_spans),
            ("max_queue_bytes", self.max_queue_bytes),
            ("max_batch_spans", self.max_batch_spans),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(ConfigError::new(
                *name,
                "0 lets nothing through",
                "give at least 1",
            ));
        }
        if self.max_batch_spans > self.max_queue_spans {
            return Err(ConfigError::new(
                "max_batch_spans",
                format!(
                    "a batch of {} spans is larger than the queue of {}",
                    self.max_batch_spans, self.max_queue_spans
                ),
                format!("give at most {}", self.max_queue_spans),
            ));
        }
        Ok(())
    }
}

fn read_spool(reader: &mut Reader<'_>) -> Option<SpoolSettings> {
    let max_bytes = reader.number(&["HIQ_SPOOL_MAX_BYTES"], 1);
    let max_age = reader.millis(&["HIQ_SPOOL_MAX_AGE"]);
    let dir = reader.text("HIQ_SPOOL_DIR")?;
    // As it is meant now: the program may go to another folder before there is something to keep.
    let default = SpoolSettings::new(std::path::absolute(dir).unwrap_or_else(|_| dir.into()));
    Some(SpoolSettings {
        max_bytes: max_bytes.unwrap_or(default.max_bytes),
        max_age: max_age.unwrap_or(default.max_age),
        dir: default.dir,
    })
}
