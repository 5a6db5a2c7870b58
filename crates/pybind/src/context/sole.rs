//! Whether a variable's value is the running context's alone.
//!
//! A context keeps its variables in a tree that never changes; a copy of the context shares that tree, and the next variable that
//! either of them sets gives it a tree of its own, in which only what lies on the way to that variable is new. So whoever can
//! come to a value holds a reference to the tree, to a node on the way or to the value: where each of them has one owner, nobody
//! but the running context can, and no copy was made of it since the value was set.
//!
//! The interpreter does not say where it keeps them. It is found once, by contexts of our own, and tried on copies of them;
//! where that fails, no value is the running context's alone.
#![allow(
    unsafe_code,
    reason = "the interpreter's contexts are read; each block is argued"
)]

use std::ffi::CStr;
use std::iter::StepBy;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

use pyo3::ffi;

use crate::tasks;

type Object = *mut ffi::PyObject;

/// In words of the objects. Only nodes of up to sixteen pairs are looked into. A pair is a variable and its value, or null and a node
/// of the variables whose hashes have the same part.
#[derive(Clone, Copy, Debug)]
struct Places {
    tree_in_context: usize,
    root_in_tree: usize,
    pairs_in_node: usize,
    /// The type of such a node.
    kind_of_node: usize,
}

static PLACES: OnceLock<Option<Places>> = OnceLock::new();

/// A header has the count of references and the type.
const HEADER_WORDS: usize = 2;

/// The value of `variable` in the running context, borrowed, if the tree and its nodes on the way are the context's alone: nobody else
/// can come to it then but who has a reference to the value itself. Null otherwise, and when there is none.
#[inline]
pub(super) fn value_of(variable: Object) -> Object {
    let Some(Some(places)) = PLACES.get() else {
        return ptr::null_mut();
    };
    // SAFETY: called with the GIL; the running context is alive, and `find` has seen where its parts lie.
    unsafe { places.value_of(tasks::current(), variable) }
}

/// Finds the places, when the module is loaded. `value` is any object, `variable` one that no context of this thread has.
pub(super) fn look(variable: Object, value: Object) {
    PLACES.get_or_init(|| {
        // SAFETY: called with the GIL, and live objects.
        unsafe {
            let found = find(variable, value);
            ffi::PyErr_Clear();
            found
        }
    });
}

impl Places {
    #[inline]
    unsafe fn value_of(&self, context: Object, variable: Object) -> Object {
        // SAFETY: a live context or null; its tree and the root of that are alive as long as nothing comes to Python.
        unsafe {
            if context.is_null() {
                return ptr::null_mut();
            }
            let tree = word(context, self.tree_in_context);
            if tree.is_null() || ffi::Py_REFCNT(tree) != 1 {
                return ptr::null_mut();
            }
            self.value_below(word(tree, self.root_in_tree), variable)
        }
    }

    #[inline]
    unsafe fn value_below(&self, node: Object, variable: Object) -> Object {
        // SAFETY: a live object; where its type is that of nodes, it has as many pairs as its size says.
        unsafe {
            if ffi::Py_TYPE(node) as usize != self.kind_of_node || ffi::Py_REFCNT(node) != 1 {
                return ptr::null_mut();
            }
            let mut pairs = self.pairs_of(node);
            let own = pairs.find(|at| word(node, *at) == variable);
            own.map_or_else(
                || self.value_further_below(node, variable),
                |at| word(node, at + 1),
            )
        }
    }

    /// Of a variable that shares its place in `node` with others: one in 32 does, with each that there is.
    #[cold]
    #[inline(never)]
    unsafe fn value_further_below(&self, node: Object, variable: Object) -> Object {
        // SAFETY: as in `value_below`; what stands beside a null is a node.
        unsafe {
            let below = (self.pairs_of(node)).filter(|at| word(node, *at).is_null());
            below
                .map(|at| self.value_below(word(node, at + 1), variable))
                .find(|value| !value.is_null())
                .unwrap_or(ptr::null_mut())
        }
    }

    /// Where the pairs of a node begin.
    #[inline]
    unsafe fn pairs_of(&self, node: Object) -> StepBy<Range<usize>> {
        // SAFETY: a live node.
        let words = unsafe { ffi::Py_SIZE(node) }.unsigned_abs();
        (self.pairs_in_node..self.pairs_in_node + words).step_by(2)
    }
}

