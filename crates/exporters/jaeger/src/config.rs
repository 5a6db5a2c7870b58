//! Where and how Jaeger is sent to: code beats `OTEL_EXPORTER_JAEGER_*` beats `JAEGER_*` beats defaults.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hiq_core::config::{
    ConfigError, Endpoint, Env, Reader, Secret, Variable, Warning, masked, unlimited_if_zero,
};

use crate::process::Names;
use crate::udp::{MAX_PACKET_BYTES, shown};

/// How spans travel to Jaeger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JaegerProtocol {
    /// `udp/thrift.compact`: packets to an agent. Never confirmed.
    UdpCompact,
    /// `udp/thrift.binary`: packets to an agent. Never confirmed.
    UdpBinary,
    /// `http/thrift.binary`: requests to a collector.
    #[default]
    HttpBinary,
    /// `grpc`: calls of a collector's `PostSpans`.
    Grpc,
}

impl JaegerProtocol {
    const NAMES: [(&'static str, Self); 4] = [
        ("http/thrift.binary", Self::HttpBinary),
        ("grpc", Self::Grpc),
        ("udp/thrift.compact", Self::UdpCompact),
        ("udp/thrift.binary", Self::UdpBinary),
    ];

    /// The name in variables: `udp/thrift.compact`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UdpCompact => "udp/thrift.compact",
            Self::UdpBinary => "udp/thrift.binary",
            Self::HttpBinary => "http/thrift.binary",
            Self::Grpc => "grpc",
        }
    }

    const fn agent_port(self) -> u16 {
        match self {
            Self::UdpBinary => 6832,
            _ => 6831,
        }
    }
}

/// For arguments of code; `place` in the error is `protocol`.
impl FromStr for JaegerProtocol {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let named = |(name, _): &&(&str, Self)| name.eq_ignore_ascii_case(text.trim());
        let found = Self::NAMES.iter().find(named);
        found.map(|(_, protocol)| *protocol).ok_or_else(|| {
            let problem = format!("`{}` is not known", text.escape_debug());
            let known = Self::NAMES.map(|(name, _)| name).join(", ");
            ConfigError::new("protocol", problem, format!("give one of {known}"))
        })
    }
}

/// What code says about a Jaeger exporter; what is `None` comes from the environment.
///
/// ```
/// use hiq_core::config::Env;
/// use hiq_jaeger::{JaegerOptions, JaegerSettings};
///
/// let mut options = JaegerOptions::default();
/// options.agent_host = Some("agent".to_owned()); // an agent is asked for by UDP
/// let settings = JaegerSettings::new(&options, &Env::default(), &mut Vec::new())?;
/// assert_eq!(settings.target.to_string(), "udp://agent:6831");
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct JaegerOptions {
    /// The protocol. Where nobody says one: that of the address that is given, an agent's or a collector's, the agent's being UDP
    /// in thrift's compact form.
    pub protocol: Option<JaegerProtocol>,
    /// Name or address of the agent, for UDP.
    pub agent_host: Option<String>,
    /// UDP port of the agent.
    pub agent_port: Option<u16>,
    /// The collector's address, for HTTP and gRPC. Over HTTP `api/traces` is added when it has no path. For gRPC it needs no scheme.
    pub endpoint: Option<String>,
    /// How long an export may take with all its attempts; zero: no limit.
    pub timeout: Option<Duration>,
    /// User of basic authorization, over HTTP and gRPC.
    pub user: Option<String>,
    /// Password of basic authorization, over HTTP and gRPC.
    pub password: Option<Secret>,
    /// Bytes of a UDP packet.
    pub max_packet_bytes: Option<usize>,
}

/// Where and how spans are sent to Jaeger.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JaegerSettings {
    /// The protocol; `http/thrift.binary` unless said otherwise.
    pub protocol: JaegerProtocol,
    /// The agent or collector.
    pub target: JaegerTarget,
    /// How long an export may take with all its attempts; 10 s unless said otherwise, `None`: no limit.
    pub timeout: Option<Duration>,
    /// User and password of basic authorization, over HTTP and gRPC.
    pub credentials: Option<(String, Secret)>,
    /// Bytes of a UDP packet; [`MAX_PACKET_BYTES`] unless said otherwise.
    pub max_packet_bytes: usize,
    pub(crate) names: Names,
}

/// Who the spans are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JaegerTarget {
    /// An agent, or a collector that takes an agent's packets.
    Agent {
        /// Its name or address.
        host: String,
        /// Its UDP port.
        port: u16,
    },
    /// A collector.
    Collector(Endpoint),
}

impl fmt::Display for JaegerTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent { host, port } => f.write_str(&shown(host, *port)),
            Self::Collector(endpoint) => endpoint.fmt(f),
        }
    }
}

