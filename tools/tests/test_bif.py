"""The reader of networks takes what is whole and names what is not."""

from __future__ import annotations

import gzip

import pytest

from oracles.bif import NetworkFormatError, parse_network, read_network

WHOLE = """
network weather { property "made by hand"; }
variable rain {   // before its parent: the order of the text is free
  type discrete [ 2 ] { no, yes };
  property position = (3, 4);
}
variable season { type discrete [ 3 ] { "dry season", wet, <5 }; }
probability ( rain | season ) {
  (wet) 2e-1, 0.8;
  default 0.9, 0.1;  /* dry season, and what is unknown */
}
probability ( season ) { table 0.3, 0.5, 0.2; }
"""


def test_a_whole_network():
    network = parse_network(WHOLE)
    assert list(network.nodes) == ["season", "rain"]
    assert network.sizes() == {"season": 3, "rain": 2}
    assert network.nodes["season"].states == ("dry season", "wet", "<5")
    assert network.nodes["rain"].parents == ("season",)
    assert network.nodes["rain"].rows == ((0.9, 0.1), (0.2, 0.8), (0.9, 0.1))


def test_the_last_parent_is_the_fastest():
    """The twin that reads rows in the order of the text would take them in the order written here, backwards."""
    variables = "".join(f"variable {name} {{ type discrete [ 2 ] {{ f, t }}; }}\n" for name in "abc")
    rows = "".join(
        f"({first}, {second}) 0.{number}, 0.{10 - number};\n"
        for first, second, number in [("t", "t", 4), ("t", "f", 3), ("f", "t", 2), ("f", "f", 1)]
    )
    priors = "".join(f"probability ( {name} ) {{ table 0.5, 0.5; }}\n" for name in "ab")
    network = parse_network(f"network n {{ }}\n{variables}{priors}probability ( c | a, b ) {{ {rows} }}")
    assert [row[0] for row in network.nodes["c"].rows] == [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(wet) 2e-1, 0.8;", "(wet) 0.2, 0.9;", "line 9: the table of 'rain': 0.2, 0.9 are no probabilities"),
        ("(wet) 2e-1, 0.8;", "(wet) 0.2;", "1 numbers for 2 values"),
        ("(wet) 2e-1, 0.8;", "(wet) 1.2, -0.2;", "are no probabilities"),
        ("(wet) 2e-1, 0.8;", "(wet) nan, 1.0;", "are no probabilities"),
        ("(wet) 2e-1, 0.8;", "(wet) much, 0.8;", "expected numbers, found much, 0.8"),
        ("(wet) 2e-1, 0.8;", "(wet) 0.2, 0.8", "expected ',' or ';', found 'default'"),
        ("(wet)", "(snow)", "a row for (snow), not values of its parents"),
        ("(wet)", "(wet, wet)", "a row for (wet, wet), not values of its parents"),
        ("default 0.9, 0.1;", "(wet) 0.9, 0.1;", "two rows for (wet)"),
        ("default 0.9, 0.1;", "", "no row for 2 combinations, (dry season)"),
        ("default 0.9, 0.1;", "table 0.9, 0.1;", "expected a row for values of ('season',), found 'table'"),
        ("[ 3 ]", "[ 4 ]", "declares 4 values and lists 3"),
        ("rain | season", "rain | rain", "one parent twice"),
        ("rain | season", "rain | sun", "names 'sun', which is not declared before it"),
        ("probability ( season ) { table 0.3, 0.5, 0.2; }", "", "the variable 'season' has no table"),
        ("variable season", "variable rain", "the variable 'rain' is declared twice"),
        ("network weather", "weather", "expected 'network', found 'weather'"),
        ("probability ( season )", "chance ( season )", "expected 'variable' or 'probability', found 'chance'"),
        ("0.3, 0.5, 0.2; }", "0.3, 0.5, 0.2;", "found the end"),
    ],
)
def test_what_is_not_whole_is_named(old, new, message):
    assert WHOLE.count(old) == 1
    with pytest.raises(NetworkFormatError) as caught:
        parse_network(WHOLE.replace(old, new), "weather.bif")
    assert str(caught.value).startswith("weather.bif, line ")
    assert message in str(caught.value)


def test_a_circle_is_refused():
    text = (
        WHOLE.replace("( season ) { table", "( season | rain ) { default").replace(
            "variable season", "variable sun { type discrete [ 1 ] { up }; }\nvariable season"
        )
        + "probability ( sun ) { table 1; }"
    )
    with pytest.raises(NetworkFormatError, match="rain, season depend on themselves"):
        parse_network(text)


def test_a_compressed_file(tmp_path):
    path = tmp_path / "weather.bif.gz"
    path.write_bytes(gzip.compress(WHOLE.encode()))
    assert read_network(path) == parse_network(WHOLE)
