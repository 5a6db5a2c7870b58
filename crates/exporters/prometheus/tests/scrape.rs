//! What a scraper reads: pages as the specifications write them, protobuf by a model of its own, HTTP by hand.
#![allow(clippy::unwrap_used, reason = "what fails here, fails the test")]
#![allow(clippy::float_cmp, reason = "what was stored is read back")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::GzDecoder;
use hiq_core::config::Env;
use hiq_core::id::{SpanId, TraceId};
use hiq_core::metric::record::{CollectOptions, Registry, Spec};
use hiq_core::metric::{
    Buckets, Descriptor, Exemplar, ExponentialHistogram, Family, Histogram, Kind, LabelSet,
    MetricBatch, Number, Point, PointValue, QuantileValue, Summary,
};
use hiq_core::resource::{Resource, Scope};
use hiq_core::time::UnixNanos;
use hiq_core::value::Value;
use hiq_prometheus::form::{Form, Format};
use hiq_prometheus::names::Alphabet;
use hiq_prometheus::{ScrapeOptions, ScrapeServer, ScrapeSettings, expose};
use hiq_testkit::PATIENCE;

#[path = "support/client_model.rs"]
mod client_model;

use client_model::{LabelPair, MetricFamily, buckets, families};

const START: UnixNanos = UnixNanos(1_520_430_000_123_000_000);
const NOW: UnixNanos = UnixNanos(1_520_879_607_789_000_000);

fn family(descriptor: Descriptor, points: Vec<Point>) -> Family {
    Family::new(Arc::new(descriptor), points)
}

fn point<const N: usize>(labels: [(&str, &str); N], value: impl Into<PointValue>) -> Point {
    Point::new(LabelSet::new(labels), START, NOW, value)
}

fn example(value: f64) -> Exemplar {
    let trace = TraceId(*b"0123456789abcdef");
    Exemplar::new(NOW, Number::F64(value), trace, SpanId(0xff))
}

fn batch(families: Vec<Family>) -> MetricBatch {
    MetricBatch::new(Arc::default(), Arc::new(Scope::default()), families)
}

fn page(batch: &MetricBatch, form: Form) -> Vec<u8> {
    let mut page = Vec::new();
    assert_eq!(expose(batch, form, &mut page), 0, "points were left out");
    page
}

fn text(batch: &MetricBatch, format: Format) -> String {
    String::from_utf8(page(batch, Form::new(format))).unwrap()
}

/// The shapes of the specifications' own examples: `exposition_formats.md`, "Text format example".
fn http_requests() -> Family {
    let descriptor = Descriptor::new("http_requests", Kind::COUNTER)
        .with_description("The total number of HTTP requests.");
    let points = vec![
        point([("method", "post"), ("code", "200")], Number::Int(1027)),
        point([("method", "post"), ("code", "400")], Number::F64(0.5))
            .with_exemplars(vec![example(0.25)]),
    ];
    family(descriptor, points)
}

fn odd_labels() -> Family {
    let descriptor = Descriptor::new("odd", Kind::Gauge).with_description("a \\ \"b\"\nc");
    let path = "C:\\DIR\\FILE.TXT";
    let error = "Cannot find file:\n\"FILE.TXT\"";
    let points = vec![
        point(
            [("path", path), ("error", error)],
            Number::F64(1.458_255_915e9),
        ),
        point([], Number::F64(f64::NEG_INFINITY)),
        point(
            [("a.b", "1"), ("a_b", "2"), ("empty", "")],
            Number::F64(f64::NAN),
        ),
    ];
    family(descriptor, points)
}

fn request_duration() -> Family {
    let descriptor = Descriptor::new("http.request.duration", Kind::Histogram).with_unit("s");
    let histogram = Histogram {
        count: 144_320,
        sum: Some(53_423.0),
        bounds: [0.05, 0.1, 1.0].into(),
        counts: vec![24_054, 9_390, 100_000, 10_876],
        ..Histogram::default()
    };
    let examples = vec![example(0.07), example(0.06), example(7.0)];
    family(
        descriptor,
        vec![point([], histogram).with_exemplars(examples)],
    )
}

