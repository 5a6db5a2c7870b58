//! From settings to something that a pipeline runs.

use std::path::PathBuf;

use hiq_core::batch::TreeBatch;
use hiq_core::config::{ConfigError, Env};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::export::Exporter;
use hiq_core::time::UnixNanos;

use crate::frame::default_base;
use crate::{ChromeEncoder, ChromeSettings, TraceFile, TraceFormat};

/// Writes spans to a trace file that Perfetto's viewer, vizviewer and `chrome://tracing` open.
///
/// ```
/// use hiq_chrome::ChromeExporter;
/// use hiq_core::pipeline::Pipeline;
///
/// # let folder = tempfile::tempdir().unwrap();
/// let chrome = ChromeExporter::new(folder.path().join("trace.json.gz"))?;
/// let pipeline = Pipeline::builder().exporter("chrome", move || chrome.build()).build();
/// # drop(pipeline);
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChromeExporter {
    settings: ChromeSettings,
    base: Option<UnixNanos>,
    delivery: DeliveryOptions,
}

impl ChromeExporter {
    /// Writes to `path`, in the format that its name says. What [`ChromeExporter::with_settings`] says holds here as well.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let env = Env::from_pairs::<&str, &str>([]);
        Self::with_settings(ChromeSettings::new(Some(path.into()), None, &env)?)
    }

    /// Checks that the file can be written to. One that is not there is made, one that hiq wrote is continued, any other refused.
    pub fn with_settings(settings: ChromeSettings) -> Result<Self, ConfigError> {
        Self::with_first_span(settings, None)
    }

    /// The same for spans of another time, the first of which starts at `first`: a new file's times count from weeks before.
    pub fn with_first_span(
        settings: ChromeSettings,
        first: Option<UnixNanos>,
    ) -> Result<Self, ConfigError> {
        let base = first.map(default_base);
        TraceFile::open(&settings.path, settings.format, base)?;
        let mut delivery = DeliveryOptions::default();
        delivery.max_payload_bytes = usize::MAX;
        Ok(Self {
            settings,
            base,
            delivery,
        })
    }

    /// How payloads are delivered: how long a full disk is waited for.
    pub fn delivery_mut(&mut self) -> &mut DeliveryOptions {
        &mut self.delivery
    }

    /// The file, for messages.
    pub fn target(&self) -> String {
        self.settings.path.display().to_string()
    }

    /// The exporter. A pipeline calls this on the worker's thread, in each process anew.
    pub fn build(&self) -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> {
        let file = TraceFile::open(&self.settings.path, self.settings.format, self.base)?;
        let delivery = self.delivery.clone();
        Ok(match self.settings.format {
            TraceFormat::ChromeJson => {
                let encoder = ChromeEncoder::bare(file.base());
                Box::new(EncodedExporter::new(encoder, file, delivery))
            }
            TraceFormat::Perfetto => Box::new(EncodedExporter::new(
                crate::PerfettoEncoder::new(),
                file,
                delivery,
            )),
        })
    }
}
