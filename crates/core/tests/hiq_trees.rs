//! Trees: their string, their drawing and what they answer, compared with HiQ 1.1.14 on the same steps.

#![allow(clippy::unwrap_used, reason = "what fails here, fails the test")]

mod hiq_golden;

use hiq_core::render::{
    Extras, HiqSpan, HiqTree, LeafOrder, LocalZone, RenderOptions, TimeFormat, float_repr,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Case {
    #[serde(default, rename = "case")]
    title: String,
    tid: String,
    ops: Vec<Op>,
    #[serde(default)]
    non_monotonic: u8,
    #[serde(default)]
    mode: i32,
    zin: Option<String>,
    #[serde(default)]
    extra: Pairs,
    tz: String,
    wide_output: Option<String>,
    repr: String,
    ts: String,
    dt: Option<String>,
    /// What HiQ made of its own string: the same unless said otherwise, `null` where it ended the process.
    #[serde(default = "the_same")]
    reread: Value,
    reread_ts: Option<String>,
    reread_dt: Option<String>,
    queries: Option<Queries>,
}

type Pairs = Vec<(String, String)>;

/// What a driver does to a tree.
#[derive(Deserialize)]
#[serde(untagged)]
enum Op {
    End(String),
    Add { add: (String, String, String) },
    Start(String, String),
    StartWith(String, String, Pairs),
    EndWith((), String, Pairs),
}

#[derive(Deserialize)]
struct Queries {
    summary: String,
    root: String,
    first: String,
    names: Vec<String>,
    by_name: Pairs,
    leaves: Pairs,
    leaves_descending: Pairs,
    leaves_ascending: Pairs,
    leaves_text: String,
    leaves_total: String,
    of_name: Pairs,
    of_level: Vec<(String, usize, String)>,
    dot: Vec<String>,
    last_span: bool,
}

#[derive(Deserialize)]
struct Named {
    trees: Vec<Case>,
    strings: Vec<Text>,
}

/// A string as HiQ or one of its users wrote it.
#[derive(Deserialize)]
struct Text {
    #[serde(rename = "case")]
    title: String,
    #[serde(rename = "text")]
    written: String,
    reread: String,
    ts: String,
    graph: Option<String>,
    #[serde(default)]
    durations: Pairs,
}

fn random_cases() -> Vec<Case> {
    let cases: Vec<Case> = hiq_golden::lines("trees.jsonl.gz");
    assert!(cases.len() >= 2000, "{}", cases.len());
    cases
}

fn named_cases() -> Vec<Case> {
    let named: Named = hiq_golden::json("named.json");
    assert!(named.trees.len() >= 60, "{}", named.trees.len());
    named.trees
}

fn all_cases() -> impl Iterator<Item = Case> {
    random_cases().into_iter().chain(named_cases())
}

#[test]
fn strings_of_trees_are_hiqs() {
    for case in all_cases() {
        assert_eq!(case.build().repr(), case.repr, "{}", case.title);
    }
}

#[test]
fn drawings_of_trees_are_hiqs_and_change_nothing() {
    for case in all_cases() {
        let tree = case.build();
        for _ in 0..2 {
            assert_eq!(
                tree.graph(&case.options(TimeFormat::Timestamp)),
                case.ts,
                "{}",
                case.title
            );
            assert_eq!(
                tree.graph(&case.options(TimeFormat::DateTime)),
                case.date_times(),
                "{}",
                case.title
            );
        }
        assert_eq!(tree.repr(), case.repr);
    }
}

#[test]
fn trees_read_from_hiqs_strings_are_the_same_trees() {
    for case in all_cases() {
        let tree = HiqTree::parse(&case.repr).unwrap();
        // What HiQ loses (text that is not ASCII or no literal) is kept here.
        assert_eq!(tree.repr(), case.repr, "{}", case.title);
        let hiq_lost_something = case.reread != the_same();
        let (ts, dt) = match (&case.reread_ts, &case.reread_dt) {
            (Some(ts), Some(dt)) if !hiq_lost_something => (ts.as_str(), dt.as_str()),
            _ => (case.ts.as_str(), case.date_times()),
        };
        assert_eq!(
            tree.graph(&case.options(TimeFormat::Timestamp)),
            ts,
            "{}",
            case.title
        );
        assert_eq!(
            tree.graph(&case.options(TimeFormat::DateTime)),
            dt,
            "{}",
            case.title
        );
    }
}

#[test]
fn trees_made_of_finished_spans_are_those_made_step_by_step() {
    for case in random_cases() {
        let made = case.builder().spans(case.spans()).unwrap();
        let has_refused_spans = case.ops.iter().any(|op| matches!(op, Op::Add { .. }));
        if !has_refused_spans {
            assert_eq!(made.repr(), case.repr);
        }
    }
}

#[test]
fn queries_answer_as_hiq_does() {
    let mut asked = 0;
    for case in all_cases() {
        let Some(queries) = &case.queries else {
            continue;
        };
        asked += 1;
        let tree = case.build();
        assert_eq!(tree.to_string(), queries.summary);
        assert_eq!(tree.root().to_string(), queries.root);
        assert_eq!(
            tree.root()
                .children()
                .next()
                .map_or(String::new(), |n| n.to_string()),
            queries.first
        );
        let mut names = tree.distinct_names();
        names.sort_unstable();
        assert_eq!(names, queries.names);
        assert_eq!(printed(tree.durations()), queries.by_name);
        assert_eq!(
            printed(tree.leaf_durations(LeafOrder::Tree)),
            queries.leaves
        );
        assert_eq!(
            printed(tree.leaf_durations(LeafOrder::Descending)),
            queries.leaves_descending
        );
        assert_eq!(
            printed(tree.leaf_durations(LeafOrder::Ascending)),
            queries.leaves_ascending
        );
        assert_eq!(tree.leaf_durations_text(), queries.leaves_text);
        assert_eq!(float_repr(tree.leaf_duration_total()), queries.leaves_total);
        for (name, span) in &queries.of_name {
            assert_eq!(float_repr(tree.duration_of(name)), *span);
        }
        for (name, level, span) in &queries.of_level {
            assert_eq!(float_repr(tree.duration_of_at_level(name, *level)), *span);
        }
        let dot = tree.to_dot("record");
        let mut dot: Vec<_> = dot.split('\n').collect();
        dot.sort_unstable();
        assert_eq!(dot, queries.dot);
        assert_eq!(tree.just_before_ending_root(), queries.last_span);
    }
    assert!(asked >= 250, "{asked}");
}

#[test]
fn strings_that_users_keep_read_as_hiq_reads_them() {
    let named: Named = hiq_golden::json("named.json");
    assert_eq!(named.strings.len(), 6);
    for text in named.strings {
        let tree = HiqTree::parse(&text.written).unwrap();
        let options =
            RenderOptions::new(TimeFormat::Timestamp).zone(LocalZone::named("UTC").unwrap());
        assert_eq!(tree.repr(), text.reread, "{}", text.title);
        assert_eq!(tree.graph(&options), text.ts, "{}", text.title);
        if let Some(graph) = text.graph {
            assert_eq!(tree.graph_with_leaves(&options), graph, "{}", text.title);
        }
        for (name, span) in text.durations {
            assert_eq!(
                float_repr(tree.duration_of_known(&name).unwrap()),
                span,
                "{}",
                text.title
            );
        }
    }
}

impl Case {
    fn builder(&self) -> hiq_core::render::HiqTreeBuilder {
        let builder = HiqTree::builder(&self.tid)
            .monotonic(self.non_monotonic == 0)
            .mode(self.mode);
        let builder = builder.extras(extras(&self.extra));
        match &self.zin {
            Some(zin) => builder.zin_threshold(number(zin)),
            None => builder,
        }
    }

    fn build(&self) -> HiqTree {
        let mut tree = self.builder().build();
        let mut open = Vec::new();
        for op in &self.ops {
            match op {
                Op::Start(name, value) => {
                    open.push(name);
                    tree.start(name, number(value)).unwrap();
                }
                Op::StartWith(name, value, pairs) => {
                    open.push(name);
                    tree.start_with(name, number(value), extras(pairs)).unwrap();
                }
                Op::End(value) => {
                    tree.end_named(open.pop().unwrap(), number(value), &Extras::new())
                        .unwrap();
                }
                Op::EndWith((), value, pairs) => {
                    tree.end_named(open.pop().unwrap(), number(value), &extras(pairs))
                        .unwrap();
                }
                Op::Add {
                    add: (name, start, end),
                } => {
                    tree.add(name, number(start), number(end), Extras::new())
                        .unwrap();
                }
            }
        }
        tree
    }

    /// The same steps as spans with parents.
    fn spans(&self) -> Vec<HiqSpan<'_>> {
        let mut spans: Vec<HiqSpan<'_>> = Vec::new();
        let mut open = Vec::new();
        let push = |spans: &mut Vec<_>, open: &mut Vec<usize>, name, value: &str, extras| {
            spans.push(HiqSpan {
                name,
                start: number(value),
                end: None,
                parent: open.last().copied(),
                extras,
            });
            open.push(spans.len() - 1);
        };
        for op in &self.ops {
            match op {
                Op::Start(name, value) => push(&mut spans, &mut open, name, value, Extras::new()),
                Op::StartWith(name, value, pairs) => {
                    push(&mut spans, &mut open, name, value, extras(pairs));
                }
                Op::End(value) => spans[open.pop().unwrap()].end = Some(number(value)),
                Op::EndWith((), value, pairs) => {
                    let span = &mut spans[open.pop().unwrap()];
                    span.end = Some(number(value));
                    span.extras.update(&extras(pairs));
                }
                Op::Add { .. } => {}
            }
        }
        spans
    }

    fn options(&self, format: TimeFormat) -> RenderOptions {
        let wide = self.wide_output.as_deref().map(|wide| wide == "1");
        RenderOptions::new(format)
            .zone(LocalZone::named(&self.tz).unwrap())
            .wide_output(wide)
    }

    fn date_times(&self) -> &str {
        self.dt.as_deref().unwrap_or(&self.ts)
    }
}

fn extras(pairs: &[(String, String)]) -> Extras {
    Extras::from_reprs(
        pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    )
}

fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

fn printed(sums: Vec<(&str, f64)>) -> Pairs {
    sums.into_iter()
        .map(|(name, span)| (name.to_owned(), float_repr(span)))
        .collect()
}

fn the_same() -> Value {
    Value::Bool(true)
}
