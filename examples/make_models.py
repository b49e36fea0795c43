"""Make the example model and the models the tests use.

    pip install tensorflow-cpu==2.21.0 scikit-learn
    python examples/make_models.py                  # all of them
    python examples/make_models.py digits kitchen   # some of them

    digits            examples/digits, a classifier of handwritten digits that
                      takes PNG or JPEG bytes, and examples/digits_images,
                      a few images it was not trained on
    half_plus_two     tests/models/half_plus_two/1, y = 0.5x + 2
    half_plus_three   tests/models/half_plus_three/1, y = 0.5x + 3
    kitchen           tests/models/kitchen/1, a signature for each dtype, shape
                      and failure that the tests need
    examples          tests/models/examples/1, signatures that take serialized
                      tf.Examples, of the methods classify and regress
    operations        tests/models/operations/1, operations that check few of
                      the shapes and values they are given
    broken_variables  tests/models/broken_variables, a model that loads and
                      then fails when it is run

All models but the broken one are plain tf.Modules: what tf.saved_model.save
writes for a module that holds a Keras 3 model cannot find its variables when
it runs outside Python (broken_variables shows this).
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

EXAMPLES = Path(__file__).resolve().parent
TEST_MODELS = EXAMPLES.parent / "tests" / "models"
SEED = 1

DTYPES = [
    tf.float16, tf.bfloat16, tf.float32, tf.float64,
    tf.int8, tf.int16, tf.int32, tf.int64,
    tf.uint8, tf.uint16, tf.uint32, tf.uint64,
    tf.bool, tf.string, tf.complex64,
]


def signature(function: Callable, **inputs: tuple):
    """Trace a function that returns a dict of outputs.

    Each keyword names an input and gives its shape and dtype.
    """
    specs = {
        name: tf.TensorSpec(shape, dtype, name=name)
        for name, (shape, dtype) in inputs.items()
    }
    return tf.function(function).get_concrete_function(**specs)


def save(module: tf.Module, out: Path, signatures: dict) -> None:
    """Save the module in place of whatever is at `out`."""
    shutil.rmtree(out, ignore_errors=True)
    tf.saved_model.save(module, str(out), signatures=signatures)


# digits


class Digits(tf.Module):
    """A small convolutional network for 8x8 grey images scaled to 0..1."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(SEED)

        def weights(*shape):
            deviation = np.sqrt(2 / np.prod(shape[:-1]))  # He initialisation
            values = rng.normal(0, deviation, shape)
            return tf.Variable(values.astype(np.float32))

        self.conv1 = weights(3, 3, 1, 16)
        self.bias1 = tf.Variable(tf.zeros([16]))
        self.conv2 = weights(3, 3, 16, 32)
        self.bias2 = tf.Variable(tf.zeros([32]))
        self.dense = weights(4 * 4 * 32, 64)
        self.bias3 = tf.Variable(tf.zeros([64]))
        self.head = weights(64, 10)
        self.bias4 = tf.Variable(tf.zeros([10]))

    def features(self, x: tf.Tensor) -> tf.Tensor:
        """The penultimate layer, [batch, 64], for [batch, 8, 8, 1]."""
        x = tf.nn.relu(tf.nn.conv2d(x, self.conv1, 1, "SAME") + self.bias1)
        x = tf.nn.relu(tf.nn.conv2d(x, self.conv2, 1, "SAME") + self.bias2)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        x = tf.reshape(x, [-1, 4 * 4 * 32])
        return tf.nn.relu(x @ self.dense + self.bias3)

    def logits(self, features: tf.Tensor) -> tf.Tensor:
        return features @ self.head + self.bias4


def decode_digit(data: tf.Tensor) -> tf.Tensor:
    """Decode one PNG, JPEG, GIF or BMP to what the network takes."""
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    image = tf.ensure_shape(image, [None, None, 3])
    image = tf.image.rgb_to_grayscale(tf.cast(image, tf.float32) / 255)
    # Averaging areas is how the 8x8 training images were made.
    image = tf.image.resize(image, [8, 8], method="area")
    # The network knows light ink on dark paper; the border is mostly paper.
    inner = tf.reduce_sum(image[1:-1, 1:-1])
    border = (tf.reduce_sum(image) - inner) / (8 * 8 - 6 * 6)
    return tf.where(border > 0.5, 1 - image, image)


def decode_digits(data: tf.Tensor) -> tf.Tensor:
    return tf.map_fn(
        decode_digit, data,
        fn_output_signature=tf.TensorSpec([8, 8, 1], tf.float32),
    )