fn rpc_duration() -> Family {
    let descriptor = Descriptor::new("rpc.duration", Kind::Summary).with_unit("s");
    let quantile = |quantile, value| QuantileValue { quantile, value };
    let summary = Summary {
        count: 2_693,
        sum: 1.756_047_3e7,
        quantiles: vec![quantile(0.5, 4_773.0), quantile(0.99, f64::NAN)],
        sketch: None,
    };
    let other = Summary {
        quantiles: vec![quantile(0.25, 1.5)],
        ..Summary::default()
    };
    family(
        descriptor,
        vec![point([("to", "bank")], summary), point([], other)],
    )
}

#[test]
fn text_is_as_the_format_says() {
    let batch = batch(vec![
        http_requests(),
        odd_labels(),
        request_duration(),
        rpc_duration(),
    ]);
    let expected = r#"# TYPE http_requests_total counter
# HELP http_requests_total The total number of HTTP requests.
http_requests_total{code="200",method="post"} 1027
http_requests_total{code="400",method="post"} 0.5
# TYPE odd gauge
# HELP odd a \\ "b"\nc
odd{error="Cannot find file:\n\"FILE.TXT\"",path="C:\\DIR\\FILE.TXT"} 1458255915.0
odd -Inf
odd{a_b="1;2"} NaN
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="0.1"} 33444
http_request_duration_seconds_bucket{le="1.0"} 133444
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423.0
http_request_duration_seconds_count 144320
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{to="bank",quantile="0.5"} 4773.0
rpc_duration_seconds{to="bank",quantile="0.99"} NaN
rpc_duration_seconds_sum{to="bank"} 17560473.0
rpc_duration_seconds_count{to="bank"} 2693
rpc_duration_seconds{quantile="0.25"} 1.5
rpc_duration_seconds_sum 0.0
rpc_duration_seconds_count 0
"#;
    assert_eq!(text(&batch, Format::Text), expected);
}

#[test]
fn open_metrics_has_units_starts_examples_and_an_end() {
    let batch = batch(vec![http_requests(), request_duration(), rpc_duration()]);
    let expected = r#"# TYPE http_requests counter
# HELP http_requests The total number of HTTP requests.
http_requests_total{code="200",method="post"} 1027
http_requests_created{code="200",method="post"} 1520430000.123
http_requests_total{code="400",method="post"} 0.5 # {span_id="00000000000000ff",trace_id="30313233343536373839616263646566"} 0.25 1520879607.789
http_requests_created{code="400",method="post"} 1520430000.123
# TYPE http_request_duration_seconds histogram
# UNIT http_request_duration_seconds seconds
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="0.1"} 33444 # {span_id="00000000000000ff",trace_id="30313233343536373839616263646566"} 0.06 1520879607.789
http_request_duration_seconds_bucket{le="1.0"} 133444
http_request_duration_seconds_bucket{le="+Inf"} 144320 # {span_id="00000000000000ff",trace_id="30313233343536373839616263646566"} 7.0 1520879607.789
http_request_duration_seconds_sum 53423.0
http_request_duration_seconds_count 144320
http_request_duration_seconds_created 1520430000.123
# TYPE rpc_duration_seconds summary
# UNIT rpc_duration_seconds seconds
rpc_duration_seconds{to="bank",quantile="0.5"} 4773.0
rpc_duration_seconds{to="bank",quantile="0.99"} NaN
rpc_duration_seconds_sum{to="bank"} 17560473.0
rpc_duration_seconds_count{to="bank"} 2693
rpc_duration_seconds_created{to="bank"} 1520430000.123
rpc_duration_seconds{quantile="0.25"} 1.5
rpc_duration_seconds_sum 0.0
rpc_duration_seconds_count 0
rpc_duration_seconds_created 1520430000.123
# EOF
"#;
    assert_eq!(text(&batch, Format::OpenMetrics), expected);
    assert_eq!(
        text(&MetricBatch::default(), Format::OpenMetrics),
        "# EOF\n"
    );
}

