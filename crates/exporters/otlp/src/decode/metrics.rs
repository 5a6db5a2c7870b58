//! Requests of metrics into snapshots.

use std::sync::Arc;

use hiq_core::decode::DecodeError;
use hiq_core::metric::MetricBatch;

use super::left_out::LeftOutPoints;
use super::model::ResourceMetrics;
use super::{Form, json, proto};

/// Reads `ExportMetricsServiceRequest`s.
///
/// Each batch holds the points of one scope of one resource; a scope without points has none. Points stay in the order of
/// the request, those of one set of labels at several times as well. What a snapshot cannot say is lost:
///
/// - the types of attributes: labels are [texts](hiq_core::value::ValueRef::text), so that `1` and `"1"` are one; of a repeated
///   key the last value counts;
/// - the start of a gauge, a metric's `metadata`, entity references, flags but the one below, exemplars without a value;
/// - whole points, which are [counted](LeftOutPoints): deltas above all.
///
/// Exemplars are sorted by time. A last bound at infinity is what every histogram has anyway: it goes, and its bucket is
/// that of all above the bound before.
///
/// Takes a few times the payload's memory; a hostile payload of nothing but empty points up to two hundred and fifty times.
/// Lists and maps may be nested 64 levels deep.
///
/// ```
/// use hiq_otlp::OtlpMetricsDecoder;
///
/// let json = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
///     {"name":"orders","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"asInt":"7"}]}},
///     {"name":"visits","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{"asInt":"1"}]}}
/// ]}]}]}"#;
/// let mut batches = Vec::new();
/// let left_out = OtlpMetricsDecoder::json().decode(json, &mut |batch| batches.push(batch))?;
/// assert_eq!(batches[0].families()[0].descriptor().name(), "orders");
/// assert_eq!((batches.len(), left_out.deltas), (1, 1));
/// # Ok::<(), hiq_core::decode::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct OtlpMetricsDecoder {
    form: Form,
}

impl OtlpMetricsDecoder {
    /// Reads one request in protobuf.
    pub fn proto() -> Self {
        Self { form: Form::Proto }
    }

    /// Reads requests in JSON, one after the other: a single one, or lines as the Collector's file exporter writes them. Fields
    /// may also be called as in protobuf.
    pub fn json() -> Self {
        Self { form: Form::Json }
    }

    /// Decodes one payload, handing each batch to `sink` as soon as its resource is read, and tells which points it left
    /// out.
    ///
    /// # Errors
    /// When the bytes are not of the format. What was handed out before is whole; what was left out before is not told.
    pub fn decode(
        &mut self,
        payload: &[u8],
        sink: &mut dyn FnMut(MetricBatch),
    ) -> Result<LeftOutPoints, DecodeError> {
        let mut left_out = LeftOutPoints::default();
        let take = |metrics| hand_out(metrics, &mut *sink);
        match self.form {
            Form::Proto => proto::metrics::each_resource_metrics(payload, &mut left_out, take)?,
            Form::Json => json::metrics::each_resource_metrics(payload, &mut left_out, take)?,
        }
        Ok(left_out)
    }
}

fn hand_out(metrics: ResourceMetrics, sink: &mut dyn FnMut(MetricBatch)) {
    let resource = Arc::new(metrics.resource);
    for group in metrics.scopes {
        let scope = Arc::new(group.scope);
        let batch = MetricBatch::new(Arc::clone(&resource), scope, group.families);
        if !batch.families().is_empty() {
            sink(batch);
        }
    }
}
