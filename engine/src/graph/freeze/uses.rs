//! The uses that operations make of the handle of a variable.

use super::attributes::{functions, Attribute, RESOURCE};
use super::messages::Node;

/// The use that a node makes of a handle.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It reads the value, and nothing else.
    Read(&'static Reader),
    /// Its outputs are the same handle.
    Pass,
    /// It hands the handle to functions.
    Call(Call),
    /// It may do anything.
    Unknown,
}

/// An operation that reads a variable, and the one that does the same with a constant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reader {
    of_handle: &'static str,
    pub(super) of_value: &'static str,
    /// The attribute with the dtype of the value: that of the operation on the handle, and that of the other one.
    dtype: Option<&'static str>,
    pub(super) dtype_of_value: &'static str,
    /// The attributes that both have.
    pub(super) kept: &'static [&'static str],
}

/// A call of functions that take a handle as an argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The operation.
    pub(super) op: &'static CallOp,
    /// The index of the argument.
    pub(super) argument: usize,
    /// The functions.
    pub(super) functions: Vec<String>,
}

/// An operation that calls functions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CallOp {
    names: &'static [&'static str],
    /// The number of inputs before the arguments.
    pub(super) first: usize,
    /// The attribute with the dtypes of the arguments.
    pub(super) dtypes: &'static str,
    /// The attributes with the functions.
    pub(super) functions: &'static [&'static str],
    /// Whether it is a loop: the last of its functions is the body, which gives the arguments of the next turn, and the last turn
    /// gives the outputs.
    pub(super) is_loop: bool,
}

/// `ReadVariableOp` is known by its port `value` too: that of `Identity` is called `output`, as those of all the others.
const READERS: &[Reader] = &[
    Reader { of_handle: "ReadVariableOp", of_value: "Identity", dtype: Some("dtype"), dtype_of_value: "T", kept: &[] },
    Reader {
        of_handle: "ResourceGather",
        of_value: "Gather",
        dtype: Some("dtype"),
        dtype_of_value: "Tparams",
        kept: &["Tindices", "validate_indices"],
    },
    Reader {
        of_handle: "ResourceGatherNd",
        of_value: "GatherNd",
        dtype: Some("dtype"),
        dtype_of_value: "Tparams",
        kept: &["Tindices"],
    },
    Reader { of_handle: "VariableShape", of_value: "Shape", dtype: None, dtype_of_value: "T", kept: &["out_type"] },
];

const CALLS: &[CallOp] = &[
    CallOp { names: &["PartitionedCall", "StatefulPartitionedCall"], first: 0, dtypes: "Tin", functions: &["f"], is_loop: false },
    CallOp { names: &["If", "StatelessIf"], first: 1, dtypes: "Tin", functions: &["then_branch", "else_branch"], is_loop: false },
    CallOp { names: &["Case", "StatelessCase"], first: 1, dtypes: "Tin", functions: &["branches"], is_loop: false },
    CallOp { names: &["While", "StatelessWhile"], first: 0, dtypes: "T", functions: &["cond", "body"], is_loop: true },
];

/// Operations that give their first input to all of their outputs, and have its dtype in the attribute `T`. `Merge` is not among
/// them: it has other inputs, and so another handle may come out.
const PASSES: &[&str] = &["Identity", "Enter", "Switch"];

/// Finds what `node` does with the handle of a variable of `dtype` that is its input number `input`.
pub(super) fn use_of(node: &Node, input: usize, dtype: u32) -> Result<Use, String> {
    let op = node.op.as_str();
    let dtype_in = |attribute: &str| Attribute::read(node.attributes.get(attribute)).dtype;
    if let Some(reader) = READERS.iter().find(|reader| reader.of_handle == op && input == 0) {
        let has_dtype = reader.dtype.is_none_or(|attribute| dtype_in(attribute) == dtype);
        // `Gather` knows no dimensions of batches.
        let is_plain = Attribute::read(node.attributes.get("batch_dims")).integer == 0;
        return Ok(if has_dtype && is_plain { Use::Read(reader) } else { Use::Unknown });
    }
    if PASSES.contains(&op) && input == 0 && dtype_in("T") == RESOURCE {
        return Ok(Use::Pass);
    }
    match call_op(op) {
        Some(op) if input >= op.first => {
            let argument = input - op.first;
            let dtypes = Attribute::read(node.attributes.get(op.dtypes));
            let functions = called(node, op)?;
            let is_whole = dtypes.dtypes().get(argument) == Some(&RESOURCE) && functions.len() >= op.functions.len();
            Ok(if is_whole { Use::Call(Call { op, argument, functions }) } else { Use::Unknown })
        }
        _ => Ok(Use::Unknown),
    }
}

/// The operation of the name, if it calls functions.
pub(super) fn call_op(name: &str) -> Option<&'static CallOp> {
    CALLS.iter().find(|op| op.names.contains(&name))
}

/// The functions that a call names, in the order of the attributes.
fn called(node: &Node, op: &CallOp) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for attribute in op.functions {
        names.extend(node.attributes.get(*attribute).map_or(Ok(Vec::new()), functions)?);
    }
    Ok(names)
}
