use super::*;
use crate::encode::Cut;
use crate::intern::symbol;

fn tree(service: &str, names: &[(&str, Option<u32>)]) -> Arc<SpanTree> {
    let resource = Resource::new([("service.name", Value::from(service))]);
    let start = TreeStart::new(TraceId::random(), Arc::new(resource), Arc::default());
    let mut builder = TreeBuilder::new(start, SpanLimits::default());
    for (place, (name, parent)) in (0_u64..).zip(names) {
        let begin = (place + 1) * 1_000_000_000;
        builder.start(symbol(name).unwrap(), SiteId::NONE, *parent, begin);
    }
    for (place, _) in (0_u32..).zip(names) {
        builder.end(place, 9_500_000_000);
    }
    Arc::new(builder.finish())
}

fn payloads(batch: &TreeBatch, limits: &Limits) -> Vec<(Encoded, String)> {
    let (mut cursor, mut payloads) = (batch.cursor(), Vec::new());
    loop {
        let mut out = Vec::new();
        let encoded = HiqTextEncoder::new().encode(&mut cursor, limits, &mut out);
        let more = encoded.more;
        payloads.push((encoded, String::from_utf8(out).unwrap()));
        if !more {
            return payloads;
        }
    }
}

fn decoded(decoder: &mut HiqTextDecoder, text: &str) -> Vec<Arc<SpanTree>> {
    let mut trees = Vec::new();
    decoder
        .decode(text.as_bytes(), &mut |tree| trees.push(tree))
        .unwrap();
    trees
}

#[test]
fn a_payload_is_one_tree_in_hiqs_own_text() {
    let (one, two) = (
        tree("shop", &[("main", None), ("pay, now", Some(0))]),
        tree("shop", &[("f", None)]),
    );
    let batch = TreeBatch::new(vec![Arc::clone(&one), two]);
    let limits = Limits::bytes(10_000).with_cut(Cut::Trace);
    let payloads = payloads(&batch, &limits);
    assert_eq!(payloads.len(), 2);
    assert_eq!(
        payloads
            .iter()
            .map(|(encoded, _)| encoded.items)
            .sum::<usize>(),
        3
    );
    let key = one.trace_id().to_string();
    let of_one = payloads
        .iter()
        .find(|(encoded, _)| encoded.key.as_deref() == Some(&*key));
    // In the form that HiQ 1.1.14 wrote for a call of its own (its behaviour reference, section 3):
    // t1^time,,0,1,2,1,1e-07,38#{'overhead_start': 0, 'overhead': 125}%n1*[None,inf,inf,0$0#[__f0,...,0$0#]]
    let expected = "t1^time,,1,2,3,1,1e-07,24#{'service.name': 'shop'}\
                    %n1*[None,inf,inf,0$0#[main,1.0,9.5,0$0#[pay,2.0,9.5,0$0#]]]";
    let shown = &of_one.unwrap().1;
    assert_eq!(shown, expected);
}

#[test]
fn a_tree_that_is_too_large_is_left_out_whole_and_the_others_go() {
    let large: Vec<(&str, Option<u32>)> = vec![("name", None); 50];
    let batch = TreeBatch::new(vec![tree("a", &large), tree("a", &[("f", None)])]);
    let payloads = payloads(&batch, &Limits::bytes(500));
    let items: usize = payloads.iter().map(|(encoded, _)| encoded.items).sum();
    let left_out: usize = payloads
        .iter()
        .map(|(encoded, _)| encoded.items_left_out())
        .sum();
    assert_eq!((items, left_out), (1, 50));
}

#[test]
fn what_is_read_back_has_names_times_parents_and_the_service() {
    let batch = TreeBatch::new(vec![tree(
        "d'or",
        &[("main", None), ("f", Some(0)), ("g", Some(1))],
    )]);
    let text = &payloads(&batch, &Limits::bytes(10_000))[0].1;
    let read = decoded(&mut HiqTextDecoder::new(), text);
    assert_eq!(read[0].resource().service_name(), "d'or");
    let found: Vec<_> = read[0]
        .spans()
        .map(|span| {
            (
                span.name().as_str().to_owned(),
                span.start().0,
                span.parent_index(),
            )
        })
        .collect();
    let expected = [("main", 1, None), ("f", 2, Some(0)), ("g", 3, Some(1))];
    let expected =
        expected.map(|(name, start, parent)| (name.to_owned(), start * 1_000_000_000, parent));
    assert_eq!(found, expected);
}

#[test]
fn ids_come_from_the_place_in_kafka_and_no_two_places_share_one() {
    let batch = TreeBatch::new(vec![tree("a", &[("main", None), ("f", Some(0))])]);
    let text = &payloads(&batch, &Limits::bytes(10_000))[0].1;
    let ids = |topic: &str, partition, offset| {
        let mut decoder = HiqTextDecoder::new();
        decoder.set_origin(topic, partition, offset);
        let read = decoded(&mut decoder, text);
        let spans: Vec<_> = read[0].spans().map(|span| span.id()).collect();
        (read[0].trace_id(), spans)
    };
    assert_eq!(ids("t", 0, 0), ids("t", 0, 0));
    let places = [
        ("t", 0, 0),
        ("t", 0, 1),
        ("t", 1, 0),
        ("t", 1, 1),
        ("u", 0, 0),
    ];
    let mut traces: Vec<_> = places
        .map(|(topic, partition, offset)| ids(topic, partition, offset).0)
        .to_vec();
    let mut spans: Vec<_> = places
        .iter()
        .flat_map(|(topic, partition, offset)| ids(topic, *partition, *offset).1)
        .collect();
    assert!(spans.iter().all(|id| id.is_valid()));
    traces.sort();
    spans.sort();
    traces.dedup();
    spans.dedup();
    assert_eq!((traces.len(), spans.len()), (5, 10));
}
