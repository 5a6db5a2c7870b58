//! The spans that every encoder is measured with: trees of depth ten, 4 to 8 attributes a span out of fifteen kinds, one span
//! in twenty failed with an exception event.
//!
//! 64 different batches are used in turn. One batch again and again would be learnt by the branch predictor, which makes a
//! good encoder look twice as fast as it is.

use fastrand::Rng;

/// Batches of [`batches`].
pub const BATCHES: usize = 64;
/// Spans of one batch.
pub const SPANS: usize = TREES * SPANS_OF_A_TREE;

const TREES: usize = 8;
const SPANS_OF_A_TREE: usize = 64;
const MAX_DEPTH: u32 = 10;

/// Each part of a program, with each of its ten functions.
macro_rules! names {
    ([$($part:literal),+]) => {
        [$(
            concat!($part, "load"), concat!($part, "predict"), concat!($part, "add_item"),
            concat!($part, "reserve"), concat!($part, "authorize"),
            concat!($part, "encode_batch"), concat!($part, "read_rows"),
            concat!($part, "validate_input"), concat!($part, "render"),
            concat!($part, "commit"),
        )+]
    };
}

/// Who produced the spans.
pub const RESOURCE: [(&str, &str); 8] = [
    ("service.name", "checkout-service"),
    ("service.version", "4.17.2"),
    ("service.instance.id", "checkout-7c9f6d5b8-x2x4q"),
    ("telemetry.sdk.name", "opentelemetry"),
    ("telemetry.sdk.language", "python"),
    ("telemetry.sdk.version", "1.45.0"),
    ("host.name", "ip-10-0-13-37"),
    ("process.runtime.name", "cpython"),
];
/// Name and version of the library that recorded them.
pub const SCOPE: (&str, &str) = ("hiq.bench", "1.0.0");

/// The spans of one trace; a parent comes before its children.
#[derive(Clone, Debug)]
pub struct Tree {
    pub trace_id: u128,
    pub spans: Vec<Span>,
}

