use super::*;

fn named(tensor: &str, dtype: DType) -> TensorInfo {
    TensorInfo::tensor(tensor.into(), dtype, &PartialShape::new([None]))
}

fn composite(class: i32, components: Vec<TensorInfo>) -> TensorInfo {
    let type_spec = Some(TypeSpec { class, class_name: "Spec".into(), ..TypeSpec::default() });
    TensorInfo { encoding: Some(Encoding::Composite(Composite { type_spec, components })), ..TensorInfo::default() }
}

/// Declares `w` beside others. Gives its kind and its parts, each as `name tensor`, or why it is not served.
fn read(w: TensorInfo, others: &[&str]) -> Result<(String, Vec<String>), String> {
    let others = others.iter().map(|name| ((*name).to_owned(), named("o:0", DType::Float32)));
    let infos = others.chain([("w".to_owned(), w)]).collect();
    let w = declared(&infos).into_iter().find(|declared| declared.spec.name == "w").unwrap();
    match w.form {
        Form::Tensor => Ok((String::new(), vec![w.spec.tensor])),
        Form::Parts { kind, parts } => Ok((kind, parts.iter().map(|part| format!("{} {}", part.name, part.tensor)).collect())),
        Form::Unknown(reason) => Err(reason),
    }
}

#[test]
fn shapes_are_those_that_are_declared() {
    let sizes = [None, Some(0), Some(3)];
    for shape in [PartialShape::UNKNOWN, PartialShape::new([]), PartialShape::new(sizes)] {
        let infos = BTreeMap::from([("x".to_owned(), TensorInfo::tensor("x:0".into(), DType::Int64, &shape))]);
        let specs: Vec<TensorSpec> = declared(&infos).into_iter().map(|declared| declared.spec).collect();
        assert_eq!(
            specs,
            [TensorSpec { name: "x".into(), tensor: "x:0".into(), dtype: DType::Int64, shape, feed: FeedShape::ANY }]
        );
    }
    // A sparse tensor declares the shape of the dense one.
    let sparse = |shape: &PartialShape| {
        let info = TensorInfo {
            encoding: Some(Encoding::CooSparse(CooSparse::default())),
            ..TensorInfo::tensor(String::new(), DType::Float32, shape)
        };
        match info.declared("x").form {
            Form::Parts { parts, .. } => parts.iter().map(|part| part.shape.to_string()).collect::<Vec<_>>(),
            form @ (Form::Tensor | Form::Unknown(_)) => panic!("{form:?}"),
        }
    };
    assert_eq!(sparse(&PartialShape::new(sizes)), ["[-1, 3]", "[-1]", "[3]"]);
    assert_eq!(sparse(&PartialShape::UNKNOWN), ["[-1, -1]", "[-1]", "[-1]"]);
    // A composite tensor declares neither dtype nor shape of its own. Its values have the dtype.
    let ragged = composite(TypeSpec::RAGGED, vec![named("v:0", DType::String), named("s:0", DType::Int64)]).declared("x").spec;
    assert_eq!((ragged.dtype, ragged.shape, ragged.tensor), (DType::String, PartialShape::UNKNOWN, String::new()));
}

#[test]
fn parts_have_tensorflows_names() {
    let ragged = |splits: usize| {
        let splits = (0..splits).map(|split| named(&format!("s:{split}"), DType::Int64));
        composite(TypeSpec::RAGGED, [named("v:0", DType::String)].into_iter().chain(splits).collect())
    };
    let of_string = "ragged tensor of string".to_owned();
    assert_eq!(read(ragged(1), &[]), Ok((of_string.clone(), vec!["w.values v:0".into(), "w.row_splits s:0".into()])));
    let parts = ["w.values v:0", "w.row_splits_0 s:0", "w.row_splits_1 s:1"].map(str::to_owned).to_vec();
    assert_eq!(read(ragged(2), &[]), Ok((of_string, parts)));
    let parts = ["w.indices i:0", "w.values v:0", "w.dense_shape d:0"].map(str::to_owned).to_vec();
    let sparse = CooSparse { values: "v:0".into(), indices: "i:0".into(), dense_shape: "d:0".into() };
    let encoding = Some(Encoding::CooSparse(sparse));
    let of_float = "sparse tensor of float32".to_owned();
    let coo = TensorInfo { encoding, ..named("", DType::Float32) };
    assert_eq!(read(coo, &[]), Ok((of_float.clone(), parts.clone())));
    let components = vec![named("i:0", DType::Int64), named("v:0", DType::Float32), named("d:0", DType::Int64)];
    assert_eq!(read(composite(TypeSpec::SPARSE, components), &[]), Ok((of_float, parts)));
}

