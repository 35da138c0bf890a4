"""Options and results that the benchmarks share."""

import argparse
import json
import math

import pytest

from medcodi.bench.command import (
    add_evaluation,
    bench_parser,
    device_name,
    listed,
    read_context,
    read_recipe,
    show,
)


def parsed(*arguments):
    parser = bench_parser("one", "What is measured?\n\nMore about it.")
    add_evaluation(parser)
    return parser, parser.parse_args(arguments)


def test_help_says_what_is_measured():
    told = parsed()[0].format_help()
    assert "medcodi bench one" in told and "What is measured?" in told and "More" not in told


def test_a_recipe_with_overrides():
    _, arguments = parsed("--config", "phantom_tiny", "name=mine", "seed=4")
    recipe = read_recipe(arguments)
    assert (recipe.name, recipe.seed) == ("mine", 4)
    assert arguments.output.as_posix() == "results/mine"


def test_an_option_of_several_values_leaves_the_overrides_behind_it():
    parser = parsed()[0]
    parser.add_argument("--steps", type=listed(int), default=[15])
    arguments = parser.parse_intermixed_args(["seed=4", "--steps", "5,10", "name=mine"])
    assert (arguments.steps, arguments.overrides) == ([5, 10], ["seed=4", "name=mine"])
    assert parser.parse_intermixed_args([]).steps == [15]


def test_a_wrong_value_of_several_is_named():
    with pytest.raises(
        argparse.ArgumentTypeError, match="expected int values divided by commas, got 'five'"
    ):
        listed(int)("5,five")
    with pytest.raises(argparse.ArgumentTypeError, match="did you mean 'region'"):
        listed(choices=("region", "row"))("row,regoin")


def test_the_number_of_studies_reaches_the_context(tmp_path):
    _, arguments = parsed("--num-studies", "7", "--output", str(tmp_path))
    context = read_context(arguments)
    assert (context.settings.num_studies, context.output) == (7, tmp_path)


def test_an_unknown_recipe_is_named():
    with pytest.raises(FileNotFoundError, match="nothing is no file and no shipped recipe"):
        read_recipe(parsed("--config", "nothing")[1])


def test_the_last_line_is_json(tmp_path, capsys):
    show({"figure": math.nan, "n": 3}, "| n |\n", tmp_path / "results", "one")
    *_, last = capsys.readouterr().out.splitlines()
    assert json.loads(last) == {"figure": None, "n": 3}
    assert json.loads((tmp_path / "results" / "one.json").read_text()) == json.loads(last)
    assert (tmp_path / "results" / "one.md").read_text() == "| n |\n"
    show([1])
    assert capsys.readouterr().out == "[1]\n"


def test_a_cpu_is_named_with_its_threads():
    assert device_name("cpu") == "CPU (1 threads)"