/// `OpenMetrics` 1.0, "Histogram": where there are negative buckets, a sum is barred. Readers take no count without a sum; the
/// bucket `+Inf` tells it.
#[test]
fn what_can_fall_has_no_sum_in_open_metrics() {
    let histogram = Histogram {
        count: 3,
        sum: Some(-1.5),
        bounds: [-1.0, 1.0].into(),
        counts: vec![1, 1, 1],
        ..Histogram::default()
    };
    let descriptor = Descriptor::new("drift", Kind::Histogram);
    let batch = batch(vec![family(descriptor, vec![point([], histogram)])]);
    let buckets = r#"# TYPE drift histogram
drift_bucket{le="-1.0"} 1
drift_bucket{le="1.0"} 2
drift_bucket{le="+Inf"} 3
"#;
    assert_eq!(
        text(&batch, Format::OpenMetrics),
        format!("{buckets}drift_created 1520430000.123\n# EOF\n")
    );
    assert_eq!(
        text(&batch, Format::Text),
        format!("{buckets}drift_sum -1.5\ndrift_count 3\n")
    );
}

#[test]
fn a_share_and_a_bound_of_one_value_are_labels_of_their_own() {
    let summary = Summary {
        count: 1,
        sum: 2.0,
        quantiles: vec![QuantileValue {
            quantile: 0.5,
            value: 2.0,
        }],
        sketch: None,
    };
    let histogram = Histogram {
        count: 1,
        sum: Some(2.0),
        bounds: [0.5].into(),
        counts: vec![0, 1],
        ..Histogram::default()
    };
    let batch = batch(vec![
        family(
            Descriptor::new("s", Kind::Summary),
            vec![point([], summary)],
        ),
        family(
            Descriptor::new("h", Kind::Histogram),
            vec![point([], histogram)],
        ),
    ]);
    let expected = "# TYPE s summary\ns{quantile=\"0.5\"} 2.0\ns_sum 2.0\ns_count 1\n\
        # TYPE h histogram\nh_bucket{le=\"0.5\"} 0\nh_bucket{le=\"+Inf\"} 1\nh_sum 2.0\nh_count 1\n";
    assert_eq!(text(&batch, Format::Text), expected);
}

/// `exposition_formats.md`, "UTF-8 names".
#[test]
fn utf8_names_stand_in_quotes_inside_the_braces() {
    let descriptor = Descriptor::new("my.metric", Kind::Gauge);
    let points = vec![
        point([("label.x", "v"), ("y", "w")], Number::Int(1)),
        point([], Number::Int(2)),
    ];
    let batch = batch(vec![family(descriptor, points)]);
    let mut form = Form::new(Format::Text);
    form.alphabet = Alphabet::Utf8;
    let expected = "# TYPE \"my.metric\" gauge\n\
        {\"my.metric\",\"label.x\"=\"v\",y=\"w\"} 1\n{\"my.metric\"} 2\n";
    assert_eq!(String::from_utf8(page(&batch, form)).unwrap(), expected);
    let classic = "# TYPE my_metric gauge\nmy_metric{label_x=\"v\",y=\"w\"} 1\nmy_metric 2\n";
    assert_eq!(text(&batch, Format::Text), classic);
}

/// A histogram and a summary whose own labels are called as those that the format adds, and a counter that may have both.
fn reserved_labels() -> MetricBatch {
    let histogram = Histogram {
        count: 1,
        sum: Some(1.0),
        bounds: [2.0].into(),
        counts: vec![1, 0],
        ..Histogram::default()
    };
    let summary = Summary {
        count: 1,
        sum: 1.0,
        quantiles: vec![QuantileValue {
            quantile: 0.5,
            value: 1.0,
        }],
        sketch: None,
    };
    let all = [("le", "a"), ("quantile", "b"), ("role", "c")];
    let moved_on = [("exported.le", "d"), ("le", "e")];
    batch(vec![
        family(
            Descriptor::new("h", Kind::Histogram),
            vec![point(all, histogram.clone()), point(moved_on, histogram)],
        ),
        family(
            Descriptor::new("s", Kind::Summary),
            vec![point(all, summary)],
        ),
        family(
            Descriptor::new("c", Kind::COUNTER),
            vec![point(all, Number::Int(1))],
        ),
    ])
}

