//! Which operations may change the state of a model, so that a run of them on made-up values would be seen by later requests.
//!
//! The rule is closed: an operation is harmless if TensorFlow's registry calls it stateless, or if a list here names it. Every other
//! operation, also one that nobody here has heard of, may change state.

use std::collections::HashSet;

use prost::encoding::decode_key;
use prost::Message;

use super::proto::OpDef;

/// Operations that hold nothing and change nothing: they read a variable whose handle they take, or they call functions. The
/// operations of these functions count by themselves.
const HARMLESS: &[&str] = &[
    "Assert",
    "Case",
    "CheckNumerics",
    "CheckNumericsV2",
    "DeviceIndex",
    "Empty",
    "GuaranteeConst",
    "If",
    "IsVariableInitialized",
    "ReadVariableOp",
    "ResourceGather",
    "ResourceGatherNd",
    "StatefulPartitionedCall",
    "StatelessRandomGetAlg",
    "VarIsInitializedOp",
    "VariableShape",
    "While",
];

/// Operations that hold a table, or read one.
const TABLES: &[&str] = &[
    "HashTable",
    "HashTableV2",
    "LookupTableExport",
    "LookupTableExportV2",
    "LookupTableFind",
    "LookupTableFindV2",
    "LookupTableSize",
    "LookupTableSizeV2",
    "MutableDenseHashTable",
    "MutableDenseHashTableV2",
    "MutableHashTable",
    "MutableHashTableOfTensors",
    "MutableHashTableOfTensorsV2",
    "MutableHashTableV2",
];

/// Operations that hold a variable.
pub(super) const VARIABLES: &[&str] = &["VarHandleOp", "Variable", "VariableV2"];

/// Operations that write to the variable whose handle they take, and hold nothing.
const ASSIGN: &[&str] = &["AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp"];

/// The names of operations on arrays of tensors begin so. Such an array lives no longer than its run.
const OF_ARRAYS: &str = "TensorArray";

/// Operations with effects of which the registry does not know: they write into the memory of their input, to the outside, or end
/// the process.
const UNDECLARED: &[&str] = &[
    "Abort",
    "DebugIdentity",
    "DebugNanCount",
    "DebugNumericSummary",
    "GetElementAtIndex",
    "InplaceAdd",
    "InplaceSub",
    "InplaceUpdate",
    "PyFuncStateless",
];

/// Reads the names of the operations that have no state from TensorFlow's registry, a serialized OpList.
///
/// An operation that takes a variable of TensorFlow 1 by reference is not among them: the registry calls `Assign` stateless.
pub(crate) fn stateless_operations(registry: &[u8]) -> Result<HashSet<String>, prost::DecodeError> {
    let mut stateless = HashSet::new();
    // The list has no field but its operations. Each is decoded by itself, since all together take megabytes.
    let mut rest = registry;
    while !rest.is_empty() {
        decode_key(&mut rest)?;
        let op = OpDef::decode_length_delimited(&mut rest)?;
        if !op.is_stateful && !op.arguments.iter().any(|argument| argument.is_ref) {
            stateless.insert(op.name);
        }
    }
    Ok(stateless)
}

/// Whether an operation of type `op` may change the state of the model or of its surroundings.
pub(super) fn may_change_state(op: &str, stateless: &HashSet<String>) -> bool {
    !is_harmless(op, stateless) && !TABLES.contains(&op) && !VARIABLES.contains(&op)
}

/// Whether an operation of type `op` surely holds nothing from one run to the next. It may use a variable that another one holds.
pub(super) fn holds_nothing(op: &str, stateless: &HashSet<String>) -> bool {
    is_harmless(op, stateless) || ASSIGN.contains(&op)
}

fn is_harmless(op: &str, stateless: &HashSet<String>) -> bool {
    !UNDECLARED.contains(&op) && (stateless.contains(op) || HARMLESS.contains(&op) || op.starts_with(OF_ARRAYS))
}

#[cfg(test)]
mod tests {
    use super::super::proto::ArgDef;
    use super::*;

    #[test]
    fn an_operation_with_state_is_harmless_only_by_name() {
        let op = |name: &str, is_stateful, is_ref| {
            let arguments = vec![ArgDef::default(), ArgDef { is_ref, ..ArgDef::default() }];
            // Field 1 of an OpList.
            [vec![0x0a], OpDef { name: name.into(), arguments, is_stateful }.encode_length_delimited_to_vec()].concat()
        };
        let operations = [
            op("Mul", false, false),
            op("InplaceAdd", false, false),
            op("Assign", false, true),
            op("AssignVariableOp", true, false),
            op("ReadVariableOp", true, false),
            op("TensorArrayWriteV3", true, false),
        ];
        let stateless = stateless_operations(&operations.concat()).unwrap();
        for harmless in ["Mul", "ReadVariableOp", "TensorArrayWriteV3"] {
            assert!(!may_change_state(harmless, &stateless), "{harmless}");
        }
        for other in ["Assign", "AssignVariableOp", "InplaceAdd", "NeverHeardOf"] {
            assert!(may_change_state(other, &stateless), "{other}");
        }
    }

    #[test]
    fn what_is_no_registry_is_an_error() {
        assert!(stateless_operations(b"\xff\xff").is_err());
    }
}
