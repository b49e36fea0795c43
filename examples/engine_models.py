"""Models whose signatures keep state or give odd bytes, for the tests of the engine."""

import shutil

from saving import TEST_MODELS, save, signature

import tensorflow as tf


def engine() -> None:
    module = tf.Module()
    module.last = tf.Variable(7.0)
    module.tally = tf.Variable(0, dtype=tf.int64)
    module.table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1)
    module.words = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64)), -1)
    module.generator = tf.random.Generator.from_seed(1)

    def write(x):
        module.last.assign(x[0])
        return {"tally": tf.fill(tf.shape(x), module.tally.assign_add(1))}

    def nested(x):
        """Change a variable in a loop in a branch of a condition."""
        def add(i):
            module.tally.assign_add(1)
            return i + 1

        def loop():
            return tf.while_loop(lambda i: i < 3, add, [0])[0]

        count = tf.cond(tf.size(x) > 0, loop, lambda: 0)
        return {"count": tf.fill(tf.shape(x), count)}

    def insert(x):
        module.table.insert(tf.zeros([1], tf.int64), tf.ones([1], tf.int64))
        return {"size": tf.fill(tf.shape(x), module.table.size())}

    def draw(x):
        return {"y": x + module.generator.uniform([])}

    def read(x):
        table = module.table.lookup(tf.zeros([1], tf.int64))[0]
        return {
            "last": tf.fill(tf.shape(x), module.last),
            "tally": tf.fill(tf.shape(x), module.tally),
            "table": tf.fill(tf.shape(x), table),
            "state": tf.fill(tf.shape(x), module.generator.state[0]),
        }

    def lookup(text):
        return {"id": module.words.lookup(text)}

    def busy(loops):
        """Keep TensorFlow's threads busy: each loop takes some milliseconds."""
        start = tf.eye(256) / 2

        def step(i, parts):
            return i + 1, [tf.linalg.matmul(part, part) + start for part in parts]

        _, parts = tf.while_loop(
            lambda i, _: i < tf.reduce_max(loops), step, [0, [start] * 8])
        zero = tf.cast(tf.math.is_nan(tf.add_n(parts)[0, 0]), tf.int32)
        return {"rows": tf.fill(tf.shape(loops), tf.size(loops) * (1 + 0 * zero))}

    floats = ([None], tf.float32)
    strings = ([None], tf.string)
    save(module, TEST_MODELS / "engine" / "1", {
        "write": signature(write, x=floats),
        "nested": signature(nested, x=floats),
        "insert": signature(insert, x=floats),
        "draw": signature(draw, x=floats),
        "read": signature(read, x=floats),
        "lookup": signature(lookup, text=strings),
        "busy": signature(busy, loops=([None], tf.int32)),
        # Bytes that are no bools.
        "raw_bools": signature(
            lambda data: {"bools": tf.io.decode_raw(data, tf.bool)},
            data=strings),
    })


def engine_v1() -> None:
    """A variable of TensorFlow 1, which operations take by reference."""
    out = TEST_MODELS / "engine_v1" / "1"
    shutil.rmtree(out, ignore_errors=True)
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], "x")
        tally = v1.get_variable("tally", initializer=0.0, use_resource=False)
        with tf.control_dependencies([v1.assign_add(tally, 1.0)]):
            written = tf.identity(x)
        outputs = {"write": written, "read": tf.fill(tf.shape(x), tally)}
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(out))
        builder.add_meta_graph_and_variables(session, ["serve"], {
            name: v1.saved_model.predict_signature_def({"x": x}, {"y": y})
            for name, y in outputs.items()
        })
        builder.save()


def feeding() -> None:
    """What operations may do with the memory of an input."""
    module = tf.Module()
    module.kept = tf.Variable([0.0], shape=[None])

    def add_in_place(x):
        """Write into the input, which TensorFlow lets this operation do."""
        row, one = tf.constant([0]), tf.constant([1.0])
        return {"y": tf.raw_ops.InplaceAdd(x=x, i=row, v=one)}

    def keep(x):
        """Keep the input until the next run."""
        before = module.kept.read_value()
        with tf.control_dependencies([before]):
            module.kept.assign(x)
        return {"before": before}

    def loop(x):
        return {"y": tf.while_loop(
            lambda i, _: i < 3, lambda i, y: (i + 1, 2 * y), [0, x])[1]}

    floats = ([None], tf.float32)
    # Each of the last ones may write its output over its input.
    save(module, TEST_MODELS / "feeding" / "1", {
        name: signature(function, x=floats) for name, function in {
            "add_in_place": add_in_place,
            "in_a_branch": lambda x: tf.cond(
                x[0] > 0, lambda: add_in_place(x), lambda: {"y": x}),
            "keep": keep,
            "same": lambda x: {"y": tf.reshape(x, [-1, 1])},
            "add": lambda x: {"y": x + 1},
            "negate": lambda x: {"y": -x},
            "relu": lambda x: {"y": tf.nn.relu(x)},
            "softmax": lambda x: {"y": tf.nn.softmax(x)},
            "scatter": lambda x: {
                "y": tf.tensor_scatter_nd_update(x, [[0]], [9.0])},
            "sort": lambda x: {"y": tf.sort(x)},
            "loop": loop,
        }.items()
    })
