//! Makes a copy of a model without what keeps it from loading: a reduced `saved_model.pb`, beside links to the other files.
//!
//! The binding of TensorFlow reads each signature when it loads a model, and refuses the whole model if the name of one tensor is
//! malformed, such as `y:x`. tfweb reads the signatures by itself, so the copy does not have the malformed ones.
//!
//! TensorFlow runs the model's initialiser when it loads a model, and refuses the whole model if this fails. A second kind of copy has
//! no initialiser.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::{fs, io};

use prost::encoding::{decode_key, decode_varint, encode_key, encode_varint, skip_field, DecodeContext, WireType};
use prost::Message;
use tempfile::TempDir;

use crate::error::Error;
use crate::meta_graph::{Signatures, INITIALISER, INITIALISERS_1};
use crate::signature_def::{Encoding, SignatureDef};

const FILE: &str = "saved_model.pb";
/// The fields of the messages on the way to a signature, as in saved_model.proto and meta_graph.proto of tensorflow/core/protobuf.
const META_GRAPHS: u32 = 2;
const COLLECTIONS: u32 = 4;
const SIGNATURES: u32 = 5;

/// The parts of a model that a copy leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    /// The signatures that are malformed.
    Malformed,
    /// These, and all initialisers.
    MalformedAndInitialisers,
}

/// Makes a copy that the binding can read. `None` if it can read the model in `directory` as it is.
///
/// # Errors
/// `Internal` if the copy cannot be written.
pub(super) fn copy(directory: &Path, signatures: Option<&Signatures>) -> Result<Option<TempDir>, Error> {
    if signatures.is_none_or(|signatures| signatures.values().all(is_readable)) {
        return Ok(None);
    }
    write(directory, Without::Malformed).map(Some)
}

/// Makes a copy that has no initialiser, and that the binding can read.
///
/// # Errors
/// `Internal` if the copy cannot be written.
pub(super) fn copy_without_initialisers(directory: &Path) -> Result<TempDir, Error> {
    write(directory, Without::MalformedAndInitialisers)
}

fn write(directory: &Path, without: Without) -> Result<TempDir, Error> {
    try_write(directory, without).map_err(|error| Error::internal(format!("`{}` cannot be copied: {error}", directory.display())))
}

fn try_write(directory: &Path, without: Without) -> io::Result<TempDir> {
    let copy = tempfile::tempdir()?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() != FILE {
            symlink(fs::canonicalize(entry.path())?, copy.path().join(entry.file_name()))?;
        }
    }
    let model = fs::read(directory.join(FILE))?;
    fs::write(copy.path().join(FILE), reduced(&model, without).ok_or(io::ErrorKind::InvalidData)?)?;
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

/// Leaves parts out of a SavedModel. All other bytes stay. `None` if it is no SavedModel.
fn reduced(model: &[u8], without: Without) -> Option<Vec<u8>> {
    let has_initialisers = without == Without::Malformed;
    rewrite(model, META_GRAPHS, &|graph| {
        let graph = rewrite(graph, SIGNATURES, &|entry| {
            // A malformed initialiser stays, so that TensorFlow refuses it: without it, tables would be empty.
            let is_kept = |Entry { key, signature }: Entry| match key.as_str() {
                INITIALISER => has_initialisers,
                _ => signature.is_none_or(|signature| is_readable(&signature)),
            };
            Some(Entry::decode(entry).is_ok_and(is_kept).then(|| entry.to_vec()))
        })?;
        if has_initialisers {
            return Some(Some(graph));
        }
        let graph = rewrite(&graph, COLLECTIONS, &|entry| {
            let is_kept = !INITIALISERS_1.contains(&Named::decode(entry).ok()?.key.as_str());
            Some(is_kept.then(|| entry.to_vec()))
        })?;
        Some(Some(graph))
    })
}

/// An entry of the map of signatures.
#[derive(Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    signature: Option<SignatureDef>,
}

/// An entry of another map.
#[derive(Message)]
struct Named {
    #[prost(string, tag = "1")]
    key: String,
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
        assert_eq!(reduced(&whole, Without::Malformed).unwrap(), whole);
        let malformed = replaced(&whole, "PartitionedCall_2:10", "PartitionedCall_2:xx");
        let rest = reduced(&malformed, Without::Malformed).unwrap();
        assert!(rest.len() < whole.len());
        assert!(!rest.windows(3).any(|window| window == b":xx"), "the signature is gone");
        assert_eq!(reduced(&rest, Without::Malformed).unwrap(), rest);
        assert_eq!(reduced(&whole[..whole.len() / 2], Without::Malformed), None);
    }

    #[test]
    fn all_initialisers_can_be_left_out() {
        let holds = |model: &[u8], name: &str| model.windows(name.len()).any(|window| window == name.as_bytes());
        for (name, keys) in [("missing_asset", vec![INITIALISER, INITIALISERS_1[0]]), ("missing_asset_1", vec![INITIALISERS_1[0]])]
        {
            let whole = model(&format!("odd/{name}"));
            let rest = reduced(&whole, Without::MalformedAndInitialisers).unwrap();
            assert!(keys.iter().all(|key| holds(&whole, key) && !holds(&rest, key)), "{name}");
            assert!(holds(&rest, "plain") && holds(&rest, "words.txt"), "{name}: the others stay");
            assert_eq!(reduced(&whole, Without::Malformed).unwrap(), whole, "{name}");
        }
    }

    #[test]
    fn a_malformed_initialiser_is_not_just_left_out() {
        let whole = model("odd/missing_asset");
        // The last one is the output of its signature.
        let name = b"\x0a\x04NoOp";
        let at = whole.windows(name.len()).rposition(|window| window == name).expect("it is there");
        let malformed = [&whole[..at], b"\x0a\x04No:x", &whole[at + name.len()..]].concat();
        let entry = |model: &[u8]| model.windows(INITIALISER.len()).filter(|window| *window == INITIALISER.as_bytes()).count();
        assert_eq!(entry(&reduced(&malformed, Without::Malformed).unwrap()), entry(&whole));
    }
}