#[test]
fn labels_of_the_formats_own_names_are_exported_ones_where_it_adds_them() {
    let batch = reserved_labels();
    let expected = r#"# TYPE h histogram
h_bucket{exported_le="a",exported_quantile="b",role="c",le="2.0"} 1
h_bucket{exported_le="a",exported_quantile="b",role="c",le="+Inf"} 1
h_sum{exported_le="a",exported_quantile="b",role="c"} 1.0
h_count{exported_le="a",exported_quantile="b",role="c"} 1
h_bucket{exported_exported_le="d",exported_le="e",le="2.0"} 1
h_bucket{exported_exported_le="d",exported_le="e",le="+Inf"} 1
h_sum{exported_exported_le="d",exported_le="e"} 1.0
h_count{exported_exported_le="d",exported_le="e"} 1
# TYPE s summary
s{exported_le="a",exported_quantile="b",role="c",quantile="0.5"} 1.0
s_sum{exported_le="a",exported_quantile="b",role="c"} 1.0
s_count{exported_le="a",exported_quantile="b",role="c"} 1
# TYPE c_total counter
c_total{le="a",quantile="b",role="c"} 1
"#;
    // Twice: what a label set keeps of a counter is not what a histogram of the same labels has.
    assert_eq!(text(&batch, Format::Text), expected);
    assert_eq!(text(&batch, Format::Text), expected);
    let read = families(&page(&batch, Form::new(Format::Proto)));
    let renamed = [
        label("exported_le", "a"),
        label("exported_quantile", "b"),
        label("role", "c"),
    ];
    assert_eq!(named(&read, "h").metric[0].label, renamed);
    assert_eq!(named(&read, "s").metric[0].label, renamed);
    let kept = [label("le", "a"), label("quantile", "b"), label("role", "c")];
    assert_eq!(named(&read, "c_total").metric[0].label, kept);
}

#[test]
fn the_resource_is_the_targets_metadata() {
    let resource = Resource::new([
        ("service.name", Value::from("shop")),
        ("host.cpu", Value::Int(3)),
    ]);
    let open = family(
        Descriptor::new("open", Kind::Gauge),
        vec![point([], Number::Int(1))],
    );
    let batch = MetricBatch::new(Arc::new(resource), Arc::new(Scope::default()), vec![open]);
    let metadata = "# HELP target_info Target metadata\n\
        target_info{host_cpu=\"3\",service_name=\"shop\"} 1\n";
    let plain = text(&batch, Format::Text);
    assert!(
        plain.starts_with(&format!("# TYPE target_info gauge\n{metadata}")),
        "{plain}"
    );
    let open = text(&batch, Format::OpenMetrics);
    let metadata = metadata.replacen("target_info", "target", 1);
    assert!(
        open.starts_with(&format!("# TYPE target info\n{metadata}")),
        "{open}"
    );
    let proto = families(&page(&batch, Form::new(Format::Proto)));
    assert_eq!((proto[0].name.as_str(), proto[0].kind), ("target_info", 1));
    assert_eq!(proto[0].metric[0].label[1], label("service_name", "shop"));
}

fn label(name: &str, value: &str) -> LabelPair {
    LabelPair {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

fn named<'a>(families: &'a [MetricFamily], name: &str) -> &'a MetricFamily {
    families.iter().find(|family| family.name == name).unwrap()
}