/// The places in a context of our own, if they say what they should of it.
unsafe fn find(variable: Object, value: Object) -> Option<Places> {
    // SAFETY: called with the GIL; the references that are made here are given up here.
    unsafe {
        let one = Owned::new(ffi::PyContext_New())?;
        set_in(one.0, variable, value)?;
        let copy = Owned::new(ffi::PyContext_Copy(one.0))?;
        let places = places_in(one.0, copy.0, (variable, value))?;
        is_true_of(&places, one, copy, variable).then_some(places)
    }
}

/// What `one` and its copy share is the tree; in it is the root, and in that the variable with its value.
unsafe fn places_in(
    one: Object,
    copy: Object,
    (variable, value): (Object, Object),
) -> Option<Places> {
    // SAFETY: live contexts that are not entered: of all their words but the header's, only one is a pointer to an object. The
    // two types are the interpreter's own by their names, and objects are as large as their types say.
    unsafe {
        let tree_in_context = words_of(one).find(|at| {
            let tree = word(one, *at);
            !tree.is_null() && tree == word(copy, *at)
        })?;
        let tree = word(one, tree_in_context);
        if name_of(tree) != c"hamt" {
            return None;
        }
        // Besides, the tree has a count and weak references, of which there are none.
        let root_in_tree = words_of(tree).find(|at| word(tree, *at) as usize > 1)?;
        let root = word(tree, root_in_tree);
        if name_of(root) != c"hamt_bitmap_node" {
            return None;
        }
        let pairs_in_node =
            words_of(root).find(|at| word(root, *at) == variable && word(root, at + 1) == value)?;
        Some(Places {
            tree_in_context,
            root_in_tree,
            pairs_in_node,
            kind_of_node: ffi::Py_TYPE(root) as usize,
        })
    }
}

/// A copy shares the value, also once it has set another variable; when it is gone, the context has it for itself.
unsafe fn is_true_of(places: &Places, one: Owned, copy: Owned, variable: Object) -> bool {
    // SAFETY: as in `find`; a new value has no owner but the context that it is set in.
    unsafe {
        let Some(other) = Owned::new(ffi::PyContextVar_New(c"other".as_ptr(), ptr::null_mut()))
        else {
            return false;
        };
        let is_sole = |context: Object| {
            let value = places.value_of(context, variable);
            !value.is_null() && ffi::Py_REFCNT(value) == 1
        };
        let Some(own) = Owned::new(ffi::PyBytes_FromStringAndSize(ptr::null(), 64)) else {
            return false;
        };
        if set_in(one.0, variable, own.0).is_none() {
            return false;
        }
        let by_us = is_sole(one.0);
        drop(own);
        let unshared = is_sole(one.0);
        drop(copy);
        let Some(copy) = Owned::new(ffi::PyContext_Copy(one.0)) else {
            return false;
        };
        let by_copy = is_sole(one.0) || is_sole(copy.0);
        if set_in(copy.0, other.0, variable).is_none() {
            return false;
        }
        let by_changed = is_sole(one.0) || is_sole(copy.0);
        drop(copy);
        (by_us, unshared, by_copy, by_changed, is_sole(one.0)) == (false, true, false, false, true)
    }
}

unsafe fn set_in(context: Object, variable: Object, value: Object) -> Option<()> {
    // SAFETY: called with the GIL and live objects; the context is entered by nobody.
    unsafe {
        if ffi::PyContext_Enter(context) < 0 {
            return None;
        }
        let token = Owned::new(ffi::PyContextVar_Set(variable, value));
        drop(token?);
        (ffi::PyContext_Exit(context) == 0).then_some(())
    }
}

/// All of an object but its header.
unsafe fn words_of(object: Object) -> Range<usize> {
    // SAFETY: a live object; of those with items their number stands behind the header.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let items = if (*kind).tp_itemsize == 0 {
            0
        } else {
            ffi::Py_SIZE(object)
        };
        let size = (*kind).tp_basicsize + items * (*kind).tp_itemsize;
        HEADER_WORDS..size.unsigned_abs() / size_of::<usize>()
    }
}

#[inline]
unsafe fn word(object: Object, at: usize) -> Object {
    // SAFETY: by the caller's promise the object has as many words.
    unsafe { object.cast::<Object>().add(at).read() }
}

unsafe fn name_of<'a>(object: Object) -> &'a CStr {
    // SAFETY: a live object; its type is one of the interpreter's, which lives for ever.
    unsafe { CStr::from_ptr((*ffi::Py_TYPE(object)).tp_name) }
}

/// A reference of ours.
struct Owned(Object);

impl Owned {
    fn new(object: Object) -> Option<Self> {
        (!object.is_null()).then_some(Self(object))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: called with the GIL.
        unsafe { ffi::Py_DECREF(self.0) };
    }
}
