"""A tracked cell's code: in parts that display, and awaited where it awaits."""

import ast

import pytest
from IPython.core.interactiveshell import InteractiveShell

from flops_magic.jupyter.cell_code import await_tracked, awaits, compiled


@pytest.fixture(scope="module")
def shell():
    return InteractiveShell()


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        ("", 0),
        ("# a remark", 0),
        ("x = 1", 1),
        ("6 * 7", 1),
        ("x = 1\nx", 2),
        ("x = 1\nx;", 1),
        ("x = 1\nx;\n\n", 1),
        ("x = 1\n%precision 3", 2),
        ("x = 1\n!true", 2),
    ],
)
def test_the_last_expression_is_a_part_of_its_own_unless_it_is_quiet(
    shell, cell, parts
):
    assert len(compiled(shell, cell)) == parts


def test_a_cell_that_does_not_compile_raises_as_it_would_alone(shell):
    with pytest.raises(SyntaxError):
        compiled(shell, "x = = 1")


def test_the_users_own_transforms_apply(shell):
    class Double(ast.NodeTransformer):
        def visit_Constant(self, node):
            return ast.Constant(2 * node.value)

    double = Double()
    shell.ast_transformers.append(double)
    try:
        (part,) = compiled(shell, "x = 21")
    finally:
        shell.ast_transformers.remove(double)
    exec(part, found := {})  # noqa: S102 a fixed text
    assert found["x"] == 42


@pytest.mark.parametrize(
    ("body", "awaited"),
    [
        ("x = 1", False),
        ("await f()", True),
        ("%time 1\nawait f()", True),
        ("!ls\nx = await f()", True),
        ("async with f() as g:\n    pass", True),
        ("async def f():\n    await g()", False),
        ("'await f()'", False),
        ("await f(", False),  # it does not compile: the magic says so
        ("x = = 1", False),
        ("\0", False),
    ],
)
def test_a_cell_becomes_an_awaited_call_exactly_where_it_awaits(shell, body, awaited):
    lines = ["%%flops_track --no-file\n", *body.splitlines(keepends=True)]
    made = await_tracked(lines)
    assert (made != lines) is awaited
    if awaited:
        (line,) = made
        call = ast.parse(line.removeprefix("await ")).body[0].value
        assert [arg.value for arg in call.args] == ["--no-file", body]
        assert any(map(awaits, compiled(shell, body)))


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["await f()\n"],
        ["%%flops_tracker\n", "await f()\n"],
        ["%%time\n", "await f()"],
    ],
)
def test_other_cells_are_left_alone(lines):
    assert await_tracked(list(lines)) == lines
