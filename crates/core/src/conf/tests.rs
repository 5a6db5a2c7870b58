use std::path::PathBuf;
use std::time::Duration;

use super::*;

mod messages;

fn csv(text: &str) -> Result<Conf, ConfError> {
    Conf::parse(text, Format::Csv, "shop.csv")
}

fn json(text: &str) -> Result<Conf, ConfError> {
    Conf::parse(text, Format::Json, "shop.json")
}

fn yaml(text: &str) -> Result<Conf, ConfError> {
    Conf::parse(text, Format::Yaml, "shop.yaml")
}

fn message(conf: Result<Conf, ConfError>) -> String {
    conf.unwrap_err().to_string()
}

fn names(conf: &Conf) -> Vec<(&str, &str, &str, &str)> {
    conf.rows()
        .iter()
        .map(|row| (&*row.module, &*row.class, &*row.function, &*row.name))
        .collect()
}

/// Writes `bytes` to a file and reads it as a conf.
fn file(ending: &str, bytes: &[u8]) -> (PathBuf, Result<Conf, ConfError>) {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("hiq-conf-{}-{number}{ending}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, bytes).unwrap();
    let conf = Conf::from_path(&path);
    std::fs::remove_file(&path).unwrap();
    (path, conf)
}

#[test]
fn csv_is_taken_apart_as_pythons_reader_does() {
    // Python's answers: crates/testkit/oracle/hiq_conf_golden.py.
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/golden/hiq/conf.json")).unwrap();
    let cases = golden["cells"].as_array().unwrap();
    assert!(cases.len() >= 400);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let lines: Vec<_> = csv::lines(text)
            .unwrap()
            .into_iter()
            .map(|(_, cells)| cells)
            .collect();
        assert_eq!(
            serde_json::to_value(lines).unwrap(),
            case["lines"],
            "{text:?}"
        );
    }
}

#[test]
fn one_conf_reads_the_same_from_every_format() {
    let expected = [
        ("shop.cart", "Cart", "add", "__add"),
        ("shop.cart", "", "total", "__total"),
    ];
    let from_csv =
        csv("shop.cart, Cart, add, add, 1.5ms, team=cart; tier = 1\nshop.cart,,total,total")
            .unwrap();
    let from_json = json(
        r#"[{"module": "shop.cart", "class": "Cart", "function": "add", "name": "add",
             "min_duration": "1.5ms", "attributes": {"team": "cart", "tier": "1"}},
            ["shop.cart", "", "total", "total"]]"#,
    )
    .unwrap();
    let from_yaml = yaml(
        "# comment\n- module: shop.cart\n  class: Cart\n  function: add\n  name: add\n  min_duration: 1.5ms\n  \
         attributes: {team: cart, tier: '1'}\n- {module: shop.cart, function: total, name: total}\n",
    )
    .unwrap();
    let cells = [
        &[
            "shop.cart",
            "Cart",
            "add",
            "add",
            "1.5ms",
            "team=cart;tier=1",
        ][..],
        &["shop.cart", "", "total", "total"],
    ];
    let from_rows = Conf::from_rows(
        cells.map(|row| row.iter().map(|cell| Value::from(*cell)).collect()),
        "rows",
    )
    .unwrap();
    let attributes = vec![
        ("team".to_owned(), Value::from("cart")),
        ("tier".to_owned(), Value::from("1")),
    ];
    for conf in [from_csv, from_json, from_yaml, from_rows] {
        assert_eq!(names(&conf), expected);
        assert_eq!(
            conf.rows()[0].min_duration,
            Some(Duration::from_micros(1500))
        );
        assert_eq!(conf.rows()[0].attributes, attributes);
        assert_eq!(conf.rows()[1].min_duration, None);
        assert_eq!(conf.rows()[1].attributes, []);
        assert_eq!(conf.rows()[1].target(), "shop.cart..total");
    }
}

