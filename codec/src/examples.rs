//! Serializes the `tf.Example`s of a message, each with the context of its list before it. Pure.

use bytes::Bytes;
use prost::Message;
use tfweb_engine::{Code, Error};
use tfweb_proto::tensorflow::serving::input::Kind;
use tfweb_proto::tensorflow::serving::Input;

/// The most bytes of all copies of one request's context: as many bytes as one gRPC message may have by default.
/// The limit of a request bounds the examples' own bytes.
const CONTEXTS_BYTES_MAX: usize = 64 << 20;

/// Serializes the examples of a request, each with the context before it.
///
/// # Errors
/// `InvalidArgument` without examples; `OutOfRange` for a context that is too large for them.
pub fn from_input(input: Option<Input>) -> Result<Vec<Bytes>, Error> {
    let (context, examples) = match input.and_then(|input| input.kind) {
        Some(Kind::ExampleList(list)) => (Vec::new(), list.examples),
        Some(Kind::ExampleListWithContext(list)) => (list.context.unwrap_or_default().encode_to_vec(), list.examples),
        None => (Vec::new(), Vec::new()),
    };
    if examples.is_empty() {
        return Err(Error::invalid("Input is empty."));
    }
    with_context(&context, examples.iter().map(|example| example.encode_to_vec().into()).collect())
}

/// Copies a request's serialized context before each of its serialized examples. Parsers merge two messages that follow each
/// other.
///
/// # Errors
/// `OutOfRange` where the copies would be too large, before anything is copied.
pub fn with_context(context: &[u8], examples: Vec<Bytes>) -> Result<Vec<Bytes>, Error> {
    if context.is_empty() {
        return Ok(examples);
    }
    let [each, count] = [context.len(), examples.len()];
    let bytes = each.saturating_mul(count);
    if bytes > CONTEXTS_BYTES_MAX {
        let text = format!(
            "the context is too large for this many examples: expected at most {CONTEXTS_BYTES_MAX} bytes of copies, got {bytes} \
             ({each} bytes before each of {count} examples); send fewer examples at once"
        );
        return Err(Error::new(Code::OutOfRange, text));
    }
    Ok(examples.iter().map(|example| Bytes::from([context, example].concat())).collect())
}

#[cfg(test)]
mod tests {
    use tfweb_proto::tensorflow::feature::Kind as FeatureKind;
    use tfweb_proto::tensorflow::serving::ExampleListWithContext;
    use tfweb_proto::tensorflow::{BytesList, Example, Feature, Features};

    use super::*;

    #[test]
    fn copies_of_a_context_have_a_limit() {
        let copied = |context: usize, examples: usize| with_context(&vec![1; context], vec![Bytes::from_static(b"own"); examples]);
        assert_eq!(copied(2, 3), Ok(vec![Bytes::from_static(b"\x01\x01own"); 3]));
        assert_eq!(copied(0, 3), Ok(vec![Bytes::from_static(b"own"); 3]), "nothing is copied");
        assert!(copied(CONTEXTS_BYTES_MAX / 2, 2).is_ok());
        let refused = copied(CONTEXTS_BYTES_MAX / 2 + 1, 2).unwrap_err();
        assert_eq!(refused.code, Code::OutOfRange);
        assert!(refused.message.contains("at most 67108864 bytes of copies, got 67108866 (33554433 bytes"), "{refused}");
    }

    #[test]
    fn a_message_has_the_same_limit_for_its_context() {
        let bytes = BytesList { value: vec![vec![b'c'; 1 << 20].into()] };
        let feature = Feature { kind: Some(FeatureKind::BytesList(bytes)) };
        let context = Example { features: Some(Features { feature: [("c".to_owned(), feature)].into() }) };
        let of = |examples| {
            let list = ExampleListWithContext { context: Some(context.clone()), examples: vec![Example::default(); examples] };
            from_input(Some(Input { kind: Some(Kind::ExampleListWithContext(list)) }))
        };
        assert_eq!(of(63).map(|examples| examples.len()), Ok(63));
        assert_eq!(of(8000).unwrap_err().code, Code::OutOfRange);
    }
}