def train(model: Digits, images: np.ndarray, labels: np.ndarray) -> None:
    """Train by momentum on copies of the images shifted by up to a pixel."""
    epochs, batch, momentum, peak = 80, 64, 0.9, 0.05
    variables = model.trainable_variables
    velocities = [tf.Variable(tf.zeros_like(v)) for v in variables]

    @tf.function
    def step(x, y, rate):
        with tf.GradientTape() as tape:
            features = tf.nn.dropout(model.features(x), 0.3)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    y, model.logits(features)))
        gradients = tape.gradient(loss, variables)
        for v, velocity, gradient in zip(variables, velocities, gradients):
            velocity.assign(momentum * velocity + gradient + 5e-4 * v)
            v.assign_sub(rate * velocity)

    rng = np.random.default_rng(SEED)
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    for epoch in range(epochs):
        rate = peak * (1 + np.cos(np.pi * epoch / epochs)) / 2
        order = rng.permutation(len(images))
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start:start + batch]
            # Half of them stay where they are.
            offsets = np.where(rng.random((batch, 1)) < 0.5,
                               1, rng.integers(0, 3, (batch, 2)))
            x = np.stack([padded[i, top:top + 8, left:left + 8]
                          for i, (top, left) in zip(chosen, offsets)])
            step(tf.constant(x), tf.constant(labels[chosen]),
                 tf.constant(rate, tf.float32))


def enlarge(image: np.ndarray, dark_ink: bool = False) -> tf.Tensor:
    """A 64x64 uint8 image from an 8x8 one scaled to 0..1."""
    image = np.round(255 * (1 - image if dark_ink else image))
    return tf.constant(image.repeat(8, 0).repeat(8, 1).astype(np.uint8))


def digits() -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images = (data.images[..., np.newaxis] / 16).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        images, data.target, test_size=0.2, stratify=data.target,
        random_state=SEED)

    model = Digits()
    train(model, train_x, train_y)

    def predict(image):
        scores = tf.nn.softmax(
            model.logits(model.features(decode_digits(image))))
        best = tf.argmax(scores, axis=1)
        return {
            "class": tf.as_string(best)[:, tf.newaxis],
            "prediction": tf.reduce_max(scores, axis=1, keepdims=True),
        }

    def features(image):
        return {"features": model.features(decode_digits(image))}

    save(model, EXAMPLES / "digits", {
        "predict": signature(predict, image=([None], tf.string)),
        "features": signature(features, image=([None], tf.string)),
    })

    # Measure what was saved, from encoded images to the text of the class.
    saved = tf.saved_model.load(str(EXAMPLES / "digits"))
    encoded = tf.stack([tf.io.encode_png(enlarge(x)) for x in test_x])
    classes = saved.signatures["predict"](image=encoded)["class"]
    accuracy = np.mean(classes.numpy()[:, 0].astype(int) == test_y)
    print(f"digits: {accuracy:.2%} of {len(test_y)} held-out images correct")

    folder = EXAMPLES / "digits_images"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    # Each is the first held-out image of its digit.
    for name in ["0.png", "2.png", "3.png", "5.jpg", "7.png", "9.png"]:
        digit, extension = name.split(".")
        index = np.flatnonzero(test_y == int(digit))[0]
        image = enlarge(test_x[index], dark_ink=digit in "279")
        encode = tf.io.encode_png if extension == "png" else tf.io.encode_jpeg
        (folder / name).write_bytes(encode(image).numpy())


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


# operations