#[test]
fn rows_know_where_they_stand() {
    let conf = csv("# first\nm,,f,t1\n\"m\n\",,g,t2\nm,,h,t3\n").unwrap();
    let places: Vec<_> = conf
        .rows()
        .iter()
        .map(|row| row.place.to_string())
        .collect();
    assert_eq!(places, ["shop.csv:2", "shop.csv:3", "shop.csv:5"]);
    let conf = json("[\n{\"module\":\"m\",\"class\":\"\",\n\"function\":\"f\",\"name\":\"t1\"},\n\n[\"m\",null,\"g\",\"t2\"]]").unwrap();
    assert_eq!(
        conf.rows()
            .iter()
            .map(|row| row.place.line())
            .collect::<Vec<_>>(),
        [2, 5]
    );
    let conf =
        yaml("---\n# c\n- module: m\n  function: f\n  name: t1\n\n- [m, '', g, t2]\n").unwrap();
    assert_eq!(
        conf.rows()
            .iter()
            .map(|row| row.place.line())
            .collect::<Vec<_>>(),
        [3, 7]
    );
}

#[test]
fn attributes_keep_their_types() {
    let conf = yaml("- {module: m, function: f, name: t1, attributes: {a: 1, b: 1.5, c: true, d: [x, 2], e: 'yes', f: yes}}").unwrap();
    let list = Value::Array(vec![Value::from("x"), Value::Int(2)]);
    let expected = [
        ("a", Value::Int(1)),
        ("b", Value::F64(1.5)),
        ("c", Value::Bool(true)),
        ("d", list),
        ("e", Value::from("yes")),
        ("f", Value::from("yes")),
    ];
    assert_eq!(
        conf.rows()[0].attributes,
        expected.map(|(key, value)| (key.to_owned(), value))
    );
}

#[test]
fn a_star_in_a_row_stands_for_any_characters() {
    let conf = csv("shop.*,Cart*,get_*_by_*,cart_*\nm,*,*,*\nm,,f*,all\nm,,g*,*\n").unwrap();
    let [carts, all, shared, _] = conf.rows() else {
        panic!("{conf:?}")
    };
    assert!(carts.matches("CartOld", "get_item_by_id") && !carts.matches("Cart", "get_by_id"));
    assert!(carts.matches("Cart", "get__by_") && !carts.matches("Shop", "get_a_by_b"));
    assert_eq!(carts.name_of("get_a_by_b"), "__cart_get_a_by_b");
    assert!(all.is_pattern() && all.matches("", "f") && all.matches("C", ""));
    assert_eq!(all.name_of("f"), "__f");
    assert!(shared.matches("", "f1") && !shared.matches("C", "f1"));
    assert_eq!(shared.name_of("f1"), "__all");
    let ends = &csv("m,,*_view,*").unwrap().into_rows()[0];
    assert!(ends.matches("", "cart_view") && !ends.matches("", "cart_view2"));
    let plain = &csv("m,,f,t1").unwrap().into_rows()[0];
    assert!(!plain.is_pattern() && plain.matches("", "f") && !plain.matches("", "ff"));
}

#[test]
fn a_byte_order_mark_carriage_returns_and_a_header_are_no_errors() {
    let expected = [("m", "", "f", "__t1"), ("m", "", "g", "__t2")];
    for (ending, text) in [
        (".csv", "\u{feff}m,,f,t1\r\nm,,g,t2\r\n"),
        (
            ".csv",
            "Module, Class,function,name,min_duration\nm,,f,t1\nm,,g,t2,\n",
        ),
        (
            ".json",
            "\u{feff}[[\"m\",\"\",\"f\",\"t1\"],\r\n[\"m\",\"\",\"g\",\"t2\"]]\r\n",
        ),
        (".yml", "\u{feff}- [m, '', f, t1]\r\n- [m, '', g, t2]\r\n"),
        (".YAML", "- [m, '', f, t1]\n- [m, '', g, t2]"),
        (".conf", "- [m, '', f, t1]\n- [m, '', g, t2]"),
        (".conf", "m,,f,t1\rm,,g,t2\r"),
    ] {
        assert_eq!(
            names(&file(ending, text.as_bytes()).1.unwrap()),
            expected,
            "{text:?}"
        );
    }
}

