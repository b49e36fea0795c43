"""Make the models that the benchmarks serve, and a photo to send to one.

    pip install tensorflow-cpu==2.21.0
    python benches/make_models.py OUT_DIR

    OUT_DIR/half_plus_two/1   y = 0.5x + 2: next to no work in the model
    OUT_DIR/pixels/1          [-1, 224, 224, 3] floats in, of which little is
                              used: the cost of a large request
    OUT_DIR/mobilenet/1       MobileNetV2 that takes JPEG bytes: work in the
                              model (its weights are random, and so are its
                              scores)
    OUT_DIR/photo.jpg         320x240, for mobilenet
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
from saving import save  # sets TF's log level: before TensorFlow
import test_models

import keras
import tensorflow as tf

SEED = 1


def pixels(out: Path) -> None:
    save(tf.Module(), out, {"serving_default": test_models.pixels()})


def mobilenet(out: Path) -> None:
    keras.utils.set_random_seed(SEED)
    model = keras.applications.MobileNetV2(weights=None)

    def decode(data):
        image = tf.io.decode_jpeg(data, channels=3)
        return tf.image.resize(image, [224, 224]) / 127.5 - 1

    def serve(image):
        images = tf.map_fn(
            decode, image,
            fn_output_signature=tf.TensorSpec([224, 224, 3], tf.float32))
        return {"scores": model(images, training=False)}

    shutil.rmtree(out, ignore_errors=True)
    # tf.saved_model.save would lose the variables of a Keras 3 model.
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", serve, input_signature=[
        tf.TensorSpec([None], tf.string, name="image")])
    archive.write_out(str(out), verbose=False)


def photo(out: Path) -> None:
    """Noise at several scales: about as hard to compress as a photo."""
    image = tf.zeros([240, 320, 3])
    for cells, contrast in [(4, 60), (16, 30), (64, 20)]:
        noise = tf.random.stateless_normal([cells, cells, 3], [SEED, cells])
        image += contrast * tf.image.resize(noise, [240, 320], "bicubic")
    image = tf.saturate_cast(image + 128, tf.uint8)
    out.write_bytes(tf.io.encode_jpeg(image, quality=90).numpy())


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: make_models.py OUT_DIR")
    out = Path(sys.argv[1])
    test_models.half_plus_two(out / "half_plus_two" / "1")
    pixels(out / "pixels" / "1")
    mobilenet(out / "mobilenet" / "1")
    photo(out / "photo.jpg")


if __name__ == "__main__":
    main()
