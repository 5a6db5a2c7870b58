//! The Zipkin exporter's settings, as Python gives them.

use std::net::IpAddr;
use std::path::PathBuf;

use hiq_core::config::{ClientIdentity, ConfigError, Env, ProxySettings, Settings, Warning};
use hiq_zipkin::{ZipkinExporter, ZipkinMapping, ZipkinOptions, ZipkinSettings};
use pyo3::prelude::*;

use super::Arguments;
use super::registry::{Spec, headers, parsed, spec};
use crate::module::errors;

const KNOWN: [&str; 14] = [
    "endpoint",
    "format",
    "headers",
    "timeout_s",
    "compression",
    "certificate",
    "client_certificate",
    "client_key",
    "local_ip",
    "local_port",
    "max_tag_value_length",
    "annotations",
    "resource_tags",
    "v1_addresses",
];

pub(super) fn read(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Spec> {
    arguments.refuse_unknown(&KNOWN)?;
    let mut options = ZipkinOptions::default();
    options.endpoint = arguments.text("endpoint")?;
    options.format = parsed(arguments.text("format")?)?;
    options.headers = headers(arguments)?.unwrap_or_default();
    options.timeout = arguments.seconds("timeout_s")?;
    options.compression = parsed(arguments.text("compression")?)?.unwrap_or_default();
    options.certificate = arguments.text("certificate")?.map(PathBuf::from);
    options.client_identity = client_identity(arguments)?;
    options.mapping = mapping(arguments)?;
    let settings =
        ZipkinSettings::new(&options, env, warnings).map_err(|error| errors::config(&error))?;
    let proxies = ProxySettings::from_env(env, warnings);
    let exporter =
        ZipkinExporter::new(settings, proxies).map_err(|error| errors::config(&error))?;
    let exporter = exporter.with_pipeline_settings(&Settings::from_env(env).pipeline);
    Ok(spec("zipkin", exporter.target(), move || exporter.build()))
}

fn client_identity(arguments: &Arguments<'_, '_>) -> PyResult<Option<ClientIdentity>> {
    let certificate = arguments.text("client_certificate")?.map(PathBuf::from);
    let key = arguments.text("client_key")?.map(PathBuf::from);
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(ClientIdentity { certificate, key })),
        (None, None) => Ok(None),
        (certificate, _) => {
            let missing = if certificate.is_some() {
                "client_key"
            } else {
                "client_certificate"
            };
            let problem = "only one half of the client's certificate and key is given";
            let error = ConfigError::new(missing, problem, "name the PEM files of both");
            Err(errors::config(&error))
        }
    }
}

pub(super) fn mapping(arguments: &Arguments<'_, '_>) -> PyResult<ZipkinMapping> {
    let mut mapping = ZipkinMapping::default();
    mapping.local_ip = arguments
        .text("local_ip")?
        .map(|text| address(&text))
        .transpose()?;
    mapping.local_port = arguments.count("local_port")?.map(port).transpose()?;
    mapping.max_tag_value_length = arguments.count("max_tag_value_length")?;
    mapping.annotations = parsed(arguments.text("annotations")?)?.unwrap_or_default();
    if let Some(tags) = arguments.flag("resource_tags")? {
        mapping.resource_tags = tags;
    }
    mapping.v1_addresses = arguments.flag("v1_addresses")?.unwrap_or(false);
    Ok(mapping)
}

fn address(text: &str) -> PyResult<IpAddr> {
    text.parse().map_err(|_| {
        let problem = format!("`{}` is no IP address", text.escape_debug());
        errors::config(&ConfigError::new(
            "local_ip",
            problem,
            "write it as 192.0.2.1 or 2001:db8::1",
        ))
    })
}

fn port(number: usize) -> PyResult<u16> {
    u16::try_from(number).map_err(|_| {
        let problem = format!("{number} is no port");
        errors::config(&ConfigError::new("local_port", problem, "give 1 to 65535"))
    })
}
