//! Remote write's messages, from Prometheus' `prompb/types.proto`, `prompb/remote.proto` and
//! `prompb/io/prometheus/write/v2/types.proto`, and a payload of either as plain series.
#![allow(dead_code, reason = "each test file uses its part of this module")]

use std::collections::BTreeMap;

use prost::Message;

pub(crate) mod v1 {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(crate) timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) metadata: Vec<MetricMetadata>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct MetricMetadata {
        #[prost(int32, tag = "1")]
        pub(crate) kind: i32,
        #[prost(string, tag = "2")]
        pub(crate) metric_family_name: String,
        #[prost(string, tag = "4")]
        pub(crate) help: String,
        #[prost(string, tag = "5")]
        pub(crate) unit: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(crate) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) exemplars: Vec<Exemplar>,
        #[prost(message, repeated, tag = "4")]
        pub(crate) histograms: Vec<super::Histogram>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Label {
        #[prost(string, tag = "1")]
        pub(crate) name: String,
        #[prost(string, tag = "2")]
        pub(crate) value: String,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(crate) struct Sample {
        #[prost(double, tag = "1")]
        pub(crate) value: f64,
        #[prost(int64, tag = "2")]
        pub(crate) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(crate) labels: Vec<Label>,
        #[prost(double, tag = "2")]
        pub(crate) value: f64,
        #[prost(int64, tag = "3")]
        pub(crate) timestamp: i64,
    }
}

pub(crate) mod v2 {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Request {
        #[prost(string, repeated, tag = "4")]
        pub(crate) symbols: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        pub(crate) timeseries: Vec<TimeSeries>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TimeSeries {
        #[prost(uint32, repeated, tag = "1")]
        pub(crate) labels_refs: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) histograms: Vec<super::Histogram>,
        #[prost(message, repeated, tag = "4")]
        pub(crate) exemplars: Vec<Exemplar>,
        #[prost(message, optional, tag = "5")]
        pub(crate) metadata: Option<Metadata>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(crate) struct Sample {
        #[prost(double, tag = "1")]
        pub(crate) value: f64,
        #[prost(int64, tag = "2")]
        pub(crate) timestamp: i64,
        #[prost(int64, tag = "3")]
        pub(crate) start_timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Exemplar {
        #[prost(uint32, repeated, tag = "1")]
        pub(crate) labels_refs: Vec<u32>,
        #[prost(double, tag = "2")]
        pub(crate) value: f64,
        #[prost(int64, tag = "3")]
        pub(crate) timestamp: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(crate) struct Metadata {
        #[prost(int32, tag = "1")]
        pub(crate) kind: i32,
        #[prost(uint32, tag = "3")]
        pub(crate) help_ref: u32,
        #[prost(uint32, tag = "4")]
        pub(crate) unit_ref: u32,
    }
}

/// The same in both versions, but for its start.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) count_int: Option<u64>,
    #[prost(double, tag = "3")]
    pub(crate) sum: f64,
    #[prost(sint32, tag = "4")]
    pub(crate) schema: i32,
    #[prost(double, tag = "5")]
    pub(crate) zero_threshold: f64,
    #[prost(uint64, optional, tag = "6")]
    pub(crate) zero_count_int: Option<u64>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) negative_spans: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "9")]
    pub(crate) negative_deltas: Vec<i64>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) positive_spans: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "12")]
    pub(crate) positive_deltas: Vec<i64>,
    #[prost(int64, tag = "15")]
    pub(crate) timestamp: i64,
    #[prost(int64, tag = "17")]
    pub(crate) start_timestamp: i64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct BucketSpan {
    #[prost(sint32, tag = "1")]
    pub(crate) offset: i32,
    #[prost(uint32, tag = "2")]
    pub(crate) length: u32,
}

/// What both versions say of a series, as text: doubles that are no numbers equal themselves then.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plain {
    /// `name{label="value",...}`
    pub(crate) series: String,
    pub(crate) value: String,
    pub(crate) millis: i64,
    /// Of version 2.0 alone.
    pub(crate) start_millis: i64,
    pub(crate) exemplars: Vec<String>,
    /// Number of the type, help and unit.
    pub(crate) metadata: (i32, String, String),
}

/// Of a compressed payload.
pub(crate) fn unpacked(payload: &[u8]) -> Vec<u8> {
    snap::raw::Decoder::new()
        .decompress_vec(payload)
        .expect("snappy's block format")
}

