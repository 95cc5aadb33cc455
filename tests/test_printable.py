import json
from dataclasses import replace

import pytest

from flops_magic.cli import main
from flops_magic.evidence.seal import seal
from flops_magic.printable import printable, printable_lines
from tests import fakes

HOSTILE = "\x1b[2J\x1b]0;title\x07\u202eholds\u2066\x9b31m"


@pytest.mark.parametrize("sign", HOSTILE.replace("holds", "").replace("title", ""))
def test_a_sign_that_moves_a_terminal_is_replaced(sign):
    if not sign.isprintable():
        assert printable(f"a{sign}b") == "a\N{REPLACEMENT CHARACTER}b"


def test_lines_stay_and_blanks_at_their_beginning_too():
    assert printable_lines("one\n  two\x07") == "one\n  two\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_hostile_record_reaches_no_terminal_as_it_is(tmp_path, capsys, command):
    record = fakes.record(gaps=(f"gap {HOSTILE}",))
    (use,) = record.models
    record = replace(record, models=(replace(use, id=HOSTILE),))
    path = tmp_path / "record.json"
    path.write_text(json.dumps(seal(record).to_dict()))
    main([command, str(path)])
    shown = "".join(capsys.readouterr())
    assert "holds" in shown
    assert not any(sign in shown for sign in "\x1b\x07\x9b\u202e\u2066")