def operations() -> None:
    """Signatures whose kernels trust shapes that only the graph has checked."""
    rng = np.random.default_rng(SEED)

    def constant(*shape):
        return tf.Variable(rng.normal(size=shape).astype(np.float32))

    module = tf.Module()
    module.kernel = constant(3, 3, 1, 4)
    module.kernel_3d = constant(2, 2, 2, 1, 2)
    module.matrix = constant(8, 4)
    module.bias = constant(4)
    module.table = constant(50, 6)
    module.words = constant(4, 3)
    module.cell = constant(5 + 7, 4 * 7)

    def convolution(x):
        x = tf.nn.conv2d(x, module.kernel, 1, "SAME") + module.bias
        x, _, _ = tf.compat.v1.nn.fused_batch_norm(
            x, tf.ones([4]), tf.zeros([4]), tf.zeros([4]), tf.ones([4]),
            is_training=False)
        return {"y": tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "SAME")}

    def lstm(x):
        """One layer over [rows, steps, 5], by a loop in the graph."""
        rows = tf.shape(x)[0]

        def step(i, h, c):
            gates = tf.concat([x[:, i], h], 1) @ module.cell
            i_gate, f_gate, o_gate, new = tf.split(gates, 4, axis=1)
            c = tf.sigmoid(f_gate) * c + tf.sigmoid(i_gate) * tf.tanh(new)
            return i + 1, tf.sigmoid(o_gate) * tf.tanh(c), c

        zeros = tf.zeros([rows, 7])
        _, h, _ = tf.while_loop(
            lambda i, h, c: i < tf.shape(x)[1], step, [0, zeros, zeros])
        return {"h": h}

    def sparse(indices, values, shape):
        matrix = tf.sparse.SparseTensor(indices, values, shape)
        return {
            "dense": tf.sparse.to_dense(matrix, validate_indices=True),
            "sum": tf.sparse.reduce_sum(matrix, axis=1),
        }

    def decode(image):
        image = tf.map_fn(
            lambda data: tf.image.resize(
                tf.io.decode_jpeg(data, channels=3), [4, 4]),
            image, fn_output_signature=tf.TensorSpec([4, 4, 3], tf.float32))
        return {"y": image}

    def text(text):
        parts = tf.strings.split(text, "/").to_tensor("")
        return {
            "parts": parts,
            "part": tf.strings.substr(text, 0, 3),
            "number": tf.strings.to_hash_bucket_fast(text, 7),
        }

    def f32(*shape):
        return list(shape), tf.float32

    def i32(*shape):
        return list(shape), tf.int32

    def i64(*shape):
        return list(shape), tf.int64

    any_rank = (None, tf.float32)
    signatures = {
        "convolution": signature(convolution, x=f32(None, None, None, 1)),
        "convolution_any": signature(convolution, x=any_rank),
        "convolution_3d": signature(
            lambda x: {"y": tf.nn.conv3d(
                x, module.kernel_3d, [1, 1, 1, 1, 1], "SAME")},
            x=f32(None, None, None, None, 1)),
        "matmul": signature(
            lambda x: {"y": tf.nn.relu(x @ module.matrix + module.bias)},
            x=f32(None, 8)),
        "matmul_any": signature(
            lambda x: {"y": tf.raw_ops.MatMul(a=x, b=module.matrix)},
            x=any_rank),
        "two_matrices": signature(
            lambda a, b: {"y": tf.matmul(a, b)},
            a=f32(None, None, None), b=f32(None, None, None)),
        "subtract": signature(
            lambda a, b: {"y": a - b}, a=f32(None), b=f32(None)),
        "add_any": signature(
            lambda a, b: {"y": a + b}, a=any_rank, b=any_rank),
        "gather": signature(
            lambda x, index: {"y": tf.gather(x, index, axis=1)},
            x=f32(None, None), index=i32(None)),
        "concat": signature(
            lambda a, b: {"y": tf.concat([a, b], 1)},
            a=f32(None, None), b=f32(None, None)),
        "reshape": signature(
            lambda x, shape: {"y": tf.reshape(x, shape)},
            x=any_rank, shape=i32(None)),
        "split": signature(
            lambda x, sizes: dict(
                zip("abc", tf.split(x, sizes, axis=1, num=3))),
            x=f32(None, None), sizes=i32(3)),
        "pad": signature(
            lambda x, paddings: {"y": tf.pad(x, paddings)},
            x=f32(None, None), paddings=i32(2, 2)),
        "slice": signature(
            lambda x, begin, size: {"y": tf.slice(x, begin, size)},
            x=f32(None, None), begin=i32(2), size=i32(2)),
        "tile": signature(
            lambda x, multiples: {"y": tf.tile(x, multiples)},
            x=f32(None, None), multiples=i32(2)),
        "fill": signature(
            lambda dims: {"y": tf.fill(dims, 1.0)}, dims=i64(3)),
        "one_hot": signature(
            lambda index, depth: {"y": tf.one_hot(index, depth)},
            index=i32(None), depth=i32()),
        "top": signature(
            lambda x, k: {"y": tf.math.top_k(x, k).values},
            x=f32(None, None), k=i32()),
        "segments": signature(
            lambda x, ids: {"y": tf.math.segment_sum(x, ids)},
            x=f32(None, None), ids=i32(None)),
        "strings": signature(text, text=([None], tf.string)),
        "decode_jpeg": signature(decode, image=([None], tf.string)),
        "parse_example": signature(
            lambda x: {"y": tf.io.parse_example(
                x, {"x": tf.io.FixedLenFeature([2], tf.float32)})["x"]},
            x=(None, tf.string)),
        "sparse": signature(
            sparse, indices=i64(None, 2), values=f32(None), shape=i64(2)),
        "embedding": signature(
            lambda ids: {"y": tf.nn.embedding_lookup(module.table, ids)},
            ids=i64(None, None)),
        "embedding_sum": signature(
            lambda ids, rows: {"y": tf.nn.embedding_lookup_sparse(
                module.table,
                tf.sparse.SparseTensor(
                    rows, ids, tf.constant([4, 8], tf.int64)),
                None, combiner="mean")},
            ids=i64(None), rows=i64(None, 2)),
        "rnn": signature(lstm, x=f32(None, None, 5)),
        "inverse_fourier": signature(
            lambda x: {"y": tf.signal.irfft(tf.cast(x, tf.complex64))},
            x=f32(None, None)),
        "cosine": signature(
            lambda x: {"y": tf.signal.idct(x)}, x=f32(None, None)),
        "fourier": signature(
            lambda x: {"y": tf.abs(tf.signal.rfft(x))}, x=any_rank),
    }
    save(module, TEST_MODELS / "operations" / "1", signatures)


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


MODELS = {f.__name__: f
          for f in (digits, half_plus_two, half_plus_three, kitchen,
                    examples, operations, broken_variables)}


def main() -> None:
    names = sys.argv[1:] or list(MODELS)
    unknown = set(names) - set(MODELS)
    if unknown:
        sys.exit(f"no such model: {', '.join(sorted(unknown))}; "
                 f"there are {', '.join(MODELS)}")
    tf.config.experimental.enable_op_determinism()
    for name in names:
        tf.random.set_seed(SEED)
        MODELS[name]()
        print(f"{name}: done")


if __name__ == "__main__":
    main()
