import pandas as pd

from btk_punet.evaluation.studies.gallery.cases import Case, choose_cases, mistakes_by_scene


def mistakes(**of_methods):
    """Return the table of methods that have (sources, missed, false) in each scene."""
    rows = [
        {"method": name, "scene": scene, "sources": n, "missed": missed, "false": false}
        for name, scenes in of_methods.items()
        for scene, (n, missed, false) in enumerate(scenes)
    ]
    return pd.DataFrame(rows, columns=["method", "scene", "sources", "missed", "false"])


class TestMistakesByScene:
    truth = pd.DataFrame(
        {
            "scene": [0, 0, 0, 2],
            "method": "SEP",
            "counts": [True, True, False, True],
            "matched": [True, False, False, True],
        }
    )
    detections = pd.DataFrame(
        {
            "scene": [0, 0, 0, 2],
            "method": "SEP",
            "in_bounds": [True, True, False, True],
            "matched": [True, False, False, True],
        }
    )

    def test_no_rows(self):
        table = mistakes_by_scene(self.truth[:0], self.detections[:0], ["SEP"], 2)
        assert table["scene"].tolist() == [0, 1]
        assert table[["sources", "missed", "false"]].to_numpy().tolist() == [[0, 0, 0]] * 2

    def test_what_does_not_count_is_no_mistake(self):
        table = mistakes_by_scene(self.truth, self.detections, ["SEP"], 4)
        # The third source is too faint, and the third detection is at the edge.
        assert table["sources"].tolist() == [2, 0, 1, 0]
        assert table["missed"].tolist() == [1, 0, 0, 0]
        assert table["false"].tolist() == [1, 0, 0, 0]

    def test_method_without_a_row_is_there(self):
        table = mistakes_by_scene(self.truth, self.detections, ["none", "SEP"], 1)
        assert table["method"].tolist() == ["none", "SEP"]


class TestChooseCases:
    def test_no_scene(self):
        assert choose_cases(mistakes()) == {"first": [], "worst": [], "best": []}

    def test_a_run_of_three_scenes_is_shown_whole(self):
        cases = choose_cases(mistakes(SEP=[(2, 2, 0)] * 3))
        assert cases == {"first": [Case(0), Case(1), Case(2)], "worst": [], "best": []}

    def test_worst_have_most_missed_and_false(self):
        cases = choose_cases(
            mistakes(SEP=[(4, 1, 0), (4, 0, 0), (4, 1, 2), (4, 2, 1), (4, 0, 4), (4, 0, 1)])
        )
        assert cases["worst"] == [Case(4, "SEP"), Case(2, "SEP"), Case(3, "SEP")]
        assert cases["first"] == [Case(0), Case(1), Case(2)]

    def test_best_have_least_wrong_of_most_sources(self):
        cases = choose_cases(
            mistakes(SEP=[(1, 0, 0), (3, 0, 0), (6, 1, 0), (3, 0, 0), (0, 0, 0), (2, 1, 0)])
        )
        assert cases["best"] == [Case(1, "SEP"), Case(3, "SEP"), Case(0, "SEP")]
        assert cases["worst"] == [Case(2, "SEP"), Case(5, "SEP")]

    def test_best_of_scenes_that_all_have_mistakes(self):
        wrong = [(10, 5, 0), (20, 5, 0), (30, 20, 0), (10, 9, 0), (10, 12, 0), (8, 8, 9)]
        cases = choose_cases(mistakes(SEP=wrong))
        # The third has most wrong of all, and is not among the best as well.
        assert [case.scene for case in cases["worst"]] == [2, 5, 4]
        assert [case.scene for case in cases["best"]] == [1, 0, 3]

    def test_nothing_right_is_not_among_the_best(self):
        cases = choose_cases(mistakes(SEP=[(2, 2, 0)] * 5))
        assert len(cases["worst"]) == 3 and cases["best"] == []

    def test_scenes_without_sources_and_mistakes_are_neither(self):
        cases = choose_cases(mistakes(SEP=[(0, 0, 0)] * 5))
        assert cases == {"first": [Case(0), Case(1), Case(2)], "worst": [], "best": []}

    def test_methods_choose_in_turn_and_no_scene_twice(self):
        cases = choose_cases(
            mistakes(
                a=[(3, 3, 0), (3, 2, 0), (3, 0, 0), (3, 0, 0), (3, 0, 0)],
                b=[(3, 3, 0), (3, 0, 0), (3, 1, 0), (3, 0, 0), (3, 0, 0)],
            )
        )
        assert cases["worst"] == [Case(0, "a"), Case(2, "b"), Case(1, "a")]
        assert cases["best"] == [Case(2, "a"), Case(1, "b"), Case(3, "a")]

    def test_six_at_most(self):
        methods = {name: [(2, 1, 0)] * 20 for name in "abcdefgh"}
        cases = choose_cases(mistakes(**methods))
        assert [case.method for case in cases["worst"]] == list("abcdef")
        assert [case.scene for case in cases["worst"]] == [0, 1, 2, 3, 4, 5]
