//! Who signs, and where: code beats Oracle's environment variables beats the profile beats defaults.

use std::path::PathBuf;
use std::str::FromStr;

use hiq_core::config::{
    ConfigError, Endpoint, Env, ProxySettings, Reader, Secret, Variable, Warning,
};

use crate::federation::Metadata;
use crate::identity::{ApiKey, Held, ResourcePrincipal, Source};
use crate::profile::{Profile, expanded};

mod apm;
mod monitoring;
mod streaming;

pub use apm::{APM_VARIABLES, ApmFormat, ApmOptions, ApmSettings};
pub use monitoring::{MONITORING_VARIABLES, MonitoringOptions, MonitoringSettings};
pub use streaming::{STREAM_VARIABLES, StreamKey, StreamOptions, StreamSettings};

/// What requests are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OciAuth {
    /// `api_key`: a user's key, from the profile.
    ApiKey,
    /// `security_token`: a session token and its key, from the profile (`oci session authenticate`).
    SecurityToken,
    /// `instance_principal`: the compute instance, by certificates of its metadata service.
    InstancePrincipal,
    /// `resource_principal`: a function, job or the like, by `OCI_RESOURCE_PRINCIPAL_*` of version 2.2.
    ResourcePrincipal,
}

impl OciAuth {
    const NAMES: [(&'static str, Self); 4] = [
        ("api_key", Self::ApiKey),
        ("security_token", Self::SecurityToken),
        ("instance_principal", Self::InstancePrincipal),
        ("resource_principal", Self::ResourcePrincipal),
    ];
}

/// For arguments of code; `place` in the error is `auth`.
impl FromStr for OciAuth {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let named = |(name, _): &&(&str, Self)| name.eq_ignore_ascii_case(text.trim());
        let found = Self::NAMES.iter().find(named);
        found.map(|(_, auth)| *auth).ok_or_else(|| {
            let problem = format!("`{}` is not known", text.escape_debug());
            let known = Self::NAMES.map(|(name, _)| name).join(", ");
            ConfigError::new("auth", problem, format!("give one of {known}"))
        })
    }
}

/// What code says about signing; what is `None` comes from the environment, then from the profile.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OciOptions {
    /// What requests are signed with; `None`: `OCI_CLI_AUTH`, else the session token where the profile has one, else the
    /// profile's key.
    pub auth: Option<OciAuth>,
    /// The file of profiles; `None`: `OCI_CONFIG_FILE`, `OCI_CLI_CONFIG_FILE`, else `~/.oci/config`.
    pub config_file: Option<PathBuf>,
    /// The profile; `None`: `OCI_CLI_PROFILE`, else `DEFAULT`.
    pub profile: Option<String>,
    /// The region, `eu-frankfurt-1`; `None`: `OCI_CLI_REGION`, `OCI_REGION`, else the profile's.
    pub region: Option<String>,
    /// What the key is protected by; `None`: `OCI_CLI_PASSPHRASE`, else the profile's.
    pub passphrase: Option<Secret>,
}

/// Who signs, and in which region. Holds paths and, where the environment itself holds secrets, those; shows neither.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OciSettings {
    /// The region, where one is named.
    pub region: Option<String>,
    /// The domain of Oracle's services there; `oraclecloud.com` unless said otherwise.
    pub realm_domain: String,
    pub(crate) source: Source,
}

