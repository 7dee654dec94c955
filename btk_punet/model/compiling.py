"""Functions of tensors compiled, each once for a shape, where the backend can."""

from collections import OrderedDict

import keras

# Of a function, those for so many shapes are kept: each takes some megabytes.
MOST_SHAPES = 16


def compiled(function, batch_axis=0):
    """Return the function compiled, on TensorFlow, for each shape but that of the batch's axis.

    A second number of images makes it general: each of its own would take a second to compile.
    What was not used for the longest time gives way, so that memory does not grow with the shapes.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    by_shape = OrderedDict()

    def run(*arrays):
        shapes = tuple(
            tuple(n for axis, n in enumerate(array.shape) if axis != batch_axis) for array in arrays
        )
        if shapes not in by_shape:
            by_shape[shapes] = tf.function(function, autograph=False, reduce_retracing=True)
            if len(by_shape) > MOST_SHAPES:
                by_shape.popitem(last=False)
        by_shape.move_to_end(shapes)
        return by_shape[shapes](*arrays)

    return run
