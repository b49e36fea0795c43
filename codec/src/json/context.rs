//! What the readers of one body share: where they are, and what they could not accept.
//!
//! Nothing is noted while all goes well. The first refusal is kept here and travels through serde as an empty error; on
//! its way out every list, input and example adds its own index, so that a place costs nothing until it is needed.

use std::fmt::{self, Write as _};

use serde::de;
use tfweb_engine::{quoted, Code, DType, Dims, Error, Signature};

/// The most URLs that a body may name: the fetcher takes no more in one request.
pub const REQUEST_URLS_MAX: usize = 256;

/// How serde_json's message starts for a number beyond even float64; it has no code for it.
const OUT_OF_RANGE: &str = "number out of range";

/// A JSON value as it came, for the elements to accept or an error to describe.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A negative whole number.
    Signed(i64),
    /// A number with a fraction or an exponent, or one beyond 64 bits.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// An array.
    List,
    /// An object.
    Object,
}

impl Found<'_> {
    /// Why elements of `dtype` could not hold this although it is a number.
    fn note(self, dtype: DType) -> Option<String> {
        match self {
            Self::Float(value) if value.fract() != 0.0 && is_integer(dtype) => Some("not a whole number".into()),
            Self::Unsigned(_) | Self::Signed(_) | Self::Float(_) if !matches!(dtype, DType::Bool | DType::String) => {
                Some(format!("out of the range of {dtype}"))
            }
            Self::Unsigned(_)
            | Self::Signed(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::Bool(_)
            | Self::Null
            | Self::List
            | Self::Object => None,
        }
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) => write!(f, "the number {value}"),
            Self::Signed(value) => write!(f, "the number {value}"),
            Self::Float(value) => write!(f, "the number {value:?}"),
            Self::Text(text) => write!(f, "the text {}", quoted(text)),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Null => f.write_str("null"),
            Self::List => f.write_str("a list"),
            Self::Object => f.write_str("an object"),
        }
    }
}

const fn is_integer(dtype: DType) -> bool {
    matches!(
        dtype,
        DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64 | DType::Uint8 | DType::Uint16 | DType::Uint32 | DType::Uint64
    )
}

/// What a reader could not accept.
#[derive(Debug)]
pub enum Problem {
    /// A value that does not fit.
    Unfit {
        /// What was expected, where it is not a value of the input's dtype and shape.
        expected: Option<String>,
        /// What came.
        got: String,
        /// What helps to understand it.
        note: Option<String>,
    },
    /// Anything else.
    Other(Code, String),
}

impl Problem {
    /// A value that is not what the input's dtype and shape call for.
    pub fn got(got: impl Into<String>) -> Self {
        Self::Unfit { expected: None, got: got.into(), note: None }
    }

    /// A value where something else than the input's dtype and shape was expected.
    pub fn expected(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Unfit { expected: Some(expected.into()), got: got.into(), note: None }
    }

    /// Adds what helps to understand a value that does not fit.
    pub fn noting(self, text: impl Into<String>) -> Self {
        match self {
            Self::Unfit { expected, got, note: _ } => Self::Unfit { expected, got, note: Some(text.into()) },
            Self::Other(..) => self,
        }
    }
}

/// What the readers of one body share.
#[derive(Debug)]
pub struct Context {
    /// How many elements may still be reserved ahead: no more than the rest of the body could spell.
    pub reserve_elements: usize,
    /// The example being read when reading stopped.
    pub example: Option<usize>,
    /// The input being read when reading stopped, by its position in the signature.
    pub input: Option<usize>,
    /// How many urls came so far.
    urls: usize,
    /// Whether values are examples' own, without the outer dimension.
    pub without_rows: bool,
    /// The indices of the lists being read when reading stopped, innermost first.
    place: Dims,
    problem: Option<Problem>,
}

impl Context {
    /// Starts on a body of `body_bytes` bytes.
    pub fn new(body_bytes: usize) -> Self {
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

    /// Counts a url.
    pub fn count_url(&mut self) -> Result<(), Problem> {
        self.urls += 1;
        if self.urls <= REQUEST_URLS_MAX {
            return Ok(());
        }
        Err(Problem::Other(Code::InvalidArgument, format!("a request may name at most {REQUEST_URLS_MAX} urls")))
    }

    /// Keeps what could not be accepted, and gives the error that ends the reading.
    #[cold]
    pub fn refuse<E: de::Error>(&mut self, problem: Problem) -> E {
        self.problem = Some(problem);
        E::custom("")
    }

    /// Keeps a value of the right place that elements of `dtype` cannot hold, and gives the error that ends the reading.
    #[cold]
    pub fn refuse_element<E: de::Error>(&mut self, found: Found<'_>, dtype: DType) -> E {
        let problem = Problem::got(found.to_string());
        self.refuse(match found.note(dtype) {
            Some(note) => problem.noting(note),
            None => problem,
        })
    }

    /// Notes the index at which a list stopped, on the way out of it.
    #[cold]
    pub fn leave_list(&mut self, index: usize) {
        self.place.push(index);
    }

    /// The error to answer with, after serde stopped with `error`.
    pub fn into_error(mut self, error: &serde_json::Error, signature: &Signature) -> Error {
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
