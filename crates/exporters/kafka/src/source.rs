//! Messages read back from topics: one member of a consumer group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hiq_core::config::{ConfigError, Secret};
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::config::check_topic;
use crate::connection::KafkaConnection;
use crate::words::{clean, write_to_stderr};
use crate::{ENCODING_HEADER, SIGNAL_HEADER};

/// What is read, and as which group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KafkaSourceSettings {
    /// The cluster, and how it is connected to.
    pub connection: KafkaConnection,
    /// The topics.
    pub topics: Vec<String>,
    /// The consumer group: its members share the topics' partitions, and what one has committed no other reads.
    pub group: String,
    /// Where a group begins that has committed nothing: with the oldest message, or, if false, with the next. Default: the oldest.
    pub from_start: bool,
    /// Whether to find out where the topics end, see [`KafkaSource::is_at_end`]. Default: no.
    pub until_end: bool,
}

impl KafkaSourceSettings {
    /// Settings with the defaults for the rest. Topics and group are checked.
    pub fn new(
        connection: KafkaConnection,
        topics: Vec<String>,
        group: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        let group = group.into();
        topics
            .iter()
            .try_for_each(|topic| check_topic("topic", topic))?;
        if topics.is_empty() || group.is_empty() {
            let place = if group.is_empty() { "group" } else { "topic" };
            return Err(ConfigError::new(
                place,
                "is missing",
                "write kafka://host:port/topic?group=name",
            ));
        }
        Ok(Self {
            connection,
            topics,
            group,
            from_start: true,
            until_end: false,
        })
    }

    /// What is read, for people: `kafka://host:port/topic`.
    pub fn target(&self) -> String {
        format!(
            "kafka://{}/{}",
            self.connection.brokers,
            self.topics.join(",")
        )
    }
}

/// A message as it was read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct KafkaMessage<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// Its value; empty where it has none.
    pub value: &'a [u8],
    /// What its header [`ENCODING_HEADER`] says.
    pub encoding: Option<&'a str>,
    /// What its header [`SIGNAL_HEADER`] says.
    pub signal: Option<&'a str>,
}

/// What [`KafkaSource::poll`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Polled {
    /// A message, which was handed over.
    Message,
    /// Nothing in that time.
    Nothing,
    /// Something is wrong; in one line, without a secret. librdkafka goes on trying.
    Trouble(String),
}

/// How far each partition was read: what may be committed once all of it was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaPositions(BTreeMap<(String, i32), i64>);

impl KafkaPositions {
    /// Counts `message` as read.
    pub fn note(&mut self, message: &KafkaMessage<'_>) {
        let place = (message.topic.to_owned(), message.partition);
        self.0.insert(place, message.offset + 1);
    }

    /// Counts as read what `later` does; where both know a partition, `later` is right.
    pub fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// True when nothing was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A member of a consumer group. Nothing is committed but by [`KafkaSource::commit`].
///
/// Belongs into one process: a forked child must not touch it.
#[derive(Debug)]
pub struct KafkaSource {
    settings: KafkaSourceSettings,
    consumer: Native,
    notes: Arc<Notes>,
    ended: BTreeSet<(String, i32)>,
    is_paused: bool,
}

struct Native(BaseConsumer<Context>);

impl std::fmt::Debug for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BaseConsumer")
    }
}

impl KafkaSource {
    /// Joins the group. Whether brokers and topics are there shows in [`KafkaSource::poll`].
    pub fn open(settings: KafkaSourceSettings) -> Result<Self, ConfigError> {
        let connection = &settings.connection;
        let mut config = connection.client();
        config.set("group.id", &settings.group);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set(
            "auto.offset.reset",
            if settings.from_start {
                "earliest"
            } else {
                "latest"
            },
        );
        config.set(
            "enable.partition.eof",
            if settings.until_end { "true" } else { "false" },
        );
        // One that was killed is missed after ten seconds, and others read its partitions.
        config.set("session.timeout.ms", "10000");
        config.set("queued.max.messages.kbytes", "32768");
        let config = connection.finish(config)?;
        let notes = Arc::new(Notes {
            trouble: Mutex::default(),
            secrets: connection.secrets(),
            is_verbose: connection.is_verbose(),
        });
        let context = Context(Arc::clone(&notes));
        let failed = |error: KafkaError| {
            let words = clean(&error.to_string(), &notes.secrets);
            ConfigError::new("brokers", words, "check HIQ_KAFKA_* and the address")
        };
        let consumer = BaseConsumer::from_config_and_context(&config, context).map_err(failed)?;
        let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(failed)?;
        Ok(Self {
            settings,
            consumer: Native(consumer),
            notes: Arc::clone(&notes),
            ended: BTreeSet::new(),
            is_paused: false,
        })
    }

