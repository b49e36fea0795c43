"""Models with a signature that cannot be served whole; see make_models.py.

Each also has the signature `plain`, y = 2x, unless it is about having none.
"""

import contextlib
import shutil
import tempfile
from pathlib import Path

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
    missing_asset_1()
    impossible()
    input_as_output()
    text()


def make(model: str, change=None, module=None, **signatures) -> None:
    """Save a model, and change its MetaGraphDef."""
    out = TEST_MODELS / "odd" / model / "1"
    plain = signature(lambda x: {"y": 2 * x}, x=FLOATS)
    save(module or tf.Module(), out, {"plain": plain, **signatures})
    # It is optional, and of another file than the changed one.
    (out / "fingerprint.pb").unlink()
    if change:
        rewrite(out, change)


def rewrite(out: Path, change) -> None:
    """Change the MetaGraphDef of a saved model."""
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


class Filled(tf.saved_model.experimental.TrackableResource):
    """A table that has no checkpoint: the initialiser fills it."""

    def _create_resource(self):
        return tf.raw_ops.MutableHashTableV2(
            key_dtype=tf.string, value_dtype=tf.int64, shared_name="filled")

    def _initialize(self):
        tf.raw_ops.LookupTableInsertV2(
            table_handle=self.resource_handle, keys=["a"],
            values=tf.constant([7], tf.int64))

    def find(self, x):
        return tf.raw_ops.LookupTableFindV2(
            table_handle=self.resource_handle, keys=x,
            default_value=tf.constant(-1, tf.int64))


def static_table(file: str) -> tf.lookup.StaticHashTable:
    """Make a table from the number of each line to the line."""
    return tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            file, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER), -1)


@contextlib.contextmanager
def assets():
    """Give two files that graphs name without their directory."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        Path("words.txt").write_text("a\nb\n")
        Path("others.txt").write_text("c\nd\n")
        yield "words.txt", "others.txt"


def missing_asset() -> None:
    module = tf.Module()
    out = TEST_MODELS / "odd" / "missing_asset" / "1"
    with assets() as (words, others):
        module.words = static_table(words)
        module.others = static_table(others)
        module.filled = Filled()
        module.note = tf.saved_model.Asset(others)
        module.weight = tf.Variable([3.0])
        module.tally = tf.Variable(40)

        def count(x):
            return {"y": tf.cast(x, tf.int32) * 0
                    + module.tally.assign_add(1)}

        make("missing_asset", module=module,
             find=signature(lambda x: {"y": module.words.lookup(x)},
                            x=STRINGS),
             other=signature(lambda x: {"y": module.others.lookup(x)},
                             x=STRINGS),
             filled=signature(lambda x: {"y": module.filled.find(x)},
                              x=STRINGS),
             read=signature(
                 lambda x: {"y": x + tf.io.read_file(module.note)},
                 x=STRINGS),
             scale=signature(lambda x: {"y": x * module.weight}, x=FLOATS),
             count=signature(count, x=FLOATS))
    (out / "assets" / "words.txt").unlink()


def missing_asset_1() -> None:
    """Lose an asset as TensorFlow 1 saves it, with its own initialiser."""
    v1 = tf.compat.v1
    out = TEST_MODELS / "odd" / "missing_asset_1" / "1"
    shutil.rmtree(out, ignore_errors=True)
    with assets() as (words, _), tf.Graph().as_default() as graph, \
            v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], "x")
        key = tf.as_string(x, precision=0)
        # No checkpoint has it: the initialiser sets it.
        local = v1.get_variable(
            "local", initializer=5.0, use_resource=False,
            collections=[v1.GraphKeys.LOCAL_VARIABLES])
        weight = v1.get_variable("weight", initializer=3.0,
                                 use_resource=False)
        outputs = {
            "found": static_table(words).lookup(key),
            "local": x * local,
            "scaled": x * weight,
        }
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(out))
        predict = v1.saved_model.predict_signature_def
        builder.add_meta_graph_and_variables(
            session, ["serve"],
            {"plain": predict({"x": x}, {"y": 2 * x}),
             "both": predict({"x": x}, outputs)},
            assets_collection=graph.get_collection(
                v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.group(v1.tables_initializer(),
                             v1.local_variables_initializer()))
        builder.save()
    # The builder gives the same messages and not always the same bytes.
    rewrite(out, lambda _: None)
    (out / "assets" / "words.txt").unlink()


def impossible() -> None:
    """Declare what no run can do, or what no answer can be."""
    two_inputs = signature(lambda a, b: {"y": a + b}, a=FLOATS, b=FLOATS)

    def change(graph):
        named = graph.signature_def
        named["no_outputs"].outputs.clear()
        named["twice"].inputs["b"].name = named["twice"].inputs["a"].name
        named["input"].inputs["x"].dtype = tf.int64.as_datatype_enum
        named["output"].outputs["z"].dtype = tf.int64.as_datatype_enum
        for name in ("no_splits", "one_split"):
            z = named[name].outputs["z"]
            values = meta_graph_pb2.TensorInfo()
            values.CopyFrom(z)
            z.composite_tensor.type_spec.type_spec_class = 3  # ragged
            z.composite_tensor.components.append(values)
        spec = z.composite_tensor.type_spec
        spec.type_state.tuple_value.values.add().tensor_shape_value.CopyFrom(
            tf.TensorShape([None, None, None]).as_proto())
        spec.type_state.tuple_value.values.add().tensor_dtype_value = (
            tf.float32.as_datatype_enum)
        spec.type_state.tuple_value.values.add().int64_value = 2
        z.composite_tensor.components.append(values)

    make("impossible", change, no_outputs=two_outputs(), twice=two_inputs,
         input=two_outputs(), output=two_outputs(),
         no_splits=two_outputs(), one_split=two_outputs())


def input_as_output() -> None:
    """Name an input's own tensor as an output, and one output twice."""
    def change(graph):
        for name in ("both", "only"):
            definition = graph.signature_def[name]
            definition.outputs["z"].name = definition.inputs["x"].name
        del graph.signature_def["only"].outputs["y"]
        same = graph.signature_def["same"].outputs
        same["z"].name = same["y"].name

    make("input_as_output", change, both=two_outputs(), only=two_outputs(),
         same=two_outputs())


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
