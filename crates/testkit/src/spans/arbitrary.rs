//! Arbitrary batches.

use hiq_core::span::{Dropped, Kind, Status};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::{Attributes, BatchIn, EventIn, LinkIn, Origin, Plain, SpanIn, TreeIn};

/// Any text: empty, with NUL, quotes and line breaks, beyond ASCII, and around the lengths where a length needs a byte more.
pub fn text() -> impl Strategy<Value = String> {
    let any = vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect());
    prop_oneof![
        4 => any,
        3 => "[a-z.]{1,20}",
        1 => "\\PC{30,70}",
        1 => "[a\"\\\\\n\0]{100,140}",
        1 => Just("x".repeat(20_000)),
    ]
}

pub fn value() -> impl Strategy<Value = Plain> {
    let special = prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
        Just(f64::MIN_POSITIVE / 3.0),
    ];
    let leaf = prop_oneof![
        3 => text().prop_map(Plain::Str),
        1 => any::<bool>().prop_map(Plain::Bool),
        2 => any::<i64>().prop_map(Plain::Int),
        1 => (-300_i64..300).prop_map(Plain::Int),
        2 => any::<f64>().prop_map(Plain::f64),
        1 => special.prop_map(Plain::f64),
        1 => vec(any::<u8>(), 0..1000).prop_map(Plain::Bytes),
        1 => Just(Plain::Empty),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Plain::Array),
            vec((text(), inner), 0..4).prop_map(Plain::Map),
        ]
    })
}

/// Attributes; a key comes once.
pub fn attributes(most: usize) -> impl Strategy<Value = Attributes> {
    vec((text(), value()), 0..=most).prop_map(|pairs| {
        let mut unique: Attributes = Vec::new();
        for (key, value) in pairs {
            if unique.iter().all(|(known, _)| *known != key) {
                unique.push((key, value));
            }
        }
        unique
    })
}

fn origin() -> impl Strategy<Value = Origin> {
    let optional = || prop_oneof![Just(String::new()), text()];
    (text(), optional(), attributes(4), 0..3_u32, optional()).prop_map(
        |(name, version, attributes, dropped, schema_url)| Origin {
            name,
            version,
            attributes,
            dropped,
            schema_url,
        },
    )
}

/// Resources have no name of their own; a number tells them apart where a test must.
fn resources() -> impl Strategy<Value = Vec<Origin>> {
    vec(origin(), 1..4).prop_map(|mut all| {
        for (index, resource) in all.iter_mut().enumerate() {
            resource.name.clear();
            resource.version.clear();
            let number = Plain::Int(i64::try_from(index).unwrap());
            resource
                .attributes
                .retain(|(key, _)| key != "service.name" && key != "number");
            resource.attributes.push(("number".to_owned(), number));
            let service = Plain::text(["a", "b"][index % 2]);
            resource
                .attributes
                .push(("service.name".to_owned(), service));
        }
        all
    })
}

fn event() -> impl Strategy<Value = EventIn> {
    (any::<u64>(), text(), attributes(3)).prop_map(|(time, name, attributes)| EventIn {
        time,
        name,
        attributes,
    })
}

fn link() -> impl Strategy<Value = LinkIn> {
    (
        any::<[u8; 16]>(),
        any::<u64>(),
        text(),
        any::<u32>(),
        attributes(2),
    )
        .prop_map(
            |(trace_id, span_id, trace_state, flags, attributes)| LinkIn {
                trace_id,
                span_id,
                trace_state,
                flags,
                attributes,
            },
        )
}

fn kind() -> impl Strategy<Value = Kind> {
    (0..6_u8).prop_map(Kind::from_otlp)
}

prop_compose! {
    fn times()(
        start in prop_oneof![Just(0), Just(1_700_000_000_123_456_789), 0..u64::MAX / 2],
        nanos in 1..u64::MAX / 2,
    ) -> (u64, u64) {
        (start, start + nanos)
    }
}

prop_compose! {
    fn rare_columns(scopes: usize)(
        outer_parent in of(any::<u64>()),
        own_scope in of(0..scopes),
        own_trace_state in of(text()),
        own_flags in of(any::<u8>()),
        dropped in of((0..3_u32, 0..3_u32, 0..300_u32)),
    ) -> (Option<u64>, Option<usize>, Option<String>, Option<u8>, Dropped) {
        let (attributes, events, links) = dropped.unwrap_or_default();
        (outer_parent, own_scope, own_trace_state, own_flags, Dropped { attributes, events, links })
    }
}

prop_compose! {
    fn span(scopes: usize)(
        name in text(),
        kind in kind(),
        (start, end) in times(),
        attributes in attributes(6),
        events in vec(event(), 0..3),
        links in vec(link(), 0..3),
        status in (0..3_u8).prop_map(Status::from_otlp),
        message in text(),
        rare in of(rare_columns(scopes)),
        parent in of(any::<prop::sample::Index>()),
    ) -> (SpanIn, Option<prop::sample::Index>) {
        let rare = rare.unwrap_or_default();
        let (outer_parent, own_scope, own_trace_state, own_flags, dropped) = rare;
        let span = SpanIn {
            id: 0, parent: None, outer_parent, name, kind, start, end, attributes, events, links,
            status, message, own_scope, own_trace_state, own_flags, dropped,
        };
        (span, parent)
    }
}

prop_compose! {
    fn tree(resources: usize, scopes: usize)(
        trace in 1..4_u8,
        parent in prop_oneof![Just(0), any::<u64>()],
        parent_is_remote in any::<bool>(),
        flags in any::<u8>(),
        trace_state in prop_oneof![Just(String::new()), text()],
        resource in 0..resources,
        scope in 0..scopes,
        spans in vec(span(scopes), 0..8),
    ) -> TreeIn {
        let spans = spans.into_iter().enumerate().map(|(index, (mut span, parent))| {
            // A parent comes before its children.
            span.parent = parent.filter(|_| index > 0).map(|parent| parent.index(index));
            span
        });
        TreeIn {
            trace_id: [trace; 16], parent, parent_is_remote, flags, trace_state, resource, scope,
            spans: spans.collect(),
        }
    }
}

/// Some trees of a few traces, with a few resources and scopes.
pub fn batch() -> impl Strategy<Value = BatchIn> {
    (resources(), vec(origin(), 1..4)).prop_flat_map(|(resources, scopes)| {
        let trees = vec(tree(resources.len(), scopes.len()), 0..6);
        (Just(resources), Just(scopes), trees).prop_map(|(resources, scopes, trees)| {
            let mut batch = BatchIn {
                resources,
                scopes,
                trees,
            };
            let spans = batch.trees.iter_mut().flat_map(|tree| &mut tree.spans);
            for (id, span) in (1_u64..).zip(spans) {
                span.id = id << 40 | id;
            }
            batch
        })
    })
}