/// All variables that are read here.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        "OCI_CLI_AUTH",
        "",
        "api_key, security_token, instance_principal or resource_principal",
    ),
    Variable::new(CONFIG_FILE, "~/.oci/config", "file of profiles"),
    Variable::new(
        "OCI_CLI_CONFIG_FILE",
        "",
        "the same, where OCI_CONFIG_FILE is not set",
    ),
    Variable::new("OCI_CLI_PROFILE", "DEFAULT", "profile of that file"),
    Variable::new("OCI_CLI_REGION", "", "region; before that of the profile"),
    Variable::new(
        "OCI_REGION",
        "",
        "the same, where OCI_CLI_REGION is not set",
    ),
    Variable::new(
        "OCI_DEFAULT_REALM",
        "oraclecloud.com",
        "domain of Oracle's services in the region",
    ),
    Variable::new(
        "OCI_CLI_USER",
        "",
        "OCID of the user; before that of the profile",
    ),
    Variable::new(
        "OCI_CLI_TENANCY",
        "",
        "OCID of the tenancy; before that of the profile",
    ),
    Variable::new(
        "OCI_CLI_FINGERPRINT",
        "",
        "fingerprint of the key; before that of the profile",
    ),
    Variable::new(
        "OCI_CLI_KEY_FILE",
        "",
        "PEM file of the key; before that of the profile",
    ),
    Variable::secret(
        "OCI_CLI_KEY_CONTENT",
        "",
        "the key itself as PEM; before any file",
    ),
    Variable::secret(
        "OCI_CLI_PASSPHRASE",
        "",
        "what the key is protected by; before that of the profile",
    ),
    Variable::new(
        "OCI_CLI_SECURITY_TOKEN_FILE",
        "",
        "file of the session token; before that of the profile",
    ),
    Variable::new(
        "OCI_RESOURCE_PRINCIPAL_VERSION",
        "",
        "must be 2.2 where a resource principal signs",
    ),
    Variable::secret(
        "OCI_RESOURCE_PRINCIPAL_RPST",
        "",
        "the resource's token, or the path of its file",
    ),
    Variable::secret(
        "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM",
        "",
        "the resource's key as PEM, or the path of its file",
    ),
    Variable::secret(
        "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM_PASSPHRASE",
        "",
        "what that key is protected by, or the path of its file",
    ),
    Variable::new("OCI_RESOURCE_PRINCIPAL_REGION", "", "the resource's region"),
    Variable::new(
        "OCI_METADATA_BASE_URL",
        "http://169.254.169.254/opc/v2",
        "metadata service of an instance",
    ),
    Variable::new(
        "OCI_SDK_AUTH_CLIENT_REGION_URL",
        "",
        "service that gives tokens to instances; unset: that of their region",
    ),
];

const CONFIG_FILE: &str = "OCI_CONFIG_FILE";

impl OciSettings {
    /// Settings: `options`, then `OCI_*`, then the profile. Reads files, among them the key, so that mistakes are told
    /// early; opens no socket. Adds to `warnings` what was not understood. `proxies` are for the service that gives
    /// tokens to instances.
    pub fn new(
        options: &OciOptions,
        env: &Env,
        proxies: &ProxySettings,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let settings = Self::read(options, &mut reader, proxies);
        warnings.extend(reader.into_warnings());
        let settings = settings?;
        settings.source.check()?;
        Ok(settings)
    }

    fn read(
        options: &OciOptions,
        reader: &mut Reader<'_>,
        proxies: &ProxySettings,
    ) -> Result<Self, ConfigError> {
        let auth = options
            .auth
            .or_else(|| reader.choice(&["OCI_CLI_AUTH"], &OciAuth::NAMES));
        let named = options
            .region
            .clone()
            .or_else(|| owned(reader, &["OCI_CLI_REGION", "OCI_REGION"]));
        let (source, region) = match auth {
            Some(OciAuth::InstancePrincipal) => {
                (Source::Instance(metadata(reader, proxies)?), named)
            }
            Some(OciAuth::ResourcePrincipal) => {
                let principal = resource_principal(reader)?;
                let region = owned(reader, &["OCI_RESOURCE_PRINCIPAL_REGION"]);
                (Source::Resource(principal), named.or(region))
            }
            auth => {
                let key = api_key(options, reader, auth)?;
                let region = match named {
                    Some(region) => Some(region),
                    None => key.profile()?.get("region").map(str::to_owned),
                };
                (Source::Profile(key), region)
            }
        };
        let domain = owned(reader, &["OCI_DEFAULT_REALM"]);
        Ok(Self {
            realm_domain: domain.unwrap_or_else(|| realm_domain(region.as_deref()).to_owned()),
            region,
            source,
        })
    }

