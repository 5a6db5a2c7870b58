//! The `jaeger` exporter's arguments.

use hiq_core::config::{ConfigError, Env, ProxySettings, Secret, Settings, Warning};
use hiq_jaeger::{JaegerExporter, JaegerOptions, JaegerSettings};
use pyo3::prelude::*;

use super::Arguments;
use super::registry::{Spec, parsed, spec};
use crate::module::errors;

pub(super) fn read(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Spec> {
    let options = options(arguments)?;
    let exporter = exporter(&options, env, warnings).map_err(|error| errors::config(&error))?;
    Ok(spec("jaeger", exporter.target(), move || exporter.build()))
}

fn options(arguments: &Arguments<'_, '_>) -> PyResult<JaegerOptions> {
    let known = [
        "agent_host_name",
        "agent_port",
        "collector_endpoint",
        "protocol",
        "username",
        "password",
        "timeout_s",
        "max_packet_bytes",
    ];
    arguments.refuse_unknown(&known)?;
    let mut options = JaegerOptions::default();
    options.agent_host = arguments.text("agent_host_name")?;
    options.agent_port = port(arguments)?;
    options.endpoint = arguments.text("collector_endpoint")?;
    options.protocol = parsed(arguments.text("protocol")?)?;
    options.user = arguments.text("username")?;
    options.password = arguments.text("password")?.map(Secret::new);
    options.timeout = arguments.seconds("timeout_s")?;
    options.max_packet_bytes = arguments.count("max_packet_bytes")?;
    Ok(options)
}

fn port(arguments: &Arguments<'_, '_>) -> PyResult<Option<u16>> {
    let Some(number) = arguments.count("agent_port")? else {
        return Ok(None);
    };
    u16::try_from(number).map(Some).map_err(|_| {
        let problem = format!("{number} is no port");
        errors::config(&ConfigError::new("agent_port", problem, "give 1 to 65535"))
    })
}

fn exporter(
    options: &JaegerOptions,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> Result<JaegerExporter, ConfigError> {
    let settings = JaegerSettings::new(options, env, warnings)?;
    let exporter = JaegerExporter::new(settings, ProxySettings::from_env(env, warnings))?;
    Ok(exporter.with_pipeline_settings(&Settings::from_env(env).pipeline))
}
