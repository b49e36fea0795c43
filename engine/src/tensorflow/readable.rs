//! Lets the binding of TensorFlow load a model of which one signature is malformed.
//!
//! The binding reads each signature when it loads a model, and refuses the whole model if the name of one tensor is malformed, such as
//! `y:x`. tfweb reads the signatures by itself. So it loads such a model from a copy that does not have them: a `saved_model.pb`
//! without the malformed signatures, beside links to the other files.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::{fs, io};

use prost::encoding::{decode_key, decode_varint, encode_key, encode_varint, skip_field, DecodeContext, WireType};
use prost::Message;
use tempfile::TempDir;

use crate::error::Error;
use crate::saved_model::Signatures;
use crate::signature_def::{Encoding, SignatureDef};

const FILE: &str = "saved_model.pb";
/// The fields of the messages on the way to a signature, as in saved_model.proto and meta_graph.proto of tensorflow/core/protobuf.
const META_GRAPHS: u32 = 2;
const SIGNATURES: u32 = 5;

/// Makes a copy that the binding can read. `None` if it can read the model in `directory` as it is.
///
/// # Errors
/// `Internal` if the copy cannot be written.
pub(super) fn copy(directory: &Path, signatures: Option<&Signatures>) -> Result<Option<TempDir>, Error> {
    if signatures.is_none_or(|signatures| signatures.values().all(is_readable)) {
        return Ok(None);
    }
    let failed = |error: io::Error| Error::internal(format!("`{}` cannot be copied: {error}", directory.display()));
    write(directory).map(Some).map_err(failed)
}

fn write(directory: &Path) -> io::Result<TempDir> {
    let copy = tempfile::tempdir()?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() != FILE {
            symlink(fs::canonicalize(entry.path())?, copy.path().join(entry.file_name()))?;
        }
    }
    let model = fs::read(directory.join(FILE))?;
    fs::write(copy.path().join(FILE), without_malformed(&model).ok_or(io::ErrorKind::InvalidData)?)?;
    Ok(copy)
}

/// Whether the binding can read the names of all tensors.
fn is_readable(signature: &SignatureDef) -> bool {
    signature.inputs.values().chain(signature.outputs.values()).all(|info| match &info.encoding {
        // `operation` or `operation:number`, as the binding reads names.
        Some(Encoding::Name(name)) => name.split_once(':').is_none_or(|(_, number)| number.parse::<i32>().is_ok()),
        Some(Encoding::CooSparse(_) | Encoding::Composite(_)) | None => true,
    })
}

/// Leaves the malformed signatures out of a SavedModel. All other bytes stay. `None` if it is no SavedModel.
fn without_malformed(model: &[u8]) -> Option<Vec<u8>> {
    rewrite(model, META_GRAPHS, &|graph| {
        let graph = rewrite(graph, SIGNATURES, &|entry| {
            let is_kept = Entry::decode(entry).is_ok_and(|entry| entry.signature.is_none_or(|signature| is_readable(&signature)));
            Some(is_kept.then(|| entry.to_vec()))
        })?;
        Some(Some(graph))
    })
}

/// An entry of the map of signatures.
#[derive(Message)]
struct Entry {
    #[prost(message, optional, tag = "2")]
    signature: Option<SignatureDef>,
}

/// The bytes of a message in place of which others are written; `None` to leave it out. `None` around it if it is malformed.
type Change<'a> = &'a dyn Fn(&[u8]) -> Option<Option<Vec<u8>>>;

/// Changes each message in field `number` of a message. `None` if this is malformed.
fn rewrite(message: &[u8], number: u32, change: Change<'_>) -> Option<Vec<u8>> {
    let (mut rest, mut written) = (message, Vec::with_capacity(message.len()));
    while !rest.is_empty() {
        let field = rest;
        let (tag, wire_type) = decode_key(&mut rest).ok()?;
        if tag == number && wire_type == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let (inner, after) = rest.split_at_checked(length)?;
            rest = after;
            if let Some(changed) = change(inner)? {
                encode_key(tag, wire_type, &mut written);
                encode_varint(changed.len() as u64, &mut written);
                written.extend_from_slice(&changed);
            }
        } else {
            skip_field(wire_type, tag, &mut rest, DecodeContext::default()).ok()?;
            written.extend_from_slice(&field[..field.len() - rest.len()]);
        }
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> Vec<u8> {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models");
        fs::read(models.join(name).join("1").join(FILE)).unwrap()
    }

    fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("it is there");
        [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
    }

    #[test]
    fn just_malformed_signatures_are_left_out() {
        let whole = model("odd/missing_node");
        assert_eq!(without_malformed(&whole).unwrap(), whole);
        let malformed = replaced(&whole, "PartitionedCall_2:10", "PartitionedCall_2:xx");
        let rest = without_malformed(&malformed).unwrap();
        assert!(rest.len() < whole.len());
        assert!(!rest.windows(3).any(|window| window == b":xx"), "the signature is gone");
        assert_eq!(without_malformed(&rest).unwrap(), rest);
        assert_eq!(without_malformed(&whole[..whole.len() / 2]), None);
    }
}
