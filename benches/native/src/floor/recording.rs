//! Recording into a thread-local arena: no limits, no parent from elsewhere, keys and values as ready words.

use std::cell::RefCell;

/// Four attributes of a span: key, kind of value, value.
pub type Words = [(u32, u8, u64); 4];

/// One trace of one thread.
#[derive(Debug, Default)]
pub struct FlatTree {
    spans: Vec<FlatSpan>,
    attributes: Vec<(u64, u32, u8)>,
    open: Vec<u32>,
    ids: u64,
}

#[derive(Clone, Copy, Debug)]
#[expect(
    dead_code,
    reason = "written, and left for an encoder that is not here"
)]
struct FlatSpan {
    id: u64,
    start: u64,
    end: u64,
    name: u32,
    parent: u32,
    first_attribute: u32,
    attributes: u16,
    kind: u8,
    status: u8,
}

thread_local! {
    static TREE: RefCell<FlatTree> = RefCell::default();
}

/// Calls `record` with this thread's empty tree, which keeps its memory.
pub fn with_tree(record: impl FnOnce(&mut FlatTree)) {
    TREE.with_borrow_mut(|tree| {
        tree.spans.clear();
        tree.attributes.clear();
        record(tree);
    });
}

/// The same, and the tree is given away.
pub fn hand_over(record: impl FnOnce(&mut FlatTree)) -> FlatTree {
    TREE.with_borrow_mut(|tree| {
        record(tree);
        let ids = tree.ids;
        std::mem::replace(
            tree,
            FlatTree {
                ids,
                ..FlatTree::default()
            },
        )
    })
}

impl FlatTree {
    /// A span with four attributes around `inside`.
    #[inline]
    pub fn span(&mut self, name: u32, words: &Words, inside: impl FnOnce(&mut Self)) {
        let index = self.start(name);
        for (key, kind, value) in words {
            self.attributes.push((*value, *key, *kind));
        }
        self.spans[index as usize].attributes = 4;
        inside(self);
        self.spans[index as usize].end = ticks();
        self.open.pop();
    }

    /// How many spans it holds.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// True for a tree without spans.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    #[inline]
    fn start(&mut self, name: u32) -> u32 {
        self.ids = self.ids.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let index = self.spans.len() as u32;
        self.spans.push(FlatSpan {
            id: self.ids,
            start: ticks(),
            end: 0,
            name,
            parent: self.open.last().copied().unwrap_or(u32::MAX),
            first_attribute: self.attributes.len() as u32,
            attributes: 0,
            kind: 1,
            status: 0,
        });
        self.open.push(index);
        index
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has RDTSC.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    crate::clock::wall()
}