#[test]
fn a_ragged_tensor_without_all_its_row_splits_is_not_served() {
    let read = |rank: Option<i64>, splits: usize| {
        let number = |number| State { number, ..State::default() };
        let tuple = Some(States { values: vec![number(None), number(None), number(rank), number(None)] });
        let state = rank.map(|_| State { tuple, ..State::default() });
        let type_spec = Some(TypeSpec { class: TypeSpec::RAGGED, state, ..TypeSpec::default() });
        let splits = vec![named("s:0", DType::Int64); splits];
        let components = [vec![named("v:0", DType::String)], splits].concat();
        let encoding = Some(Encoding::Composite(Composite { type_spec, components }));
        read(TensorInfo { encoding, ..TensorInfo::default() }, &[]).map(|(_, parts)| parts.len())
    };
    let lacks = |expected: usize, found: usize| {
        let text = "is a ragged tensor of string, which is not served";
        Err(format!("{text}: expected {expected} tensors of row splits, found {found}"))
    };
    assert_eq!((read(None, 1), read(None, 2), read(Some(1), 1), read(Some(2), 2)), (Ok(2), Ok(3), Ok(2), Ok(3)));
    assert_eq!((read(None, 0), read(Some(1), 0), read(Some(0), 0)), (lacks(1, 0), lacks(1, 0), lacks(1, 0)));
    assert_eq!((read(Some(2), 1), read(Some(1), 2)), (lacks(2, 1), lacks(1, 2)));
    for (rank, splits) in [(0, 1), (-1, 1), (i64::MIN, 2)] {
        let reason = read(Some(rank), splits).unwrap_err();
        assert!(reason.ends_with(&format!(": expected a ragged rank of 1 or more, found {rank}")), "{reason}");
    }
}

#[test]
fn parts_of_other_dtypes_are_not_served() {
    use DType::{Float32, Int32, Int64, String};
    // The dtype of the values and that of the row splits, as they are declared.
    let check = |class: i32, declared: Option<(DType, DType)>, parts: &[DType], fault: &str| {
        let dtype = |dtype: DType| State { dtype: Some(dtype.number()), ..State::default() };
        let fields = |(values, splits)| {
            let rank = State { number: Some(1), ..State::default() };
            vec![State::default(), dtype(values), rank, dtype(splits)]
        };
        let state = declared.map(|declared| State { tuple: Some(States { values: fields(declared) }), ..State::default() });
        let type_spec = Some(TypeSpec { class, state, ..TypeSpec::default() });
        let components = parts.iter().map(|dtype| named("t:0", *dtype)).collect();
        let encoding = Some(Encoding::Composite(Composite { type_spec, components }));
        let found = read(TensorInfo { encoding, ..TensorInfo::default() }, &[]).err().unwrap_or_default();
        assert_eq!(found.split_once(": ").map_or("", |(_, fault)| fault), fault, "{found}");
    };
    let (ragged, sparse) = (TypeSpec::RAGGED, TypeSpec::SPARSE);
    for splits in [Int32, Int64] {
        check(ragged, None, &[String, splits], "");
        check(ragged, Some((String, splits)), &[String, splits], "");
    }
    check(ragged, None, &[Int64, Float32], "expected its row_splits as int64 or int32, found float32");
    check(ragged, None, &[Int64, Int64, String], "expected its row_splits_1 as int64 or int32, found string");
    check(ragged, Some((Float32, Int64)), &[Float32, Int32], "expected its row_splits as int64, found int32");
    check(ragged, Some((Float32, Int64)), &[Int64, Float32], "expected its values as float32, found int64");
    check(sparse, Some((Float32, Int64)), &[Int64, Float32, Int64], "");
    check(sparse, Some((Float32, Int64)), &[Int64, Int64, Int64], "expected its values as float32, found int64");
    check(sparse, None, &[Int32, Float32, Int64], "expected its indices as int64, found int32");
    check(sparse, None, &[Int64, Float32, Float32], "expected its dense_shape as int64, found float32");
}

#[test]
fn what_has_no_parts_says_what_it_is() {
    let part = || named("v:0", DType::Float32);
    let refused = |w, others: &[&str], expect: &str| {
        let reason = read(w, others).unwrap_err();
        assert!(reason.contains(expect), "{reason}");
    };
    refused(composite(2, vec![part(), part()]), &[], "is a composite tensor (Spec of 2 tensors), which is not served");
    refused(composite(TypeSpec::RAGGED, vec![]), &[], "Spec of 0 tensors");
    refused(composite(TypeSpec::SPARSE, vec![part()]), &[], "Spec of 1 tensors");
    refused(composite(TypeSpec::RAGGED, vec![part(), composite(2, vec![])]), &[], "\"w.row_splits\" is no tensor");
    let splits = named("s:0", DType::Int64);
    refused(composite(TypeSpec::RAGGED, vec![part(), splits]), &["w.values"], "\"w.values\" is declared too");
    refused(TensorInfo::default(), &[], "names no tensor of the graph");
    refused(named("", DType::Float32), &[], "names no tensor of the graph");
    assert_eq!(read(part(), &["w.values"]), Ok((String::new(), vec!["v:0".into()])));
}
