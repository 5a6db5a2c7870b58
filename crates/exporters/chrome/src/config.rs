//! Which file, and in which format.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use hiq_core::config::{ConfigError, Env};

/// The two formats of a trace file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceFormat {
    /// Chrome's Trace Event JSON: Perfetto's viewer, vizviewer, `chrome://tracing`.
    ChromeJson,
    /// Perfetto's protobuf: a third of the size, and no limit on numbers.
    Perfetto,
}

impl TraceFormat {
    /// What a file of this name holds: Perfetto for `.pftrace`, `.perfetto-trace` and `.pb`, also before `.gz`, else Chrome's JSON.
    pub fn of_path(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let is_perfetto = [".pftrace", ".perfetto-trace", ".pb"]
            .iter()
            .any(|end| name.ends_with(end));
        if is_perfetto {
            Self::Perfetto
        } else {
            Self::ChromeJson
        }
    }

    /// Its name in a sentence.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::ChromeJson => "Chrome JSON",
            Self::Perfetto => "Perfetto",
        }
    }
}

impl FromStr for TraceFormat {
    type Err = ConfigError;

    /// `chrome` or `perfetto`.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "chrome" => Ok(Self::ChromeJson),
            "perfetto" => Ok(Self::Perfetto),
            other => Err(ConfigError::new(
                "format",
                format!("`{other}` is not a format of trace files"),
                "use chrome or perfetto",
            )),
        }
    }
}

/// What a [`ChromeExporter`](crate::ChromeExporter) is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChromeSettings {
    /// The file. Default: `HIQ_CHROME_FILE`, else `hiq-trace.json.gz` in the current folder.
    pub path: PathBuf,
    /// What it holds. Default: as its name says, see [`TraceFormat::of_path`].
    pub format: TraceFormat,
}

impl ChromeSettings {
    /// The variable that names the file.
    pub const FILE_VARIABLE: &'static str = "HIQ_CHROME_FILE";
    /// The file when nobody names one.
    pub const DEFAULT_FILE: &'static str = "hiq-trace.json.gz";

    /// From code, where it says something, else from `env`, else the defaults.
    pub fn new(
        path: Option<PathBuf>,
        format: Option<TraceFormat>,
        env: &Env,
    ) -> Result<Self, ConfigError> {
        let from_env = || env.text(Self::FILE_VARIABLE).map(PathBuf::from);
        let path = path
            .or_else(from_env)
            .unwrap_or_else(|| Self::DEFAULT_FILE.into());
        if path.file_name().is_none() {
            let problem = format!("`{}` is not the name of a file", path.display());
            return Err(ConfigError::new(
                "path",
                problem,
                "use a name such as trace.json.gz",
            ));
        }
        let format = format.unwrap_or_else(|| TraceFormat::of_path(&path));
        Ok(Self { path, format })
    }
}
