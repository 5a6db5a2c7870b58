//! Events, which become the texts of annotations.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use hiq_testkit::spans::{EventIn, Plain};
use hiq_zipkin::{AnnotationForm, ZipkinMapping};
use support::{span_with, written};

#[test]
fn events_have_two_forms() {
    let mut span = span_with(&[]);
    let attributes = vec![
        ("k|".to_owned(), Plain::text("v|w")),
        ("n".to_owned(), Plain::Int(1)),
    ];
    span.events = vec![
        EventIn {
            time: 1_999,
            name: "a|b".to_owned(),
            attributes,
        },
        EventIn {
            time: 0,
            name: "c|d|e".to_owned(),
            attributes: Vec::new(),
        },
    ];
    let words = |form| {
        let mut mapping = ZipkinMapping::default();
        mapping.annotations = form;
        written(span.clone(), &mapping).annotations
    };
    let specification = words(AnnotationForm::Specification);
    let text = "\"a\\u007cb\": {\"k\\u007c\":\"v\\u007cw\",\"n\":1}";
    assert_eq!(
        specification,
        [(1, text.to_owned()), (0, "c¦d¦e".to_owned())]
    );
    let collector = words(AnnotationForm::Collector);
    let text = "a¦b|{\"k\\u007c\":\"v\\u007cw\",\"n\":1}|0";
    assert_eq!(collector, [(1, text.to_owned()), (0, "c¦d¦e".to_owned())]);
}

#[test]
fn events_with_texts_alone_are_said_as_all_others() {
    let words = |name: &str, attributes: &[(&str, &str)]| {
        let mut span = span_with(&[]);
        let attributes = attributes.iter();
        span.events = vec![EventIn {
            time: 1_999,
            name: name.to_owned(),
            attributes: attributes
                .map(|(key, value)| ((*key).to_owned(), Plain::text(value)))
                .collect(),
        }];
        let mut found = written(span, &ZipkinMapping::default()).annotations;
        assert_eq!((found.len(), found[0].0), (1, 1));
        found.remove(0).1
    };
    assert_eq!(
        words("e", &[("k", "v"), ("", "w")]),
        r#""e": {"k":"v","":"w"}"#
    );
    assert_eq!(words("e|", &[("k", "v")]), r#""e\u007c": {"k":"v"}"#);
    assert_eq!(words("e", &[("|k", "v")]), r#""e": {"\u007ck":"v"}"#);
    assert_eq!(words("e", &[("k", "v|w")]), r#""e": {"k":"v\u007cw"}"#);
    assert_eq!(words("\"e\"", &[("k", "v")]), r#""\"e\"": {"k":"v"}"#);
    assert_eq!(words("e", &[("k\\", "v")]), r#""e": {"k\\":"v"}"#);
    assert_eq!(words("e", &[("k", "v\n")]), r#""e": {"k":"v\n"}"#);
}
