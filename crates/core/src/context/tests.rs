use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn extract(headers: &[(&str, &'static str)]) -> Option<Context> {
    Context::extract(|name| {
        headers
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    })
}

#[test]
fn a_traceparent_is_read_and_written_alike() {
    let context = extract(&[("traceparent", PARENT), ("tracestate", "a=1, b@c=2")]).unwrap();
    assert!(context.is_sampled() && context.is_remote);
    assert_eq!(context.trace_state, "a=1,b@c=2");
    let mut out = Vec::new();
    context.inject(|name, value| out.push((name.to_owned(), value)));
    assert_eq!(
        out,
        [
            ("traceparent".to_owned(), PARENT.to_owned()),
            ("tracestate".to_owned(), "a=1,b@c=2".to_owned())
        ]
    );
}

#[test]
fn headers_that_break_the_rules_begin_a_new_trace() {
    for bad in [
        "",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1G",
        "é0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert_eq!(
            Context::extract(|name| (name == "traceparent").then_some(bad)),
            None,
            "{bad}"
        );
    }
}

#[test]
fn a_later_version_is_read_as_far_as_it_is_known() {
    let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-brings";
    assert!(extract(&[("traceparent", later)]).unwrap().is_valid());
    assert_eq!(
        extract(&[(
            "traceparent",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.x"
        )]),
        None
    );
}

#[test]
fn a_bad_tracestate_is_ignored_and_the_parent_kept() {
    for bad in ["=1", "A=1", "a", "a=1,a=2", "a=\u{e9}"] {
        let context = Context::extract(|name| match name {
            "traceparent" => Some(PARENT),
            "tracestate" => Some(bad),
            _ => None,
        });
        assert_eq!(context.unwrap().trace_state, "", "{bad}");
    }
}

#[test]
fn baggage_is_decoded_and_encoded() {
    let context = extract(&[(
        "baggage",
        "user=Am%C3%A9lie;prop=1, bad key=x,k=a%20b,broken=%zz",
    )])
    .unwrap();
    let expected = [("user", "Amélie"), ("k", "a b")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(context.baggage, expected);
    let mut out = Vec::new();
    context.inject(|name, value| out.push((name.to_owned(), value)));
    let expected = ("baggage".to_owned(), "user=Am%C3%A9lie,k=a%20b".to_owned());
    assert_eq!(out, [expected]);
}
