"""Tensors of every dtype and shape, as bytes and as values."""

import threading

from .client import PREDICTION, TIMEOUT, content, fails, grpc, np, predict, request, same, tf

NUMBERS = [tf.float16, tf.bfloat16, tf.float32, tf.float64,
           tf.int8, tf.int16, tf.int32, tf.int64,
           tf.uint8, tf.uint16, tf.uint32, tf.uint64, tf.bool, tf.complex64]
# The field that has a dtype's values.
FIELDS = {tf.float16: "half_val", tf.bfloat16: "half_val", tf.float32: "float_val",
          tf.float64: "double_val", tf.int64: "int64_val", tf.bool: "bool_val",
          tf.uint32: "uint32_val", tf.uint64: "uint64_val", tf.string: "string_val",
          tf.complex64: "scomplex_val", tf.complex128: "dcomplex_val"}


def typed(values, dtype):
    """A tensor as its values."""
    flat = np.asarray(values).ravel()
    proto = tf.make_tensor_proto(0)
    fresh = type(proto)(dtype=dtype.as_datatype_enum,
                        tensor_shape=tf.TensorShape(values.shape).as_proto())
    if dtype in (tf.float16, tf.bfloat16):
        flat = flat.view(np.uint16)
    if dtype.is_complex:
        flat = flat.view(dtype.real_dtype.as_numpy_dtype)
    getattr(fresh, FIELDS.get(dtype, "int_val")).extend(flat.tolist())
    return fresh


def values_of(dtype):
    if dtype is tf.bool:
        return np.array([[True, False], [False, False], [True, True]])
    if dtype.is_complex:
        return np.array([[0, -1.5 + 2j], [np.inf, 2], [-0.0, 0.25j]], dtype.as_numpy_dtype)
    if dtype.is_floating:
        return np.array([[0, -1.5], [np.inf, 2], [-0.0, 0.25]], dtype.as_numpy_dtype)
    return np.array([[0, 1], [dtype.max, dtype.min], [2, 3]], dtype.as_numpy_dtype)


def dtypes(is_typed=False):
    for dtype in NUMBERS:
        values = values_of(dtype)
        for form in content(values), typed(values, dtype), tf.make_tensor_proto(values):
            message = request("kitchen", f"echo_{dtype.name}", x=form)
            output = PREDICTION.Predict(message, timeout=TIMEOUT).outputs["y"]
            same(output.dtype, dtype.as_datatype_enum)
            same(bool(output.tensor_content), not is_typed)
            same(bool(getattr(output, FIELDS.get(dtype, "int_val"))), is_typed)
            got = tf.make_ndarray(output)
            assert got.dtype == values.dtype and got.shape == values.shape, dtype
            assert got.tobytes() == values.tobytes(), (dtype, got)
        print(f"{dtype.name} comes back")


def save_complex():
    """Write a model that turns complex numbers by a right angle, to the path in the target's place."""
    def turn(x, z):
        return {"x": x * 1j, "z": z * 1j}

    spec = lambda name, dtype: tf.TensorSpec([None], dtype, name=name)
    turn = tf.function(turn, input_signature=[spec("x", tf.complex64), spec("z", tf.complex128)])
    tf.saved_model.save(tf.Module(), TARGET, signatures={"serving_default": turn})
    print("saved")


def complex_numbers():
    """The server has the model `turn` that `save_complex` made."""
    for form in content, tf.make_tensor_proto, lambda values: typed(values, tf.as_dtype(values.dtype)):
        x, z = np.complex64([1 + 2j, -1]), np.complex128([1e300j, 0.1])
        got = predict("turn", "", x=form(x), z=form(z))
        same((got["x"].dtype, got["x"].tolist()), (np.complex64, [-2 + 1j, -1j]))
        same((got["z"].dtype, got["z"].tolist()), (np.complex128, [-1e300, 0.1j]))
    print("complex numbers are turned")


def typed_dtypes():
    dtypes(is_typed=True)


