"""Models with a signature that cannot be served whole; see make_models.py.

Each also has the signature `plain`, y = 2x, unless it is about having none.
"""

import shutil

from saving import TEST_MODELS, save, signature

import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

FLOATS = ([None], tf.float32)
STRINGS = ([None], tf.string)


def odd() -> None:
    shutil.rmtree(TEST_MODELS / "odd", ignore_errors=True)
    ragged_out()
    ragged_in()
    sparse_out()
    sparse_in()
    missing_node()
    resource()
    quantised()
    complex_values()
    slash()
    no_signature()
    missing_asset()
    text()


def make(model: str, change=None, module=None, **signatures) -> None:
    """Save a model, and change its MetaGraphDef."""
    out = TEST_MODELS / "odd" / model / "1"
    plain = signature(lambda x: {"y": 2 * x}, x=FLOATS)
    save(module or tf.Module(), out, {"plain": plain, **signatures})
    # It is optional, and of another file than the changed one.
    (out / "fingerprint.pb").unlink()
    if change:
        path = out / "saved_model.pb"
        proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        change(proto.meta_graphs[0])
        path.write_bytes(proto.SerializeToString(deterministic=True))


def ragged_out() -> None:
    def split(text):
        words = tf.strings.split(text)
        return {"words": words,
                "letters": tf.strings.unicode_split(words, "UTF-8"),
                "bytes": tf.strings.length(text)}

    make("ragged_out", split=signature(split, text=STRINGS))


def ragged_in() -> None:
    """Take a ragged tensor as TensorFlow 2 saves it, and as 1 did."""
    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None])])
    def ratio(rows):
        """Divide each value by the first of its row."""
        first = tf.gather(rows.row_starts(), rows.value_rowids())
        values = rows.flat_values
        return {"ratios": values / tf.gather(values, first)}

    def as_declared_in_1(graph):
        definition = graph.signature_def["declared"]
        definition.CopyFrom(graph.signature_def["ratio"])
        values, splits = definition.inputs["rows"], definition.inputs["rows_1"]
        rows = meta_graph_pb2.TensorInfo()
        rows.composite_tensor.type_spec.type_spec_class = 3  # ragged
        rows.composite_tensor.type_spec.type_spec_class_name = (
            "RaggedTensorSpec")
        rows.composite_tensor.components.extend([values, splits])
        del definition.inputs["rows_1"]
        definition.inputs["rows"].CopyFrom(rows)

    make("ragged_in", as_declared_in_1, ratio=ratio)


def sparse_out() -> None:
    make("sparse_out", where=signature(
        lambda x: {"above": tf.sparse.from_dense(tf.nn.relu(x)),
                   "sum": tf.reduce_sum(x)},
        x=([None, 2], tf.float32)))


def sparse_in() -> None:
    @tf.function(input_signature=[tf.SparseTensorSpec([None, 3])])
    def dense(table):
        return {"dense": tf.sparse.to_dense(table)}

    def as_declared_in_1(graph):
        definition = graph.signature_def["declared"]
        definition.CopyFrom(graph.signature_def["dense"])
        indices, values, shape = [
            definition.inputs[name].name
            for name in ("table", "table_1", "table_2")]
        for name in ("table", "table_1", "table_2"):
            del definition.inputs[name]
        table = definition.inputs["table"]
        table.dtype = tf.float32.as_datatype_enum
        table.tensor_shape.CopyFrom(tf.TensorShape([None, 3]).as_proto())
        table.coo_sparse.indices_tensor_name = indices
        table.coo_sparse.values_tensor_name = values
        table.coo_sparse.dense_shape_tensor_name = shape

    make("sparse_in", as_declared_in_1, dense=dense)


def two_outputs():
    return signature(lambda x: {"y": x + 1, "z": x + 2}, x=FLOATS)


def missing_node() -> None:
    def change(graph):
        # An operation, an output and an input that are not there.
        graph.signature_def["operation"].outputs["z"].name = "nowhere:0"
        graph.signature_def["output"].outputs["z"].name += "0"
        graph.signature_def["input"].inputs["x"].name = "nowhere:0"
        graph.signature_def["input"].outputs["z"].name = ""

    make("missing_node", change, operation=two_outputs(),
         output=two_outputs(), input=two_outputs())


def resource() -> None:
    module = tf.Module()
    module.weight = tf.Variable(3.0)

    def change(graph):
        variable = next(node for node in graph.graph_def.node
                        if node.op == "VarHandleOp")
        info = graph.signature_def["handle"].outputs["z"]
        info.name = variable.name + ":0"
        info.dtype = tf.resource.as_datatype_enum

    make("resource", change, module,
         handle=signature(
             lambda x: {"y": x * module.weight, "z": x}, x=FLOATS))


def quantised() -> None:
    def quantise(x):
        z = tf.quantization.quantize(x, 0.0, 1.0, tf.quint8).output
        return {"y": x + 1, "z": z}

    def dequantise(x):
        return {"y": tf.quantization.dequantize(x, 0.0, 1.0)}

    make("quantised", quantise=signature(quantise, x=FLOATS),
         dequantise=signature(dequantise, x=([None], tf.quint8)))


def complex_values() -> None:
    make("complex", turn=signature(
        lambda x: {"z": tf.complex(x, x), "y": x + 1}, x=FLOATS))


def slash() -> None:
    """Name signatures as paths, and as what is no path."""
    def rename(graph):
        for name in ("a/b", "%2F", "a b"):
            graph.signature_def[name].CopyFrom(graph.signature_def["plain"])

    make("slash", rename)


def no_signature() -> None:
    make("no_signature", lambda graph: graph.signature_def.clear())


def missing_asset() -> None:
    module = tf.Module()
    out = TEST_MODELS / "odd" / "missing_asset" / "1"
    words = out.parent / "words.txt"
    out.parent.mkdir(parents=True)
    words.write_text("a\nb\n")
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER), -1)
    make("missing_asset", module=module, find=signature(
        lambda x: {"y": module.table.lookup(x)}, x=STRINGS))
    words.unlink()
    (out / "assets" / "words.txt").unlink()


def text() -> None:
    """Save in text format, with an output that is no single tensor."""
    def slices(x):
        return {"y": x, "z": tf.IndexedSlices(x, tf.range(tf.size(x)))}

    make("text", slices=signature(slices, x=FLOATS))
    path = TEST_MODELS / "odd" / "text" / "1" / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    # Nothing that a run needs.
    proto.meta_graphs[0].ClearField("object_graph_def")
    proto.meta_graphs[0].meta_info_def.ClearField("stripped_op_list")
    path.with_suffix(".pbtxt").write_text(text_format.MessageToString(proto))
    path.unlink()
