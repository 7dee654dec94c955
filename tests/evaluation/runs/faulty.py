"""Detectors that fail in every way; in a module, so that workers can import them."""

import re
import time

from btk_punet import SepDeblender


class Faulty(SepDeblender):
    """Does something else with some scenes, as long as a file is there.

    Args:
        fault: What it does: ``"raises"``, ``"hangs"``, ``"eats"`` or ``"alone"``.
        scenes: Sums of the images of these scenes.
        trigger: The file.
    """

    def __init__(self, fault, scenes, trigger):
        super().__init__(20)
        self._fault, self._scenes, self._trigger = fault, set(scenes), trigger

    def batch_call(self, blend_batch, njobs=1):
        sums = {float(image.sum()) for image in blend_batch.blend_images}
        if sums & self._scenes and self._trigger.exists():
            getattr(self, self._fault)()
        return super().batch_call(blend_batch, njobs)

    def raises(self):
        raise ZeroDivisionError("of this scene")

    def hangs(self):
        re.match(r"(a+)+$", "a" * 60 + "b")  # in C, and keeps the interpreter to itself

    def eats(self):
        eaten = []
        for _ in range(100):
            eaten.append(b"1" * 50_000_000)
            time.sleep(0.05)
        raise AssertionError("5 GB were not too much")


class Picky(SepDeblender):
    """Cannot do batches of a single scene."""

    def batch_call(self, blend_batch, njobs=1):
        if blend_batch.batch_size == 1:
            raise ValueError("too few")
        return super().batch_call(blend_batch, njobs)


class Slow(SepDeblender):
    """Takes its time, so that there is some to kill its process."""

    def batch_call(self, blend_batch, njobs=1):
        time.sleep(0.3)
        return super().batch_call(blend_batch, njobs)
