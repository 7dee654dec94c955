"""Functions of tensors compiled, each once for a shape, where the backend can."""

import keras


def compiled(function, batch_axis=0):
    """Return the function compiled, on TensorFlow, for each shape but that of the batch's axis.

    A second number of images makes it general: each of its own would take a second to compile.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    by_shape = {}

    def run(*arrays):
        shapes = tuple(
            tuple(n for axis, n in enumerate(array.shape) if axis != batch_axis) for array in arrays
        )
        if shapes not in by_shape:
            by_shape[shapes] = tf.function(function, autograph=False, reduce_retracing=True)
        return by_shape[shapes](*arrays)

    return run
