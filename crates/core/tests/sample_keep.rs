//! What the keep-rules keep of finished fragments.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::sync::Arc;
use std::time::Duration;

use hiq_core::id::TraceId;
use hiq_core::intern::{SiteId, symbol};
use hiq_core::resource::{Resource, Scope};
use hiq_core::sample::KeepRules;
use hiq_core::span::Status;
use hiq_core::tree::{SpanLimits, SpanTree, TreeBuilder, TreeStart};

const START: u64 = 1_700_000_000_000_000_000;

/// A fragment of spans given as nanoseconds from its start, and their status.
fn fragment(spans: &[(u64, u64, Status)]) -> SpanTree {
    let start = TreeStart::new(
        TraceId::random(),
        Arc::new(Resource::default()),
        Arc::new(Scope::default()),
    );
    let mut tree = TreeBuilder::new(start, SpanLimits::default());
    for (begin, end, status) in spans {
        let parent = (!tree.is_empty()).then_some(0);
        let span = tree.start(symbol("work").unwrap(), SiteId::NONE, parent, START + begin);
        tree.set_status(span, *status, "");
        tree.end(span, START + end);
    }
    tree.finish()
}

fn rules(errors: bool, slower_than: Option<Duration>) -> KeepRules {
    let mut rules = KeepRules::new();
    rules.errors = errors;
    rules.slower_than = slower_than;
    rules
}

#[test]
fn without_rules_nothing_is_kept() {
    let failed = fragment(&[(0, u64::from(u32::MAX), Status::Error)]);
    assert!(KeepRules::new().is_empty() && !KeepRules::new().keeps(&failed));
    assert!(!rules(true, None).is_empty() && !rules(false, Some(Duration::ZERO)).is_empty());
}

#[test]
fn an_error_anywhere_keeps_the_fragment() {
    let keep = rules(true, None);
    assert!(keep.keeps(&fragment(&[
        (0, 9, Status::Unset),
        (1, 2, Status::Ok),
        (3, 4, Status::Error)
    ])));
    assert!(!keep.keeps(&fragment(&[(0, 9, Status::Unset), (1, 2, Status::Ok)])));
}

#[test]
fn slower_means_longer_than_the_limit_to_the_nanosecond() {
    let keep = rules(false, Some(Duration::from_millis(5)));
    assert!(
        !keep.keeps(&fragment(&[(0, 5_000_000, Status::Error)])),
        "exactly the limit, and errors do not count"
    );
    assert!(keep.keeps(&fragment(&[(0, 5_000_001, Status::Unset)])));
}

#[test]
fn the_time_counts_from_the_first_start_to_the_last_end() {
    let keep = rules(false, Some(Duration::from_nanos(99)));
    let two_short_ones = fragment(&[(0, 10, Status::Unset), (90, 100, Status::Unset)]);
    assert!(keep.keeps(&two_short_ones));
}

#[test]
fn an_empty_fragment_is_not_kept() {
    assert!(!rules(true, Some(Duration::ZERO)).keeps(&fragment(&[])));
}

#[test]
fn either_rule_is_enough() {
    let keep = rules(true, Some(Duration::from_secs(1)));
    assert!(keep.keeps(&fragment(&[(0, 1, Status::Error)])));
    assert!(keep.keeps(&fragment(&[(0, 2_000_000_000, Status::Ok)])));
    assert!(!keep.keeps(&fragment(&[(0, 1, Status::Ok)])));
}