#[test]
fn protobuf_is_what_another_decoder_reads() {
    let batch = batch(vec![
        http_requests(),
        odd_labels(),
        request_duration(),
        rpc_duration(),
    ]);
    let read = families(&page(&batch, Form::new(Format::Proto)));
    let requests = named(&read, "http_requests_total");
    assert_eq!(
        (requests.kind, requests.help.as_str()),
        (0, "The total number of HTTP requests.")
    );
    assert_eq!(
        requests.metric[0].label,
        [label("code", "200"), label("method", "post")]
    );
    let counter = requests.metric[1].counter.as_ref().unwrap();
    assert_eq!(counter.value, 0.5);
    let start = counter.start.unwrap();
    assert_eq!((start.seconds, start.nanos), (1_520_430_000, 123_000_000));
    let shown = counter.exemplar.as_ref().unwrap();
    assert_eq!(
        (shown.value, shown.label[1].name.as_str()),
        (0.25, "trace_id")
    );
    assert_eq!(shown.timestamp.unwrap().seconds, 1_520_879_607);
    let odd = named(&read, "odd");
    assert_eq!(odd.kind, 1);
    assert_eq!(odd.metric[0].label[1], label("path", "C:\\DIR\\FILE.TXT"));
    assert_eq!(odd.metric[1].gauge.unwrap().value, f64::NEG_INFINITY);
    let duration = named(&read, "http_request_duration_seconds");
    assert_eq!((duration.kind, duration.unit.as_str()), (4, "seconds"));
    let histogram = duration.metric[0].histogram.as_ref().unwrap();
    assert_eq!((histogram.count, histogram.sum), (144_320, 53_423.0));
    let read_buckets: Vec<_> = histogram
        .bucket
        .iter()
        .map(|bucket| (bucket.upper_bound, bucket.cumulative_count))
        .collect();
    let infinity = (f64::INFINITY, 144_320);
    assert_eq!(
        read_buckets,
        [(0.05, 24_054), (0.1, 33_444), (1.0, 133_444), infinity]
    );
    assert_eq!(histogram.bucket[1].exemplar.as_ref().unwrap().value, 0.06);
    assert!(histogram.positive_span.is_empty(), "a classic one");
    let rpc = named(&read, "rpc_duration_seconds");
    let summary = rpc.metric[0].summary.as_ref().unwrap();
    assert_eq!(
        (rpc.kind, summary.count, summary.sum),
        (2, 2_693, 1.756_047_3e7)
    );
    assert_eq!(
        (summary.quantile[0].quantile, summary.quantile[0].value),
        (0.5, 4_773.0)
    );
    assert!(summary.quantile[1].value.is_nan() && summary.start.is_some());
}

#[test]
fn exponential_histograms_are_native_in_protobuf_and_octaves_in_text() {
    let histogram = ExponentialHistogram {
        count: 18,
        sum: Some(40.0),
        scale: 1,
        zero_count: 2,
        zero_threshold: 1e-9,
        positive: Buckets {
            offset: -1,
            counts: vec![3, 0, 4, 0, 0, 0, 0, 0, 5],
        },
        negative: Buckets {
            offset: 2,
            counts: vec![4],
        },
        ..ExponentialHistogram::default()
    };
    let descriptor = Descriptor::new("size", Kind::ExponentialHistogram).with_unit("By");
    let one = point([("a", "b")], histogram.clone()).with_exemplars(vec![example(1.5)]);
    let none = point([], ExponentialHistogram::default());
    let batch = batch(vec![family(descriptor, vec![one, none])]);
    let read = families(&page(&batch, Form::new(Format::Proto)));
    let native = read[0].metric[0].histogram.as_ref().unwrap();
    assert_eq!((native.schema, native.count, native.sum), (1, 18, 40.0));
    assert_eq!((native.zero_count, native.zero_threshold), (2, 1e-9));
    // OpenTelemetry's bucket i is Prometheus' i + 1.
    let positive = buckets(&native.positive_span, &native.positive_delta);
    assert_eq!(positive, [(0, 3), (2, 4), (8, 5)]);
    assert_eq!(
        buckets(&native.negative_span, &native.negative_delta),
        [(3, 4)]
    );
    assert_eq!(native.exemplars[0].value, 1.5);
    assert!(native.bucket.is_empty());
    let empty = read[0].metric[1].histogram.as_ref().unwrap();
    assert_eq!(
        empty.positive_span.len(),
        1,
        "told from a classic one by an empty span"
    );
    let expected = "size_bytes_bucket{a=\"b\",le=\"-2.0\"} 4\n\
        size_bytes_bucket{a=\"b\",le=\"0.0\"} 6\n\
        size_bytes_bucket{a=\"b\",le=\"1.0\"} 9\n\
        size_bytes_bucket{a=\"b\",le=\"2.0\"} 13\n\
        size_bytes_bucket{a=\"b\",le=\"16.0\"} 18\n\
        size_bytes_bucket{a=\"b\",le=\"+Inf\"} 18\n\
        size_bytes_sum{a=\"b\"} 40.0\n";
    let plain = text(&batch, Format::Text);
    assert!(
        plain.starts_with(&format!("# TYPE size_bytes histogram\n{expected}")),
        "{plain}"
    );
}

