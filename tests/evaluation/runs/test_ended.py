"""What was being done when processes ended, and steps of a batch of which methods drop out."""

import json

import pytest

from btk_punet import SepDeblender
from btk_punet.evaluation.runs.ended import Marks
from btk_punet.evaluation.runs.task import BatchEndedError, BatchTask


def end_in(folder, part, times=1):
    """Leave what a process leaves that is killed in a part."""
    for _ in range(times):
        with pytest.raises(KeyboardInterrupt), Marks(folder).of(part):
            raise KeyboardInterrupt
    return Marks(folder)


def test_no_marks(tmp_path):
    marks = Marks(None)
    with marks.of("sep", 1):
        pass
    marks.clear()
    assert marks.why_not("sep") is None and list(tmp_path.iterdir()) == []


def test_a_part_is_tried_three_times(tmp_path):
    assert end_in(tmp_path, "sep", 2).why_not("sep") is None
    marks = end_in(tmp_path, "sep")
    assert marks.n_ended("sep") == 3 and marks.n_ended("other") == 0
    assert marks.why_not("sep") == (
        "the process that ran it was ended 3 times, as for lack of memory", "", 3,
    )  # fmt: skip
    assert marks.why_not("other") is None
    marks.clear()
    assert list(tmp_path.iterdir()) == [] and Marks(tmp_path).why_not("sep") is None


def test_a_part_that_hung_is_tried_once(tmp_path):
    (tmp_path / "now.json").write_text(json.dumps(["sep", 5.0]))
    dump = "Timeout!\nThread 1:\n  in other\n\nThread 2:\n  in hang\n  in do_in_worker\n\nThread 3:"
    (tmp_path / "hung.txt").write_text(dump)
    trace = "Thread 2:\n  in hang\n  in do_in_worker"
    assert Marks(tmp_path).why_not("sep") == ("it took longer than 5 seconds", trace, 1)
    # So it is read by the next ones too.
    assert Marks(tmp_path).why_not("sep") == ("it took longer than 5 seconds", trace, 1)


def test_half_a_mark_is_none(tmp_path):
    (tmp_path / "now.json").write_text('["se')
    (tmp_path / "ended.json").write_text("{")
    assert Marks(tmp_path).n_ended("sep") == 0


def task_of(*names, **options):
    return BatchTask(3, 2, {name: SepDeblender(5) for name in names}, **options)


def test_no_methods():
    task = task_of()
    assert task.each(lambda name, method: name, None) == {}
    assert task.together("the matching", lambda names: names) is None


def test_a_method_that_fails_is_left_out_from_there_on():
    def call(name, method):
        if name == "b":
            raise ValueError("no")
        return name.upper()

    task = task_of("a", "b", "c")
    assert task.each(call, None) == {"a": "A", "c": "C"}
    assert list(task.methods) == ["a", "c"] and set(task.seconds) == {"a", "c"}
    (failure,) = task.failures
    assert (failure.batch, failure.method, failure.tries) == (3, "b", 3)
    assert task.together("the matching", lambda names: names) == ["a", "c"]
    assert str(failure) == "Batch 3 failed in b: ValueError: no"


@pytest.mark.parametrize(("bad", "left"), [("a", ["b", "c"]), ("c", ["a", "b"]), ("ab", ["c"])])
def test_whose_fault_it_is(bad, left):
    def call(names):
        if set(bad) & set(names):
            raise ValueError("not with these")
        return names

    task = task_of("a", "b", "c")
    assert task.together("the study", call) == left == list(task.methods)
    assert [failure.method for failure in task.failures] == list(bad)
    assert str(task.failures[0]).startswith(f"Batch 3 failed in the study of {bad[0]}: ValueError")


def test_nobodys_fault():
    def call(names):
        if len(names) == 2:
            raise ValueError("two are too many")

    task = task_of("a", "b")
    with pytest.raises(ValueError, match="two are too many"):
        task.together("the study", call)
    assert task.failures == []


def test_the_first_failure_is_raised():
    task = task_of("a", fail_fast=True)
    with pytest.raises(ZeroDivisionError):
        task.each(lambda name, method: 1 / 0, None)
    assert task.running == "a"


def test_steps_in_which_processes_ended(tmp_path):
    task = task_of("a", "b", marks=end_in(tmp_path, "the generator", 3))
    with pytest.raises(BatchEndedError, match="ended 3 times"), task.step("the generator"):
        pass
    task = task_of("a", "b", marks=end_in(tmp_path, "a", 3))
    assert task.each(lambda name, method: name, None) == {"b": "b"}
    # One that ended with all methods is done for each alone first.
    asked = []
    task = task_of("a", "b", marks=end_in(tmp_path, "the study"))
    task.together("the study", asked.append)
    assert asked == [["a"], ["b"], ["a", "b"]]