def strings():
    values = [[b"", b"a\0b\0"], [b"\xff\xfe", "å".encode()]]
    same(predict("kitchen", "echo_string", x=values)["y"].tolist(), values)
    packed = tf.make_tensor_proto(values)
    del packed.string_val[:]
    packed.tensor_content = b"\0\4\2\2a\0b\0\xff\xfe" + "å".encode()
    same(predict("kitchen", "echo_string", x=packed)["y"].tolist(), values)
    png = open("examples/digits_images/7.png", "rb").read()
    answer = predict("digits", "predict", image=[png, png])
    same(answer["class"].shape[0], 2)
    print("strings keep their bytes")


def shapes():
    # What the signature says of shapes is not asked.
    same(predict("half_plus_two", "serving_default", x=np.float32([[2, 4]]))["y"].tolist(), [[3, 4]])
    same(predict("half_plus_two", "serving_default", x=np.float32(2))["y"].tolist(), 3)
    same(predict("kitchen", "scalar", x=np.float32(2))["y"].tolist(), 4)
    same(predict("kitchen", "any_rank", x=np.ones([1, 2, 1], np.float32))["y"].tolist(), [[[2], [2]]])
    # One value stands for all, and none for zeros.
    one = tf.make_tensor_proto(np.float32(3), shape=[2, 2])
    same(len(one.float_val) + len(one.tensor_content) // 4 in (1, 4), True)
    alone = type(one)(dtype=1, tensor_shape=one.tensor_shape, float_val=[3])
    same(predict("kitchen", "echo_float32", x=alone)["y"].tolist(), [[3, 3], [3, 3]])
    none = type(one)(dtype=1, tensor_shape=one.tensor_shape)
    same(predict("kitchen", "echo_float32", x=none)["y"].tolist(), [[0, 0], [0, 0]])
    rows = predict("kitchen", "echo_float32", x=np.zeros([0, 2], np.float32))["y"]
    same(rows.shape, (0, 2))
    print("shapes are TensorFlow's business")


def outputs():
    message = request("kitchen", "nan", ["inf", "nan"], x=np.float32([1]))
    same(sorted(PREDICTION.Predict(message, timeout=TIMEOUT).outputs), ["inf", "nan"])
    fails("INVALID_ARGUMENT", "output tensor alias not found in signature: y Outputs expected to be in the set {inf,nan,ninf}.",
          PREDICTION.Predict, request("kitchen", "nan", ["y"], x=np.float32([1])))
    fails("INVALID_ARGUMENT", "duplicate output tensor alias: nan",
          PREDICTION.Predict, request("kitchen", "nan", ["nan", "nan"], x=np.float32([1])))
    print("outputs are picked")


def large():
    values = np.arange(8 << 20, dtype=np.float32).reshape(-1, 2)
    got = predict("kitchen", "echo_float32", x=content(values))["y"]
    assert np.array_equal(got, values)
    print("32 MiB come back")
    too_large = content(np.zeros([9 << 20, 2], np.float32))
    error = fails("RESOURCE_EXHAUSTED", "the message is too large: expected at most 67108864 bytes, got 754", PREDICTION.Predict,
                  request("kitchen", "echo_float32", x=too_large))
    print(f"72 MiB are too many: {error.details()}")


def compressed():
    values = np.arange(1 << 20, dtype=np.float32).reshape(-1, 2)
    for compression in grpc.Compression.Gzip, grpc.Compression.Deflate:
        for x in values[:1], values:
            message = request("kitchen", "echo_float32", x=content(x))
            response = PREDICTION.Predict(message, timeout=TIMEOUT, compression=compression)
            assert np.array_equal(tf.make_ndarray(response.outputs["y"]), x)
    bomb = content(np.zeros([32 << 20, 2], np.float32))
    fails("RESOURCE_EXHAUSTED", "the message is too large: expected at most 67108864 bytes", PREDICTION.Predict,
          request("kitchen", "echo_float32", x=bomb), compression=grpc.Compression.Gzip)
    print("compressed messages are inflated, but not without end")


def together():
    """Many at once, each with its own answer."""
    def work(number):
        for step in range(20):
            x = np.float32([number, step])
            same(predict("kitchen", "batch_rows", x=x)["y"].tolist(), x.tolist())
            done.append(None)
    done = []
    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(len(done), 160)
    print("many share runs")