#[test]
fn a_summary_with_its_sketch_is_native_in_protobuf_and_quantiles_in_text() {
    let registry = Registry::new();
    let summary = registry
        .summary(Spec::new("took").with_unit("s"))
        .unwrap()
        .plain();
    for value in [0.25, 0.25, 1.0] {
        summary.observe(value);
    }
    let batch = registry.collect(&CollectOptions::with_sketches());
    let read = families(&page(&batch, Form::new(Format::Proto)));
    let family = named(&read, "took_seconds");
    let native = family.metric[0].histogram.as_ref().unwrap();
    assert_eq!(
        (family.kind, native.schema, native.count, native.sum),
        (4, 6, 3, 1.5)
    );
    // 2^-2 is the upper bound of bucket -128 of Prometheus, 2^0 that of bucket 0.
    let positive = buckets(&native.positive_span, &native.positive_delta);
    assert_eq!(positive, [(-128, 2), (0, 1)]);
    let plain = text(&batch, Format::Text);
    assert!(plain.contains("# TYPE took_seconds summary\n"), "{plain}");
    assert!(plain.contains("took_seconds_count 3\n"), "{plain}");
}

/// What comes back for a request, as it stands on the wire: head, and body.
fn ask(address: SocketAddr, request: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("{request}host: here\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let end = reply
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(reply[..end].to_vec()).unwrap();
    (head.to_lowercase(), reply[end + 4..].to_vec())
}

fn settings() -> ScrapeSettings {
    let mut options = ScrapeOptions::default();
    options.host = Some("127.0.0.1".to_owned());
    options.port = Some(0);
    ScrapeSettings::new(&options, &Env::default(), &mut Vec::new())
}

#[test]
fn a_scrape_is_answered_in_the_form_that_is_asked_for() {
    let registry = Registry::new();
    registry.counter("orders").unwrap().plain().add(3);
    let server = ScrapeServer::start(&registry, &settings()).unwrap();
    let address = server.address();
    let (head, body) = ask(address, "GET /metrics HTTP/1.1\r\n");
    assert!(head.starts_with("http/1.1 200 ok"), "{head}");
    let plain = "content-type: text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    assert!(head.contains(plain), "{head}");
    assert_eq!(body, b"# TYPE orders_total counter\norders_total 3\n");
    let (head, body) = ask(
        address,
        "GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text;version=1.0.0\r\n\
         accept-encoding: gzip;q=1.0, identity\r\n",
    );
    assert!(head.contains("content-encoding: gzip"), "{head}");
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    let mut unpacked = String::new();
    GzDecoder::new(&*body)
        .read_to_string(&mut unpacked)
        .unwrap();
    assert!(
        unpacked.starts_with("# TYPE orders counter\norders_total 3\n"),
        "{unpacked}"
    );
    assert!(unpacked.ends_with("# EOF\n"), "{unpacked}");
    let accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
        encoding=delimited";
    let (_, body) = ask(
        address,
        &format!("GET /metrics HTTP/1.1\r\naccept: {accept}\r\n"),
    );
    assert_eq!(
        families(&body)[0].metric[0].counter.as_ref().unwrap().value,
        3.0
    );
    let (head, body) = ask(address, "HEAD /metrics HTTP/1.1\r\n");
    assert!(
        head.contains("content-length: 43") && body.is_empty(),
        "{head}"
    );
    assert!(
        ask(address, "GET /other HTTP/1.1\r\n")
            .0
            .starts_with("http/1.1 404")
    );
    let (head, _) = ask(address, "POST /metrics HTTP/1.1\r\n");
    assert!(
        head.starts_with("http/1.1 405") && head.contains("allow: get, head"),
        "{head}"
    );
    registry.counter("orders").unwrap().plain().add(1);
    assert!(
        ask(address, "GET / HTTP/1.1\r\n")
            .1
            .ends_with(b"orders_total 4\n")
    );
}

/// Held by whoever wants an address back and by whoever forks: a child holds all listeners until it has run.
static ADDRESSES: Mutex<()> = Mutex::new(());

#[test]
fn an_address_is_free_again_when_its_server_ends_and_a_held_one_is_an_error() {
    let _alone = ADDRESSES.lock().unwrap_or_else(PoisonError::into_inner);
    let registry = Registry::new();
    let server = ScrapeServer::start(&registry, &settings()).unwrap();
    let mut held = settings();
    held.port = server.address().port();
    let error = ScrapeServer::start(&registry, &held)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!("127.0.0.1:{}", held.port)),
        "{error}"
    );
    assert!(error.contains("OTEL_EXPORTER_PROMETHEUS_PORT"), "{error}");
    drop(server);
    ScrapeServer::start(&registry, &held).unwrap();
}

