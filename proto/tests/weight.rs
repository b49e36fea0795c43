//! Holds that the weight of a message is at least what prost allocates for it, by an allocator that counts.

#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::time::Instant;

use peak_alloc::PeakAlloc;
use prost::bytes::Bytes;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use tfweb_proto::tensorflow::feature::Kind;
use tfweb_proto::tensorflow::serving::model_server_config::Config;
use tfweb_proto::tensorflow::serving::{
    input, ClassificationRequest, ExampleList, GetModelMetadataRequest, GetModelStatusRequest, Input, ModelConfig, ModelConfigList,
    ModelServerConfig, ModelSpec, MultiInferenceRequest, PredictRequest, RegressionRequest, ReloadConfigRequest,
};
use tfweb_proto::tensorflow::tensor_shape_proto::Dim;
use tfweb_proto::tensorflow::{DataType, Example, Feature, Features, FloatList, SavedModel, TensorProto, TensorShapeProto};
use tfweb_proto::weight::{Weight, Weights};
use tfweb_proto::DESCRIPTORS;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The memory that a decoder allocates beside the message: the text of an error, the count of those that share the bytes.
const ASIDE_BYTES: usize = 1 << 10;
/// How much more the weight of an honest message may be than what remains of it.
const FACTOR_MAX: usize = 4;
/// Numbers of elements around those at which lists and maps grow.
const COUNTS: [usize; 6] = [1, 4, 5, 9, 12, 257];
const ROUNDS: usize = 3_000;

/// The most bytes during the decoding, and those of the decoded message.
type Measure = fn(Bytes) -> (usize, usize);

fn measure<M: Message + Default>(wire: Bytes) -> (usize, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let decoded = M::decode(wire);
    let (peak, held) = (ALLOCATOR.peak_usage(), ALLOCATOR.current_usage());
    drop(decoded);
    (peak.saturating_sub(before), held.saturating_sub(before))
}

/// The types of requests, and one with maps in maps.
const TYPES: [(&str, Measure); 8] = [
    ("tensorflow.serving.PredictRequest", measure::<PredictRequest>),
    ("tensorflow.serving.ClassificationRequest", measure::<ClassificationRequest>),
    ("tensorflow.serving.RegressionRequest", measure::<RegressionRequest>),
    ("tensorflow.serving.MultiInferenceRequest", measure::<MultiInferenceRequest>),
    ("tensorflow.serving.GetModelMetadataRequest", measure::<GetModelMetadataRequest>),
    ("tensorflow.serving.GetModelStatusRequest", measure::<GetModelStatusRequest>),
    ("tensorflow.serving.ReloadConfigRequest", measure::<ReloadConfigRequest>),
    ("tensorflow.SavedModel", measure::<SavedModel>),
];

type Types = BTreeMap<String, DescriptorProto>;

fn types() -> Types {
    fn collect(outer: &str, messages: &[DescriptorProto], types: &mut Types) {
        for message in messages {
            let name = format!("{outer}.{}", message.name());
            collect(&name, &message.nested_type, types);
            types.insert(name, message.clone());
        }
    }
    let mut types = Types::new();
    for file in FileDescriptorSet::decode(DESCRIPTORS).unwrap().file {
        let outer = if file.package().is_empty() { String::new() } else { format!(".{}", file.package()) };
        collect(&outer, &file.message_type, &mut types);
    }
    types
}

fn part(number: i32, content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    prost::encoding::encode_varint(u64::try_from(number << 3 | 2).unwrap(), &mut wire);
    prost::encoding::encode_varint(content.len() as u64, &mut wire);
    wire.extend_from_slice(content);
    wire
}

/// Every way to fill one field of a type, or of one within it, with `count` elements: all in one part, or one in each.
fn floods(name: &str, types: &Types, count: usize) -> Vec<Vec<u8>> {
    let message = &types[name];
    message.field.iter().flat_map(|field| field_floods(field, types, count)).collect()
}

fn field_floods(field: &FieldDescriptorProto, types: &Types, count: usize) -> Vec<Vec<u8>> {
    let number = field.number();
    let times = |one: Vec<u8>| one.repeat(count);
    if field.r#type() != Type::Message {
        let keyed = (0..count).flat_map(|i| part(number, format!("{i:x}").as_bytes())).collect();
        let single = [u8::try_from(number << 3).unwrap_or(0), 0].repeat(count);
        return vec![times(part(number, &[])), part(number, &vec![0; count]), part(number, &vec![0xff; count]), keyed, single];
    }
    let mut floods = vec![times(part(number, &[]))];
    // Entries of a map, each with a key of its own.
    floods.push((0..count).flat_map(|i| part(number, &part(1, format!("{i:x}").as_bytes()))).collect());
    for inner in self::floods(field.type_name(), types, count) {
        floods.push(part(number, &inner));
        // Twice: a single field takes the parts of both.
        floods.push([part(number, &inner), part(number, &inner[..inner.len() / 2])].concat());
    }
    if field.label() == Label::Repeated {
        floods.extend(self::floods(field.type_name(), types, 1).into_iter().map(|inner| times(part(number, &inner))));
    }
    floods
}

fn noise(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed >> 33).unwrap()
}

