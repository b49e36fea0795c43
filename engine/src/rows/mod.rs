//! Finds out whether the rows of a signature are independent, so that rows of several requests may share a run. Pure.
//!
//! A first dimension of -1 does not tell: a signature may sort, rank or normalise over it, and then clients would get answers made
//! of each other's rows.
//!
//! - `verdict`: the verdict on the rows of a signature.
//! - `made_up`: rows of numbers, words and images that nobody sent.
//! - `prove`: runs made-up rows together, alone and in other orders.
//! - `compare`: whether two outputs agree.

mod compare;
mod made_up;
mod prove;
mod verdict;

pub(crate) use made_up::IMAGES;
pub(crate) use prove::prove;
pub use verdict::Rows;
