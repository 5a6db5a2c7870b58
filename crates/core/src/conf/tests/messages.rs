//! What errors say: where, what stands there, and what to write.

use super::{csv, json, message, yaml};

#[test]
fn errors_in_csv_name_line_column_and_fix() {
    for (text, expected) in [
        (
            "m,,f,a b",
            "shop.csv:1:4: 🦉 only alpha numerics are allowed in tag but got: \"__a b\"; use letters, digits and underscores, e.g. \"a_b\"",
        ),
        (
            "# c\nm,,f,t \n",
            "shop.csv:2:4: 🦉 only alpha numerics are allowed in tag but got: \"__t \"; use letters, digits and underscores, e.g. \"t\"",
        ),
        (
            "m,,f,",
            "shop.csv:1:4: 🦉 tau table must have exact 4 columns; the fourth, the name, is empty; write a name, e.g. \"f\"",
        ),
        (
            "m,,f,t1\nm,,g,__t1",
            "shop.csv:2:4: 🦉 duplicated tag: __t1 in tau input! shop.csv:1 has it already; rename one of the two",
        ),
        (
            "m,f,t1",
            "shop.csv:1: 🦉 tau table must have exact 4 columns: module, class, function, name, and optionally min_duration and attributes; this row has 3",
        ),
        (
            "m,,f,t1,,,",
            "shop.csv:1: 🦉 tau table must have exact 4 columns: module, class, function, name, and optionally min_duration and attributes; this row has 7",
        ),
        (
            "m,,f,t1\n\n",
            "shop.csv:2: 🦉 tau table must have exact 4 columns: module, class, function, name, and optionally min_duration and attributes; this line is blank, delete it",
        ),
        (
            "m,,f,t1,extra",
            "shop.csv:1:5: 🦉 tau table must have exact 4 columns; a fifth is the min_duration, and \"extra\" is no duration; write a number with its unit, e.g. 5ms",
        ),
        (
            "m,,f,t1,5",
            "shop.csv:1:5: 🦉 tau table must have exact 4 columns; a fifth is the min_duration, and \"5\" is no duration; write a number with its unit, e.g. 5ms",
        ),
        (
            "m,,f,t1,-5ms",
            "shop.csv:1:5: 🦉 tau table must have exact 4 columns; a fifth is the min_duration, and \"-5ms\" is no duration; write a number with its unit, e.g. 5ms",
        ),
        (
            "m,,f,t1,,team",
            "shop.csv:1:6: attributes are \"team\"; write an object, in CSV key=value;key=value",
        ),
        (
            "m,,f,t1,,a=1;a=2",
            "shop.csv:1:6: attribute \"a\" stands twice in this row; delete one of the two",
        ),
        (
            "m,,f,t1\nm, \"C,g,t2\nm,,h,t3",
            "shop.csv:2:4: the quote that starts here is never closed; close it, or write \"\" for a quote in a cell",
        ),
        (
            "m,,f,t*",
            "shop.csv:1:4: 🦉 only alpha numerics are allowed in tag but got: \"__t*\"; use letters, digits and underscores, e.g. \"t_\"",
        ),
    ] {
        assert_eq!(message(csv(text)), expected, "{text:?}");
    }
}