pub(crate) fn read_v1(payload: &[u8]) -> Vec<Plain> {
    let request = v1::WriteRequest::decode(&unpacked(payload)[..]).expect("a WriteRequest");
    let metadata: BTreeMap<String, (i32, String, String)> = request
        .metadata
        .into_iter()
        .map(|each| (each.metric_family_name, (each.kind, each.help, each.unit)))
        .collect();
    let pairs = |labels: Vec<v1::Label>| -> Vec<(String, String)> {
        labels
            .into_iter()
            .map(|label| (label.name, label.value))
            .collect()
    };
    let plain = |series: v1::TimeSeries| {
        let labels = pairs(series.labels);
        let name = name_of(&labels).to_owned();
        let family = ["", "_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| metadata.get(name.strip_suffix(suffix)?));
        let (value, millis, _) = match (&series.samples[..], &series.histograms[..]) {
            ([sample], []) => (format!("{:?}", sample.value), sample.timestamp, 0),
            ([], [histogram]) => native(histogram),
            other => panic!("{other:?}"),
        };
        let exemplar =
            |each: v1::Exemplar| exemplar(pairs(each.labels), each.value, each.timestamp);
        Plain {
            series: text(labels),
            value,
            millis,
            start_millis: 0,
            exemplars: series.exemplars.into_iter().map(exemplar).collect(),
            metadata: family.expect("metadata").clone(),
        }
    };
    request.timeseries.into_iter().map(plain).collect()
}

pub(crate) fn read_v2(payload: &[u8]) -> Vec<Plain> {
    let request = v2::Request::decode(&unpacked(payload)[..]).expect("a Request");
    assert_eq!(request.symbols[0], "", "the first symbol is empty");
    let mut once = request.symbols.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), request.symbols.len(), "each symbol stands once");
    let symbol = |place: u32| request.symbols[place as usize].clone();
    let pairs = |references: Vec<u32>| -> Vec<(String, String)> {
        let pairs = references.chunks_exact(2);
        assert!(pairs.remainder().is_empty(), "a name without a value");
        pairs
            .map(|pair| (symbol(pair[0]), symbol(pair[1])))
            .collect()
    };
    let plain = |series: v2::TimeSeries| {
        let (value, millis, start_millis) = match (&series.samples[..], &series.histograms[..]) {
            ([sample], []) => (
                format!("{:?}", sample.value),
                sample.timestamp,
                sample.start_timestamp,
            ),
            ([], [histogram]) => native(histogram),
            other => panic!("{other:?}"),
        };
        let metadata = series.metadata.expect("metadata");
        let exemplar =
            |each: v2::Exemplar| exemplar(pairs(each.labels_refs), each.value, each.timestamp);
        Plain {
            series: text(pairs(series.labels_refs)),
            value,
            millis,
            start_millis,
            exemplars: series.exemplars.into_iter().map(exemplar).collect(),
            metadata: (
                metadata.kind,
                symbol(metadata.help_ref),
                symbol(metadata.unit_ref),
            ),
        }
    };
    request.timeseries.clone().into_iter().map(plain).collect()
}

fn name_of(labels: &[(String, String)]) -> &str {
    let named = labels.iter().find(|(name, _)| name == "__name__");
    named.map(|(_, value)| value.as_str()).expect("a name")
}

/// The labels as text, checked to be what the protocol asks for.
fn text(labels: Vec<(String, String)>) -> String {
    let names: Vec<_> = labels.iter().map(|(name, _)| name).collect();
    assert!(
        names.windows(2).all(|pair| pair[0] < pair[1]),
        "{names:?}: sorted, each once"
    );
    let none_is_empty = labels
        .iter()
        .all(|(name, value)| !name.is_empty() && !value.is_empty());
    assert!(none_is_empty, "{labels:?}");
    let name = name_of(&labels).to_owned();
    let others = labels.iter().filter(|(name, _)| name != "__name__");
    let others: Vec<_> = others
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{name}{{{}}}", others.join(","))
}

fn native(histogram: &Histogram) -> (String, i64, i64) {
    let spans = |spans: &[BucketSpan], deltas: &[i64]| {
        let (mut index, mut count, mut deltas) = (0, 0_i64, deltas.iter());
        let mut buckets = BTreeMap::new();
        for span in spans {
            index += span.offset;
            for _ in 0..span.length {
                // Counts of tests go up to 2^64, half of which a signed number calls negative.
                count = count.wrapping_add(*deltas.next().expect("a delta for each bucket"));
                buckets.insert(index, count.cast_unsigned());
                index += 1;
            }
        }
        assert_eq!(deltas.next(), None, "a delta without a bucket");
        buckets.retain(|_, count| *count != 0);
        buckets
    };
    let positive = spans(&histogram.positive_spans, &histogram.positive_deltas);
    let negative = spans(&histogram.negative_spans, &histogram.negative_deltas);
    let text = format!(
        "count {} sum {:?} schema {} zero {} up to {:?} positive {positive:?} negative {negative:?}",
        histogram.count_int.expect("a count"),
        histogram.sum,
        histogram.schema,
        histogram.zero_count_int.expect("a count of zeros"),
        histogram.zero_threshold,
    );
    (text, histogram.timestamp, histogram.start_timestamp)
}

fn exemplar(labels: Vec<(String, String)>, value: f64, millis: i64) -> String {
    let chars: usize = labels
        .iter()
        .map(|(name, value)| name.chars().count() + value.chars().count())
        .sum();
    assert!(chars <= 128, "{labels:?}");
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{{{}}} {value:?} {millis}", labels.join(","))
}

/// The body of the answer to a request for `path`.
pub(crate) fn get(address: std::net::SocketAddr, path: &str) -> String {
    use std::io::{Read as _, Write as _};

    let mut stream = std::net::TcpStream::connect(address).expect("a server");
    let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("it answers");
    let (_, body) = reply.split_once("\r\n\r\n").expect("a head");
    body.to_owned()
}
