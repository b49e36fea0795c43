"""Models with a signature that cannot be served whole, of tests/models/odd."""

from tensorflow_serving.apis import get_model_metadata_pb2

from .client import PREDICTION, TIMEOUT, fails, np, predict, request, same, tf


def odd_signatures():
    x = np.float32([1, 2])
    for model in ("ragged_out", "ragged_in", "sparse_out", "sparse_in", "missing_node", "resource", "quantised", "complex"):
        same(predict(model, "plain", x=x)["y"].tolist(), [2, 4])
    same(predict("complex", "turn", x=x)["z"].tolist(), [1 + 1j, 2 + 2j])
    call = PREDICTION.Predict
    # Of the outputs, only those count that a request asks for.
    same(predict("quantised", "quantise", ["y"], x=x)["y"].tolist(), [2, 3])
    for filter in ((), ("z",), ("y", "z")):
        fails("UNIMPLEMENTED", 'output "z" is quint8, which is not served', call, request("quantised", "quantise", filter, x=x))
    fails("UNIMPLEMENTED", 'input "x" is quint8', call, request("quantised", "dequantise", x=x))
    same(predict("missing_node", "operation", ["y"], x=x)["y"].tolist(), [2, 3])
    fails("UNIMPLEMENTED", 'names the operation "nowhere"', call, request("missing_node", "operation", x=x))
    fails("FAILED_PRECONDITION", "not found", call, request("no_signature", "", x=x))
    print("odd signatures hurt themselves alone")


def odd_parts():
    words = predict("ragged_out", "split", text=[b"a bc", b"", b"d"])
    ragged = tf.RaggedTensor.from_row_splits(words["words.values"], words["words.row_splits"])
    same(ragged.to_list(), [[b"a", b"bc"], [], [b"d"]])
    letters = tf.RaggedTensor.from_nested_row_splits(
        words["letters.values"], [words["letters.row_splits_0"], words["letters.row_splits_1"]])
    same(letters.to_list(), [[[b"a"], [b"b", b"c"]], [], [[b"d"]]])
    table = predict("sparse_out", "where", x=np.float32([[0, 3], [-1, 0], [5, 0]]))
    sparse = tf.SparseTensor(table["above.indices"], table["above.values"], table["above.dense_shape"])
    same(tf.sparse.to_dense(sparse).numpy().tolist(), [[0, 3], [0, 0], [5, 0]])
    # As TensorFlow 1 declares inputs, and as TensorFlow 2 does.
    values, splits = np.float32([1, 3, 5]), np.int64([0, 2, 3])
    same(predict("ragged_in", "declared", **{"rows.values": values, "rows.row_splits": splits})["ratios"].tolist(), [1, 3, 1])
    same(predict("ragged_in", "ratio", rows=values, rows_1=splits)["ratios"].tolist(), [1, 3, 1])
    parts = np.int64([[0, 1], [1, 2]]), np.float32([4, 6]), np.int64([2, 3])
    named = dict(zip(("table.indices", "table.values", "table.dense_shape"), parts))
    same(predict("sparse_in", "declared", **named)["dense"].tolist(), [[0, 4, 0], [0, 0, 6]])
    same(predict("sparse_in", "dense", **dict(zip(("table", "table_1", "table_2"), parts)))["dense"].tolist(),
         [[0, 4, 0], [0, 0, 6]])
    print("ragged and sparse tensors are their parts")


def odd_metadata():
    def signature(model, name):
        message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        message.model_spec.name = model
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert PREDICTION.GetModelMetadata(message, timeout=TIMEOUT).metadata["signature_def"].Unpack(signatures)
        return signatures.signature_def[name]

    dtypes = lambda infos: {name: tf.dtypes.as_dtype(info.dtype).name for name, info in infos.items()}
    same(dtypes(signature("quantised", "quantise").outputs), {"y": "float32", "z": "quint8"})
    same(dtypes(signature("resource", "handle").outputs), {"y": "float32", "z": "resource"})
    same(dtypes(signature("ragged_out", "split").outputs), {
        "bytes": "int32", "words.values": "string", "words.row_splits": "int64",
        "letters.values": "string", "letters.row_splits_0": "int64", "letters.row_splits_1": "int64"})
    same(signature("missing_node", "operation").outputs["z"].name, "nowhere:0")
    print("metadata says what a signature is")
