"""A model of operations that check few of the shapes and values they are given."""

from saving import SEED, TEST_MODELS, save, signature

import numpy as np
import tensorflow as tf


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