#[test]
fn an_open_connection_does_not_hold_up_the_end() {
    let server = ScrapeServer::start(&Registry::new(), &settings()).unwrap();
    let mut idle = TcpStream::connect(server.address()).unwrap();
    idle.write_all(b"GET /metrics HTTP/1.1\r\nhost: here\r\n")
        .unwrap();
    drop(server);
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = Vec::new();
    // Hung up on, with or without a reset.
    let _ = idle.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[test]
fn the_environment_names_host_and_port_and_code_beats_it() {
    let env = Env::from_pairs([
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "10.0.0.1"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "70000"),
    ]);
    let mut warnings = Vec::new();
    let settings = ScrapeSettings::new(&ScrapeOptions::default(), &env, &mut warnings);
    assert_eq!((settings.host.as_str(), settings.port), ("10.0.0.1", 9464));
    assert_eq!(warnings[0].place, "OTEL_EXPORTER_PROMETHEUS_PORT");
    let words = warnings[0].to_string();
    assert!(
        words.contains("`70000` is not a whole number from 0 to 65535"),
        "{words}"
    );
    let mut options = ScrapeOptions::default();
    options.host = Some("::1".to_owned());
    options.port = Some(1);
    let settings = ScrapeSettings::new(&options, &env, &mut warnings);
    assert_eq!((settings.host.as_str(), settings.port), ("::1", 1));
}

#[cfg(target_os = "linux")]
#[test]
#[expect(unsafe_code, reason = "fork")]
fn a_forked_child_does_not_hold_the_port_of_its_parent() {
    let _alone = ADDRESSES.lock().unwrap_or_else(PoisonError::into_inner);
    let registry = Registry::new();
    let server = ScrapeServer::start(&registry, &settings()).unwrap();
    let mut held = settings();
    held.port = server.address().port();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let (mut parents_ear, mut childs_mouth) = std::io::pipe().unwrap();
    // SAFETY: the child waits for the pipe's end and leaves by `_exit`, or is ended by the alarm.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: as above.
        unsafe { libc::alarm(20) };
        drop(writer);
        let _ = childs_mouth.write_all(b"!");
        let mut byte = [0];
        let _ = reader.read(&mut byte);
        drop(server);
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    drop((reader, childs_mouth));
    // Until the child has run it holds what any child holds.
    parents_ear.read_exact(&mut [0]).unwrap();
    drop(server);
    let again = ScrapeServer::start(&registry, &held);
    writer.write_all(b"!").unwrap();
    let mut status = 0;
    // SAFETY: reaps our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(
        status, 0,
        "the child's copy of the server ends without waiting"
    );
    again.unwrap();
}
