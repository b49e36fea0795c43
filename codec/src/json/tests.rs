//! Shared by the tests of this module: signatures and tensors as text, and pseudo-random numbers.

use tfweb_engine::{Code, DType, Error, FeedShape, PartialShape, Signature, Tensor, TensorSpec};

use super::decode::{decode, Decoded};
use super::inputs::PendingUrl;
use super::native::NativeRules;
use super::write::write_tensor;

/// Makes an input or output of text such as `x: float32 [-1, 2]`; `?` is a shape of unknown rank.
fn spec(text: &str) -> TensorSpec {
    let (name, rest) = text.split_once(": ").unwrap();
    let (dtype, shape) = rest.split_once(' ').unwrap();
    let dtype = (1..=23).map(DType::from_number).find(|known| known.name() == dtype).unwrap();
    let dims = shape.trim_matches(['[', ']']).split(", ").filter(|dim| !dim.is_empty());
    let shape = if shape == "?" {
        PartialShape::UNKNOWN
    } else {
        PartialShape::new(dims.map(|dim| dim.parse().ok()).collect::<Vec<Option<usize>>>())
    };
    TensorSpec { name: name.into(), tensor: format!("{name}:0"), dtype, shape, feed: FeedShape::ANY }
}

/// Makes a signature of inputs such as `x: float32 [-1, 2]; y: string [-1]`, with an output that counts rows.
pub(super) fn signature(inputs: &str) -> Signature {
    Signature {
        name: "predict".into(),
        inputs: inputs.split("; ").filter(|input| !input.is_empty()).map(spec).collect(),
        outputs: vec![spec("y: float32 [-1]")],
        ..Signature::default()
    }
}

pub(super) fn tensor_text(tensor: &Tensor) -> String {
    let mut text = format!("{:?} ", tensor.dims()).into_bytes();
    write_tensor(&NativeRules, tensor, &mut text);
    String::from_utf8(text).unwrap()
}

/// `Columns x = [2] [1.0,2.0]`, or the error.
pub(super) fn decoded_text(decoded: &Result<Decoded, Error>, signature: &Signature) -> String {
    match decoded {
        Ok(decoded) => {
            let inputs = signature.inputs.iter().zip(&decoded.inputs);
            let inputs: Vec<String> = inputs.map(|(spec, tensor)| format!("{} = {}", spec.name, tensor_text(tensor))).collect();
            let url = |url: &PendingUrl| format!("; {}[{}] <- {}", signature.inputs[url.input].name, url.element, url.url);
            let urls: String = decoded.urls.iter().map(url).collect();
            format!("{:?} {}{urls}", decoded.form, inputs.join("; "))
        }
        Err(error) if error.code == Code::InvalidArgument => format!("! {}", error.message),
        Err(error) => format!("! {}: {}", error.code.name(), error.message),
    }
}

/// Checks what `body` decodes to for `inputs`, as [`decoded_text`] has it.
#[track_caller]
pub(super) fn check(inputs: &str, body: &str, expected: &str) {
    check_bytes(inputs, body.as_bytes(), false, expected);
}

/// As [`check`], with `--batch_transpose`.
#[track_caller]
pub(super) fn check_transposed(inputs: &str, body: &str, expected: &str) {
    check_bytes(inputs, body.as_bytes(), true, expected);
}

#[track_caller]
pub(super) fn check_bytes(inputs: &str, body: &[u8], batch_transpose: bool, expected: &str) {
    let signature = signature(inputs);
    let got = decoded_text(&decode(body, &signature, batch_transpose), &signature);
    assert_eq!(got, expected, "for {inputs} and {}", String::from_utf8_lossy(&body[..body.len().min(200)]));
}

/// Pseudo-random numbers (xorshift64), the same in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap() % end
    }
}