#[test]
fn errors_in_keys_name_the_key_that_was_meant() {
    let row = |keys: &str| format!("[{{{keys}, \"class\": \"\", \"function\": \"f\"}}]");
    for (keys, expected) in [
        (
            r#""module": "m", "nmae": "t1""#,
            "shop.json:1: unknown key \"nmae\"; the keys are module, class, function, name, min_duration and attributes",
        ),
        (
            r#""modul": "m", "name": "t1""#,
            "shop.json:1:1: unknown key \"modul\"; did you mean \"module\"? the keys are module, class, function, name, min_duration and attributes",
        ),
        (
            r#""module": "m", "tag": "t1""#,
            "shop.json:1:4: unknown key \"tag\"; did you mean \"name\"? the keys are module, class, function, name, min_duration and attributes",
        ),
        (
            r#""module": "m", "name": "t1", "Min-Duration": "5ms""#,
            "shop.json:1:5: unknown key \"Min-Duration\"; did you mean \"min_duration\"? the keys are module, class, function, name, min_duration and attributes",
        ),
        (
            r#""module": "m", "name": "t1", "name": "t2""#,
            "shop.json:1:4: key \"name\" stands twice in this row; delete one of the two",
        ),
        (
            r#""module": "m""#,
            "shop.json:1:4: key \"name\" is missing; add it",
        ),
        (
            r#""module": "m", "name": 12"#,
            "shop.json:1:4: 🦉 tau table must have exact 4 columns; the fourth, the name is a number; write it as text, in quotes: \"12\"",
        ),
        (
            r#""module": null, "name": "t1""#,
            "shop.json:1:1: module is empty; write it as text",
        ),
        (
            r#""module": ["m"], "name": "t1""#,
            "shop.json:1:1: module is a list; write it as text",
        ),
        (
            r#""module": "m", "name": "t1", "min_duration": 5"#,
            "shop.json:1:5: 🦉 tau table must have exact 4 columns; a fifth is the min_duration, and 5 is no duration; write a number with its unit, e.g. 5ms",
        ),
        (
            r#""module": "m", "name": "t1", "attributes": {"a": {"b": 1}}"#,
            "shop.json:1:6: attribute \"a\" is an object; a text, number, truth value or a list of them can be sent",
        ),
        (
            r#""module": "m", "name": "t1", "attributes": 3"#,
            "shop.json:1:6: attributes are a number; write an object, in CSV key=value;key=value",
        ),
    ] {
        assert_eq!(message(json(&row(keys))), expected, "{keys}");
    }
    assert_eq!(
        message(json(r#"[{"module": "m", "function": "f", "name": "t"}]"#)),
        "shop.json:1:2: key \"class\" is missing; add it, e.g. \"class\": \"\"",
    );
}

#[test]
fn json_that_is_no_list_of_rows_says_what_it_is() {
    for (text, expected) in [
        (
            "{\"rows\": []}",
            "shop.json: the conf is an object, not a list; write a list of rows",
        ),
        (
            "null",
            "shop.json: the conf is empty, not a list; write a list of rows",
        ),
        (
            "[[\"m\",\"\",\"f\",\"t1\"],\n 7]",
            "shop.json:2: the row is a number; write an object with the keys module, class, function and name",
        ),
        ("[\n[\"m\",]]", "shop.json:2:6: not JSON: expected value"),
        (
            "[[\"m\"\n",
            "shop.json:2:1: not JSON: EOF while parsing a list",
        ),
        ("[] []", "shop.json:1:4: not JSON: trailing characters"),
        ("module,class", "shop.json:1:1: not JSON: expected value"),
    ] {
        assert_eq!(message(json(text)), expected, "{text:?}");
    }
}

#[test]
fn yaml_that_is_no_list_of_rows_says_what_it_is() {
    for (text, expected) in [
        (
            "rows: []",
            "shop.yaml: the conf is an object, not a list; write a list of rows",
        ),
        (
            "just text",
            "shop.yaml: the conf is a text, not a list; write a list of rows",
        ),
        (
            "- m\n- n",
            "shop.yaml:1: the row is a text; write an object with the keys module, class, function and name",
        ),
        (
            "- module: m\n  function: f\n  name: t1\n  name: t2",
            "shop.yaml:1:4: key \"name\" stands twice in this row; delete one of the two",
        ),
        (
            "- module: m\n  function: f\n  name: 12",
            "shop.yaml:1:4: 🦉 tau table must have exact 4 columns; the fourth, the name is a number; write it as text, in quotes: \"12\"",
        ),
        (
            "- module: m\n  function: f\n  nam: t1",
            "shop.yaml:1:4: unknown key \"nam\"; did you mean \"name\"? the keys are module, class, function, name, min_duration and attributes",
        ),
    ] {
        assert_eq!(message(yaml(text)), expected, "{text:?}");
    }
    for (text, expected) in [
        (
            "- module: m\n function: [",
            "2:2: not YAML: while parsing a block collection, did not find expected '-' indicator",
        ),
        (
            "- a: 1\n\t- b",
            "1:6: not YAML: while scanning a plain scalar, found a tab",
        ),
        ("- {a: b", "1:3: not YAML: unclosed bracket '{'"),
        (
            "- *nowhere",
            "1:3: not YAML: alias references unknown anchor",
        ),
        (
            "--- a\n--- b",
            "2:1: more than a conf may hold (Documents { documents: 2 }); write the rows out, in one document",
        ),
    ] {
        assert_eq!(
            message(yaml(text)),
            format!("shop.yaml:{expected}"),
            "{text:?}"
        );
    }
}
