//! The text that `show()` prints.

use std::borrow::Cow;
use std::fmt::Write;
use std::str::FromStr;

use super::arena::is_none;
use super::node::{NodeRef, Step, Walk};
use super::python::{float_len, push_fixed, push_spaces};
use super::tree::HiqTree;
use super::{Extras, LocalZone};

/// Levels that are drawn with their lines. HiQ stops a little earlier, with a `RecursionError`; below, the level is
/// written instead of the lines, so that the text grows with the number of spans and not with its square.
pub const MAX_DRAWN_LEVELS: usize = 1000;

/// How times are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "HiQ has these two")]
pub enum TimeFormat {
    /// Seconds since 1970: HiQ's `_timestamp_`, the default of `Tree.show`.
    #[default]
    Timestamp,
    /// Local date and time: HiQ's `_datetime_`, the default of a driver's `show`.
    DateTime,
}

impl FromStr for TimeFormat {
    type Err = UnknownTimeFormat;

    fn from_str(name: &str) -> Result<Self, UnknownTimeFormat> {
        match name {
            "_timestamp_" => Ok(Self::Timestamp),
            "_datetime_" => Ok(Self::DateTime),
            _ => Err(UnknownTimeFormat(name.to_owned())),
        }
    }
}

/// A time format that HiQ does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wrong time format: {0}; use _timestamp_ or _datetime_")]
pub struct UnknownTimeFormat(String);

/// How a tree is drawn.
#[derive(Clone, Debug)]
#[must_use]
pub struct RenderOptions {
    time_format: TimeFormat,
    wide_output: Option<bool>,
    zone: LocalZone,
}

impl RenderOptions {
    /// Times in this format, in the zone of this machine, and a column of timestamps if the tree has them.
    pub fn new(time_format: TimeFormat) -> Self {
        Self {
            time_format,
            wide_output: None,
            zone: LocalZone::system(),
        }
    }

    /// Forces (`Some(true)`) or forbids the column of timestamps: HiQ's `WIDE_OUTPUT`. Default `None`: there is one when
    /// the root or its first child carries `start` or `end`.
    pub fn wide_output(mut self, wide_output: Option<bool>) -> Self {
        self.wide_output = wide_output;
        self
    }

    /// The zone of local times. Default: that of this machine.
    pub fn zone(mut self, zone: LocalZone) -> Self {
        self.zone = zone;
        self
    }
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self::new(TimeFormat::default())
    }
}

impl HiqTree {
    /// The tree as HiQ draws it, a line per span, each with its line end.
    pub fn graph(&self, options: &RenderOptions) -> String {
        Graph::new(self, options).text()
    }
}

struct Graph<'a> {
    tree: &'a HiqTree,
    options: &'a RenderOptions,
    is_wide: bool,
    root: NodeRef<'a>,
    root_start: f64,
    root_end: f64,
    /// Longest `repr` of a value in the tree.
    value_width: usize,
    /// By node: whether its start is taken for a time.
    is_time: Vec<bool>,
    out: String,
}

impl<'a> Graph<'a> {
    fn new(tree: &'a HiqTree, options: &'a RenderOptions) -> Self {
        let (root, root_start, root_end) = tree.drawn_root();
        let root = tree.at(root);
        let mut graph = Self {
            tree,
            options,
            is_wide: options.wide_output.unwrap_or_else(|| has_timestamps(root)),
            root,
            root_start,
            root_end,
            value_width: 0,
            is_time: vec![false; tree.nodes.len()],
            out: String::new(),
        };
        graph.measure();
        graph
    }

    fn measure(&mut self) {
        for step in Walk::below(self.root) {
            if let Step::Enter(node) = step {
                let (start, end) = self.values(node);
                let start_width = float_len(start);
                self.is_time[node.id().index()] = is_time(start, start_width);
                self.value_width = self.value_width.max(start_width).max(float_len(end));
            }
        }
    }

    fn text(mut self) -> String {
        const BYTES_PER_LINE: usize = 112;
        self.out.reserve(self.tree.nodes.len() * BYTES_PER_LINE);
        let mut prefix = Prefix::default();
        for step in Walk::below(self.root) {
            match step {
                Step::Enter(node) => {
                    let is_last = node.id() == self.root.id() || node.is_last_child();
                    self.push_line(node, is_last, &prefix);
                    prefix.descend(is_last);
                }
                Step::Leave(_) => prefix.ascend(),
            }
        }
        self.out
    }

    fn push_line(&mut self, node: NodeRef<'a>, is_last: bool, prefix: &Prefix) {
        let line_start = self.out.len();
        let (start, end) = self.values(node);
        let shown = self.shown(node);
        if self.is_wide {
            self.push_timestamps(shown.stamps);
        }
        self.push_range(self.is_time[node.id().index()], start, end);
        self.push_share(end - start);
        prefix.push_to(&mut self.out);
        let extra_column = self.out.len() - line_start + 2;
        let is_root = node.id() == self.root.id();
        self.out.push_str(match (is_root, is_last) {
            (true, _) => "🟢_",
            (false, true) => "l_",
            (false, false) => "|_",
        });
        self.push_name(node, is_root);
        self.out.push('(');
        push_fixed(&mut self.out, end - start, 6, 4);
        self.out.push(')');
        if !shown.extras.is_empty() {
            self.push_extras(&shown.extras);
        }
        if is_root {
            self.push_tree_extras(extra_column);
        }
        self.out.push('\n');
    }

