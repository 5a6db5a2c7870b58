//! librdkafka's mock cluster as the broker, and its consumer as the reader: neither knows hiq.

use std::time::{Duration, Instant};

use hiq_core::config::Env;
use hiq_core::deliver::DeliveryOptions;
use hiq_kafka::{KafkaKey, KafkaOptions, KafkaSettings, KafkaTransport};
use hiq_testkit::PATIENCE;
use hiq_testkit::delivery::Delivery;
use hiq_testkit::lines::LineEncoder;
use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};

pub(crate) struct Broker {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) partition: i32,
}

impl Broker {
    /// One that lives as long as the test's process, and whose groups do not wait three seconds for a second member.
    pub(crate) fn with_topic(topic: &str, partitions: i32) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .create()
            .unwrap();
        let client = Box::leak(Box::new(producer)).client();
        let cluster = client.mock_cluster().unwrap();
        do_not_wait_for_members(client);
        cluster.create_topic(topic, partitions, 1).unwrap();
        Self { cluster }
    }

    pub(crate) fn options(&self, topic: &str) -> KafkaOptions {
        options(&self.cluster.bootstrap_servers(), topic)
    }

    /// Reads `count` messages from the topic's start; fails when that takes too long.
    pub(crate) fn read(&self, topic: &str, count: usize) -> Vec<Read> {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        self.read_as(topic, count, |message| {
            let headers = message.headers().unwrap();
            let headers = headers
                .iter()
                .map(|header| (header.key.to_owned(), text(header.value)));
            Read {
                key: message.key().map(|key| text(Some(key))),
                value: text(message.payload()),
                headers: headers.collect(),
                partition: message.partition(),
            }
        })
    }

    /// The same, whatever is in the messages.
    pub(crate) fn read_as<T>(
        &self,
        topic: &str,
        count: usize,
        take: impl Fn(&BorrowedMessage<'_>) -> T,
    ) -> Vec<T> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", format!("test-{count}"))
            .set("auto.offset.reset", "earliest")
            .create()
            .unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let end = Instant::now() + PATIENCE;
        let mut read = Vec::new();
        while read.len() < count {
            assert!(Instant::now() < end, "{} of {count}", read.len());
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                read.push(take(&message));
            }
        }
        read
    }
}

#[expect(unsafe_code, reason = "two calls of librdkafka, argued below")]
fn do_not_wait_for_members(client: &Client<DefaultProducerContext>) {
    use rdkafka::bindings::{
        rd_kafka_handle_mock_cluster, rd_kafka_mock_group_initial_rebalance_delay_ms,
    };
    // SAFETY: the pointer is of a client that lives, and the mock cluster, which it was asked for, lives as long as that.
    unsafe {
        let cluster = rd_kafka_handle_mock_cluster(client.native_ptr());
        assert!(!cluster.is_null());
        rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
    }
}

pub(crate) fn options(brokers: &str, topic: &str) -> KafkaOptions {
    let mut options = KafkaOptions::default();
    options.brokers = Some(brokers.to_owned());
    options.topic = Some(topic.to_owned());
    options.key = Some(KafkaKey::Trace);
    options
}

pub(crate) fn settings(options: &KafkaOptions) -> KafkaSettings {
    KafkaSettings::new(options, &Env::from_pairs::<&str, &str>([]), &mut Vec::new()).unwrap()
}

/// An exporter of lines; failed attempts are repeated soon.
pub(crate) fn delivery(options: &KafkaOptions) -> Delivery<LineEncoder, KafkaTransport> {
    let transport = KafkaTransport::new(settings(options), "lines").unwrap();
    let mut delivery = DeliveryOptions::default();
    delivery.retry.initial = Duration::from_millis(50);
    delivery.retry.max = Duration::from_millis(200);
    delivery.cut = hiq_core::encode::Cut::Trace;
    Delivery::over(transport, LineEncoder::new(), delivery)
}
