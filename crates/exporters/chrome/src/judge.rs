//! What becomes of a payload: a file answers by taking it, and nothing in these formats can be refused in part.

use hiq_core::judge::Judge;

/// Files acknowledge; anything else that a program sends these formats to answers in its own words.
pub(crate) const JUDGE: Judge = Judge::of("server for traces");
