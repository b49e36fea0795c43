"""A model whose signatures keep rows apart, or do not."""

from saving import SEED, TEST_MODELS, save, signature

import numpy as np
import tensorflow as tf


def rows() -> None:
    rng = np.random.default_rng(SEED)
    module = tf.Module()
    module.weights = tf.Variable(rng.normal(size=[4, 3]).astype(np.float32))
    module.scale = tf.Variable(tf.ones([3]))
    module.mean = tf.Variable(tf.zeros([3]))
    module.tally = tf.Variable(0, dtype=tf.int64)

    vectors = ([None], tf.float32)
    matrices = ([None, 4], tf.float32)
    images = ([None, 2, 2, 3], tf.float32)
    words = ([None], tf.string)
    signatures = {}

    def add(name, function, x):
        signatures[name] = signature(lambda x: {"y": function(x)}, x=x)

    def norm(x, is_training):
        return tf.compat.v1.nn.fused_batch_norm(
            x, module.scale, tf.zeros([3]),
            None if is_training else module.mean,
            None if is_training else tf.ones([3]), is_training=is_training)

    def learn(x):
        y, mean, _ = norm(x, True)
        module.mean.assign(0.9 * module.mean + 0.1 * mean)
        return y

    def layer_norm(x):
        """Normalise each row, by the operation that normalises a batch."""
        flat = tf.reshape(x, [1, -1, 4, 1])
        ones = tf.ones(tf.shape(x)[:1])
        y, _, _ = tf.compat.v1.nn.fused_batch_norm(
            flat, ones, tf.zeros_like(ones), is_training=True,
            data_format="NCHW")
        return tf.reshape(y, tf.shape(x))

    def age(padded):
        feature = (tf.io.FixedLenSequenceFeature([], tf.float32, True)
                   if padded else tf.io.FixedLenFeature([1], tf.float32))
        return lambda x: 2 * tf.io.parse_example(x, {"age": feature})["age"]

    def decode(x):
        return tf.map_fn(
            lambda data: tf.reduce_mean(tf.cast(
                tf.io.decode_png(data, channels=3), tf.float32), [0, 1]),
            x, fn_output_signature=tf.TensorSpec([3], tf.float32))

    # Rows that depend on each other.
    add("sorted", lambda x: tf.sort(x, axis=0), matrices)
    add("ranks", lambda x: tf.argsort(tf.argsort(x)), vectors)
    add("softmax_of_rows", lambda x: tf.nn.softmax(x, axis=0), matrices)
    add("batch_norm", lambda x: norm(x, True)[0], images)
    add("batch_norm_learns", learn, images)
    add("unique", lambda x: tf.unique(x)[0], vectors)
    add("unique_index", lambda x: tf.unique(x)[1], vectors)
    add("sums", tf.cumsum, vectors)
    add("centred", lambda x: x - tf.reduce_mean(x, axis=0), matrices)
    add("count", lambda x: tf.fill(tf.shape(x), tf.size(x)), vectors)
    add("reversed", lambda x: tf.reverse(x, [0]), matrices)
    add("above_all", lambda x: x - tf.reduce_max(x), vectors)
    add("positive", lambda x: tf.boolean_mask(x, x > 0), vectors)
    add("padded", lambda x: tf.strings.split(x).to_tensor("-"), words)
    add("one_row", one_row, matrices)

    # Rows that do not.
    add("half", lambda x: 0.5 * x + 2, vectors)
    add("dense", lambda x: tf.nn.softmax(x @ module.weights), matrices)
    add("root", root, vectors)
    add("norm", lambda x: tf.nn.relu(norm(x, False)[0]), images)
    add("layer_norm", layer_norm, matrices)
    add("sorted_row", tf.sort, matrices)
    add("bytes", lambda x: tf.strings.length(x), words)
    add("image", decode, words)
    add("age", age(False), words)

    # Nobody knows.
    add("ages", age(True), words)
    add("noise", lambda x: x + tf.random.uniform(tf.shape(x)), vectors)
    add("tally", lambda x: tf.fill(tf.shape(x), module.tally.assign_add(1)),
        vectors)
    save(module, TEST_MODELS / "rows" / "1", signatures)


def root(x):
    check = tf.debugging.Assert(
        tf.reduce_all(x >= 0), ["x must not be negative"])
    with tf.control_dependencies([check]):
        return tf.sqrt(x)


def one_row(x):
    check = tf.debugging.Assert(
        tf.equal(tf.shape(x)[0], 1), ["x must have one row"])
    with tf.control_dependencies([check]):
        return 2 * x