    /// The address of a service in this region: `https://<service>.<region>.<realm_domain><path>`. `place` is where an
    /// address could have been given instead.
    pub(crate) fn endpoint(
        &self,
        place: &str,
        service: &str,
        path: &str,
    ) -> Result<Endpoint, ConfigError> {
        let Some(region) = &self.region else {
            let fix = format!("set OCI_REGION, region in the profile, or {place}");
            return Err(ConfigError::new("OCI_REGION", "no region is named", fix));
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if region.is_empty() || !region.bytes().all(is_name) {
            let problem = format!("`{}` is no region", region.escape_debug());
            return Err(ConfigError::new(
                "OCI_REGION",
                problem,
                "write it as eu-frankfurt-1",
            ));
        }
        let domain = &self.realm_domain;
        Endpoint::parse(
            "OCI_DEFAULT_REALM",
            &format!("https://{service}.{region}.{domain}{path}"),
        )
    }
}

fn owned(reader: &mut Reader<'_>, names: &[&str]) -> Option<String> {
    reader.first(names).map(|(_, text)| text.to_owned())
}

fn secret(reader: &mut Reader<'_>, name: &str) -> Option<Secret> {
    reader.text(name).map(Secret::new)
}

/// Regions outside the commercial realm whose names tell; of others `OCI_DEFAULT_REALM` must.
fn realm_domain(region: Option<&str>) -> &'static str {
    match region.unwrap_or_default() {
        "us-langley-1" | "us-luke-1" => "oraclegovcloud.com",
        region if region.starts_with("us-gov-") => "oraclegovcloud.com",
        region if region.starts_with("uk-gov-") => "oraclegovcloud.uk",
        _ => "oraclecloud.com",
    }
}

fn api_key(
    options: &OciOptions,
    reader: &mut Reader<'_>,
    auth: Option<OciAuth>,
) -> Result<ApiKey, ConfigError> {
    let home = reader.text("HOME").map(PathBuf::from);
    let named = options.config_file.clone().or_else(|| {
        let (_, text) = reader.first(&[CONFIG_FILE, "OCI_CLI_CONFIG_FILE"])?;
        Some(PathBuf::from(text))
    });
    let file = named.unwrap_or_else(|| PathBuf::from("~/.oci/config"));
    let profile = options
        .profile
        .clone()
        .or_else(|| owned(reader, &["OCI_CLI_PROFILE"]));
    let passphrase = options
        .passphrase
        .clone()
        .or_else(|| secret(reader, "OCI_CLI_PASSPHRASE"));
    let key = ApiKey {
        file: expanded(&file.to_string_lossy(), home.as_deref()),
        profile: profile.unwrap_or_else(|| "DEFAULT".to_owned()),
        user: owned(reader, &["OCI_CLI_USER"]),
        tenancy: owned(reader, &["OCI_CLI_TENANCY"]),
        fingerprint: owned(reader, &["OCI_CLI_FINGERPRINT"]),
        key_file: owned(reader, &["OCI_CLI_KEY_FILE"]),
        key_content: secret(reader, "OCI_CLI_KEY_CONTENT"),
        token_file: owned(reader, &["OCI_CLI_SECURITY_TOKEN_FILE"]),
        wants_token: auth.map(|auth| auth == OciAuth::SecurityToken),
        passphrase,
        home,
    };
    key.profile().map(|_: Profile| key)
}

fn metadata(reader: &mut Reader<'_>, proxies: &ProxySettings) -> Result<Metadata, ConfigError> {
    let place = "OCI_METADATA_BASE_URL";
    let base = reader
        .text(place)
        .unwrap_or("http://169.254.169.254/opc/v2");
    let auth = "OCI_SDK_AUTH_CLIENT_REGION_URL";
    Ok(Metadata {
        base: Endpoint::parse(place, base)?,
        auth: reader
            .text(auth)
            .map(|text| Endpoint::parse(auth, text))
            .transpose()?,
        proxies: proxies.clone(),
    })
}

fn resource_principal(reader: &mut Reader<'_>) -> Result<ResourcePrincipal, ConfigError> {
    let place = "OCI_RESOURCE_PRINCIPAL_VERSION";
    let version = reader.text(place).unwrap_or_default();
    if version != "2.2" {
        let problem = format!(
            "version `{}` of resource principals is not known",
            version.escape_debug()
        );
        let fix = "only 2.2 is: run where Oracle sets OCI_RESOURCE_PRINCIPAL_VERSION to that";
        return Err(ConfigError::new(place, problem, fix));
    }
    let mut held = |name: &'static str| secret(reader, name).map(|text| Held { place: name, text });
    let missing = |name: &str| {
        let fix = "run where Oracle sets it, or use another auth";
        ConfigError::new(name, "is not set", fix)
    };
    let (token, key) = (
        "OCI_RESOURCE_PRINCIPAL_RPST",
        "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM",
    );
    Ok(ResourcePrincipal {
        token: held(token).ok_or_else(|| missing(token))?,
        key: held(key).ok_or_else(|| missing(key))?,
        passphrase: held("OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM_PASSPHRASE"),
    })
}