    /// Hands the next message to `take`, waiting up to `wait` for it. Has to be called every few seconds at least, else
    /// the group takes the partitions away.
    pub fn poll(&mut self, wait: Duration, take: impl FnOnce(KafkaMessage<'_>)) -> Polled {
        match self.consumer.0.poll(wait) {
            None => self
                .notes
                .take_trouble()
                .map_or(Polled::Nothing, Polled::Trouble),
            Some(Ok(message)) => {
                if self.settings.until_end {
                    self.ended
                        .remove(&(message.topic().to_owned(), message.partition()));
                }
                take(read(&message));
                Polled::Message
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.note_end(partition);
                Polled::Nothing
            }
            // Of each broker something was said already.
            Some(Err(error)) if error.rdkafka_error_code() == Some(Code::AllBrokersDown) => {
                let trouble = self.notes.take_trouble();
                trouble.map_or(Polled::Nothing, |words| {
                    Polled::Trouble(self.explained(&error, Some(words)))
                })
            }
            Some(Err(error)) => {
                // It came as a trouble as well, with more words.
                let trouble = self.notes.take_trouble();
                Polled::Trouble(self.explained(&error, trouble))
            }
        }
    }

    /// Hands out no more messages until [`KafkaSource::resume`], and stays a member of the group.
    pub fn pause(&mut self) {
        if let Ok(all) = self.consumer.0.assignment() {
            self.is_paused = self.consumer.0.pause(&all).is_ok();
        }
    }

    /// Ends a [`KafkaSource::pause`].
    pub fn resume(&mut self) {
        if self.is_paused
            && let Ok(all) = self.consumer.0.assignment()
        {
            self.is_paused = self.consumer.0.resume(&all).is_err();
        }
    }

    /// Tells the group that all before `positions` is done: whoever reads on begins there. The error, in one line, means that it may be
    /// read again.
    pub fn commit(&mut self, positions: &KafkaPositions) -> Result<(), String> {
        if positions.is_empty() {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), offset) in &positions.0 {
            let added = offsets.add_partition_offset(topic, *partition, Offset::Offset(*offset));
            added.map_err(|error| error.to_string())?;
        }
        let committed = self.consumer.0.commit(&offsets, CommitMode::Sync);
        committed.map_err(|error| self.explained(&error, None))
    }

    /// True when every partition that this member has was read to its end; false as long as it has none.
    pub fn is_at_end(&self) -> bool {
        let Ok(all) = self.consumer.0.assignment() else {
            return false;
        };
        let all = all.elements();
        let has_ended =
            |topic: &str, partition| self.ended.contains(&(topic.to_owned(), partition));
        !all.is_empty()
            && all
                .iter()
                .all(|each| has_ended(each.topic(), each.partition()))
    }

    /// librdkafka says which partition has ended, and not of which topic: with several topics, all that have that partition are asked.
    fn note_end(&mut self, partition: i32) {
        let Ok(positions) = self.consumer.0.position() else {
            return;
        };
        for topic in &self.settings.topics {
            let position = positions.find_partition(topic, partition);
            let Some(position) = position.map(|found| found.offset()) else {
                continue;
            };
            let marks = self
                .consumer
                .0
                .fetch_watermarks(topic, partition, Duration::from_secs(5));
            let is_end = marks.is_ok_and(|(low, high)| match position {
                Offset::Offset(next) => next >= high,
                _ => low == high || !self.settings.from_start,
            });
            if is_end || self.settings.topics.len() == 1 {
                self.ended.insert((topic.clone(), partition));
            }
        }
    }

    fn explained(&self, error: &KafkaError, trouble: Option<String>) -> String {
        let target = self.settings.target();
        let group = &self.settings.group;
        let code = error.rdkafka_error_code();
        let what = match code {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {
                "there is no such topic; create it, or name another".to_owned()
            }
            Some(Code::TopicAuthorizationFailed) => {
                "not allowed to read the topic; give this user the right to READ it".to_owned()
            }
            Some(Code::GroupAuthorizationFailed) => {
                format!(
                    "not allowed to join the group `{group}`; give this user the right to READ it"
                )
            }
            _ => trouble.unwrap_or_else(|| clean(&error.to_string(), &self.notes.secrets)),
        };
        format!("{target}: {what}")
    }
}

fn read<'m>(message: &'m BorrowedMessage<'_>) -> KafkaMessage<'m> {
    let said = |name| {
        let mut headers = message.headers()?.iter();
        let header = headers.find(|header| header.key == name)?;
        std::str::from_utf8(header.value?).ok()
    };
    KafkaMessage {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        value: message.payload().unwrap_or_default(),
        encoding: said(ENCODING_HEADER),
        signal: said(SIGNAL_HEADER),
    }
}

/// What librdkafka says from its threads.
#[derive(Debug)]
struct Notes {
    trouble: Mutex<Option<String>>,
    secrets: Vec<Secret>,
    is_verbose: bool,
}

impl Notes {
    fn take_trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

struct Context(Arc<Notes>);

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        if self.0.is_verbose {
            let words = clean(message, &self.0.secrets);
            write_to_stderr(&format!("hiq: librdkafka: {facility}: {words}\n"));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That a partition has ended is no trouble, and that all brokers are down says less than what was said about each.
        let is_trouble = |code| !matches!(code, Code::AllBrokersDown | Code::PartitionEOF);
        if error.rdkafka_error_code().is_none_or(is_trouble) {
            let words = clean(reason, &self.0.secrets);
            *self
                .0
                .trouble
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(words);
        }
    }
}

impl ConsumerContext for Context {}
