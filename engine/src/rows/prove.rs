//! Runs made-up rows together, alone and in other orders. The outputs of independent rows agree, whatever rows they run with.

use std::time::{Duration, Instant};

use super::compare::rows_agree;
use super::made_up::{kinds, rows, Kind, ROWS};
use super::verdict::Rows;
use crate::batch::merge;
use crate::error::{Code, Error};
use crate::signature::Signature;
use crate::tensor::Tensor;

/// All rows in their order.
const ALL: [usize; ROWS] = [0, 1, 2, 3, 4];
/// The row that runs alone, before all others: it tells soon whether the signature takes such rows.
const ALONE: [usize; 1] = [2];
/// The further runs, each of these rows in this order.
const OTHERS: [&[usize]; 3] = [&[3, 1], &[4, 0, 2], &[3, 4, 1, 0, 2]];

/// Runs a signature on inputs, for at most this time.
type Run<'a> = &'a dyn Fn(&[Tensor], Duration) -> Result<Vec<Tensor>, Error>;

/// Finds out by runs on made-up rows whether the rows of a signature are independent. It begins no run after `deadline`.
pub(crate) fn prove(signature: &Signature, deadline: Instant, run: Run<'_>) -> Rows {
    let mut refused = None;
    for kind in kinds(signature) {
        let verdict = Proof::new(signature, kind, deadline, run).map(|proof| proof.verdict());
        match verdict {
            Some(Ok(verdict)) => return verdict,
            // Another kind may run: words of one length, where the first have several.
            Some(Err(Refused(verdict))) => match verdict {
                Rows::Dependent(_) => refused = Some(verdict),
                Rows::Independent | Rows::Unproven(_) => drop(refused.get_or_insert(verdict)),
            },
            None => {}
        }
    }
    refused.unwrap_or_else(|| Rows::Unproven("its rows are too large to be made up".to_owned()))
}

/// Runs of one kind of rows.
struct Proof<'a> {
    signature: &'a Signature,
    /// The rows of each input.
    inputs: Vec<Tensor>,
    deadline: Instant,
    run: Run<'a>,
}

/// The signature takes no such rows, at least not together. The verdict holds if it takes no others.
struct Refused(Rows);

/// Why a run gave no outputs that can be compared.
enum Stop {
    Refused(Error),
    /// It refused all rows together with this error, and takes each alone.
    OnlyAlone(Error),
    Found(Rows),
}

impl<'a> Proof<'a> {
    fn new(signature: &'a Signature, kind: Kind, deadline: Instant, run: Run<'a>) -> Option<Self> {
        Some(Self { signature, inputs: rows(signature, kind)?, deadline, run })
    }

    fn verdict(&self) -> Result<Rows, Refused> {
        match self.compare() {
            Ok(verdict) | Err(Stop::Found(verdict)) => Ok(verdict),
            Err(Stop::Refused(error)) => Err(Refused(Rows::Unproven(format!("made-up rows were refused: {}", first_line(&error))))),
            Err(Stop::OnlyAlone(error)) => {
                let why = format!("it takes each of {ROWS} made-up rows alone, but not together: {}", first_line(&error));
                Err(Refused(Rows::Dependent(why)))
            }
        }
    }

    fn compare(&self) -> Result<Rows, Stop> {
        let alone = self.run(&ALONE)?;
        let whole = match self.run(&ALL) {
            Err(Stop::Refused(error)) => return Err(self.only_together(error)),
            whole => whole?,
        };
        self.agrees(&alone, &whole, &ALONE)?;
        for rows in OTHERS {
            self.agrees(&self.run(rows)?, &whole, rows)?;
        }
        let varies = |output: &Tensor| !rows_agree(output, output, &[0; ROWS]);
        if whole.iter().any(varies) {
            Ok(Rows::Independent)
        } else {
            Ok(Rows::Unproven("its outputs are the same for all made-up rows".to_owned()))
        }
    }

    /// Runs these rows in this order.
    fn run(&self, rows: &[usize]) -> Result<Vec<Tensor>, Stop> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let late = || Stop::Found(Rows::Unproven("its trial at load had no more time".to_owned()));
        if left.is_zero() {
            return Err(late());
        }
        let requests: Vec<Vec<Tensor>> =
            rows.iter().map(|&row| self.inputs.iter().map(|input| input.slice_rows(row, 1)).collect()).collect();
        let requests: Vec<&[Tensor]> = requests.iter().map(Vec::as_slice).collect();
        let inputs = (0..self.inputs.len()).map(|input| merge(&requests, input)).collect::<Result<Vec<_>, _>>();
        let outputs = inputs.and_then(|inputs| (self.run)(&inputs, left));
        let outputs = outputs.map_err(|error| if error.code == Code::DeadlineExceeded { late() } else { Stop::Refused(error) })?;
        match outputs.iter().zip(&self.signature.outputs).find(|(output, _)| output.rows() != Some(rows.len())) {
            None => Ok(outputs),
            Some((output, spec)) => {
                let (name, dims, count) = (&spec.name, output.dims(), rows.len());
                let rows = if count == 1 { "row" } else { "rows" };
                let why = format!("its output {name:?} has the shape {dims:?} for {count} made-up {rows}");
                Err(Stop::Found(Rows::Dependent(why)))
            }
        }
    }

    /// Compares the outputs of some rows with those of all. If they differ although the model always gives the same outputs, the rows
    /// depend on each other.
    fn agrees(&self, outputs: &[Tensor], whole: &[Tensor], rows: &[usize]) -> Result<(), Stop> {
        let differs = |outputs: &[Tensor], rows: &[usize]| {
            let differs = |(output, whole): (&Tensor, &Tensor)| !rows_agree(output, whole, rows);
            outputs.iter().zip(whole).position(differs).map(|output| &self.signature.outputs[output].name)
        };
        let Some(name) = differs(outputs, rows) else { return Ok(()) };
        let verdict = match differs(&self.run(&ALL)?, &ALL) {
            Some(random) => Rows::Unproven(format!("its output {random:?} differs between two runs of the same rows")),
            None => Rows::Dependent(format!("its output {name:?} differs for the same row beside other rows")),
        };
        Err(Stop::Found(verdict))
    }

    /// All rows together were refused with this error. Finds out whether each of them would be taken alone.
    fn only_together(&self, error: Error) -> Stop {
        match ALL.iter().try_for_each(|row| self.run(&[*row]).map(|_| ())) {
            Ok(()) => Stop::OnlyAlone(error),
            Err(Stop::Found(verdict)) => Stop::Found(verdict),
            Err(Stop::Refused(_) | Stop::OnlyAlone(_)) => Stop::Refused(error),
        }
    }
}

/// The first line of an error. TensorFlow adds further ones, with the names of nodes.
fn first_line(error: &Error) -> &str {
    error.message.lines().next().unwrap_or_default()
}

#[cfg(test)]
#[path = "prove_tests.rs"]
mod tests;
