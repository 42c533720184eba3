"""Before any test or notebook is collected: what the shell names and sets does not count.

No server that `MILVUS_URI` or `REDIS_URL` names is reached, no `.env` is read (`import helpers`
sees to that, so it comes before `import pymilvus`), kernels get the environment of `make run`.
"""

import os
import signal
import sys

from helpers.settings import ROOT, load_settings

sys.path.append(str(ROOT / "tools"))
from kernels import kernel_environment  # noqa: E402

for name in ("MILVUS_URI", "MILVUS_TOKEN", "REDIS_URL"):
    os.environ.pop(name, None)
environment = kernel_environment(load_settings().build_dir)
for name in set(os.environ) - set(environment):
    del os.environ[name]
os.environ.update(environment)
# A shell that starts the tests with & has them ignore Ctrl-C, and so would the programs they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