    /// A wide tree shows `start` and `end` in their column.
    fn shown(&self, node: NodeRef<'a>) -> Shown<'a> {
        let extras = node.extras().unwrap_or(&NO_EXTRAS);
        if !self.is_wide {
            return Shown {
                stamps: None,
                extras: Cow::Borrowed(extras),
            };
        }
        let ([start, end], rest) = extras.split_numbers(&[START, END]);
        Shown {
            stamps: start.zip(end),
            extras: Cow::Owned(rest),
        }
    }

    /// Start and end as drawn.
    fn values(&self, node: NodeRef<'_>) -> (f64, f64) {
        if node.id() == self.root.id() {
            (self.root_start, self.root_end)
        } else {
            (node.start(), node.end())
        }
    }

    fn push_timestamps(&mut self, stamps: Option<(f64, f64)>) {
        const TIMESTAMP_WIDTH: usize = 14;
        match (stamps, self.options.time_format) {
            (Some((start, end)), format) => {
                self.out.push('[');
                let is_drawn = format == TimeFormat::DateTime && self.push_date_times(start, end);
                if !is_drawn {
                    self.push_numbers(start, end, TIMESTAMP_WIDTH);
                }
                self.out.push_str("]  ");
            }
            (None, TimeFormat::DateTime) => push_spaces(&mut self.out, 48),
            (None, TimeFormat::Timestamp) => push_spaces(&mut self.out, 35),
        }
    }

    fn push_range(&mut self, is_time: bool, start: f64, end: f64) {
        const DECIMALS: usize = 3;
        self.out.push('[');
        match (is_time, self.options.time_format) {
            (true, TimeFormat::DateTime) if self.push_date_times(start, end) => {}
            (true, TimeFormat::Timestamp) => {
                self.push_numbers(start, end, self.value_width - DECIMALS);
            }
            _ => self.push_numbers(start, end, self.value_width),
        }
        self.out.push_str("] ");
    }

    fn push_share(&mut self, span: f64) {
        let whole = self.root_end - self.root_start;
        if whole == 0.0 {
            self.out.push_str(" [000.00%] ");
            return;
        }
        self.out.push_str(" [");
        push_fixed(&mut self.out, span * 100.0 / whole, 6, 2);
        self.out.push_str("%] ");
    }

    fn push_name(&mut self, node: NodeRef<'_>, is_root: bool) {
        if is_root && is_none(node.name()) {
            self.out.push_str("root_");
            self.out.push_str(self.tree.tid());
        } else {
            self.out.push_str(node.name());
        }
    }

    fn push_extras(&mut self, extras: &Extras) {
        self.out.push_str(" (");
        self.out.push_str(extras.as_repr());
        self.out.push(')');
    }

    fn push_tree_extras(&mut self, column: usize) {
        let shown = self
            .tree
            .extras()
            .without(&[OVERHEAD, OVERHEAD_START])
            .concise();
        if !shown.is_empty() {
            self.push_below(column, &format!("[{}]", shown.as_repr()));
        }
        if let Some(overhead_us) = self.tree.extras().number(OVERHEAD) {
            // Adding zero makes -0 a 0.
            self.push_below(column, &format!("[OH:{:.0}us]", overhead_us.trunc() + 0.0));
        }
    }

    fn push_below(&mut self, column: usize, text: &str) {
        self.out.push('\n');
        push_spaces(&mut self.out, column);
        self.out.push_str(text);
    }

    fn push_date_times(&mut self, start: f64, end: f64) -> bool {
        self.options
            .zone
            .push_pair(&mut self.out, start, end)
            .is_some()
    }

    fn push_numbers(&mut self, start: f64, end: f64, width: usize) {
        push_fixed(&mut self.out, start, width, 3);
        self.out.push_str(" - ");
        push_fixed(&mut self.out, end, width, 3);
    }
}

/// What a line shows of a node's extras.
struct Shown<'a> {
    stamps: Option<(f64, f64)>,
    extras: Cow<'a, Extras>,
}

static NO_EXTRAS: Extras = Extras::new();

const START: &str = "start";
const END: &str = "end";
const OVERHEAD: &str = "overhead";
const OVERHEAD_START: &str = "overhead_start";

fn has_timestamps(root: NodeRef<'_>) -> bool {
    let first = root.children().next();
    [Some(root), first]
        .into_iter()
        .flatten()
        .filter_map(NodeRef::extras)
        .any(|extras| extras.get(START).is_some() || extras.get(END).is_some())
}

/// HiQ's guess: later than 1995-11-17, and with a fraction.
fn is_time(value: f64, repr_width: usize) -> bool {
    const SHORTEST: usize = 14;
    const OLDEST: f64 = 816_649_560.0;
    repr_width >= SHORTEST && value > OLDEST
}

/// The lines that lead from a node's ancestors to those below it.
#[derive(Default)]
struct Prefix {
    text: String,
    level: usize,
}

impl Prefix {
    const STEP: usize = 3;

    fn descend(&mut self, is_last: bool) {
        self.level += 1;
        if self.level <= MAX_DRAWN_LEVELS {
            self.text.push_str(if is_last { "   " } else { "|  " });
        }
    }

    fn ascend(&mut self) {
        if self.level <= MAX_DRAWN_LEVELS {
            self.text
                .truncate(self.text.len().saturating_sub(Self::STEP));
        }
        self.level = self.level.saturating_sub(1);
    }

    fn push_to(&self, out: &mut String) {
        if self.level <= MAX_DRAWN_LEVELS {
            out.push_str(&self.text);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "... level {}: ", self.level);
        }
    }
}