#[derive(Clone, Debug)]
pub struct Span {
    pub id: u64,
    /// Index in the tree.
    pub parent: Option<usize>,
    pub name: &'static str,
    pub kind: Kind,
    pub start_nanos: u64,
    pub end_nanos: u64,
    pub attributes: Vec<(&'static str, Value)>,
    pub failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Internal,
    Server,
    Client,
}

#[derive(Clone, Debug)]
pub enum Value {
    /// Written in the program.
    Literal(&'static str),
    Text(String),
    Int(i64),
    Bool(bool),
    F64(f64),
}

/// An exception event, and the span's status.
#[derive(Clone, Debug)]
pub struct Failure {
    pub nanos: u64,
    pub exception: [(&'static str, Value); 2],
    pub status: String,
}

/// The batches, the same ones in every run.
pub fn batches() -> Vec<Vec<Tree>> {
    (0..BATCHES as u64).map(|seed| batch(seed + 1)).collect()
}

/// Which batch comes next: all of them in turn.
pub fn turns() -> impl FnMut() -> usize {
    let mut last = 0;
    move || {
        last = (last + 1) % BATCHES;
        last
    }
}

fn batch(seed: u64) -> Vec<Tree> {
    let rng = &mut Rng::with_seed(seed);
    let mut trees: Vec<Tree> = (0..TREES as u64).map(|place| tree(rng, place)).collect();
    trees.sort_by_key(|tree| tree.trace_id);
    trees
}

fn tree(rng: &mut Rng, place: u64) -> Tree {
    const EPOCH_NANOS: u64 = 1_760_000_000_000_000_000;
    let begin = EPOCH_NANOS + place * 50_000_000 + rng.u64(..1_000);
    let mut spans: Vec<Span> = Vec::with_capacity(SPANS_OF_A_TREE);
    let mut depths: Vec<u32> = Vec::new();
    for index in 0..SPANS_OF_A_TREE {
        let parent = parent(rng, &depths);
        depths.push(parent.map_or(1, |parent| depths[parent] + 1));
        let (start_nanos, end_nanos) = match parent {
            None => (begin, begin + 40_000_000 + rng.u64(..1_000_000)),
            Some(parent) => inside(rng, &spans[parent]),
        };
        spans.push(Span {
            id: rng.u64(1..),
            parent,
            name: name(rng),
            kind: kind(rng, index),
            start_nanos,
            end_nanos,
            attributes: attributes(rng),
            failure: (rng.u32(..20) == 0).then(|| failure(rng, start_nanos)),
        });
    }
    Tree {
        trace_id: rng.u128(1..),
        spans,
    }
}

/// The first ten spans make a chain, so that the depth is reached; the others hang anywhere.
fn parent(rng: &mut Rng, depths: &[u32]) -> Option<usize> {
    let index = depths.len();
    if index < MAX_DEPTH as usize {
        return index.checked_sub(1);
    }
    loop {
        let candidate = rng.usize(..index);
        if depths[candidate] < MAX_DEPTH {
            return Some(candidate);
        }
    }
}

fn inside(rng: &mut Rng, parent: &Span) -> (u64, u64) {
    let quarter = ((parent.end_nanos - parent.start_nanos) / 4).max(1);
    (
        parent.start_nanos + rng.u64(..quarter),
        parent.end_nanos - rng.u64(..quarter),
    )
}

fn name(rng: &mut Rng) -> &'static str {
    const NAMES: [&str; 60] = names!([
        "cart.",
        "payment.",
        "inventory.",
        "model.",
        "tokenizer.",
        "session."
    ]);
    one_of(rng, &NAMES)
}

fn kind(rng: &mut Rng, index: usize) -> Kind {
    match (index, rng.u32(..5)) {
        (0, _) => Kind::Server,
        (_, 0) => Kind::Client,
        _ => Kind::Internal,
    }
}

fn failure(rng: &mut Rng, start_nanos: u64) -> Failure {
    let message = format!("order {} not found", rng.u32(..));
    Failure {
        nanos: start_nanos + 10,
        status: format!("ValueError: {message}"),
        exception: [
            ("exception.type", Value::Literal("ValueError")),
            ("exception.message", Value::Text(message)),
        ],
    }
}

fn attributes(rng: &mut Rng) -> Vec<(&'static str, Value)> {
    let mut kinds: Vec<usize> = (0..15).collect();
    rng.shuffle(&mut kinds);
    let count = rng.usize(4..=8);
    kinds
        .into_iter()
        .take(count)
        .map(|kind| attribute(rng, kind))
        .collect()
}

fn attribute(rng: &mut Rng, kind: usize) -> (&'static str, Value) {
    let text = |rng: &mut Rng, of: &[&'static str]| Value::Literal(one_of(rng, of));
    match kind {
        0 => (
            "http.request.method",
            text(rng, &["GET", "POST", "PUT", "DELETE"]),
        ),
        1 => (
            "http.response.status_code",
            Value::Int(one_of(rng, &[200, 201, 404, 500])),
        ),
        2 => (
            "url.path",
            Value::Text(format!("/api/v1/orders/{}", rng.u32(1_000..9_999_999))),
        ),
        3 => {
            let hosts = ["cart.internal", "payment.internal", "inventory.internal"];
            ("server.address", text(rng, &hosts))
        }
        4 => (
            "server.port",
            Value::Int(one_of(rng, &[80, 443, 8080, 5432])),
        ),
        5 => ("db.system.name", text(rng, &["postgresql", "redis"])),
        6 => ("db.query.text", Value::Text(query(rng))),
        7 => ("thread.id", Value::Int(rng.i64(1..1 << 47))),
        8 => (
            "code.function.name",
            text(rng, &["load", "predict", "add_item", "reserve"]),
        ),
        9 => ("code.line.number", Value::Int(rng.i64(1..4_000))),
        10 => ("cache.hit", Value::Bool(rng.bool())),
        11 => ("model.score", Value::F64(rng.f64())),
        12 => ("user.id", Value::Text(user(rng))),
        13 => ("batch.size", Value::Int(rng.i64(1..512))),
        _ => (
            "feature.flag",
            text(rng, &["control", "treatment-a", "treatment-b"]),
        ),
    }
}

fn query(rng: &mut Rng) -> String {
    let (order, limit) = (rng.u32(1..10_000_000), rng.u32(1..100));
    format!("SELECT id, sku, qty FROM order_lines WHERE order_id = {order} LIMIT {limit}")
}

fn user(rng: &mut Rng) -> String {
    let (a, b, c) = (rng.u32(..), rng.u16(..), rng.u64(..1 << 48));
    format!("{a:08x}-{b:04x}-{c:012x}")
}

fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())]
}