#[test]
fn files_that_are_no_text_say_so() {
    let (path, conf) = file(".csv", b"m,,f,t1\nm,,caf\xe9,t2\n");
    assert_eq!(
        message(conf),
        format!(
            "{}:2:7: byte 0xe9 is not UTF-8; save the file as UTF-8",
            path.display()
        )
    );
    let (path, conf) = file(".json", b"\xff\xfe[\0]\0");
    assert_eq!(
        message(conf),
        format!("{}: is in UTF-16; save the file as UTF-8", path.display())
    );
    let (path, conf) = file(".csv", b"");
    let empty = "is empty; write a row for each function: module, class, function, name";
    assert_eq!(message(conf), format!("{}: {empty}", path.display()));
    for blank in [csv(" \n"), json("\n"), yaml("\u{feff}")] {
        assert!(message(blank).ends_with(empty));
    }
    let missing = message(Conf::from_path("no/such/shop.csv"));
    assert!(
        missing.starts_with("no/such/shop.csv: 😓 file no/such/shop.csv doesn't exist."),
        "{missing}"
    );
    let folder = Conf::from_path(std::env::temp_dir()).unwrap_err();
    assert!(
        matches!(folder.problem(), ConfProblem::Unreadable(_)),
        "{folder}"
    );
    assert!(std::error::Error::source(&folder).is_some());
    let (_, large) = file(".csv", &vec![b'#'; 16 << 20 | 1]);
    assert!(matches!(
        large.unwrap_err().problem(),
        ConfProblem::TooLarge
    ));
}

#[test]
fn deep_and_multiplying_input_is_refused_quickly() {
    let deep = "[".repeat(200_000);
    assert!(message(json(&deep)).contains("not JSON"));
    assert!(
        message(json(&format!(
            "[{}1{}]",
            "[".repeat(200_000),
            "]".repeat(200_000)
        )))
        .contains("recursion limit")
    );
    assert_eq!(
        message(yaml(&deep)),
        "shop.yaml:1:256: not YAML: recursion limit exceeded"
    );
    let bound = |breach| {
        format!("more than a conf may hold ({breach}); write the rows out, in one document")
    };
    assert!(message(yaml(&"- ".repeat(100_000))).ends_with(&bound("Depth { depth: 65 }")));
    let mut bomb = String::from("- &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb = format!("{bomb}- &a{level} [{aliases}]\n");
    }
    assert!(message(yaml(&bomb)).ends_with(&bound("Nodes { nodes: 250001 }")));
}

#[test]
fn one_anchor_may_serve_many_rows() {
    let first = "- {module: m, function: f, name: t0, attributes: &team {team: cart}}\n".to_owned();
    let more = |row| format!("- {{module: m, function: f, name: t{row}, attributes: *team}}\n");
    let text: String = std::iter::once(first).chain((1..2000).map(more)).collect();
    let conf = yaml(&text).unwrap();
    assert_eq!(
        conf.rows()[1999].attributes,
        [("team".to_owned(), Value::from("cart"))]
    );
    assert_eq!(conf.rows()[1999].place.line(), 2000);
}

#[test]
fn a_check_goes_on_after_an_error() {
    let (conf, errors) = Conf::check("m,,f,t1\nm,,g\nm,,h,t1\nm,,i,t2\n", Format::Csv, "shop.csv");
    assert_eq!(
        names(&conf),
        [("m", "", "f", "__t1"), ("m", "", "i", "__t2")]
    );
    assert_eq!(
        errors.iter().map(ConfError::line).collect::<Vec<_>>(),
        [Some(2), Some(3)]
    );
    assert_eq!(errors[1].column(), Some(4));
    assert_eq!(errors[1].file(), "shop.csv");
}