/// All variables that are read here.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        "OTEL_EXPORTER_JAEGER_PROTOCOL",
        "http/thrift.binary",
        "http/thrift.binary, grpc, udp/thrift.compact or udp/thrift.binary",
    ),
    Variable::new(
        "OTEL_EXPORTER_JAEGER_AGENT_HOST",
        "localhost",
        "name or address of the agent, for UDP",
    ),
    Variable::new(
        "OTEL_EXPORTER_JAEGER_AGENT_PORT",
        "6831",
        "UDP port of the agent; 6832 for udp/thrift.binary",
    ),
    Variable::new(
        "OTEL_EXPORTER_JAEGER_ENDPOINT",
        "http://localhost:14268/api/traces",
        "address of the collector (gRPC: http://localhost:14250)",
    ),
    Variable::new(
        "OTEL_EXPORTER_JAEGER_TIMEOUT",
        "10000",
        "milliseconds of an export with all its attempts; 0: no limit",
    ),
    Variable::new("OTEL_EXPORTER_JAEGER_USER", "", "user, over HTTP and gRPC"),
    Variable::secret(
        "OTEL_EXPORTER_JAEGER_PASSWORD",
        "",
        "password, over HTTP and gRPC",
    ),
    Variable::new(
        "JAEGER_AGENT_HOST",
        "",
        "as OTEL_EXPORTER_JAEGER_AGENT_HOST, weaker",
    ),
    Variable::new(
        "JAEGER_AGENT_PORT",
        "",
        "as OTEL_EXPORTER_JAEGER_AGENT_PORT, weaker",
    ),
    Variable::new(
        "JAEGER_ENDPOINT",
        "",
        "as OTEL_EXPORTER_JAEGER_ENDPOINT, weaker",
    ),
    Variable::new("JAEGER_USER", "", "as OTEL_EXPORTER_JAEGER_USER, weaker"),
    Variable::secret(
        "JAEGER_PASSWORD",
        "",
        "as OTEL_EXPORTER_JAEGER_PASSWORD, weaker",
    ),
    Variable::new(
        "JAEGER_SERVICE_NAME",
        "",
        "the service's name where nobody else names it",
    ),
    Variable::new(
        "JAEGER_TAGS",
        "",
        "key=value,key=value; the resource is stronger",
    ),
];

const PROTOCOL: &str = "OTEL_EXPORTER_JAEGER_PROTOCOL";
const AGENT_HOST: [&str; 2] = ["OTEL_EXPORTER_JAEGER_AGENT_HOST", "JAEGER_AGENT_HOST"];
const AGENT_PORT: [&str; 2] = ["OTEL_EXPORTER_JAEGER_AGENT_PORT", "JAEGER_AGENT_PORT"];
const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_JAEGER_ENDPOINT", "JAEGER_ENDPOINT"];

impl JaegerSettings {
    /// Settings: `options`, then `OTEL_EXPORTER_JAEGER_*`, then `JAEGER_*`, then defaults. Adds to `warnings` what was not
    /// understood.
    pub fn new(
        options: &JaegerOptions,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let settings = Self::read(options, &mut reader);
        warnings.extend(reader.into_warnings());
        settings
    }

    fn read(options: &JaegerOptions, reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let protocol = protocol(options, reader);
        let target = match protocol {
            JaegerProtocol::UdpCompact | JaegerProtocol::UdpBinary => {
                agent(options, protocol, reader)?
            }
            JaegerProtocol::HttpBinary => JaegerTarget::Collector(http_endpoint(options, reader)?),
            JaegerProtocol::Grpc => JaegerTarget::Collector(grpc_endpoint(options, reader)?),
        };
        let timeout = options
            .timeout
            .or_else(|| reader.millis(&["OTEL_EXPORTER_JAEGER_TIMEOUT"]));
        Ok(Self {
            protocol,
            target,
            timeout: timeout.map_or(Some(Duration::from_secs(10)), unlimited_if_zero),
            credentials: credentials(options, reader),
            max_packet_bytes: max_packet_bytes(options)?,
            names: Names {
                service: reader.text("JAEGER_SERVICE_NAME").map(str::to_owned),
                tags: tags(reader),
            },
        })
    }
}

fn protocol(options: &JaegerOptions, reader: &mut Reader<'_>) -> JaegerProtocol {
    let of_address = |collector: bool, agent: bool| match (collector, agent) {
        (true, _) => Some(JaegerProtocol::HttpBinary),
        (false, true) => Some(JaegerProtocol::UdpCompact),
        (false, false) => None,
    };
    let agent = options.agent_host.is_some() || options.agent_port.is_some();
    let in_env = |reader: &mut Reader<'_>| {
        reader
            .choice(&[PROTOCOL], &JaegerProtocol::NAMES)
            .or_else(|| {
                let collector = reader.first(&ENDPOINT).is_some();
                let agent = [&AGENT_HOST, &AGENT_PORT];
                of_address(
                    collector,
                    agent.iter().any(|names| reader.first(&names[..]).is_some()),
                )
            })
    };
    options
        .protocol
        .or_else(|| of_address(options.endpoint.is_some(), agent))
        .or_else(|| in_env(reader))
        .unwrap_or_default()
}

