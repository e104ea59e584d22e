"""The page on PyTorch: its code runs as it stands, and says of PyTorch what is so."""

import re
from pathlib import Path

from optional import optional

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "book/pytorch_primer.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)

torch = optional("torch")


def test_code_runs_in_one_go_and_every_block_but_one_asserts():
    with torch.random.fork_rng():
        names: dict = {}
        blocks = BLOCK.findall(PAGE)
        for block in blocks:
            assert re.search(r"^assert ", block, re.MULTILINE), block
            exec(compile(block, "book/pytorch_primer.md", "exec"), names)
    assert len(blocks) == 6
    assert len(names["losses"]) == 50


def test_what_it_says_beside_the_code():
    """Sentences without an assertion on the page."""
    mixed = torch.ones(2, 2), torch.ones(2, dtype=torch.float64)
    for refused in (
        lambda: mixed[0] @ mixed[1],  # float32 and float64 in one product
        lambda: torch.ones(1, requires_grad=True).numpy(),
        lambda: torch.nn.RNN(1, 4).load_state_dict({}),
        lambda: torch.nn.RNN(1, 4).load_state_dict(torch.nn.RNN(1, 5).state_dict()),
    ):
        try:
            refused()
        except RuntimeError:
            continue
        raise AssertionError("PyTorch no longer refuses this")
    assert torch.nn.RNN(1, 4)(torch.ones(7, 3, 1))[1].shape == (1, 3, 4)  # time first
    assert torch.nn.RNN(1, 4, batch_first=True)(torch.ones(7, 3, 1))[1].shape == (1, 7, 4)
    layer = torch.nn.Linear(1, 1).eval()
    assert layer(torch.ones(1)).requires_grad  # eval does not stop the recording


def test_it_is_in_the_book_and_where_it_is_first_used():
    assert "book/pytorch_primer" in (ROOT / "_toc.yml").read_text(encoding="utf-8")
    for slug in ("introduction", "recurrent_layer"):
        chapter = (ROOT / f"book/{slug}.md").read_text(encoding="utf-8")
        assert "{doc}`/book/pytorch_primer`" in chapter, slug
    widest = max(len(line) for block in BLOCK.findall(PAGE) for line in block.splitlines())
    assert widest <= 88
