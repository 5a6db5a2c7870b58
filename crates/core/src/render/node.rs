//! Reading a tree node by node.

use std::fmt;

use super::Extras;
use super::python::push_fixed;
use super::tree::HiqTree;

/// A node of one tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    pub(super) const NONE: Self = Self(u32::MAX);

    /// Position in the tree's arena.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A node by itself, with all that HiQ keeps of one.
#[derive(Clone, Debug)]
pub struct HiqNode<'a> {
    /// Name, without a comma.
    pub name: &'a str,
    /// The value when it started.
    pub start: f64,
    /// The value when it ended; 0 while it is open.
    pub end: f64,
    /// HiQ's node number, usually 0.
    pub nid: u32,
    /// What it carries.
    pub extras: Extras,
}

/// What HiQ prints for a node: `[🍁 n=f,s=0.00,e=40.00,x=0,c=0]`.
#[derive(Clone, Copy, Debug)]
pub struct NodeSummary<'a> {
    /// Name.
    pub name: &'a str,
    /// The value when it started.
    pub start: f64,
    /// The value when it ended.
    pub end: f64,
    /// The number of keys it carries.
    pub extras: usize,
    /// The number of nodes in it.
    pub children: usize,
}

/// A node as it stands in its tree. It prints as HiQ's node does: `[🍁 n=f,s=0.00,e=40.00,x=0,c=0]`.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    pub(super) tree: &'a HiqTree,
    pub(super) id: NodeId,
}

impl<'a> NodeRef<'a> {
    /// Where it is.
    pub fn id(self) -> NodeId {
        self.id
    }

    /// Its name; `None` for a virtual root.
    pub fn name(self) -> &'a str {
        self.tree.name_of(self.id)
    }

    /// The value when it started.
    pub fn start(self) -> f64 {
        self.tree.node(self.id).start
    }

    /// The value when it ended; 0 while it is open.
    pub fn end(self) -> f64 {
        self.tree.node(self.id).end
    }

    /// End less start.
    pub fn span(self) -> f64 {
        self.end() - self.start()
    }

    /// HiQ's node number, 0 unless a string said otherwise.
    pub fn nid(self) -> u32 {
        self.tree.node(self.id).nid
    }

    /// What it carries, if anything.
    pub fn extras(self) -> Option<&'a Extras> {
        self.tree
            .node(self.id)
            .extras
            .as_deref()
            .filter(|extras| !extras.is_empty())
    }

    /// A copy of it, without what is in it.
    pub fn to_node(self) -> HiqNode<'a> {
        HiqNode {
            name: self.name(),
            start: self.start(),
            end: self.end(),
            nid: self.nid(),
            extras: self.extras().cloned().unwrap_or_default(),
        }
    }

    /// The node it is in; `None` for the root.
    pub fn parent(self) -> Option<Self> {
        if self.id == self.tree.root {
            None
        } else {
            self.follow(self.tree.node(self.id).parent)
        }
    }

    /// The nodes in it, in the order they started.
    pub fn children(self) -> Children<'a> {
        Children(self.follow(self.tree.node(self.id).first_child))
    }

    pub(super) fn is_last_child(self) -> bool {
        self.tree.node(self.id).next == NodeId::NONE
    }

    fn next(self) -> Option<Self> {
        self.follow(self.tree.node(self.id).next)
    }

    fn follow(self, id: NodeId) -> Option<Self> {
        (id != NodeId::NONE).then_some(Self { id, ..self })
    }
}

impl fmt::Display for NodeSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            start,
            end,
            extras,
            children,
        } = *self;
        if end - start == 0.0 {
            return write!(f, "[🔵 n={name}]");
        }
        let sign = if children == 0 { '🍁' } else { '🟢' };
        let mut values = String::from("s=");
        push_fixed(&mut values, start, 0, 2);
        values.push_str(",e=");
        push_fixed(&mut values, end, 0, 2);
        write!(f, "[{sign} n={name},{values},x={extras},c={children}]")
    }
}

impl fmt::Display for NodeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = NodeSummary {
            name: self.name(),
            start: self.start(),
            end: self.end(),
            extras: self.extras().map_or(0, Extras::len),
            children: self.children().count(),
        };
        summary.fmt(f)
    }
}

impl fmt::Debug for NodeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The children of a node.
#[derive(Clone, Debug)]
pub struct Children<'a>(Option<NodeRef<'a>>);

impl<'a> Iterator for Children<'a> {
    type Item = NodeRef<'a>;

    fn next(&mut self) -> Option<NodeRef<'a>> {
        let child = self.0?;
        self.0 = child.next();
        Some(child)
    }
}

/// A step of the walk through a tree: parents before children, siblings in their order.
pub(super) enum Step<'a> {
    Enter(NodeRef<'a>),
    Leave(NodeRef<'a>),
}

/// Walks without a stack: the way back is in the nodes.
pub(super) struct Walk<'a> {
    top: NodeId,
    next: Option<Step<'a>>,
}

impl<'a> Walk<'a> {
    pub(super) fn below(top: NodeRef<'a>) -> Self {
        Self {
            top: top.id,
            next: Some(Step::Enter(top)),
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        let step = self.next.take()?;
        self.next = match step {
            Step::Enter(node) => Some(
                node.children()
                    .next()
                    .map_or(Step::Leave(node), Step::Enter),
            ),
            Step::Leave(node) if node.id == self.top => None,
            Step::Leave(node) => match node.next() {
                Some(sibling) => Some(Step::Enter(sibling)),
                None => node.parent().map(Step::Leave),
            },
        };
        Some(step)
    }
}