fn agent(
    options: &JaegerOptions,
    protocol: JaegerProtocol,
    reader: &mut Reader<'_>,
) -> Result<JaegerTarget, ConfigError> {
    let given = options
        .agent_host
        .as_deref()
        .map(|host| ("agent_host", host));
    let named = given.or_else(|| reader.first(&AGENT_HOST));
    let (place, host) = named.unwrap_or((AGENT_HOST[0], "localhost"));
    let host = host.trim().trim_matches(['[', ']']);
    let is_host = |c: char| !c.is_control() && !c.is_whitespace() && !"/?#@".contains(c);
    if host.is_empty() || !host.chars().all(is_host) {
        let problem = format!("`{}` is no host", masked(host));
        let fix = "give a name or an address, without a scheme, path or port";
        return Err(ConfigError::new(place, problem, fix));
    }
    let port = options
        .agent_port
        .or_else(|| reader.number_up_to(&AGENT_PORT, 1, u16::MAX));
    if port == Some(0) {
        let problem = "0 is a port that nobody can listen on";
        return Err(ConfigError::new("agent_port", problem, "give 1 to 65535"));
    }
    Ok(JaegerTarget::Agent {
        host: host.to_owned(),
        port: port.unwrap_or(protocol.agent_port()),
    })
}

fn http_endpoint(
    options: &JaegerOptions,
    reader: &mut Reader<'_>,
) -> Result<Endpoint, ConfigError> {
    let (place, text) = endpoint(options, reader, "http://localhost:14268");
    let endpoint = Endpoint::parse(place, &text)?;
    Ok(match endpoint.path() {
        "/" => endpoint.join_path("api/traces"),
        _ => endpoint,
    })
}

/// gRPC has paths of its own.
fn grpc_endpoint(
    options: &JaegerOptions,
    reader: &mut Reader<'_>,
) -> Result<Endpoint, ConfigError> {
    let (place, text) = endpoint(options, reader, "http://localhost:14250");
    let with_scheme = if text.contains("://") {
        text
    } else {
        format!("http://{text}")
    };
    let endpoint = Endpoint::parse(place, &with_scheme)?;
    if endpoint.path() != "/" {
        reader.warn(
            place,
            format!("gRPC has no path; `{}` is left out", endpoint.path()),
        );
    }
    Ok(endpoint.without_path())
}

/// The address, and where it was found.
fn endpoint(
    options: &JaegerOptions,
    reader: &mut Reader<'_>,
    default: &str,
) -> (&'static str, String) {
    if let Some(given) = &options.endpoint {
        return ("endpoint", given.clone());
    }
    let (place, text) = reader.first(&ENDPOINT).unwrap_or((ENDPOINT[0], default));
    (place, text.to_owned())
}

fn credentials(options: &JaegerOptions, reader: &mut Reader<'_>) -> Option<(String, Secret)> {
    let in_env = |reader: &mut Reader<'_>, names: [&'static str; 2]| {
        reader.first(&names).map(|(_, text)| text.to_owned())
    };
    let user = options.user.clone();
    let user = user.or_else(|| in_env(reader, ["OTEL_EXPORTER_JAEGER_USER", "JAEGER_USER"]))?;
    let names = ["OTEL_EXPORTER_JAEGER_PASSWORD", "JAEGER_PASSWORD"];
    let password = options.password.clone();
    let password = password.or_else(|| in_env(reader, names).map(Secret::new));
    Some((user, password.unwrap_or_default()))
}

/// Less than this holds no span worth the name.
const MIN_PACKET_BYTES: usize = 256;
/// More is in no IPv4 packet.
const MAX_UDP_BYTES: usize = 65_507;

fn max_packet_bytes(options: &JaegerOptions) -> Result<usize, ConfigError> {
    let bytes = options.max_packet_bytes.unwrap_or(MAX_PACKET_BYTES);
    if (MIN_PACKET_BYTES..=MAX_UDP_BYTES).contains(&bytes) {
        return Ok(bytes);
    }
    let problem = format!("{bytes} bytes are no useful size of a packet");
    let fix = format!("give {MIN_PACKET_BYTES} to {MAX_UDP_BYTES}");
    Err(ConfigError::new("max_packet_bytes", problem, fix))
}

fn tags(reader: &mut Reader<'_>) -> Vec<(String, String)> {
    const NAME: &str = "JAEGER_TAGS";
    let mut tags: Vec<(String, String)> = Vec::new();
    for member in reader.text(NAME).unwrap_or_default().split(',') {
        match member.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
                tags.retain(|(known, _)| *known != key);
                tags.push((key, value));
            }
            _ if member.trim().is_empty() => {}
            _ => {
                let shown: String = member.trim().chars().take(64).collect();
                reader.warn(NAME, format!("`{shown}` is not key=value and is left out"));
            }
        }
    }
    tags
}
