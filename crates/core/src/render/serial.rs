//! The string a tree travels as: `t1^<tid>,<pid>,<mode>,<count>,<depth>,<0|1>,<zin>,<len>#<dict>%n1*[<name>,<start>,
//! <end>,<nid>$<len>#<dict><children>]`, lengths in code points.

use std::fmt::Write;

use super::Extras;
use super::node::{Step, Walk};
use super::python::push_float;
use super::tree::HiqTree;

impl HiqTree {
    /// The tree as HiQ's string.
    pub fn repr(&self) -> String {
        const BYTES_PER_SPAN: usize = 64;
        let mut out = String::with_capacity(128 + self.nodes.len() * BYTES_PER_SPAN);
        let Self {
            tid,
            pid,
            mode,
            count,
            depth,
            ..
        } = self;
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "t1^{tid},{pid},{mode},{count},{depth},{},",
            u8::from(self.monotonic)
        );
        push_float(&mut out, self.zin_threshold);
        out.push(',');
        push_dict(&mut out, &self.extras);
        out.push_str("%n1*");
        for step in Walk::below(self.root()) {
            match step {
                Step::Leave(_) => out.push(']'),
                Step::Enter(node) => {
                    out.push('[');
                    out.push_str(node.name());
                    out.push(',');
                    push_float(&mut out, node.start());
                    out.push(',');
                    push_float(&mut out, node.end());
                    let _ = write!(out, ",{}$", node.nid());
                    push_dict(&mut out, node.extras().unwrap_or(&Extras::new()));
                }
            }
        }
        out
    }
}

fn push_dict(out: &mut String, extras: &Extras) {
    let repr = extras.as_repr();
    // Writing to a String cannot fail.
    let _ = write!(out, "{}#{repr}", repr.chars().count());
}
