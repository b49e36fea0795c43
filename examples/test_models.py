"""The small models of the tests; see make_models.py."""

from pathlib import Path

from saving import SEED, TEST_MODELS, save, signature

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

DTYPES = [
    tf.float16, tf.bfloat16, tf.float32, tf.float64,
    tf.int8, tf.int16, tf.int32, tf.int64,
    tf.uint8, tf.uint16, tf.uint32, tf.uint64,
    tf.bool, tf.string, tf.complex64,
]


# half_plus_two


def half_plus_two(out: Path = TEST_MODELS / "half_plus_two" / "1", b: float = 2.0) -> None:
    module = tf.Module()
    module.a = tf.Variable(0.5)
    module.b = tf.Variable(b)
    save(module, out, {
        "serving_default": signature(
            lambda x: {"y": module.a * x + module.b}, x=([None], tf.float32)),
    })


def half_plus_three() -> None:
    half_plus_two(TEST_MODELS / "half_plus_three" / "1", 3.0)


# kitchen


def pixels():
    """A large input of which little is used, to see what a request costs."""
    return signature(lambda x: {"corner": x[:, 0, 0, :]},
                     x=([None, 224, 224, 3], tf.float32))


def slow(loops):
    """Take about a millisecond, on one thread, for each loop."""
    size = 224
    # Inverting one matrix never uses more than one thread, and this matrix
    # stays well away from overflow however often it is inverted.
    start = 2 * tf.eye(size) + tf.fill([size, size], 1 / size)
    _, last = tf.while_loop(
        lambda i, matrix: i < tf.reduce_max(loops),
        lambda i, matrix: (i + 1, tf.linalg.inv(matrix)),
        [0, start])
    # Nothing is NaN, but only running the loop can tell.
    zero = tf.cast(tf.math.is_nan(last[0, 0]), tf.int32)
    return {"rows": tf.fill(tf.shape(loops), tf.size(loops) + zero)}


def fails(x):
    check = tf.debugging.Assert(
        tf.reduce_all(x >= 0), ["x must not be negative"])
    with tf.control_dependencies([check]):
        return {"y": tf.sqrt(x)}


def fill_like(x, value):
    return tf.fill(tf.shape(x), value)


def kitchen() -> None:
    module = tf.Module()
    module.runs = tf.Variable(0, dtype=tf.int64)

    floats = ([None], tf.float32)
    strings = ([None], tf.string)
    signatures = {
        f"echo_{dtype.name}": signature(
            lambda x: {"y": tf.identity(x)}, x=([None, 2], dtype))
        for dtype in DTYPES
    }
    signatures |= {
        "two_inputs": signature(
            lambda a, b: {"difference": a - b}, a=floats, b=floats),
        # Input names that also mean something in request bodies.
        "wrappers": signature(
            lambda url, b64: {"joined": url + "|" + b64},
            url=strings, b64=strings),

        # Shapes.
        "scalar": signature(lambda x: {"y": 2 * x}, x=([], tf.float32)),
        "fixed": signature(lambda x: {"y": 2 * x}, x=([2, 3], tf.float32)),
        "any_rank": signature(lambda x: {"y": 2 * x}, x=(None, tf.float32)),
        "ragged": signature(
            lambda x: {"sum": tf.reduce_sum(x, axis=1)},
            x=([None, None], tf.float32)),
        "pixels": pixels(),

        # Strings.
        "length": signature(
            lambda text: {"bytes": tf.strings.length(text, unit="BYTE")},
            text=strings),
        "bytes_out": signature(
            lambda x: {"flat": tf.identity(x), "column": x[:, tf.newaxis]},
            x=strings),
        "strings": signature(
            lambda x: {"scalar": tf.strings.reduce_join(x)}, x=strings),

        # What a run was given, and how many there were.
        "slow": signature(slow, loops=([None], tf.int32)),
        "batch_rows": signature(
            lambda x: {"rows": fill_like(x, tf.size(x)), "y": tf.identity(x)},
            x=floats),
        "stateful": signature(
            lambda x: {"runs": fill_like(x, module.runs.assign_add(1))},
            x=([None], tf.int64)),

        # Failures and outputs that do not follow the input's rows.
        "fails": signature(fails, x=floats),
        "fewer_rows": signature(
            lambda x: {"positive": tf.boolean_mask(x, x > 0)}, x=floats),
        # Sliced so that the number of rows is not known before the run.
        "zero_rows": signature(
            lambda x: {"none": tf.stack([x, x, x], axis=1)[tf.size(x):]},
            x=floats),
        "nan": signature(
            lambda x: {"nan": fill_like(x, np.float32("nan")),
                       "inf": fill_like(x, np.float32("inf")),
                       "ninf": fill_like(x, np.float32("-inf"))},
            x=floats),
        "passthrough": signature(
            lambda x: {"x": tf.identity(x), "y": x + 1}, x=floats),
    }
    out = TEST_MODELS / "kitchen" / "1"
    save(module, out, signatures)
    output_is_input(out, "passthrough", "x")


