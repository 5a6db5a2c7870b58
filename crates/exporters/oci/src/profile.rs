//! The file that Oracle's tools share: `~/.oci/config`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hiq_core::config::{ConfigError, Secret};

const DEFAULT: &str = "DEFAULT";

/// What one profile says, with the profile `DEFAULT` where it says nothing.
#[derive(Debug, Default)]
pub(crate) struct Profile(BTreeMap<String, Secret>);

impl Profile {
    /// Reads `name` from `file`.
    pub(crate) fn read(file: &Path, name: &str) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let problem = format!("`{}` cannot be read: {error}", file.display());
            let fix = "write it with `oci setup config`, or name another with OCI_CONFIG_FILE";
            ConfigError::new("OCI_CONFIG_FILE", problem, fix)
        })?;
        Self::parse(&text, name).ok_or_else(|| {
            let problem = format!(
                "`{}` has no profile `{}`",
                file.display(),
                name.escape_debug()
            );
            let known = sections(&text).collect::<Vec<_>>().join(", ");
            ConfigError::new("OCI_CLI_PROFILE", problem, format!("it has {known}"))
        })
    }

    fn parse(text: &str, wanted: &str) -> Option<Self> {
        let mut is_known = wanted == DEFAULT;
        let mut section = "";
        let (mut general, mut own) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines().map(str::trim) {
            if let Some(name) = section_name(line) {
                section = name;
                is_known |= section == wanted;
            } else if let Some((key, value)) = pair(line) {
                if section == wanted {
                    own.insert(key, value);
                } else if section == DEFAULT {
                    general.insert(key, value);
                }
            }
        }
        general.append(&mut own);
        is_known.then_some(Self(general))
    }

    /// The value of `key`, unless it is empty.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let value = self.0.get(key)?.expose();
        (!value.is_empty()).then_some(value)
    }
}

fn sections(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter_map(section_name)
}

fn section_name(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']').map(str::trim)
}

fn pair(line: &str) -> Option<(String, Secret)> {
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (key, value) = line.split_once(['=', ':'])?;
    let key = key.trim().to_ascii_lowercase();
    Some((key, Secret::new(value.trim())))
}

/// `text` with the home folder for its `~`.
pub(crate) fn expanded(text: &str, home: Option<&Path>) -> PathBuf {
    match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    const FILE: &str = "\
# made by hand
[DEFAULT]
user=ocid1.user.oc1..a
region = eu-frankfurt-1
pass_phrase=sesame=open#1
tenancy:

[ OPS ]
Region: uk-london-1
; key_file=/nowhere
";

    #[test]
    fn a_profile_says_what_it_says_and_the_default_the_rest() {
        let profile = Profile::parse(FILE, "OPS").unwrap();
        assert_eq!(profile.get("region"), Some("uk-london-1"));
        assert_eq!(profile.get("user"), Some("ocid1.user.oc1..a"));
        assert_eq!(profile.get("pass_phrase"), Some("sesame=open#1"));
        assert_eq!(profile.get("key_file"), None);
        assert_eq!(profile.get("tenancy"), None);
        let default = Profile::parse(FILE, "DEFAULT").unwrap();
        assert_eq!(default.get("region"), Some("eu-frankfurt-1"));
    }

    #[test]
    fn a_profile_that_is_not_there_is_told_of_with_those_that_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, FILE).unwrap();
        let error = Profile::read(&file, "ops").unwrap_err();
        assert!(error.problem.ends_with("has no profile `ops`"), "{error}");
        assert_eq!(error.fix, "it has DEFAULT, OPS");
        let error = Profile::read(&folder.path().join("none"), "OPS").unwrap_err();
        assert_eq!(error.place, "OCI_CONFIG_FILE");
    }

    #[test]
    fn nothing_that_it_says_is_shown() {
        let shown = format!("{:?}", Profile::parse(FILE, "OPS").unwrap());
        assert!(
            !shown.contains("sesame") && !shown.contains("ocid1"),
            "{shown}"
        );
    }

    #[test]
    fn a_tilde_is_the_home_folder() {
        let home = Path::new("/home/ada");
        assert_eq!(
            expanded("~/.oci/config", Some(home)),
            Path::new("/home/ada/.oci/config")
        );
        assert_eq!(expanded("/etc/oci", Some(home)), Path::new("/etc/oci"));
        assert_eq!(expanded("~/.oci/config", None), Path::new("~/.oci/config"));
    }
}
