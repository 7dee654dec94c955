"""Speed of a training step: stamps a second, and the share of what the processor can do.

For each precision: stamps of 64 pixels a second of the whole step (forward, backward, Adam), the
multiplications and additions that TensorFlow counts in it, and their rate as a fraction of that of
a large matrix product in the same precision on the same cores.

    python benchmarks/training_speed.py [--channels 16 32 64 96] [--batch-size 64] [--xla]

Run it on an idle machine. In single precision with a batch of 32 this is where training started.
"""

import argparse
import os
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from rows import add_row  # noqa: E402

from btk_punet.model.objective import training_loss  # noqa: E402
from btk_punet.model.proba_unet import ProbaUNet  # noqa: E402

MATRIX_SIZE = 2048
STAMP_SIZE = 64
REPEATS = 15


def matrix_rate(dtype: str) -> float:
    """Return the operations per second of a large matrix product."""
    a, b = (tf.cast(tf.random.normal((MATRIX_SIZE, MATRIX_SIZE)), dtype) for _ in range(2))
    product = tf.function(tf.matmul)
    return 2 * MATRIX_SIZE**3 / best_seconds(lambda: product(a, b)[0, 0].numpy())


def training_step(channels: tuple[int, ...], batch_size: int, xla: bool):
    """Return a function that does one step, and the operations that it takes."""
    model = ProbaUNet(channels=channels)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(1)
    shape = (batch_size, STAMP_SIZE, STAMP_SIZE)
    batch = {
        "images": rng.standard_normal((*shape, 1), np.float32),
        "mask": np.ones(shape, bool),
        "classes": rng.integers(0, 3, shape).astype(np.int32),
        "centres": (rng.random(shape) < 1e-3).astype(np.float32),
        "noise": rng.standard_normal(
            (batch_size, *model.latent_shape(STAMP_SIZE, STAMP_SIZE)), np.float32
        ),
    }
    batch = {name: tf.constant(values) for name, values in batch.items()}

    @tf.function(jit_compile=xla)
    def step(batch):
        with tf.GradientTape() as tape:
            loss, _ = training_loss(model(batch), batch)
        optimizer.apply(tape.gradient(loss, model.trainable_variables))
        return loss

    graph = step.get_concrete_function(batch).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    counted = tf.compat.v1.profiler.profile(graph, options=options.build())
    return lambda: step(batch).numpy(), counted.total_float_ops


def best_seconds(run) -> float:
    """Return the shortest time of a call, after two that do not count."""
    for _ in range(2):
        run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 32, 64, 96])
    parser.add_argument("--batch-size", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--xla", action="store_true")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, channels {options.channels}, XLA {options.xla}")
    print("precision  batch  stamps/s  Gop/stamp  Gop/s  of a matrix product")
    for policy, dtype in (("float32", "float32"), ("mixed_bfloat16", "bfloat16")):
        keras.config.set_dtype_policy(policy)
        limit = matrix_rate(dtype)
        for batch_size in options.batch_size:
            run, operations = training_step(tuple(options.channels), batch_size, options.xla)
            seconds = best_seconds(run)
            case = f"{dtype}, batch of {batch_size}"
            add_row(f"training step, {case}", batch_size / seconds, "stamps a second", timed=True)
            share = operations / seconds / limit
            add_row(f"training step over a matrix product, {case}", share, "times", timed=True)
            print(
                f"{dtype:9s}  {batch_size:5d}  {batch_size / seconds:8.1f}  "
                f"{operations / batch_size / 1e9:9.3f}  {operations / seconds / 1e9:5.0f}  "
                f"{operations / seconds / limit:.2f} of {limit / 1e9:.0f}"
            )


if __name__ == "__main__":
    main()
