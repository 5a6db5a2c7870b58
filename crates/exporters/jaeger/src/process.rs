//! The process: who sends the spans.

use hiq_core::resource::Resource;
use hiq_core::value::ValueRef;
use hiq_core::wire::Text;

use crate::form::{Any, Form};
use crate::tags::tag;

/// What the environment of Jaeger's own clients says of the process. The resource is stronger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// `JAEGER_SERVICE_NAME`: for resources that have no name, or only a made-up one.
    pub(crate) service: Option<String>,
    /// `JAEGER_TAGS`: for keys that the resource does not have.
    pub(crate) tags: Vec<(String, String)>,
}

/// What OpenTelemetry's receivers take for a resource without a name.
pub(crate) const NO_SERVICE_NAME: &str = "OTLPResourceNoServiceName";

/// How OpenTelemetry calls a service that nobody named.
const UNKNOWN_SERVICE: &str = "unknown_service";

pub(crate) fn write_process<F: Form>(out: &mut Vec<u8>, resource: &Resource, names: &Names) {
    let name = service_name(resource, names);
    let of_resource = || {
        resource
            .attributes()
            .filter(|(key, value)| !is_name(*key, value))
    };
    let others = || {
        let of_names = names.tags.iter();
        of_names.filter(|(key, _)| key != SERVICE_NAME && resource.attribute(key).is_none())
    };
    let dropped = resource.dropped_attributes();
    let count = of_resource().count() + others().count() + usize::from(dropped > 0);
    F::process(out, name, count, |mut writer| {
        for (key, value) in of_resource() {
            writer = tag::<F>(writer, F::OF_PROCESS, key.as_str(), Any::of(value));
        }
        for (key, value) in others() {
            writer = tag::<F>(writer, F::OF_PROCESS, key, Any::Str(value));
        }
        if dropped > 0 {
            let count = Any::Int(dropped.into());
            writer = tag::<F>(
                writer,
                F::OF_PROCESS,
                "otel.dropped_attributes_count",
                count,
            );
        }
        writer
    });
}

const SERVICE_NAME: &str = "service.name";

/// True for what becomes the process's name, and so no tag.
fn is_name(key: Text<'_>, value: &ValueRef<'_>) -> bool {
    key.as_str() == SERVICE_NAME && matches!(value, ValueRef::Text(_))
}

fn service_name<'a>(resource: &'a Resource, names: &'a Names) -> &'a str {
    let own = match resource.attribute(SERVICE_NAME) {
        Some(ValueRef::Text(name)) => name.as_str(),
        _ => "",
    };
    let is_made_up = own.is_empty() || own.starts_with(UNKNOWN_SERVICE);
    let given = names.service.as_deref().filter(|_| is_made_up);
    given.unwrap_or(if own.is_empty() { NO_SERVICE_NAME } else { own })
}