def output_is_input(model: Path, name: str, key: str) -> None:
    """Make an output of a signature the very tensor that is its input.

    tf.saved_model.save puts a function call between the two.
    """
    path = model / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    definition = proto.meta_graphs[0].signature_def[name]
    definition.outputs[key].CopyFrom(definition.inputs[key])
    path.write_bytes(proto.SerializeToString(deterministic=True))
    # It is optional, and no longer that of the file.
    (model / "fingerprint.pb").unlink()


# examples


def examples() -> None:
    floats = tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0])
    features = {
        "x": floats,
        "bias": floats,
        "name": tf.io.FixedLenFeature([1], tf.string, default_value=["-"]),
        "count": tf.io.FixedLenFeature([1], tf.int64, default_value=[0]),
    }

    def parse(serialized):
        return tf.io.parse_example(serialized, features)

    def half_plus_two(serialized):
        example = parse(serialized)
        return 0.5 * example["x"] + 2 + example["bias"]

    def scores(serialized):
        y = half_plus_two(serialized)
        return tf.concat([y, -y], axis=1)

    def classes(serialized):
        name = parse(serialized)["name"]
        return tf.concat([name, "not " + name], axis=1)

    def of_class(function):
        return signature(function, inputs=([None], tf.string))

    classify, regress = [
        f"tensorflow/serving/{verb}" for verb in ("classify", "regress")]
    signatures = {
        "serving_default": (classify, lambda inputs: {
            "classes": classes(inputs), "scores": scores(inputs)}),
        "only_scores": (classify, lambda inputs: {"scores": scores(inputs)}),
        "only_classes": (classify, lambda inputs: {
            "classes": classes(inputs)}),
        "regress": (regress, lambda inputs: {
            "outputs": half_plus_two(inputs)}),
        "regress_flat": (regress, lambda inputs: {
            "outputs": half_plus_two(inputs)[:, 0]}),
        "counts": (regress, lambda inputs: {
            "outputs": tf.cast(parse(inputs)["count"], tf.float32)}),
        "predict": ("tensorflow/serving/predict", lambda inputs: {
            "outputs": half_plus_two(inputs)}),

        # Of these methods, but not of their forms.
        "other_output": (regress, lambda inputs: {
            "y": half_plus_two(inputs)}),
        "wide_regress": (regress, lambda inputs: {"outputs": scores(inputs)}),
        "integer_regress": (regress, lambda inputs: {
            "outputs": parse(inputs)["count"]}),
        "flat_scores": (classify, lambda inputs: {
            "scores": half_plus_two(inputs)[:, 0]}),
        "no_scores": (classify, lambda inputs: {
            "y": half_plus_two(inputs)}),
        "one_row": (regress, lambda inputs: {
            "outputs": half_plus_two(inputs)[:1]}),
    }
    out = TEST_MODELS / "examples" / "1"
    traced = {
        name: of_class(function)
        for name, (_, function) in signatures.items()
    }
    traced["other_input"] = signature(
        lambda x: {"outputs": half_plus_two(x)}, x=([None], tf.string))
    # By their names, what outputs of strings hold: text or bytes.
    traced["bytes"] = signature(
        lambda x: {"text": tf.identity(x), "text_bytes": tf.identity(x)},
        x=([None], tf.string))
    traced["only_bytes"] = signature(
        lambda x: {"y_bytes": tf.identity(x)}, x=([None], tf.string))
    save(tf.Module(), out, traced)
    methods = {name: method for name, (method, _) in signatures.items()}
    set_methods(out, methods | {"other_input": regress})


def set_methods(model: Path, methods: dict) -> None:
    """Change the methods of signatures.

    What tf.saved_model.save writes is always tensorflow/serving/predict.
    """
    path = model / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for name, method in methods.items():
        proto.meta_graphs[0].signature_def[name].method_name = method
    path.write_bytes(proto.SerializeToString(deterministic=True))
    # It is optional, and no longer that of the file.
    (model / "fingerprint.pb").unlink()


# broken_variables


def broken_variables() -> None:
    """Save a Keras 3 model as is documented not to work.

    It loads, and the first run fails with "Could not find variable".
    keras.export.ExportArchive is the way that works.
    """
    import keras

    keras.utils.set_random_seed(SEED)
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    out = TEST_MODELS / "broken_variables"
    save(model, out, {
        "serving_default": signature(
            lambda x: {"y": model(x)}, x=([None, 2], tf.float32)),
    })


# no_kernel


def no_kernel() -> None:
    """Save a model with an operation that only Python can run."""
    def python(x):
        y = tf.py_function(lambda x: x * 0.5 + 2, [x], tf.float32)
        return {"y": tf.ensure_shape(y, [None])}

    save(tf.Module(), TEST_MODELS / "no_kernel" / "1", {
        "serving_default": signature(python, x=([None], tf.float32)),
    })
