import matplotlib
import matplotlib.pyplot as plt
import pytest

from btk_punet.figures import PALETTE, new_axes, new_figure, write_figure

matplotlib.use("Agg")


def draw(figure):
    figure.add_subplot().plot([1, 2], [3, 4], color=PALETTE[0])


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_the_same_figure_is_the_same_file(tmp_path, suffix, start):
    one, two = tmp_path / f"one{suffix}", tmp_path / "new" / f"two{suffix}"
    write_figure(draw, (3.0, 2.0), one)
    write_figure(draw, (3.0, 2.0), two)
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes().startswith(start)


def test_settings_of_the_user_are_neither_used_nor_changed(tmp_path):
    write_figure(draw, (3.0, 2.0), tmp_path / "one.png")
    with plt.rc_context({"lines.linewidth": 9.0, "savefig.dpi": 20}):
        write_figure(draw, (3.0, 2.0), tmp_path / "two.png")
        assert plt.rcParams["lines.linewidth"] == 9.0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_pixels(tmp_path):
    write_figure(draw, (3.0, 2.0), tmp_path / "one.png")
    assert plt.imread(tmp_path / "one.png").shape[:2] == (300, 450)


def test_a_written_figure_is_not_kept(tmp_path):
    before = plt.get_fignums()
    write_figure(draw, (3.0, 2.0), tmp_path / "one.png")
    assert plt.get_fignums() == before


def test_an_error_leaves_no_file(tmp_path):
    def fail(figure):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_figure(fail, (3.0, 2.0), tmp_path / "one.png")
    assert not list(tmp_path.iterdir())


def test_new_figures_are_pyplots():
    figure = new_figure((3.0, 2.0))
    axes = new_axes((4.0, 1.0))
    assert not figure.axes
    assert {figure.number, axes.figure.number} <= set(plt.get_fignums())
    assert tuple(axes.figure.get_size_inches()) == (4.0, 1.0)
    plt.close(figure)
    plt.close(axes.figure)


def test_colours_are_told_apart():
    assert len(set(PALETTE)) == len(PALETTE) == 6
