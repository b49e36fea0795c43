//! State that the readers of one body share: where they are, and which value they refused.
//!
//! A body that is accepted notes nothing. The first refusal is kept here and travels through serde as an empty error; on its way
//! out every list, input and example adds its own index, so that a place costs nothing until an error needs it.

use std::fmt::Write as _;

use serde::de;
use tfweb_engine::{quoted, Code, DType, Dims, Error, Signature};
use tfweb_limits::REQUEST_URLS_MAX;

use super::found::Found;

/// How serde_json's message starts for a number beyond even float64; it has no code for it.
const OUT_OF_RANGE: &str = "number out of range";

/// Why a reader refused a value.
#[derive(Debug)]
pub(super) enum Problem {
    /// A value that does not fit.
    Unfit {
        /// The expected value; `None` for a value of the input's dtype and shape.
        expected: Option<String>,
        /// The value that came.
        got: String,
        /// A remark that helps to understand the refusal.
        note: Option<String>,
    },
    /// Anything else.
    Other(Code, String),
}

impl Problem {
    /// A value that does not have the input's dtype and shape.
    pub(super) fn got(got: impl Into<String>) -> Self {
        Self::Unfit { expected: None, got: got.into(), note: None }
    }

    /// A value in a place where something other than the input's dtype and shape was expected.
    pub(super) fn expected(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Unfit { expected: Some(expected.into()), got: got.into(), note: None }
    }

    /// Adds a remark to a value that does not fit.
    pub(super) fn noting(self, text: impl Into<String>) -> Self {
        match self {
            Self::Unfit { expected, got, note: _ } => Self::Unfit { expected, got, note: Some(text.into()) },
            Self::Other(..) => self,
        }
    }
}

/// State that the readers of one body share.
#[derive(Debug)]
pub(super) struct Context {
    /// For how many elements memory may still be reserved: no more than the rest of the body could spell.
    pub(super) reserve_elements: usize,
    /// The example being read when reading stopped.
    pub(super) example: Option<usize>,
    /// The input being read when reading stopped, by its position in the signature.
    pub(super) input: Option<usize>,
    /// The number of URLs so far.
    urls: usize,
    /// Whether each value is one example's own, without the outer dimension.
    pub(super) without_rows: bool,
    /// The indices of the lists being read when reading stopped, innermost first.
    place: Dims,
    problem: Option<Problem>,
}

impl Context {
    /// Starts on a body of `body_bytes` bytes.
    pub(super) fn new(body_bytes: usize) -> Self {
        Self {
            // The shortest element is a digit and a comma.
            reserve_elements: body_bytes / 2 + 1,
            example: None,
            input: None,
            urls: 0,
            without_rows: false,
            place: Dims::new(),
            problem: None,
        }
    }

    /// Counts a URL.
    pub(super) fn count_url(&mut self) -> Result<(), Problem> {
        self.urls += 1;
        if self.urls <= REQUEST_URLS_MAX {
            return Ok(());
        }
        Err(Problem::Other(Code::InvalidArgument, format!("a request may name at most {REQUEST_URLS_MAX} urls")))
    }

    /// Keeps the reason for a refusal, and gives the error that ends the reading.
    #[cold]
    pub(super) fn refuse<E: de::Error>(&mut self, problem: Problem) -> E {
        self.problem = Some(problem);
        E::custom("")
    }

    /// Refuses a value that stands where an element belongs, but that elements of `dtype` cannot hold.
    #[cold]
    pub(super) fn refuse_element<E: de::Error>(&mut self, found: Found<'_>, dtype: DType) -> E {
        let problem = Problem::got(found.to_string());
        self.refuse(match found.note(dtype) {
            Some(note) => problem.noting(note),
            None => problem,
        })
    }

    /// Notes the index at which a list stopped, on the way out of it.
    #[cold]
    pub(super) fn leave_list(&mut self, index: usize) {
        self.place.push(index);
    }

    /// The error to answer with, after serde stopped with `error`.
    pub(super) fn into_error(mut self, error: &serde_json::Error, signature: &Signature) -> Error {
        let problem = self.problem.take().or_else(|| {
            let beyond = self.input.is_some() && error.to_string().starts_with(OUT_OF_RANGE);
            beyond.then(|| Problem::got("a number out of range"))
        });
        problem.map_or_else(|| malformed(error), |problem| self.describe(problem, signature))
    }

    fn describe(&self, problem: Problem, signature: &Signature) -> Error {
        let spec = self.input.map(|input| &signature.inputs[input]);
        let subject = match (self.example, spec) {
            (Some(example), Some(spec)) => format!("example {example}, input {}: ", quoted(&spec.name)),
            (Some(example), None) => format!("example {example}: "),
            (None, Some(spec)) => format!("input {}: ", quoted(&spec.name)),
            (None, None) => String::new(),
        };
        let (expected, got, note) = match problem {
            Problem::Other(code, text) => return Error::new(code, format!("{subject}{text}{}", self.place())),
            Problem::Unfit { expected, got, note } => (expected, got, note),
        };
        let expected = expected.or_else(|| {
            let spec = spec?;
            let shape = if self.without_rows { spec.shape.row() } else { spec.shape.clone() };
            Some(match shape.dims() {
                Some(_) => format!("{} of shape {shape}", spec.dtype),
                None => format!("{} of any shape", spec.dtype),
            })
        });
        let is_complex = spec.is_some_and(|spec| matches!(spec.dtype, DType::Complex64 | DType::Complex128));
        let note = note.or_else(|| is_complex.then(|| "a complex number is a list of two numbers: [real, imaginary]".to_owned()));
        let mut text = format!("{subject}expected {}, got {got}{}", expected.unwrap_or_default(), self.place());
        if let Some(note) = note {
            let _ = write!(text, " ({note})");
        }
        Error::invalid(text)
    }

    /// ` at [2][0]`; nothing where no list was entered.
    fn place(&self) -> String {
        let mut text = String::new();
        for (i, index) in self.place.iter().rev().enumerate() {
            let _ = write!(text, "{}[{index}]", if i == 0 { " at " } else { "" });
        }
        text
    }
}

fn malformed(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let what = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    Error::invalid(format!("malformed JSON at line {line} column {column}: {what}"))
}
