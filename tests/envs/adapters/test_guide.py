"""The code of the guide runs, from top to bottom."""

import re
from pathlib import Path

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "adapters.md"


def test_code_of_the_guide_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) == 6
    scope = {"__name__": "guide"}
    for block in blocks:
        exec(block, scope)
    said = capsys.readouterr().out
    assert "(36,) 16\n" in said and "'truncated'" in said
    assert said.endswith("{'agent_0': True, 'agent_1': True}\n")
    assert scope["SPEC"].build().episode_length == 25