/// All in one test, because another one's memory would count.
#[test]
fn a_weight_is_at_least_what_decoding_allocates() {
    let weights = Weights::read(DESCRIPTORS).unwrap();
    let types = types();
    let mut seeds = Vec::new();
    for (name, measure) in TYPES {
        let weight = weights.of_type(name).unwrap();
        for count in COUNTS {
            for wire in floods(&format!(".{name}"), &types, count) {
                check(name, &weight, measure, &wire);
                if count <= 12 {
                    seeds.push((name, weight.clone(), measure, wire));
                }
            }
        }
    }
    let mut seed = 0x1234_5678_9abc_def1;
    for _ in 0..ROUNDS {
        let (name, weight, measure, wire) = &seeds[noise(&mut seed) % seeds.len()];
        let mut wire = wire.clone();
        for _ in 0..=noise(&mut seed) % 3 {
            let at = noise(&mut seed) % (wire.len() + 1);
            match noise(&mut seed) % 4 {
                0 => wire.truncate(at),
                1 => wire.extend_from_within(at..),
                2 => wire.insert(at, u8::try_from(noise(&mut seed) % 256).unwrap()),
                _ => wire.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (seed % 8)),
            }
        }
        check(name, weight, *measure, &wire);
    }
    an_honest_message_weighs_little(&weights);
}

fn check(name: &str, weight: &Weight, measure: Measure, wire: &[u8]) {
    let weighed = weight.of(wire, usize::MAX);
    let (peak, _) = measure(Bytes::copy_from_slice(wire));
    let shown = &wire[..wire.len().min(40)];
    assert!(peak <= weighed + ASIDE_BYTES, "{name}: {weighed} for {peak} bytes: {} bytes {shown:x?}", wire.len());
}

/// Many different values, as clients send them.
fn honest() -> [(usize, Vec<u8>); 4] {
    let spec = || Some(ModelSpec { name: "half_plus_two".into(), ..ModelSpec::default() });
    let tensor = TensorProto { tensor_content: vec![1; 12].into(), ..TensorProto::default() };
    let inputs = (0..1000).map(|i| (format!("input_{i}"), tensor.clone())).collect();
    let predict = PredictRequest { model_spec: spec(), inputs, output_filter: vec!["an_output".into(); 1000] };
    let feature = |i: usize| {
        let floats = FloatList { value: vec![0.5; i] };
        (format!("feature_{i}"), Feature { kind: Some(Kind::FloatList(floats)) })
    };
    let example = Example { features: Some(Features { feature: (0..10).map(feature).collect() }) };
    let list = ExampleList { examples: vec![example; 1000] };
    let input = Some(Input { kind: Some(input::Kind::ExampleList(list)) });
    let classify = ClassificationRequest { model_spec: spec(), input };
    let metadata = GetModelMetadataRequest { model_spec: spec(), metadata_field: vec!["signature_def".into(); 1000] };
    let model = ModelConfig { name: "a_model".into(), base_path: "/models/a_model".into(), ..ModelConfig::default() };
    let config = Config::ModelConfigList(ModelConfigList { config: vec![model; 1000] });
    let reload = ReloadConfigRequest { config: Some(ModelServerConfig { config: Some(config) }) };
    [(0, predict.encode_to_vec()), (1, classify.encode_to_vec()), (4, metadata.encode_to_vec()), (6, reload.encode_to_vec())]
}

fn an_honest_message_weighs_little(weights: &Weights) {
    let weight = weights.of_method("/tensorflow.serving.PredictionService/Predict").unwrap();
    let predict = |tensor: TensorProto| {
        let spec = ModelSpec { name: "half_plus_two".into(), ..ModelSpec::default() };
        let shape = TensorShapeProto { dim: vec![Dim { size: 3, name: String::new() }], unknown_rank: false };
        let tensor = TensorProto { dtype: DataType::DtFloat.into(), tensor_shape: Some(shape), ..tensor };
        let request = PredictRequest { model_spec: Some(spec), inputs: [("x".to_owned(), tensor)].into(), ..Default::default() };
        request.encode_to_vec()
    };
    let small = predict(TensorProto { float_val: vec![1.0, 2.0, 5.0], ..TensorProto::default() });
    let content = predict(TensorProto { tensor_content: vec![1; 32 << 20].into(), ..TensorProto::default() });
    let floats = predict(TensorProto { float_val: vec![1.0; 8 << 20], ..TensorProto::default() });
    let ints = predict(TensorProto { int_val: vec![300; 8 << 20], ..TensorProto::default() });
    let empty = part(2, &[]).repeat(4 << 20);
    for wire in [&small, &content] {
        assert!(weight.of(wire, usize::MAX) < 16 << 10, "{} for {} bytes", weight.of(wire, usize::MAX), wire.len());
    }
    for (index, wire) in honest() {
        let (name, measure) = TYPES[index];
        let (weighed, (_, held)) = (weights.of_type(name).unwrap().of(&wire, usize::MAX), measure(wire.clone().into()));
        eprintln!("{name}: {} bytes weigh {weighed}, {held} remain", wire.len());
        assert!(weighed <= FACTOR_MAX * held, "{name}: {weighed} for {held} bytes");
    }
    let stopped = weight.of(&empty, 1 << 20);
    assert!((1 << 20..2 << 20).contains(&stopped), "{stopped}");
    assert!(weight.of(&floats, usize::MAX) <= 3 * floats.len() + (16 << 10), "{}", weight.of(&floats, usize::MAX));
    let begun = Instant::now();
    (0..10_000).for_each(|_| assert!(weight.of(std::hint::black_box(&small), usize::MAX) > 0));
    eprintln!("{} bytes: {} ns", small.len(), begun.elapsed().as_nanos() / 10_000);
    for (what, wire) in [("content", &content), ("floats", &floats), ("ints", &ints), ("empty", &empty)] {
        let begun = Instant::now();
        let weighed = weight.of(wire, usize::MAX);
        eprintln!("{what}: {} bytes weigh {weighed} in {:?}", wire.len(), begun.elapsed());
    }
}
