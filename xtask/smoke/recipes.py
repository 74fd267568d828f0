"""The examples of the pages that are given, each in an interpreter of its own, with the installed package.

Besides the package they need what `xtask/requirements/recipes.txt` lists.
"""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

ran = 0
for page in map(Path, sys.argv[1:]):
    text = page.read_text(encoding="utf-8")
    for example in EXAMPLE.finditer(text):
        place = f"{page.name}:{text.count(chr(10), 0, example.start()) + 1}"
        done = subprocess.run([sys.executable, "-c", example[1]], timeout=120)
        if done.returncode != 0:
            sys.exit(f"{place} failed with exit code {done.returncode}")
        ran += 1
if ran == 0:
    sys.exit("no example was run")
print(f"{ran} examples passed on CPython {sys.version.split()[0]}")
