//! What both encodings hold of values.

/// Lists and maps inside each other that are written; what lies deeper becomes [`TOO_DEEP`].
///
/// Receivers that guard against deep messages refuse the whole request, so one odd value would cost all its neighbours.
pub(crate) const MAX_VALUE_DEPTH: usize = 64;

/// What stands for a list or map at a depth that is not written.
pub(crate) const TOO_DEEP: &str = "(nested deeper than 64 levels)";
