use super::*;

/// What `github.com/prometheus/otlptranslator` 1.0 makes of them.
#[test]
fn names_of_families_are_those_that_prometheus_itself_makes_of_otlp() {
    let counter = Kind::COUNTER;
    for (name, unit, kind, expected) in [
        (
            "http.server.request.duration",
            "s",
            Kind::Histogram,
            "http_server_request_duration_seconds",
        ),
        ("memory.usage", "By", Kind::Gauge, "memory_usage_bytes"),
        (
            "memory_usage_bytes",
            "By",
            Kind::Gauge,
            "memory_usage_bytes",
        ),
        (
            "memory.bytes.usage",
            "By",
            Kind::Gauge,
            "memory_bytes_usage",
        ),
        ("disk.io", "By/s", Kind::Gauge, "disk_io_bytes_per_second"),
        ("cpu.share", "1", Kind::Gauge, "cpu_share_ratio"),
        ("cpu.share", "%", Kind::Gauge, "cpu_share_percent"),
        ("requests", "1", counter, "requests"),
        ("orders", "{order}", counter, "orders"),
        ("orders_total", "", counter, "orders"),
        ("orders", "{order}/s", Kind::Gauge, "orders_per_second"),
        ("speed", "km/h", Kind::Gauge, "speed_km_per_hour"),
        ("1st.place", "", Kind::Gauge, "_1st_place"),
        ("a..b--c", "", Kind::Gauge, "a_b_c"),
        ("job:rate:5m", "", Kind::Gauge, "job:rate:5m"),
        (
            "hiq.summary",
            "ms",
            Kind::Summary,
            "hiq_summary_milliseconds",
        ),
    ] {
        let descriptor = Descriptor::new(name, kind).with_unit(unit);
        assert_eq!(
            family_name(&descriptor, Alphabet::Classic),
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_name_that_prometheus_reads_is_left_as_it_is() {
    for name in ["shop__orders", "_private", "total", "a:b:c", "A1_"] {
        let descriptor = Descriptor::new(name, Kind::COUNTER);
        assert_eq!(family_name(&descriptor, Alphabet::Classic), name);
        assert_eq!(family_name(&descriptor, Alphabet::Utf8), name);
    }
    let nothing = Descriptor::new("", Kind::Gauge);
    assert_eq!(family_name(&nothing, Alphabet::Classic), "unnamed");
}

#[test]
fn utf8_names_keep_their_letters_and_get_the_unit_all_the_same() {
    let descriptor = Descriptor::new("thời.gian", Kind::Summary).with_unit("s");
    assert_eq!(
        family_name(&descriptor, Alphabet::Utf8),
        "thời.gian_seconds"
    );
    assert_eq!(
        family_name(&descriptor, Alphabet::Classic),
        "th_i_gian_seconds"
    );
    assert_eq!(label_name("thành phố", Alphabet::Utf8), "thành phố");
    assert_eq!(label_name("thành phố", Alphabet::Classic), "th_nh_ph_");
}

/// What Go 1.26's `strconv.FormatFloat(f, 'g', -1, 64)` writes, with the `.0` of Prometheus' `FormatOpenMetricsFloat`.
#[test]
fn numbers_in_labels_are_those_that_prometheus_stores() {
    for (number, expected) in [
        (0.0, "0.0"),
        (0.1, "0.1"),
        (2.0, "2.0"),
        (100_000.0, "100000.0"),
        (123_456.0, "123456.0"),
        (999_999.0, "999999.0"),
        (1e6, "1e+06"),
        (1_234_567.0, "1.234567e+06"),
        (2.5e6, "2.5e+06"),
        (1e20, "1e+20"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (0.0001, "0.0001"),
        (0.000_123_45, "0.00012345"),
        (0.000_01, "1e-05"),
        (5e-324, "5e-324"),
        (-3.0, "-3.0"),
        (123_456.789, "123456.789"),
        (1_234_567.891, "1.234567891e+06"),
        (f64::MAX, "1.7976931348623157e+308"),
        (0.1 + 0.2, "0.30000000000000004"),
        (f64::NEG_INFINITY, "-Inf"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(label_number(number), expected);
    }
}

/// The rule of prometheus/docs, `escaping_schemes.md`, "values": each character that is not allowed as its code point.
#[test]
fn names_of_which_nothing_would_be_left_are_told_apart_by_their_values() {
    let name = |name: &str, kind| family_name(&Descriptor::new(name, kind), Alphabet::Classic);
    assert_eq!(name("日本", Kind::COUNTER), "U___65e5__672c_");
    assert_eq!(name("中国", Kind::COUNTER), "U___4e2d__56fd_");
    assert_eq!(name("_€_total", Kind::COUNTER), "U_____20ac_");
    assert_eq!(name("ünï.cödé", Kind::COUNTER), "_n_c_d_");
    assert_eq!(name("__", Kind::Gauge), "__");
    assert_eq!(name("orders.total", Kind::COUNTER), "orders");
    assert_eq!(name("orders.total", Kind::Gauge), "orders_total");
    let seconds = Descriptor::new("時間", Kind::Gauge).with_unit("s");
    assert_eq!(
        family_name(&seconds, Alphabet::Classic),
        "U___6642__9593__seconds"
    );
    assert_eq!(family_name(&seconds, Alphabet::Utf8), "時間_seconds");
    assert_eq!(label_name("城市", Alphabet::Classic), "U___57ce__5e02_");
    assert_eq!(label_name("城市", Alphabet::Utf8), "城市");
}
