//! HiQ's trees: the text `show()` prints, the string they travel as, and the questions HiQ answers about them.
//!
//! [`HiqTree`] holds what HiQ's `Tree` holds: named spans of a value that is read when a call starts and when it ends,
//! as doubles. What it prints equals Oracle HiQ 1.1.14 byte for byte, with these differences, all on purpose:
//!
//! | point | HiQ 1.1.14 | here |
//! |---|---|---|
//! | drawing a tree | changes it: overhead and timestamps are gone the second time | changes nothing |
//! | range of the root | fixed when first drawn | covers every finished call |
//! | extras that are not literals or not ASCII | lost when a string is read | kept as written |
//! | malformed strings | abort or crash the interpreter | [`ParseTreeError`] with the offset |
//! | names with `[`, `]`, `$`, ids with `,`, `#` | corrupt the tree when read | read as written |
//! | times outside the years 1 to 9999, extras without `start` and `end` in a wide tree | raise | drawn as numbers, left out |
//! | more than [`MAX_DRAWN_LEVELS`] levels | `RecursionError` | the level is written in place of the lines |
//!
//! ```
//! use hiq_core::render::{HiqTree, RenderOptions, TimeFormat};
//!
//! let mut tree = HiqTree::new("get_memory_mb");
//! tree.start("__main", 84.25)?;
//! tree.end(88.25)?;
//! assert_eq!(
//!     tree.graph(&RenderOptions::new(TimeFormat::Timestamp)),
//!     "[84.250 - 88.250]  [100.00%] 🟢_root_get_memory_mb(4.0000)\n\
//!      [84.250 - 88.250]  [100.00%]    l___main(4.0000)\n",
//! );
//! assert_eq!(HiqTree::parse(&tree.repr())?, tree);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arena;
mod build;
mod clock;
mod extras;
mod graph;
mod node;
mod parse;
mod project;
mod python;
mod queries;
mod serial;
mod text;
mod tree;

pub use build::{HiqSpan, HiqTreeBuilder};
pub use clock::{LocalZone, LogLine, UnknownZone};
pub use extras::Extras;
pub use graph::{MAX_DRAWN_LEVELS, RenderOptions, TimeFormat, UnknownTimeFormat};
pub use node::{Children, HiqNode, NodeId, NodeRef, NodeSummary};
pub use parse::ParseTreeError;
pub use project::Projection;
pub use python::{float_fixed, float_repr, str_repr};
pub use queries::{DurationMissing, LeafOrder};
pub use text::{HiqTextDecoder, HiqTextEncoder};
pub use tree::{DEFAULT_ZIN_THRESHOLD, HiqTree, HiqTreeError, TreeSummary};

#[cfg(test)]
mod tests;
