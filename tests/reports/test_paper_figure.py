"""A figure for a paper has the series, names, colours and size that were asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from keeprate import Figure, KeeprateError, load
from keeprate.analysis.build import findings_of
from keeprate.analysis.model import Findings
from keeprate.analysis.write import figure_findings
from keeprate.cli import keeprate
from keeprate.results.store import Store
from keeprate_reports.accuracy_chart import chart, legend_labels
from keeprate_reports.chart_frame import Frame
from keeprate_reports.chart_looks import LOOKS
from keeprate_reports.html_payload import payload
from keeprate_reports.latex_tables import LatexTables
from keeprate_reports.paper_figure import paper_figure
from results_factory import (
    fill,
    make_backbone,
    make_result,
    make_rows,
    make_run,
    make_throughput,
    put,
)

PLAIN = Frame(told=False, apart=False)
POINTS = -1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = fill(tmp_path / "runs")
    put(store, make_run("evit", 40, parameters={"fuse": True}), accuracy=0.8)
    put(store, make_run("evit", 40, parameters={"fuse": False}), accuracy=0.7)
    return store.folder


def drawn(folder: Path, frame: Frame = PLAIN, **keys: Any) -> dict[str, Any]:
    """The definition of the chart of a figure, before it is fitted to its width."""
    figure = Figure.of(keys, "test")
    return chart(figure_findings([folder], figure), frame).to_dict(validate=False)


def legend(specification: dict[str, Any]) -> dict[str, str]:
    """What the legend names, with the colour of each."""
    layer = specification["concat"][0]["layer"][POINTS]
    scale = layer["encoding"]["color"]["scale"]
    return dict(zip(scale["domain"], scale["range"], strict=True))


def rows(specification: dict[str, Any]) -> list[dict[str, Any]]:
    name = specification["concat"][0]["layer"][POINTS]["data"]["name"]
    found: list[dict[str, Any]] = specification["datasets"][name]
    return found


def test_it_is_exactly_as_wide_as_asked_and_its_type_has_the_size_asked_for(folder: Path) -> None:
    figure = Figure.of({"methods": "tome", "width": "3.25in", "font_size": 9}, "test")
    picture = paper_figure(figure_findings([folder], figure), figure)
    from vl_convert import vegalite_to_svg

    svg = vegalite_to_svg(picture.to_dict(validate=False))
    assert re.search(r'<svg[^>]* width="234"', svg)
    assert set(re.findall(r'font-size="([\d.]+)px"', svg)) == {"8", "9"}


def test_points_stand_at_their_true_costs_and_nothing_is_written_inside(folder: Path) -> None:
    specification = drawn(folder)
    table = load(folder)
    costs = [point.macs / 1e6 for point in table.groups[0].points]
    assert [row["cost"] for row in rows(specification)] == costs
    assert "title" not in specification
    assert "title" not in specification["concat"][0]


def test_series_are_chosen_named_ordered_and_coloured(folder: Path) -> None:
    keys: dict[str, Any] = {
        "methods": ["tome", "evit fuse=true"],
        "labels": {"tome": "ToMe", "evit fuse=true": "Ours", "full": "Unpruned"},
        "order": ["tome"],
        "colours": {"evit": "#123456", "evit fuse=true": "#ABCDEF"},
    }
    assert legend(drawn(folder, **keys)) == {
        "Unpruned": "black",
        "ToMe": "#0072B2",
        "Ours": "#ABCDEF",
    }
    assert {row["key"] for row in rows(drawn(folder, **keys))} == {"Unpruned", "ToMe", "Ours"}


def test_what_the_order_names_keeps_its_colour_where_it_is_left_out(folder: Path) -> None:
    order = ["random", "evit fuse=false", "evit fuse=true", "tome"]
    whole, part = (
        legend(drawn(folder, order=order)),
        legend(drawn(folder, order=order, methods="tome")),
    )
    assert part["tome"] == whole["tome"] == "#CC79A7"
    assert set(part) == {"full (unpruned)", "tome"}


def test_the_page_and_latex_have_the_same_names_and_colours(folder: Path, tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "methods": ["tome", "random"],
        "labels": {"tome": "Ours"},
        "colours": {"tome": "#ABCDEF"},
        "order": ["tome", "random"],
    }
    found = findings_of(Store(folder), Figure.of(keys, "test").options)
    groups: Any = payload(found)["groups"]
    [group] = groups
    looks = {look["key"]: look["colour"] for look in group["looks"]}
    figure = legend(drawn(folder, **keys))
    assert {key: colour for key, colour in looks.items() if colour} == {
        key: figure[key] for key in ("Ours", "random")
    }
    LatexTables().write(found, tmp_path)
    text = (tmp_path / "tables.tex").read_text(encoding="utf-8")
    assert "Ours" in text
    assert "evit" not in text
    assert not re.search(r"\btome\b", text)


def test_panels_have_the_names_of_their_models_and_one_scale(folder: Path) -> None:
    put(Store(folder), make_run("tome", 30, backbone=make_backbone("larger", "aa" * 32)))
    specification = drawn(folder)
    titles = [panel["title"]["text"] for panel in specification["concat"]]
    assert titles == ["digits_vit", "larger"]
    assert len(drawn(folder, models="larger")["concat"]) == 1


def measured(folder: Path) -> Findings:
    store = fill(folder)
    for keep, ratio in ((50, 1.2), (40, 1.1)):
        run = make_run("fast", keep)
        each = make_rows(run, accuracy=0.9 + keep / 1000)
        store.write(make_result(run, each, make_throughput(ratio)), each)
    return figure_findings([folder], Figure(axis="throughput"))


def test_speed_below_has_a_front_of_its_own_and_runs_without_it_are_left_out(
    tmp_path: Path,
) -> None:
    found = measured(tmp_path)
    frame = Frame(told=False, apart=False, axis="throughput")
    shown = rows(chart(found, frame).to_dict(validate=False))
    # the run of fewer MACs is slower and worse here
    assert {row["cost"]: row["front"] for row in shown} == {1200.0: True, 1100.0: False}


def test_no_speed_anywhere_is_told(folder: Path) -> None:
    with pytest.raises(KeeprateError, match="measured throughput: run with `--throughput`"):
        drawn(folder, Frame(axis="throughput"), axis="throughput")


def test_axes_can_be_logarithmic_and_cut(folder: Path) -> None:
    frame = Frame(told=False, log_x=True, x_domain=(10, 50), y_domain=(80, 100))
    layers = drawn(folder, frame)["concat"][0]["layer"]
    scale = layers[POINTS]["encoding"]["x"]["scale"]
    assert (scale["type"], scale["domain"]) == ("log", [10, 50])
    assert layers[POINTS]["encoding"]["y"]["scale"]["domain"] == [80, 100]
    assert all(layer["mark"]["clip"] for layer in layers)


def test_more_series_than_can_be_told_apart_are_refused_and_none_is_left_out(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    for number in range(LOOKS):
        put(store, make_run(f"m{number}", 40))
    found = figure_findings([tmp_path], Figure())
    assert len(legend_labels(found, PLAIN)) == LOOKS
    assert len(legend(chart(found, PLAIN).to_dict(validate=False))) == LOOKS
    put(store, make_run("another", 40))
    with pytest.raises(KeeprateError, match="43 series cannot be told apart"):
        legend_labels(figure_findings([tmp_path], Figure()), PLAIN)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"methods": "tomee"}, "No method or series 'tomee'. Did you mean 'tome'?"),
        ({"methods": "evit fuse=truth"}, "No series 'evit fuse=truth'. Did you mean 'evit fuse=tr"),
        ({"models": "larger", "methods": "random"}, "No run is both of the chosen models and of"),
        ({"models": "digit_vit"}, "No model 'digit_vit'. Did you mean 'digits_vit'?"),
        ({"labels": {"tom": "T"}}, "No method or series 'tom'. Did you mean 'tome'?"),
        ({"labels": {"tome": "random"}}, "'random' and 'tome' would both be 'random'"),
        ({"width": "3 inches"}, "test: width: '3 inches' is no length: write 3.25in"),
        ({"widht": 3}, "test: No key 'widht'. Did you mean 'width'?"),
        ({"zoom": {"x": "1"}}, "test: zoom.x: '1' is no range: write LOW:HIGH"),
        ({"zoom": {"x": "0:1"}, "log_x": True}, "test: zoom.x must begin above 0"),
        ({"zoom": {"z": "1:2"}}, "test: zoom.z: no such key."),
        ({"colours": {"tome": "blue"}}, "test: colours: 'blue' of tome is no colour"),
        ({"axis": "speed"}, "test: axis: "),
        ({"width": float("inf")}, "test: width: "),
    ],
)
def test_mistakes_are_one_line(keys: dict[str, Any], said: str, folder: Path) -> None:
    put(Store(folder), make_run("tome", 30, backbone=make_backbone("larger", "aa" * 32)))
    with pytest.raises(KeeprateError) as raised:
        drawn(folder, **keys)
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


def test_an_unknown_name_is_told_before_any_rows_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("keeprate.analysis.runs._outcomes")
    with pytest.raises(KeeprateError, match="Did you mean 'tome'"):
        figure_findings([folder], Figure(methods=("tomee",)))


def test_a_file_says_the_same_and_typed_options_count_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[list[str], Figure, list[str]]] = []

    def write(self: object, found: Findings, figure: Figure, paths: list[Path]) -> bool:
        models = [group.model for group in found.groups]
        taken.append((models, figure, [path.name for path in paths]))
        return True

    monkeypatch.setattr("keeprate_reports.accuracy_plot.AccuracyPlot.write_figure", write)
    put(Store(folder), make_run("tome", 30, backbone=make_backbone("larger", "aa" * 32)))
    file = folder.parent / "figure.yaml"
    file.write_text("runs: [runs]\nmethods: tome\nwidth: 8cm\nlabels: {tome: ToMe}\n")
    output = str(file.parent / "f")
    typed = ["figure", "--from", str(file), "--method", "random", "--output", output]
    done = CliRunner().invoke(keeprate, [*typed, "--label", "random=R"])
    assert done.exit_code == 0, done.output
    [(models, figure, names)] = taken
    assert models == ["digits_vit"]  # the larger one has no run of this method
    assert names == ["f.svg", "f.pdf", "f.png"]
    assert figure.width == pytest.approx(8 / 2.54 * 72)
    assert (figure.methods, figure.labels) == (("random",), {"random": "R"})
    done = CliRunner().invoke(keeprate, ["figure", str(folder), "--split", "--output", "a.svg"])
    assert done.exit_code == 0, done.output
    assert [names for _, _, names in taken[1:]] == [["a-digits_vit.svg"], ["a-larger.svg"]]


def test_a_table_plots_the_figure_that_it_is_given(folder: Path) -> None:
    picture = load(folder).plot(figure=Figure(methods=("tome",), labels={"tome": "ToMe"}))
    assert set(legend(picture.to_dict(validate=False))) == {"full (unpruned)", "ToMe"}
