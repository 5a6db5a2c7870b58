//! A service's own registry shows our metrics beside its own, as its own crate writes them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use hiq_core::metric::record::{Registry, Spec};
use hiq_prometheus::RegistryCollector;
use prometheus::{IntCounter, TextEncoder};

fn page(registry: &prometheus::Registry) -> String {
    TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap()
}

#[test]
fn every_kind_of_metric_stands_beside_the_services_own() {
    let ours = Registry::new();
    let orders = ours
        .counter(Spec::new("shop.orders").with_description("Orders taken."))
        .unwrap();
    orders.with([("city", "Hà \"Nội\"")]).add(7);
    ours.up_down_counter("shop.queue").unwrap().plain().add(-2);
    ours.gauge(Spec::new("shop.heat").with_unit("Cel"))
        .unwrap()
        .plain()
        .set(36.5);
    let bounds = Spec::new("shop.wait")
        .with_unit("s")
        .with_bounds([0.5, 1.0]);
    let wait = ours.histogram(bounds).unwrap().plain();
    let size = ours.exponential_histogram("shop.size").unwrap().plain();
    for value in [0.25, 0.75, 3.0] {
        wait.observe(value);
        size.observe(value);
    }
    let theirs = prometheus::Registry::new();
    let own = IntCounter::new("own_total", "The service's own.").unwrap();
    own.inc();
    theirs.register(Box::new(own)).unwrap();
    theirs
        .register(Box::new(RegistryCollector::new(&ours).unwrap()))
        .unwrap();

    let expected = r#"# HELP own_total The service's own.
# TYPE own_total counter
own_total 1
# TYPE shop_heat_celsius gauge
shop_heat_celsius 36.5
# HELP shop_orders_total Orders taken.
# TYPE shop_orders_total counter
shop_orders_total{city="Hà \"Nội\""} 7
# TYPE shop_queue gauge
shop_queue -2
# TYPE shop_size histogram
shop_size_bucket{le="0.25"} 1
shop_size_bucket{le="1"} 2
shop_size_bucket{le="4"} 3
shop_size_bucket{le="+Inf"} 3
shop_size_sum 4
shop_size_count 3
# TYPE shop_wait_seconds histogram
shop_wait_seconds_bucket{le="0.5"} 1
shop_wait_seconds_bucket{le="1"} 2
shop_wait_seconds_bucket{le="+Inf"} 3
shop_wait_seconds_sum 4
shop_wait_seconds_count 3
"#;
    assert_eq!(page(&theirs), expected);
}

#[test]
fn summaries_have_the_quantiles_that_the_crate_has_no_instrument_for() {
    let ours = Registry::new();
    let work = ours
        .summary(Spec::new("work").with_unit("s").with_quantiles([0.5, 0.99]))
        .unwrap();
    let work = work.plain();
    let values: Vec<f64> = (1..=1000).map(f64::from).collect();
    for value in &values {
        work.observe(*value);
    }
    let theirs = prometheus::Registry::new();
    theirs
        .register(Box::new(RegistryCollector::new(&ours).unwrap()))
        .unwrap();
    let page = page(&theirs);
    let value = |series: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap().trim().parse().unwrap()
    };
    let texts = ["work_seconds_count 1000\n", "work_seconds_sum 500500\n"];
    assert!(texts.iter().all(|text| page.contains(text)), "{page}");
    for (share, exact) in [("0.5", 500.0), ("0.99", 990.0)] {
        let found = value(&format!("work_seconds{{quantile=\"{share}\"}}"));
        assert!((found - exact).abs() <= exact * 0.0054 + 1.0, "{found}");
    }
}

#[test]
fn two_registries_can_be_in_one_and_each_goes_on_counting() {
    let theirs = prometheus::Registry::new();
    let registries = ["first", "second"].map(|name| {
        let ours = Registry::new();
        ours.counter(name).unwrap().plain().add(1);
        theirs
            .register(Box::new(RegistryCollector::new(&ours).unwrap()))
            .unwrap();
        ours
    });
    registries[0].counter("first").unwrap().plain().add(1);
    let page = page(&theirs);
    assert!(
        page.contains("first_total 2\n") && page.contains("second_total 1\n"),
        "{page}"
    );
}

#[test]
fn labels_of_the_formats_own_names_are_exported_ones() {
    let ours = Registry::new();
    let wait = ours
        .histogram(Spec::new("wait").with_bounds([1.0]))
        .unwrap();
    wait.with([("le", "a")]).observe(0.5);
    let theirs = prometheus::Registry::new();
    theirs
        .register(Box::new(RegistryCollector::new(&ours).unwrap()))
        .unwrap();
    let expected = r#"# HELP wait 
# TYPE wait histogram
wait_bucket{exported_le="a",le="1"} 1
wait_bucket{exported_le="a",le="+Inf"} 1
wait_sum{exported_le="a"} 0.5
wait_count{exported_le="a"} 1
"#;
    let page = page(&theirs);
    assert!(expected.ends_with(&page) && !page.is_empty(), "{page}");
}
