"""The server's hook: records are lifted on save, and a save never fails for them."""

import logging

import pytest

from flops_magic.evidence.seal import seal
from flops_magic.jupyter.server import _load_jupyter_server_extension, lift_on_save
from tests import fakes


class Contents:
    """A contents manager as far as the hook sees it."""

    def __init__(self):
        self.log = logging.getLogger("contents")
        self.hooks = []

    def register_pre_save_hook(self, hook):
        self.hooks.append(hook)


class Server:
    def __init__(self):
        self.contents_manager = Contents()


def test_a_saved_notebook_has_its_records_in_the_metadata():
    server = Server()
    _load_jupyter_server_extension(server)
    (hook,) = server.contents_manager.hooks
    sealed = seal(fakes.record())
    content = fakes.notebook(sealed)
    content["metadata"] = {}
    hook(
        model={"type": "notebook", "content": content},
        path="a.ipynb",
        contents_manager=server.contents_manager,
        later="argument",
    )
    assert content["metadata"]["flops_magic"]["records"] == [sealed.to_dict()]


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"type": "file", "content": "text"},
        {"type": "directory", "content": [{}]},
        {"type": "notebook", "content": None},
        {"type": "notebook", "content": {"metadata": {}, "cells": []}},
    ],
)
def test_what_carries_no_record_is_left_as_it_is(model, caplog):
    before = repr(model)
    lift_on_save(model, "a.ipynb", Contents())
    assert repr(model) == before
    assert not caplog.records


@pytest.mark.parametrize("cells", [5, [7], [{"cell_type": "code", "outputs": 3}]])
def test_a_broken_notebook_is_saved_all_the_same(cells):
    model = {"type": "notebook", "content": {"metadata": {}, "cells": cells}}
    lift_on_save(model, "a.ipynb", Contents())
    assert model["content"]["cells"] == cells


def test_an_error_is_a_warning_in_the_servers_log(caplog):
    class Broken(dict):
        def get(self, key, default=None):
            raise RuntimeError("no content")

    lift_on_save(Broken(), "a.ipynb", Contents())
    (line,) = caplog.messages
    assert line == ("flops_magic: records of a.ipynb stay in their outputs: no content")
