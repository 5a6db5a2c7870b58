//! The Python module `hiq._hiq`.
