//! Snapshots of metrics through a broker, read back by a reader that shares nothing with the encoder.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[allow(dead_code, reason = "shared with the other tests")]
mod support;

use std::sync::Arc;

use hiq_core::config::{ConfigError, Env};
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::metric::record::{CollectOptions, Registry};
use hiq_core::resource::Resource;
use hiq_core::value::Value;
use hiq_kafka::{
    KafkaEncoding, KafkaExporter, KafkaKey, KafkaOptions, KafkaSettings, METRIC_VARIABLES,
};
use hiq_otlp::OtlpMetricsProtoEncoder;
use hiq_testkit::metrics::deliver;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use prost::Message as _;
use rdkafka::message::{Headers as _, Message as _};

use support::Broker;

const TOPIC: &str = "otlp_metrics";

fn settings(
    options: &KafkaOptions,
    env: &[(&str, &str)],
) -> (Result<KafkaSettings, ConfigError>, Vec<String>) {
    let mut warnings = Vec::new();
    let env = Env::from_pairs(env.iter().copied());
    let settings = KafkaSettings::for_metrics(options, &env, &mut warnings);
    (settings, warnings.iter().map(ToString::to_string).collect())
}

/// Orders by city, sent to the topic of metrics.
fn send(broker: &Broker, key: Option<KafkaKey>) -> LedgerSnapshot {
    let name = ("service.name".to_owned(), Value::from("orchard"));
    let registry = Registry::of(Arc::new(Resource::new([name])));
    let orders = registry.counter("orders").unwrap();
    for (city, count) in [("Bern", 3), ("Oslo", 5)] {
        orders.with([("city", city)]).add(count);
    }
    let mut options = KafkaOptions::default();
    options.brokers = Some(broker.cluster.bootstrap_servers());
    options.key = key;
    let exporter = KafkaExporter::new(settings(&options, &[]).0.unwrap()).unwrap();
    let mut exporter = exporter.build(OtlpMetricsProtoEncoder::new()).unwrap();
    deliver(&mut *exporter, registry.collect(&CollectOptions::default()))
}

#[test]
fn a_snapshot_is_one_message_in_otlp_with_the_name_of_its_encoding() {
    let broker = Broker::with_topic(TOPIC, 1);
    let ledger = send(&broker, None);
    assert_eq!((ledger.offered, ledger.exported), (2, 2), "{ledger:?}");

    let read = broker.read_as(TOPIC, 1, |message| {
        let headers = message.headers().unwrap().iter();
        let headers: Vec<_> = headers
            .map(|header| (header.key.to_owned(), header.value.unwrap().to_vec()))
            .collect();
        let key = message.key().map(<[u8]>::to_vec);
        (key, headers, message.payload().unwrap().to_vec())
    });
    let (key, headers, body) = &read[0];
    assert_eq!(*key, None);
    let expected: [(_, &[u8]); 3] = [
        ("content-type", b"application/x-protobuf"),
        ("hiq-encoding", b"otlp_proto"),
        ("hiq-signal", b"metrics"),
    ];
    assert_eq!(
        *headers,
        expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    let request = ExportMetricsServiceRequest::decode(&**body).unwrap();
    let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(Data::Sum(sum)) = &metric.data else {
        panic!("{metric:?}");
    };
    let mut counted: Vec<_> = sum.data_points.iter().map(|point| point.value).collect();
    counted.sort_by_key(|value| format!("{value:?}"));
    assert_eq!(
        counted,
        [Some(Number::AsInt(3)), Some(Number::AsInt(5))],
        "{metric:?}"
    );
}

#[test]
fn the_key_of_metrics_is_the_name_of_their_service_where_it_is_asked_for() {
    let broker = Broker::with_topic(TOPIC, 3);
    send(&broker, Some(KafkaKey::Service));
    let keys = broker.read_as(TOPIC, 1, |message| message.key().map(<[u8]>::to_vec));
    assert_eq!(keys, [Some(b"orchard".to_vec())]);
}

#[test]
fn metrics_have_a_topic_an_encoding_and_a_key_of_their_own() {
    let of_spans = [
        ("HIQ_KAFKA_TOPIC", "t"),
        ("HIQ_KAFKA_ENCODING", "zipkin_json"),
        ("HIQ_KAFKA_KEY", "trace"),
    ];
    let (read, warnings) = settings(&KafkaOptions::default(), &of_spans);
    let read = read.unwrap();
    assert_eq!(
        (&*read.topic, read.encoding, read.key),
        (TOPIC, KafkaEncoding::OtlpProto, KafkaKey::None)
    );
    assert_eq!(warnings, Vec::<String>::new());

    let own = ["m", "otlp_json", "service"];
    let names = METRIC_VARIABLES.iter().map(|variable| variable.name);
    let (read, _) = settings(
        &KafkaOptions::default(),
        &names.zip(own).collect::<Vec<_>>(),
    );
    let read = read.unwrap();
    assert_eq!(
        (&*read.topic, read.encoding, read.key),
        ("m", KafkaEncoding::OtlpJson, KafkaKey::Service)
    );
    let written: Vec<_> = METRIC_VARIABLES
        .iter()
        .map(|variable| (variable.name, variable.default))
        .collect();
    let defaults = settings(&KafkaOptions::default(), &[]).0.unwrap();
    let of_table = settings(&KafkaOptions::default(), &written).0.unwrap();
    assert_eq!(of_table, defaults);
}

#[test]
fn encodings_and_keys_of_spans_alone_are_refused_for_metrics() {
    let mut options = KafkaOptions::default();
    options.encoding = Some(KafkaEncoding::ZipkinJson);
    assert_eq!(
        settings(&options, &[]).0.unwrap_err().to_string(),
        "encoding: zipkin_json is an encoding of spans alone; give otlp_proto or otlp_json"
    );
    let mut options = KafkaOptions::default();
    options.key = Some(KafkaKey::Trace);
    assert_eq!(
        settings(&options, &[]).0.unwrap_err().to_string(),
        "key: metrics are of no trace; give none or service"
    );
    let odd = [("HIQ_KAFKA_METRICS_ENCODING", "zipkin_json")];
    let (read, warnings) = settings(&KafkaOptions::default(), &odd);
    assert_eq!(read.unwrap().encoding, KafkaEncoding::OtlpProto);
    assert!(
        warnings[0].starts_with("HIQ_KAFKA_METRICS_ENCODING"),
        "{warnings:?}"
    );
}
