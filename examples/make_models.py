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
    engine            tests/models/engine/1, signatures that change state, take
                      long, or give bytes that are no bools
    engine_v1         tests/models/engine_v1/1, a variable of TensorFlow 1
    odd               tests/models/odd, models with a signature that cannot be
                      served whole: ragged, sparse, quantised, not there,
                      impossible, without an asset
    broken_variables  tests/models/broken_variables, a model that loads and
                      then fails when it is run

    no_kernel         tests/models/no_kernel/1, an operation that only Python
                      can run

All models but the broken one are plain tf.Modules: what tf.saved_model.save
writes for a module that holds a Keras 3 model cannot find its variables when
it runs outside Python (broken_variables shows this).
"""

import shutil
import sys

from engine_models import engine, engine_v1
from odd_models import odd
from operation_models import operations
from saving import EXAMPLES, SEED, save, signature
from test_models import (
    broken_variables, examples, half_plus_three, half_plus_two, kitchen,
    no_kernel)

import numpy as np
import tensorflow as tf


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


MODELS = {f.__name__: f
          for f in (digits, half_plus_two, half_plus_three, kitchen,
                    examples, operations, odd, broken_variables, no_kernel,
                    engine, engine_v1)}


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
