//! How spans become Zipkin's, where there is a choice.

use std::net::IpAddr;

use hiq_core::config::ConfigError;

/// The choices. The defaults suit a Zipkin server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZipkinMapping {
    /// Address of the local endpoint. `None`: the resource's `network.local.address`, where it has one.
    pub local_ip: Option<IpAddr>,
    /// Port of the local endpoint. `None`: the resource's `network.local.port`, where it has one.
    pub local_port: Option<u16>,
    /// Characters of a tag that stands for an attribute; what is longer is cut. `None`: no limit.
    pub max_tag_value_length: Option<usize>,
    /// How events are written.
    pub annotations: AnnotationForm,
    /// Whether the resource's attributes become tags of each span. Default: yes; else only the service's name is known.
    pub resource_tags: bool,
    /// For v1: write remote endpoints (`sa`, `ca`, `ma`). A Zipkin server understands them; an OpenTelemetry Collector and Jaeger
    /// refuse the whole request. Default: no.
    pub v1_addresses: bool,
}

impl Default for ZipkinMapping {
    fn default() -> Self {
        Self {
            local_ip: None,
            local_port: None,
            max_tag_value_length: None,
            annotations: AnnotationForm::default(),
            resource_tags: true,
            v1_addresses: false,
        }
    }
}

/// How an event becomes the text of an annotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnnotationForm {
    /// `"name": {"key":"value"}`, or the bare name where it has no attributes: OpenTelemetry's specification.
    #[default]
    Specification,
    /// `name|{"key":"value"}|dropped`, which an OpenTelemetry Collector and Jaeger turn into an event with attributes again.
    Collector,
}

impl ZipkinMapping {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.max_tag_value_length == Some(0) {
            let problem = "0 leaves nothing of any tag";
            let fix = "give at least 1, or nothing for no limit";
            return Err(ConfigError::new("max_tag_value_length", problem, fix));
        }
        if self.local_port == Some(0) {
            let problem = "0 is a port that nobody can listen on";
            return Err(ConfigError::new("local_port", problem, "give 1 to 65535"));
        }
        Ok(())
    }
}

/// For arguments of code; `place` in the error is `annotations`.
impl std::str::FromStr for AnnotationForm {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "specification" => Ok(Self::Specification),
            "collector" => Ok(Self::Collector),
            _ => {
                let problem = format!("`{}` is not known", text.escape_debug());
                let fix = "give specification or collector";
                Err(ConfigError::new("annotations", problem, fix))
            }
        }
    }
}
