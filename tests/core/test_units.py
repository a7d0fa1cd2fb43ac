"""Names of work units: one spelling each, and where they hang."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.core.units import KINDS, PATH_KINDS, asked, canonical, chain, covers, kind_of, path_of
from agentlab.errors import BadRequest, OutsideWorkspace

parts = st.sampled_from(["a", "b", "src", "src2", "café", "cafe\u0301", "x.py", "...", "a b", " x"])
paths = st.lists(parts, min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("file:a.txt", "file:a.txt"),
        ("file:./src//a.py", "file:src/a.py"),
        ("file:src/../a.py", "file:a.py"),
        ("dir:src/", "dir:src"),
        ("dir:.", "dir:."),
        ("dir:src/..", "dir:."),
        ("notebook:a.ipynb", "notebook:a.ipynb"),
        ("file:cafe\u0301", "file:caf\u00e9"),
        ("file:with:colon", "file:with:colon"),
        ("file: a", "file: a"),
        ("proc: test ", "proc:test"),
        ("port:08000", "port:8000"),
        ("gpu:0", "gpu:0"),
    ],
)
def test_every_unit_has_one_spelling(written: str, meant: str) -> None:
    assert canonical(written) == meant
    assert canonical(meant) == meant


@pytest.mark.parametrize(
    "unit", ["", "file", "file:", "file:  ", ":x", "src/a.py", "disk:x", "FILE:x", "file:a\0b", "proc:"]
)
def test_what_is_no_unit_is_refused(unit: str) -> None:
    with pytest.raises(BadRequest):
        canonical(unit)


def test_the_refusal_says_how_to_write_one() -> None:
    with pytest.raises(
        BadRequest, match=r"'src' is no work unit. Write kind:name with a kind of dir, file, gpu, .*'file:src/a.py'"
    ):
        canonical("src")


@pytest.mark.parametrize("name", ["x", "-1", "1.5", "²", "٣", "0x10", "9" * 5_000])
@pytest.mark.parametrize("kind", ["port", "gpu"])
def test_ports_and_gpus_are_named_by_number(kind: str, name: str) -> None:
    with pytest.raises(BadRequest, match="is named by its number"):
        canonical(f"{kind}:{name}")


@pytest.mark.parametrize(
    "unit", ["file:/etc/passwd", "file:..", "dir:a/../..", "notebook:../a.ipynb", "file:a/../../b"]
)
def test_what_leads_out_of_the_workspace_is_refused(unit: str) -> None:
    with pytest.raises(OutsideWorkspace) as refused:
        canonical(unit)
    assert refused.value.data == {"unit": unit}


@given(path=paths, noise=st.lists(st.sampled_from([".", "", "b/.."]), min_size=4, max_size=4))
def test_noise_in_a_path_changes_nothing(path: list[str], noise: list[str]) -> None:
    noisy = "/".join(part for pair in zip(path, noise, strict=False) for part in pair)
    assert canonical(f"file:{noisy}") == canonical(f"file:{'/'.join(path)}")


@given(path=paths)
def test_a_canonical_name_is_normal_and_stays_as_it_is(path: list[str]) -> None:
    unit = canonical(f"file:{'/'.join(path)}")
    assert unit == canonical(unit) == unicodedata.normalize("NFC", unit)


# --- chains ----------------------------------------------------------------------------------------------------


def test_a_path_hangs_under_all_its_directories_up_to_the_root_of_the_host() -> None:
    assert chain("file:src/a", "h", "/w") == ("h:/", "h:/w", "h:/w/src", "h:/w/src/a")
    assert chain("dir:.", "h", "/w") == ("h:/", "h:/w")
    assert chain("dir:.", "h", "/") == ("h:/",)
    assert chain("file:a", "h", "/") == ("h:/", "h:/a")


def test_a_file_a_directory_and_a_notebook_of_one_path_are_one_node() -> None:
    assert len({chain(f"{kind}:x", "h", "/w") for kind in PATH_KINDS}) == 1


def test_one_file_in_two_workspaces_is_one_node() -> None:
    assert chain("file:sub/a", "h", "/w") == chain("file:a", "h", "/w/sub")


def test_a_root_with_a_slash_at_its_end_is_the_same_root() -> None:
    for unit in ("file:a", "dir:.", "proc:test"):
        assert chain(unit, "h", "/w/") == chain(unit, "h", "/w")


def test_processes_belong_to_a_workspace_and_ports_to_a_host() -> None:
    assert chain("proc:test", "h", "/w")[-1] != chain("proc:test", "h", "/v")[-1]
    assert chain("port:80", "h", "/w") == chain("port:80", "h", "/v")
    assert chain("port:80", "h", "/w")[-1] != chain("port:80", "i", "/w")[-1]
    assert chain("port:1", "h", "/w")[-1] != chain("gpu:1", "h", "/w")[-1]


def test_a_file_with_an_odd_name_is_no_process_of_the_workspace_beside_it() -> None:
    nodes = set(chain("file:w:proc:test", "h", "/")) | set(chain("dir:w:proc", "h", "/"))
    assert nodes.isdisjoint(chain("proc:test", "h", "/w"))


@given(path=paths, more=paths)
def test_a_chain_goes_on_where_that_of_its_directory_ends(path: list[str], more: list[str]) -> None:
    outer, inner = canonical(f"dir:{'/'.join(path)}"), canonical(f"file:{'/'.join(path + more)}")
    above, below = chain(outer, "h", "/w"), chain(inner, "h", "/w")
    assert below[: len(above)] == above


# --- covering --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ("dir:src", "file:src/a.py"),
        ("dir:src", "dir:src/deep"),
        ("dir:src", "file:src"),
        ("dir:.", "file:src2/a"),
        ("file:a", "notebook:a"),
        ("notebook:a", "file:a"),
        ("proc:test", "proc:test"),
    ],
)
def test_a_grant_covers(held: str, wanted: str) -> None:
    assert covers(held, wanted)


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ("dir:src", "file:src2"),
        ("dir:src", "file:src2/a"),
        ("dir:src/deep", "file:src/a"),
        ("file:src", "file:src/a"),
        ("proc:test", "proc:tests"),
        ("proc:test", "file:test"),
        ("dir:.", "proc:test"),
        ("port:1", "gpu:1"),
    ],
)
def test_a_grant_does_not_cover(held: str, wanted: str) -> None:
    assert not covers(held, wanted)


@given(held=paths, wanted=paths)
def test_covering_is_what_the_chains_say(held: list[str], wanted: list[str]) -> None:
    outer, inner = canonical(f"dir:{'/'.join(held)}"), canonical(f"file:{'/'.join(wanted)}")
    assert covers(outer, inner) == (chain(outer, "h", "/w")[-1] in chain(inner, "h", "/w"))


def test_kinds_and_paths_are_read_off_the_name() -> None:
    assert kind_of("file:a:b") == "file"
    assert path_of("dir:src") == "src"
    assert path_of("proc:test") is None
    assert {"file", "dir", "proc", "port", "gpu", "notebook"} == KINDS


def test_a_unit_that_is_longer_than_any_path_is_not_given() -> None:
    for unit in ("proc:" + "x" * 5000, "file:" + "a/" * 5000):
        with pytest.raises(BadRequest, match="characters"):
            asked(unit)
    assert asked("proc:" + "x" * 4000) == "proc:" + "x" * 4000
